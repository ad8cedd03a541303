"""What the parser reports, beside what PostgreSQL itself checks privileges for."""

import json
import os
import random
import sys
from collections import Counter
from pathlib import Path

import pytest

from sidecar.domains.data import DOMAIN
from sidecar.terms.domain import Needs
from sidecar.terms.errors import ParseError
from tests.domains.data.mutations import respelt
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


@pytest.mark.fuzz
def test_nothing_is_left_out_of_them_however_they_are_written(scaled):
    chance = random.Random(21)
    # Without what the mutations' own pattern does not cut right.
    odd = ("\\", "$$", "--", "{")
    pool = [
        (case, shared)
        for name in ("hand", "tpch", "pg_regress")
        for shared in [catalog(name)]
        for case in cases(name)
        if not any(sign in case["sql"] for sign in odd)
    ]

    missed = []
    for _ in range(scaled(500, 20_000)):
        case, shared = chance.choice(pool)
        text = respelt(case["sql"], chance)
        if judged({**case, "sql": text}, shared) == "miss":
            missed.append(text)

    assert missed == []


def table(name, cases, told):
    """Return how each file was judged, a line each."""
    files: dict[str, Counter[str]] = {}
    for case in cases:
        files.setdefault(case.get("file", name), Counter())[told[case["id"]]] += 1
    everything: Counter[str] = sum(files.values(), Counter())
    rows = [*sorted(files.items()), *([("all of it", everything)] if len(files) > 1 else [])]
    words = ("exact", "over", "deny", "miss")
    lines = [f"{name:<18}" + "".join(f"{word:>7}" for word in words) + "      %"]
    for file, count in rows:
        share = 100 * (count["exact"] + count["over"]) / count.total()
        told_of = "".join(f"{count[word]:>7}" for word in words)
        lines.append(f"{file:<18}{told_of}{share:>7.1f}")
    return "\n".join([*lines, ""])


# The most that may be refused of each, in per cent: functions and types of their own are, and the
# few lines of the regression suite that hold two statements.
@pytest.mark.parametrize(("name", "denied_max"), [("hand", 5), ("tpch", 0), ("pg_regress", 3)])
def test_nothing_that_postgresql_checks_is_left_out(name, denied_max, capsys):
    shared = catalog(name)
    told = {case["id"]: judged(case, shared) for case in cases(name)}
    count = Counter(told.values())

    with capsys.disabled():
        sys.stdout.write("\n" + table(name, cases(name), told))

    assert [case for case, verdict in told.items() if verdict == "miss"] == []
    assert 100 * count["deny"] <= denied_max * len(told)
