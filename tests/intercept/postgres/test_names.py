"""PREPARE, EXECUTE, DECLARE, FETCH and what ends them, as SQL says them."""

import psycopg
import pytest

from sidecar.intercept.postgres.protocol import wire
from tests.intercept.postgres.stand import (
    CLOSED,
    OPEN,
    POLICY,
    Raw,
    bind,
    bundle,
    close,
    execute,
    parse,
    query,
)
from tests.intercept.postgres.test_obligations import LIMITED, ready

pytestmark = pytest.mark.e2e

NO_EXPENSES = POLICY.replace(
    "'compensation' in resource.labels", "resource.id == 'finance.expenses'"
)


async def said(raw: Raw, *texts: str) -> list[tuple[str, list[str]]]:
    raw.send(*map(query, texts))
    return [await ready(raw) for _ in texts]


async def states(raw: Raw, *texts: str) -> list[str]:
    return [found[0] if found else "" for _, found in await said(raw, *texts)]


async def test_what_is_prepared_in_sql_is_executed_and_forgotten(stand):
    raw = await Raw.logged_in(stand)

    found = await states(
        raw, f"PREPARE p AS {OPEN}", "EXECUTE p", "EXECUTE p", "DEALLOCATE p", "EXECUTE p"
    )

    assert found == ["", "", "", "", "42501"]
    assert stand.ledger.decisions[-1].reason == "parse.unknown_name"


async def test_each_execute_is_decided_on_what_stands_behind_the_name(stand):
    raw = await Raw.logged_in(stand)
    assert await states(raw, f"PREPARE p AS {OPEN}", "EXECUTE p") == ["", ""]

    stand.bundle = bundle(NO_EXPENSES)

    assert await states(raw, "EXECUTE p") == ["42501"]
    assert "table:finance.expenses" in [one.resource for one in stand.ledger.decisions[-1].targets]


async def test_a_prepare_that_is_denied_or_fails_gives_no_name(stand):
    raw = await Raw.logged_in(stand)

    found = await states(
        raw, f"PREPARE p AS {CLOSED}", "EXECUTE p", f"PREPARE q AS {OPEN}",
        "PREPARE q AS SELECT id FROM finance.expenses", "EXECUTE q",
    )  # fmt: skip

    assert found == ["42501", "42501", "", "42P05", ""]


async def test_a_name_that_was_pipelined_is_known_when_it_is_used(stand):
    raw = await Raw.logged_in(stand)

    raw.send(parse(f"PREPARE p AS {OPEN}"), bind(), execute())
    raw.send(parse("EXECUTE p"), bind(), execute(), wire.SYNC)

    assert await ready(raw) == ("12C12DCZ", [])


@pytest.mark.parametrize(
    "forget", ["DISCARD ALL", "DEALLOCATE ALL", "DEALLOCATE PREPARE ALL", 'DEALLOCATE "p"']
)
async def test_names_are_forgotten_as_the_server_forgets_them(stand, forget):
    raw = await Raw.logged_in(stand)

    found = await states(raw, f"PREPARE p AS {OPEN}", forget, "EXECUTE p")

    assert found == ["", "", "42501"]


@pytest.mark.parametrize("forget", ["DISCARD ALL", "DEALLOCATE ALL", "DEALLOCATE s"])
async def test_statements_of_the_protocol_are_forgotten_with_them(stand, forget):
    raw = await Raw.logged_in(stand)
    raw.send(parse(OPEN, b"s"), wire.SYNC, query(forget), bind(b"s"), execute(), wire.SYNC)

    assert [await ready(raw) for _ in range(3)] == [("1Z", []), ("CZ", []), ("EZ", ["26000"])]


async def test_a_statement_of_the_protocol_takes_the_name_that_sql_had(stand):
    raw = await Raw.logged_in(stand)
    await states(raw, f"PREPARE p AS {OPEN}")
    raw.send(close(b"S", b"p"), parse("SELECT id FROM finance.expenses", b"p"), wire.SYNC)
    assert await ready(raw) == ("31Z", [])

    assert await states(raw, "EXECUTE p") == ["42501"]


async def test_a_cursor_is_fetched_from_and_decided_each_time(stand):
    raw = await Raw.logged_in(stand)
    cursor = "DECLARE c CURSOR FOR SELECT amount FROM finance.expenses"

    assert await states(raw, "BEGIN", cursor, "FETCH 2 FROM c", "MOVE 1 FROM c") == [""] * 4
    stand.bundle = bundle(NO_EXPENSES)

    assert await states(raw, "FETCH 2 FROM c") == ["42501"]


async def test_a_cursor_on_what_is_closed_is_denied(stand):
    raw = await Raw.logged_in(stand)

    found = await states(raw, "BEGIN", f"DECLARE c CURSOR FOR {CLOSED}", "FETCH 2 FROM c")

    assert found == ["", "42501", "42501"]


async def test_a_closed_cursor_is_no_name(stand):
    raw = await Raw.logged_in(stand)
    cursor = f"DECLARE c CURSOR FOR {OPEN}"

    assert await states(raw, "BEGIN", cursor, "CLOSE c", "FETCH c") == ["", "", "", "42501"]


async def test_a_portal_of_the_protocol_is_no_cursor_of_the_same_name(stand):
    raw = await Raw.logged_in(stand)
    await states(raw, "BEGIN", f"DECLARE c CURSOR FOR {OPEN}", "COMMIT", "BEGIN")
    raw.send(parse("SELECT note FROM scratch"), bind(b"", b"c"), wire.SYNC)
    assert await ready(raw) == ("12Z", [])

    assert await states(raw, "FETCH c") == ["42501"]


async def test_a_name_with_other_obligations_than_it_was_given_with_is_refused(stand):
    raw = await Raw.logged_in(stand)
    assert await states(raw, f"PREPARE p AS {OPEN}", "EXECUTE p") == ["", ""]

    stand.bundle = bundle(LIMITED)

    assert await states(raw, "EXECUTE p") == ["42501"]
    outcome = (await stand.outcomes(3))[-1]
    assert outcome.result == "blocked"


async def test_psycopg_server_side_cursors_work(stand):
    connected = await psycopg.AsyncConnection.connect(stand.dsn())
    async with connected as connection, connection.cursor(name="rows") as cursor:
        await cursor.execute("SELECT id FROM finance.expenses ORDER BY id")
        seen = [row[0] async for row in cursor]

    assert seen == [*range(1, 101)]
