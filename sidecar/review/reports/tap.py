"""A run of tests as TAP version 14: one test point a cell, a YAML block where it failed.

Source: https://testanything.org/tap-version-14-specification.html
"""

from collections.abc import Iterator

from sidecar.policy.language.brief import printable
from sidecar.review.quoting import in_ascii
from sidecar.review.second import differing
from sidecar.review.testing.cells import Cell
from sidecar.review.testing.run import Outcome
from sidecar.terms.call import Json


def tap(outcome: Outcome) -> str:
    """Return the TAP of a run."""
    disagreements = list(differing(outcome.opinion))
    count = len(outcome.cells) + len(disagreements)
    lines = ["TAP version 14", f"1..{count}" if count else "1..0 # SKIP nothing ran"]
    for number, cell in enumerate(outcome.cells, 1):
        lines += _point(number, cell)
    for number, one in enumerate(disagreements, len(outcome.cells) + 1):
        lines.append(f"not ok {number} - {_described('second evaluator')}")
        lines += _diagnosed({"message": one.text, "severity": "fail", "at": _at(one.where)})
    return "\n".join([*lines, ""])


def _point(number: int, cell: Cell) -> Iterator[str]:
    name = _described(f"{cell.suite} / {cell.test} / {cell.principal} · {cell.request}")
    if cell.skipped is not None:
        yield f"ok {number} - {name} # SKIP {_described(cell.skipped)}"
        return
    yield f"{'ok' if cell.passed else 'not ok'} {number} - {name}"
    if cell.failed:
        found: dict[str, Json] = {
            "message": "; ".join(cell.differences),
            "severity": "fail",
            "at": _at(cell.at[0] if cell.at else cell.where),
            "expected_at": cell.where,
            "explained": list(cell.explained),
        }
        yield from _diagnosed(found)


def _diagnosed(found: dict[str, Json]) -> Iterator[str]:
    """Yield a YAML block; its values are JSON as YAML 1.2 reads it."""
    yield "  ---"
    yield from (f"  {key}: {in_ascii(value)}" for key, value in found.items())
    yield "  ..."


def _at(where: str) -> dict[str, Json]:
    file, line, column = where.rsplit(":", 2)
    return {"file": file, "line": int(line), "column": int(column)}


def _described(text: str) -> str:
    """Return a description on one line in which nothing begins a directive or moves a cursor."""
    plain = printable(" ".join(text.split()))
    return plain.replace("\\", "\\\\").replace("#", "\\#")
