"""The subject follows the statement that runs, as drivers prepare it, pipeline it and fail it."""

import contextlib
from collections.abc import AsyncIterator

import asyncpg
import psycopg
import pytest

from sidecar.intercept.postgres.protocol import wire
from sidecar.terms.record import AdminRecord, DecisionRecord
from tests.intercept.postgres.stand import (
    ALICE,
    BOT,
    MALLORY,
    OPEN,
    Raw,
    Stand,
    bind,
    execute,
    parse,
    party,
    query,
)
from tests.intercept.postgres.test_subjects import states, subjects

pytestmark = pytest.mark.e2e

ROUNDS = 20
OF_ALICE = f"SET sidecar.subject_token = '{ALICE}'"
OF_MALLORY = f"SET sidecar.subject_token = '{MALLORY}'"
OF_ITSELF = "SET sidecar.subject_token = ''"
BROKEN = "SELECT 1 / (amount - amount) FROM finance.expenses"


def turns(stand: Stand) -> list[AdminRecord]:
    return [record for record in stand.ledger.records if isinstance(record, AdminRecord)]


def named(stand: Stand) -> list[str]:
    return [record.detail["subject"] for record in turns(stand)]


@contextlib.asynccontextmanager
async def of_asyncpg(stand: Stand) -> AsyncIterator[asyncpg.Connection]:
    words = {"user": "expense-bot", "password": BOT, "database": "postgres"}
    connection = await asyncpg.connect(host="127.0.0.1", port=stand.port, **words)
    yield connection
    await connection.close()


async def test_a_pool_of_psycopg_speaks_for_whom_it_named_last(stand):
    denied = 0
    async with await psycopg.AsyncConnection.connect(stand.dsn(), autocommit=True) as connection:
        for _ in range(ROUNDS):
            await connection.execute(OF_ALICE)
            assert len(await (await connection.execute(OPEN)).fetchall()) == 1
            await connection.execute(OF_MALLORY)
            try:
                await connection.execute(OPEN)
            except psycopg.errors.InsufficientPrivilege:
                denied += 1

    assert denied == ROUNDS
    assert subjects(stand) == ["user:alice", "user:mallory"] * ROUNDS
    assert named(stand) == ["user:alice", "user:mallory"] * ROUNDS


async def test_a_pool_of_asyncpg_speaks_for_whom_it_named_last(stand):
    denied = 0
    async with of_asyncpg(stand) as connection:
        for _ in range(ROUNDS):
            await connection.fetch(OF_ALICE)
            assert len(await connection.fetch(OPEN)) == 1
            await connection.fetch(OF_MALLORY)
            try:
                await connection.fetch(OPEN)
            except asyncpg.InsufficientPrivilegeError:
                denied += 1

    assert denied == ROUNDS
    assert subjects(stand) == ["user:alice", "user:mallory"] * ROUNDS


async def test_a_pipeline_of_psycopg_is_judged_for_each_in_turn(stand):
    connecting = psycopg.AsyncConnection.connect(stand.dsn(), autocommit=True)
    async with await connecting as connection, connection.pipeline():
        for statement in (OF_ALICE, OPEN, OF_ITSELF, OPEN) * ROUNDS:
            await connection.execute(statement)

    assert subjects(stand) == ["user:alice", "user:bob"] * ROUNDS


async def test_a_pipeline_with_a_sync_in_each_round_is_judged_for_each_in_turn(stand):
    # Prepared from the first use on: a name that is denied at its Parse is none afterwards, which
    # the driver does not expect in a pipeline.
    connecting = psycopg.AsyncConnection.connect(stand.dsn(), autocommit=True, prepare_threshold=0)
    denied = []
    async with await connecting as connection, connection.pipeline() as pipeline:
        for statement in (OF_ALICE, OF_MALLORY) * ROUNDS:
            await connection.execute(statement)
            asked = await connection.execute(OPEN)
            with contextlib.suppress(psycopg.errors.InsufficientPrivilege):
                await asked.fetchall()
                continue
            denied.append(statement)
            await pipeline.sync()

    assert denied == [OF_MALLORY] * ROUNDS
    assert subjects(stand) == ["user:alice", "user:mallory"] * ROUNDS


