"""Read the tables of tests/cases, which are the specification.

A table is a YAML file whose name is a behaviour. Its `cases` are rows of `it / given / want`, with
a `source` where the row is a clause of a standard. Whatever else stands at its top (`rules`,
`catalog`, `source`) holds for all of its rows. Tables are read by the product's own strict reader,
so that a repeated key fails here as it fails in a policy.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sidecar.syntax.yaml12 import load_documents

CASES = Path(__file__).parent / "cases"
ROW_KEYS = frozenset({"it", "given", "want", "source"})


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table.

    `file` is the path below tests/cases and `where` adds the line. `table` is what the file says
    above its cases; the values are as plain as YAML has them.
    """

    it: str
    given: Any
    want: Any
    source: str | None
    table: Mapping[str, Any]
    file: str
    where: str


def rows(room: str | Path) -> list[Any]:
    """Return the rows of one table or of all tables of a room as parameters of a test.

    Args:
        room: A path below tests/cases: `decide`, `data/statements.yaml`.

    Returns:
        One `pytest.param` of a `Row` for each, named `<file stem>: <it>`. An empty list would be a
        test that cannot fail, so no rows is an error.
    """
    found = CASES / room
    files = sorted(found.rglob("*.yaml")) if found.is_dir() else [found]
    read = [row for file in files for row in _rows_of(file)]
    assert read, f"no rows in tests/cases/{room}"
    names = [f"{Path(row.file).stem}: {row.it}" for row in read]
    twice = sorted({name for name in names if names.count(name) > 1})
    assert not twice, f"rows with the same name: {twice}"
    return [pytest.param(row, id=name) for row, name in zip(read, names, strict=True)]


def _rows_of(path: Path) -> list[Row]:
    """Return the rows of one file, whose documents are tables of their own."""
    file = path.relative_to(CASES).as_posix()
    found: list[Row] = []
    for document in load_documents(file, path.read_bytes()):
        assert isinstance(document.value, dict), f"{file}: expected a mapping with `cases`"
        table = dict(document.value)
        cases = table.pop("cases", None)
        assert isinstance(cases, list), f"{file}: expected a list of `cases`"
        assert cases, f"{file}: `cases` is empty"
        found += [
            _row(case, table, file, document.where("cases", number))
            for number, case in enumerate(cases)
        ]
    return found


def _row(case: Any, table: Mapping[str, Any], file: str, where: str) -> Row:
    """Return one row, of which a misspelt key would be a test that asserts nothing."""
    assert isinstance(case, dict), f"{where}: expected a row of `it / given / want`"
    unknown = sorted(set(case) - ROW_KEYS)
    assert not unknown, f"{where}: unknown keys {unknown}; a row has {sorted(ROW_KEYS)}"
    assert isinstance(case.get("it"), str), f"{where}: a row has a sentence as `it`"
    assert "want" in case, f"{where}: a row has a `want`"
    return Row(
        it=case["it"],
        given=case.get("given"),
        want=case["want"],
        source=case.get("source", table.get("source")),
        table=table,
        file=file,
        where=where,
    )
