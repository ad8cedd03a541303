"""Real clients through the listener: psql, psycopg and asyncpg, allowed and denied."""

import asyncio

import asyncpg
import psycopg
import pytest

from tests.intercept.postgres.stand import BOT, CLOSED, OPEN, Stand, run

pytestmark = pytest.mark.e2e


async def psql(stand: Stand, script: str) -> tuple[str, str]:
    asked = ("-XqAt", "-v", "VERBOSITY=verbose", "-f", "-")
    _, out, err = await run(stand, "psql", *asked, said=script)
    return out, err


async def test_psql_is_told_42501_with_the_decision_and_goes_on(stand):
    out, err = await psql(stand, f"{OPEN};\n{CLOSED};\n{OPEN};\n")

    assert out.split() == ["30", "30"]
    assert "ERROR:  42501: denied by policy: compensation data is closed to agents" in err
    denied = next(one for one in stand.ledger.decisions if one.outcome == "deny")
    assert denied.id in err
    assert "trial/compensation-is-closed" in err
    assert stand.bundle.version in err


async def test_a_denial_in_a_transaction_fails_it_as_any_error_would(stand):
    script = f"BEGIN;\n{OPEN};\n{CLOSED};\n{OPEN};\nROLLBACK;\n{OPEN};\n"

    out, err = await psql(stand, script)

    assert out.split() == ["30", "30"]
    assert err.count("42501") == 1
    assert err.count("25P02") == 1


async def test_nothing_of_a_denied_statement_reaches_the_server(stand):
    stand.server.psql("create table if not exists public.marks(n int); truncate public.marks;")
    before = len(stand.server.log())

    _, err = await psql(stand, "SELECT salary AS quite_unlikely FROM hr.compensation;\n")

    assert "42501" in err
    assert "quite_unlikely" not in stand.server.log()[before:]


@pytest.mark.parametrize(
    "statement",
    [
        CLOSED,
        "INSERT INTO scratch (amount) SELECT salary FROM hr.compensation",
        "UPDATE scratch SET amount = (SELECT salary FROM hr.compensation LIMIT 1)",
        "SELECT count(*) FROM hr.compensation",
        "SELECT c FROM hr.compensation c",
        "SELECT 1; SELECT 2",
        "SELECT 1; SELECT salary FROM hr.compensation",
        "COPY hr.compensation TO STDOUT",
        "COPY hr.compensation FROM STDIN",
        "SET search_path = hr",
        "SET standard_conforming_strings = off",
        "SET client_encoding = 'SJIS'",
        "SET ROLE postgres",
        "SET SESSION AUTHORIZATION postgres",
        "SET sidecar.subject = 'alice'",
        "SET sidecar.subject_token = E'x'",
        "PREPARE p AS SELECT salary FROM hr.compensation",
        "EXECUTE p",
        "DECLARE c CURSOR FOR SELECT salary FROM hr.compensation",
        "DO $$ begin perform 1; end $$",
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT set_config('search_path', 'hr', false)",
        "LISTEN news",
        "LOAD 'x'",
    ],
)
async def test_it_is_refused_with_42501_and_the_connection_goes_on(stand, statement):
    async with await psycopg.AsyncConnection.connect(stand.dsn(), autocommit=True) as connection:
        with pytest.raises(psycopg.Error) as refused:
            await connection.execute(statement)
        rows = await (await connection.execute(OPEN)).fetchall()

    assert refused.value.sqlstate == "42501"
    assert "decision " in (refused.value.diag.message_detail or "")
    assert rows[0][0] == 30
    assert [one.outcome for one in stand.ledger.decisions] == ["deny", "allow"]


async def test_psycopg_pipelines_keep_what_came_before_a_denial(stand):
    async with await psycopg.AsyncConnection.connect(stand.dsn(), autocommit=True) as connection:
        async with connection.pipeline() as pipeline:
            first = await connection.execute(OPEN)
            await pipeline.sync()
            denied = await connection.execute(CLOSED)
            await connection.execute("INSERT INTO scratch VALUES ('skipped', 1)")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await denied.fetchall()
        rows = await first.fetchall()
        after = await (await connection.execute("SELECT note FROM scratch")).fetchall()

    assert rows[0][0] == 30
    assert ("skipped",) not in after