async def test_a_prepared_local_token_holds_in_each_transaction_that_runs_it(stand):
    local = OF_ALICE.replace("SET", "SET LOCAL")
    async with await psycopg.AsyncConnection.connect(stand.dsn(), autocommit=True) as connection:
        for _ in range(ROUNDS):
            async with connection.transaction():
                await connection.execute(local)
                await connection.execute(OPEN)
            await connection.execute(OPEN)

    asked = [one for one in stand.ledger.decisions if one.targets[0].action == "select"]
    assert [party(one.subject) for one in asked] == ["user:alice", "user:bob"] * ROUNDS
    assert {one.detail["scope"] for one in turns(stand)} == {"transaction"}


@pytest.mark.parametrize("reset", ["RESET ALL", "DISCARD ALL", "reset all -- it", OF_ITSELF])
async def test_a_prepared_way_back_is_taken_each_time_it_runs(stand, reset):
    raw = await Raw.logged_in(stand)
    for turn in range(3):
        raw.send(query(OF_ALICE), query(OPEN))
        # DISCARD ALL forgets what is prepared, itself included.
        raw.send(parse(reset, b"back") if turn == 0 or "DISCARD" in reset else b"")
        raw.send(bind(b"back"), execute(), wire.SYNC, query(OPEN))

    assert await states(raw, 4 * 3) == [""] * 12
    asked = [one for one in stand.ledger.decisions if one.targets[0].action == "select"]
    assert [party(one.subject) for one in asked] == ["user:alice", "user:bob"] * 3
    assert named(stand) == ["user:alice", "user:bob"] * 3


@pytest.mark.parametrize(
    ("statement", "then"),
    [
        ("/* pool */ DISCARD ALL", "user:bob"),
        ("DISCARD /* PLANS */ ALL;", "user:bob"),
        ("reset -- all\n all", "user:bob"),
        ("RESET /* all */ statement_timeout", "user:alice"),
        ("DISCARD PLANS -- ALL", "user:alice"),
    ],
)
async def test_what_returns_to_the_start_is_what_the_parser_says(stand, statement, then):
    raw = await Raw.logged_in(stand)

    raw.send(query(OF_ALICE), query(statement), query(OPEN))

    assert await states(raw, 3) == ["", "", ""]
    assert subjects(stand)[-1] == then
    await raw.close()


async def test_a_token_that_is_only_prepared_names_nobody(stand):
    raw = await Raw.logged_in(stand)

    raw.send(parse(OF_ALICE, b"s"), bind(b"s"), wire.SYNC, query(OPEN))

    assert await states(raw, 2) == ["", ""]
    assert subjects(stand) == ["user:bob"]
    assert turns(stand) == []
    await raw.close()


async def test_a_turn_that_is_discarded_behind_an_error_changes_nothing(stand):
    raw = await Raw.logged_in(stand)

    raw.send(parse(BROKEN), bind(), execute(), parse(OF_ALICE), bind(), execute(), wire.SYNC)
    raw.send(query(OPEN))

    assert await states(raw, 2) == ["22012", ""]
    assert subjects(stand) == ["user:bob", "user:bob"]
    await raw.close()


async def test_a_turn_behind_an_error_that_is_known_changes_nothing(stand):
    raw = await Raw.logged_in(stand)

    raw.send(parse(OF_ALICE, b"s"), parse(BROKEN), bind(), execute(), wire.FLUSH)
    await raw.until(b"E")
    raw.send(bind(b"s"), execute(), wire.SYNC, query(OPEN))

    assert await states(raw, 2) == ["", ""]
    assert subjects(stand) == ["user:bob", "user:bob"]
    await raw.close()


