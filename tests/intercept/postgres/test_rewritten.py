"""Filtered and masked rows on the wire: what is sent to the server is the rewritten statement."""

import psycopg
import pytest

from tests.intercept.postgres.stand import bundle

pytestmark = pytest.mark.e2e

POLICY = """
apiVersion: sidecar/v1
kind: Policy
metadata: {name: trial}
spec:
  rules:
    - {id: open, effect: allow, when: "true"}
    - id: few
      effect: modify
      match: {resources: ["table:finance.expenses"]}
      obligations: [{type: filter_rows, where: "id > 3 AND id <= ${1 + 5}"}]
    - id: masked
      effect: modify
      match: {resources: ["column:finance.expenses.department"]}
      obligations: [{type: mask, with: redact}]
"""
SEEN = [(4, "***"), (5, "***"), (6, "***")]


@pytest.fixture
def narrowed(stand):
    stand.bundle = bundle(POLICY)
    return stand


async def connected(stand):
    return await psycopg.AsyncConnection.connect(stand.dsn(), autocommit=True)


async def rows(connection, text, *values, prepare=None):
    return await (await connection.execute(text, values or None, prepare=prepare)).fetchall()


async def test_a_query_sees_its_own_rows_and_masked_columns(narrowed):
    async with await connected(narrowed) as connection:
        seen = await rows(
            connection, "SELECT id, department FROM finance.expenses ORDER BY id LIMIT 5"
        )

    assert seen == SEEN


@pytest.mark.parametrize("prepare", [False, True])
async def test_so_does_a_prepared_one_with_parameters(narrowed, prepare):
    async with await connected(narrowed) as connection:
        seen = []
        for _ in range(2):
            seen = await rows(
                connection,
                "SELECT id, department FROM finance.expenses WHERE id > %s ORDER BY id",
                5,
                prepare=prepare,
            )

    assert seen == SEEN[2:]


async def test_so_does_copy(narrowed):
    async with (
        await connected(narrowed) as connection,
        connection.cursor() as cursor,
        cursor.copy("COPY finance.expenses (id, department) TO STDOUT") as copy,
    ):
        seen = [row async for row in copy.rows()]

    assert seen == [(str(number), department) for number, department in SEEN]


async def test_so_does_a_cursor(narrowed):
    async with await connected(narrowed) as connection, connection.transaction():
        await connection.execute(
            "DECLARE c CURSOR FOR SELECT id, department FROM finance.expenses ORDER BY id"
        )
        seen = await rows(connection, "FETCH ALL FROM c")

    assert seen == SEEN


async def test_so_does_what_sql_prepares(narrowed):
    async with await connected(narrowed) as connection:
        await connection.execute(
            "PREPARE p(int) AS SELECT id, department FROM finance.expenses WHERE id > $1"
        )
        seen = await rows(connection, "EXECUTE p(5)")

    assert seen == SEEN[2:]


async def test_a_change_reaches_its_own_rows_alone(narrowed):
    async with (
        await connected(narrowed) as connection,
        connection.transaction(force_rollback=True),
    ):
        done = await connection.execute("UPDATE finance.expenses SET amount = 0")
        count = done.rowcount
        with pytest.raises(psycopg.Error):
            await connection.execute("INSERT INTO finance.expenses (id) VALUES (101)")

    assert count == 3


async def test_what_cannot_be_rewritten_is_refused(narrowed):
    async with await connected(narrowed) as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await connection.execute("SELECT ctid FROM finance.expenses")
