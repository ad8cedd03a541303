"""What the parser reports, beside what PostgreSQL itself checks privileges for."""

import json
import os
import sys
from collections import Counter
from pathlib import Path

import pytest

from sidecar.domains.data import DOMAIN
from sidecar.terms.domain import Needs
from sidecar.terms.errors import ParseError
from tests.domains.data.test_sql import call_of

ROOT = Path(__file__).parents[3]
FOLDER = Path(os.environ.get("SIDECAR_CONFORMANCE", ROOT.parent / "shared/conformance")) / "sql"
# PostgreSQL marks them, and its README does not count them.
SYSTEM_COLUMNS = {"ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"}
EMPTY = DOMAIN.catalogue([])

pytestmark = [
    pytest.mark.conformance,
    pytest.mark.skipif(not FOLDER.is_dir(), reason="no conformance data for SQL"),
    pytest.mark.timeout(120),
]


def cases(name):
    lines = (FOLDER / f"{name}.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def catalog(name):
    if name == "hand":
        return json.loads((FOLDER / "hand_schema.json").read_text("utf-8"))["catalog"]
    if name == "tpch":
        return json.loads((FOLDER / "tpch_catalog.json").read_text("utf-8"))
    return None


def judged(case, shared):
    """Return exact, over, deny or miss for one case."""
    call = call_of(
        case["sql"],
        catalog=case.get("catalog", shared),
        search_path=case.get("path") or ["tpch"],
    )
    try:
        native = DOMAIN.parse(call, EMPTY, Needs()).native
    except ParseError:
        return "deny"
    is_exact = True
    for said, true in ((native["reads"], case["read"]), (native["writes"], case["write"])):
        if any(
            set(columns) - SYSTEM_COLUMNS - set(said[table]) if table in said else True
            for table, columns in true.items()
        ):
            return "miss"
        is_exact &= {t: set(c) for t, c in said.items()} == {t: set(c) for t, c in true.items()}
    return "exact" if is_exact else "over"


# The most that may be refused of each, in per cent: U& names, functions and types of their own,
# `USING (…) AS j` and parts of composites are.
@pytest.mark.parametrize(("name", "denied_max"), [("hand", 7), ("tpch", 0), ("pg_regress", 7)])
def test_nothing_that_postgresql_checks_is_left_out(name, denied_max, capsys):
    shared = catalog(name)
    told = {case["id"]: judged(case, shared) for case in cases(name)}
    count = Counter(told.values())

    with capsys.disabled():
        line = " ".join(f"{word} {count[word]}" for word in ("exact", "over", "deny", "miss"))
        sys.stdout.write(f"\n{name}: {line} of {len(told)}\n")

    assert [case for case, verdict in told.items() if verdict == "miss"] == []
    assert 100 * count["deny"] <= denied_max * len(told)