@pytest.mark.parametrize("is_prepared", [False, True])
@pytest.mark.parametrize("statement", [OF_MALLORY, "RESET ALL"])
async def test_a_turn_in_a_failed_transaction_changes_nothing(stand, statement, is_prepared):
    raw = await Raw.logged_in(stand)
    raw.send(parse(statement, b"s"), wire.SYNC, query(OF_ALICE), query("BEGIN"), query(BROKEN))

    prepared = (bind(b"s"), execute(), wire.SYNC)
    raw.send(*(prepared if is_prepared else (query(statement),)))
    raw.send(query("ROLLBACK"), query(OPEN))

    assert await states(raw, 7) == ["", "", "", "22012", "25P02", "", ""]
    assert subjects(stand)[-1] == "user:alice"
    await raw.close()


async def test_the_second_of_two_turns_may_fail_alone(stand):
    raw = await Raw.logged_in(stand)

    raw.send(parse(OF_ALICE), bind(), execute(), parse(OF_MALLORY), bind(), execute())
    raw.send(execute(), wire.SYNC, query(OPEN))

    # The last Execute runs a portal that has run: the server refuses, what it did before stays.
    assert await states(raw, 2) == ["55000", "42501"]
    assert subjects(stand) == ["user:mallory"]
    await raw.close()


async def test_a_name_that_may_be_another_persons_waits_until_it_is_clear(stand):
    raw = await Raw.logged_in(stand)
    raw.send(parse(OF_ALICE, b"s"), wire.SYNC, query(OPEN))

    # A name that is taken cannot be prepared again, so it stays Alice's.
    raw.send(parse(OF_MALLORY, b"s"), wire.SYNC, bind(b"s"), execute(), wire.SYNC, query(OPEN))

    assert await states(raw, 5) == ["", "", "42P05", "", ""]
    assert subjects(stand) == ["user:bob", "user:alice"]
    await raw.close()


async def test_what_follows_a_denial_up_to_the_sync_is_neither_decided_nor_sent(stand):
    raw = await Raw.logged_in(stand)
    raw.send(parse(OF_ALICE), bind(), execute(), query(OF_MALLORY))

    # The unnamed portal is still Alice's turn here, and the server looks at none of this.
    raw.send(parse(OPEN), bind(), execute(), query(OF_ALICE), parse("SELECT 1"), wire.SYNC)
    raw.send(query(OF_ITSELF), query(OPEN))

    assert await states(raw, 4) == ["", "42501", "", ""]
    assert subjects(stand) == ["user:mallory", "user:bob"]
    assert named(stand) == ["user:alice", "user:mallory", "user:bob"]
    await raw.close()


async def test_a_turn_is_on_record_before_it_takes_effect(stand):
    raw = await Raw.logged_in(stand)

    raw.send(query(OF_ALICE), query(OPEN))

    assert await states(raw, 2) == ["", ""]
    turn, decision = stand.ledger.records[:2]
    assert isinstance(turn, AdminRecord)
    assert isinstance(decision, DecisionRecord)
    assert turn.event == "subject_set"
    assert turn.detail.pop("session")
    assert turn.detail == {"workload": "expense-bot", "subject": "user:alice", "scope": "session"}
    await raw.close()


@pytest.mark.parametrize("is_prepared", [False, True])
@pytest.mark.parametrize("statement", [OF_MALLORY, "RESET ALL"])
async def test_a_turn_that_cannot_be_recorded_is_refused(stand, statement, is_prepared):
    raw = await Raw.logged_in(stand)
    raw.send(query(OF_ALICE), parse(statement, b"s"), wire.SYNC)
    assert await states(raw, 2) == ["", ""]

    stand.ledger.refuses_turns = True
    prepared = (bind(b"s"), execute(), wire.SYNC)
    raw.send(*(prepared if is_prepared else (query(statement),)))
    raw.send(query(OPEN))

    assert await states(raw, 2) == ["58030", ""]
    assert subjects(stand)[-1] == "user:alice"
    await raw.close()


async def test_going_back_from_where_it_began_is_no_turn(stand):
    raw = await Raw.logged_in(stand)

    raw.send(query("RESET ALL"), query(OF_ITSELF), query("DISCARD ALL"))

    assert await states(raw, 3) == ["", "", ""]
    assert turns(stand) == []
    await raw.close()
