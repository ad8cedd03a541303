"""What a policy asks of rows, seen by clients of a real PostgreSQL, by whatever way they ask."""

import psycopg
import pytest

from sidecar.intercept.postgres.protocol import wire
from tests.intercept.postgres.stand import POLICY, Raw, bind, bundle, execute, parse, query
from tests.intercept.postgres.test_obligations import ready

pytestmark = pytest.mark.e2e

ENFORCED = (
    POLICY
    + """    - id: own-department
      effect: modify
      match: {resources: ["table:finance.expenses"]}
      obligations:
        - {type: filter_rows, where: "department = 'sales' AND id <= 2"}
    - id: amounts-are-closed
      effect: modify
      match: {resources: ["column:finance.expenses.amount"]}
      obligations: [{type: mask, with: nullify}]
"""
)
FEW = (
    POLICY
    + """    - id: few
      effect: modify
      match: {resources: ["table:finance.expenses"]}
      obligations: [{type: limit_rows, max: 2}]
"""
)
ALL = "SELECT id, amount FROM finance.expenses ORDER BY id"
SEEN = [(1, None), (2, None)]


@pytest.fixture
async def connection(stand):
    stand.bundle = bundle(ENFORCED)
    connected = await psycopg.AsyncConnection.connect(stand.dsn())
    async with connected as found:
        yield found


async def rows(connection, *texts):
    for text in texts[:-1]:
        await connection.execute(text)
    return await (await connection.execute(texts[-1])).fetchall()


async def test_a_query_sees_its_own_rows_and_no_amounts(connection):
    assert await rows(connection, ALL) == SEEN


async def test_a_prepared_statement_does(connection):
    cursor = await connection.execute(ALL, prepare=True)

    assert await cursor.fetchall() == SEEN
    assert await (await connection.execute(ALL, prepare=True)).fetchall() == SEEN


async def test_what_is_prepared_in_sql_does(connection):
    assert await rows(connection, f"PREPARE p AS {ALL}", "EXECUTE p") == SEEN
    assert await rows(connection, "EXECUTE p") == SEEN


async def test_a_cursor_does(connection):
    assert await rows(connection, f"DECLARE c CURSOR FOR {ALL}", "FETCH ALL FROM c") == SEEN


async def test_copy_does(connection):
    async with connection.cursor().copy(f"COPY ({ALL}) TO STDOUT") as copy:
        found = [row async for row in copy.rows()]

    assert found == [("1", None), ("2", None)]


async def test_a_name_that_was_given_for_somebody_else_is_refused(stand, connection):
    await connection.execute(f"PREPARE p AS {ALL}")

    stand.bundle = bundle(ENFORCED.replace("id <= 2", "id <= 1"))

    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        await connection.execute("EXECUTE p")


async def test_what_was_asked_and_what_was_done_are_on_record(stand, connection):
    await connection.execute(ALL)

    (decision,) = [one for one in stand.ledger.decisions if one.outcome == "modify"]
    outcome = (await stand.outcomes(2))[-1]
    assert {one.type for one in decision.obligations} == {"filter_rows", "mask"}
    assert {one.type for one in outcome.applied} == {"filter_rows", "mask"}
    assert (outcome.result, outcome.rows) == ("rewritten", 2)


async def test_a_value_of_another_row_is_in_no_error(stand, connection):
    asked = "SELECT id FROM finance.expenses WHERE ('x' || department)::int = 1"

    with pytest.raises(psycopg.errors.InvalidTextRepresentation) as refused:
        await connection.execute(asked)

    assert "sales" not in str(refused.value)


@pytest.mark.parametrize("asked", [ALL, f"COPY ({ALL}) TO STDOUT"])
async def test_rows_are_bounded_in_the_statement_itself(stand, asked):
    stand.bundle = bundle(FEW)
    raw = await Raw.logged_in(stand)

    raw.send(query(asked))

    kinds, states = await ready(raw)
    assert (kinds.strip("HTcCZ").lower(), states) == ("dd", [])
    await raw.close()


async def test_rows_of_a_portal_and_of_a_cursor_are_bounded(stand):
    stand.bundle = bundle(FEW)
    raw = await Raw.logged_in(stand)

    raw.send(parse(ALL), bind(), execute(b"", 1), execute(b"", 5), wire.SYNC)
    raw.send(query("BEGIN"), query(f"DECLARE c CURSOR FOR {ALL}"), query("FETCH ALL FROM c"))

    assert await ready(raw) == ("12DsDCZ", [])
    answers = [await ready(raw) for _ in range(3)]
    assert answers[-1] == ("TDDCZ", [])
    await raw.close()


async def test_the_log_says_once_that_a_database_may_lack_the_function_for_hashes(stand, caplog):
    stand.bundle = bundle(ENFORCED.replace("with: nullify", "with: hash"))
    raw = await Raw.logged_in(stand)

    for _ in range(2):
        raw.send(query(ALL))
        (_, said), *_ = await raw.until(b"Z")
        assert b"C3F000" in said
        assert b"keyed_hash" not in said
    raw.send(query("SELECT nosuch(id) FROM finance.expenses"))
    await raw.until(b"Z")
    await raw.close()
    await stand.outcomes(2)

    assert caplog.text.count("`sidecar.keyed_hash(text)`") == 1
    assert "upstream `erp`" in caplog.text