async def test_psycopg_prepares_and_uses_under_one_decision(stand):
    async with await psycopg.AsyncConnection.connect(stand.dsn(), autocommit=True) as connection:
        for number in range(1, 6):
            asked = "SELECT amount FROM finance.expenses WHERE id = %s"
            cursor = await connection.execute(asked, (number,), prepare=True)
            assert await cursor.fetchall() == [(number * 10,)]

    assert len(stand.ledger.decisions) == 1
    # The first use is told of at once, the others are counted until the connection ends.
    outcomes = await stand.outcomes(2)
    assert [one.uses for one in outcomes] == [1, 4]
    assert [one.rows for one in outcomes] == [1, 4]
    assert {one.parent for one in outcomes} == {stand.ledger.decisions[0].id}


async def test_psycopg_in_a_transaction_sees_the_states_of_postgresql(stand):
    async with await psycopg.AsyncConnection.connect(stand.dsn()) as connection:
        await connection.execute(OPEN)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await connection.execute(CLOSED)
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            await connection.execute(OPEN)
        await connection.rollback()
        rows = await (await connection.execute(OPEN)).fetchall()

    assert rows[0][0] == 30


async def connected(stand: Stand) -> asyncpg.Connection:
    return await asyncpg.connect(
        host="127.0.0.1", port=stand.port, user="expense-bot", password=BOT, database="postgres"
    )


async def test_asyncpg_prepared_statements_are_allowed_and_denied(stand):
    connection = await connected(stand)
    statement = await connection.prepare("SELECT amount FROM finance.expenses WHERE id = $1")

    rows = [await statement.fetchval(number) for number in (1, 2, 3)]
    with pytest.raises(asyncpg.InsufficientPrivilegeError) as refused:
        await connection.prepare(CLOSED)
    again = await statement.fetchval(4)
    await connection.close()

    assert [*map(int, rows), int(again)] == [10, 20, 30, 40]
    assert "decision " in refused.value.detail


async def test_asyncpg_cursors_and_transactions_work(stand):
    connection = await connected(stand)

    async with connection.transaction():
        seen = [
            int(row["amount"])
            async for row in connection.cursor("SELECT amount FROM finance.expenses ORDER BY id")
        ]
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("INSERT INTO scratch VALUES ('rolled back', 1)")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute(CLOSED)
    await transaction.rollback()
    notes = await connection.fetch("SELECT note FROM scratch")
    await connection.close()

    assert seen == [10 * n for n in range(1, 101)]
    assert "rolled back" not in [row["note"] for row in notes]


async def test_a_running_query_can_be_cancelled_and_strangers_cannot_cancel(stand):
    async with await psycopg.AsyncConnection.connect(stand.dsn(), autocommit=True) as connection:
        slow = "SELECT count(*) FROM " + ", ".join(f"finance.expenses e{n}" for n in range(9))
        running = asyncio.ensure_future(connection.execute(slow))
        await stand.ledger.until(lambda: bool(stand.ledger.decisions))
        # A cancel that overtakes its query is ignored by the server, so one may not be enough.
        while not running.done():
            await connection.cancel_safe()
            await asyncio.wait({running}, timeout=0.1)
        with pytest.raises(psycopg.errors.QueryCanceled):
            await running

    assert (await stand.outcomes(1))[0].upstream_status == "57014"


async def test_large_results_arrive_whole(stand):
    async with await psycopg.AsyncConnection.connect(stand.dsn(), autocommit=True) as connection:
        asked = "SELECT repeat('x', 20000) FROM finance.expenses"
        rows = await (await connection.execute(asked)).fetchall()

    assert [len(row[0]) for row in rows] == [20_000] * 100
    (outcome,) = await stand.outcomes(1)
    assert (outcome.rows, outcome.upstream_status, outcome.result) == (100, "SELECT", "forwarded")
    assert (outcome.bytes or 0) > 2_000_000


async def test_what_frameworks_and_restores_say_besides_is_said(stand):
    async with await psycopg.AsyncConnection.connect(stand.dsn(), autocommit=True) as connection:
        for said in (
            "CREATE TEMP SEQUENCE drawn",
            "SELECT nextval('drawn')",
            "SET check_function_bodies = false",
            "SET xmloption = content",
            "SET default_tablespace = ''",
            "SET default_table_access_method = heap",
            "BEGIN",
            "SET CONSTRAINTS ALL DEFERRED",
            "COMMIT",
        ):
            await connection.execute(said)
        last = await (await connection.execute("SELECT LASTVAL()")).fetchone()
        current = await (await connection.execute("SELECT CURRVAL(%s)", ("drawn",))).fetchone()

    assert (last, current) == ((1,), (1,))
