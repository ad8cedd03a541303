"""Bounds on those who do nothing: who does not log in, does not read, or waits for nothing."""

import asyncio
import ssl

import pytest

from sidecar.intercept.postgres import listener as listening
from sidecar.intercept.postgres import session
from sidecar.intercept.postgres.ends import channel as ends
from sidecar.intercept.postgres.ends.channel import Channel, ConnectionEnded
from sidecar.intercept.postgres.limits import DECISION_S_MAX
from sidecar.intercept.postgres.protocol import wire
from sidecar.intercept.postgres.protocol.counted import room
from sidecar.terms.record import DecisionRecord
from tests.intercept.postgres.stand import (
    BOT,
    OPEN,
    POLICY,
    Raw,
    Stand,
    bind,
    bundle,
    close,
    execute,
    parse,
    query,
    startup,
)
from tests.intercept.scarce import few_descriptors

e2e = pytest.mark.e2e


@e2e
async def test_who_comes_when_no_descriptor_is_to_spare_is_told_so(stand):
    with few_descriptors(0):
        crowded = await Raw.connect(stand)
        told = await crowded.last_words()
    raw = await Raw.connect(stand)
    raw.send(startup(user="expense-bot", database="postgres"))
    await raw.prove(BOT)

    assert told["C"] == "53300"
    assert (await raw.kinds()).endswith("Z")


@e2e
@pytest.mark.parametrize("bound", ["LOGINS_PER_PEER_MAX", "LOGINS_MAX", "CONNECTIONS_MAX"])
async def test_who_does_not_log_in_makes_room_for_the_next(stand, monkeypatch, bound):
    monkeypatch.setattr(listening, bound, 2)
    silent = [await Raw.connect(stand) for _ in range(2)]

    raw = await Raw.connect(stand)
    raw.send(startup(user="expense-bot", database="postgres"))

    assert (await silent[0].last_words())["C"] == "53300"
    await raw.prove(BOT)
    assert (await raw.kinds()).endswith("Z")
    silent[1].send(startup(user="expense-bot", database="postgres"))
    assert (await silent[1].message())[0] == b"R"


@e2e
async def test_who_has_logged_in_is_not_counted_among_those_who_have_not(stand, monkeypatch):
    monkeypatch.setattr(listening, "LOGINS_MAX", 1)
    clients = [await Raw.logged_in(stand) for _ in range(3)]

    for raw in clients:
        raw.send(query("SELECT 1"))
        assert await raw.kinds() == "TDCZ"


@e2e
async def test_who_does_not_read_is_hung_up_on(postgres, monkeypatch):
    stand = Stand(postgres, idle_in_transaction_s=0)
    await stand.start()
    ended, is_over = stand.listener.ended, asyncio.Event()

    def gone(session):
        ended(session)
        is_over.set()

    monkeypatch.setattr(stand.listener, "ended", gone)
    raw = await Raw.logged_in(stand)
    (session,) = stand.listener._sessions
    transport = raw._writer.transport
    assert isinstance(transport, asyncio.Transport)
    transport.pause_reading()

    raw.send(query("SELECT repeat('x', 1000) FROM generate_series(1, 30000)"))
    over = asyncio.ensure_future(is_over.wait())
    while not over.done():
        session.end_if_idle(asyncio.get_running_loop().time(), stand.settings)
        await asyncio.wait({over}, timeout=0.05)

    assert session.is_over
    await stand.stop()


@e2e
async def test_the_time_that_a_statement_takes_is_not_the_clients_silence(postgres, monkeypatch):
    stand = Stand(postgres, idle_s=60, idle_in_transaction_s=60)
    await stand.start()
    raw = await Raw.logged_in(stand)
    (session,) = stand.listener._sessions
    write = stand.ledger.write

    async def long_ago(record, side=()):
        if isinstance(record, DecisionRecord):
            session.last_s -= 3600
        await write(record, side)

    monkeypatch.setattr(stand.ledger, "write", long_ago)
    raw.send(query("BEGIN"))
    assert await raw.kinds() == "CZ"

    session.end_if_idle(asyncio.get_running_loop().time(), stand.settings)

    assert not session.is_over
    await stand.stop()


@e2e
async def test_who_waits_for_a_decision_that_does_not_come_is_told(stand, monkeypatch):
    asked, is_held = asyncio.Event(), asyncio.Event()
    write, time = stand.ledger.write, asyncio.get_running_loop().time

    async def hangs(record, side=()):
        if isinstance(record, DecisionRecord):
            asked.set()
            await is_held.wait()
        await write(record, side)

    monkeypatch.setattr(stand.ledger, "write", hangs)
    raw = await Raw.logged_in(stand)
    (session,) = stand.listener._sessions
    raw.send(query(OPEN))
    await asked.wait()

    session.end_if_idle(time() + DECISION_S_MAX - 5, stand.settings)
    was_over = session.is_over
    session.end_if_idle(time() + DECISION_S_MAX + 1, stand.settings)

    assert not was_over
    assert (await raw.last_words())["C"] == "58000"
    is_held.set()
    (outcome,) = await stand.outcomes(1)
    assert (outcome.result, outcome.upstream_status, outcome.uses) == ("failed", "skipped", 0)


@e2e
async def test_a_decision_that_waits_for_a_statement_may_wait_as_long_as_that_takes(stand):
    raw = await Raw.logged_in(stand)
    (session,) = stand.listener._sessions
    slow = "SELECT count(*) FROM finance.expenses a, finance.expenses b, finance.expenses c"
    # What portal that is hangs on what the server says to the statement before it.
    raw.send(query(slow), execute(b"p"), wire.SYNC)
    while not (session._deciding_s and session._pipeline.syncs):  # noqa: ASYNC110 - no event says
        await asyncio.sleep(0)

    session.end_if_idle(asyncio.get_running_loop().time() + 3000, stand.settings)

    assert not session.is_over
    assert await raw.kinds() == "TDCZ"
    assert await raw.kinds() == "EZ"


@e2e
async def test_a_cancel_of_a_session_that_ends_meanwhile_is_nothing(stand):
    await Raw.logged_in(stand)
    (key,), (session,) = stand.listener._keys, stand.listener._sessions
    stand.listener.cancel(key)
    tasks = set(stand.listener._tasks)

    session.end("57P01", "over")
    done, _ = await asyncio.wait(tasks)

    assert [task.exception() for task in done] == [None] * len(tasks)


class Stuck(asyncio.Transport):
    """A transport whose other side reads nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.is_aborted = asyncio.Event()

    def write(self, data: bytes | bytearray | memoryview) -> None: ...

    def close(self) -> None: ...

    def resume_reading(self) -> None: ...

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 1

    def abort(self) -> None:
        self.is_aborted.set()


async def test_tls_that_breaks_ends_a_connection_that_does_not_read(monkeypatch):
    monkeypatch.setattr(ends, "CLOSE_S_MAX", 0.0)
    channel, transport = Channel(), Stuck()
    channel.connection_made(transport)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    task = asyncio.ensure_future(channel.secure(context, is_server=True))
    await asyncio.sleep(0)

    channel.data_received(b"garbage")

    async with asyncio.timeout(5):
        await transport.is_aborted.wait()
    channel.connection_lost(None)
    with pytest.raises(ConnectionEnded):
        await task


@e2e
async def test_what_a_connection_prepares_has_a_bound_in_bytes(stand, monkeypatch):
    monkeypatch.setattr(room, "STATEMENTS_BYTES_MAX", 100_000)
    raw, other = await Raw.logged_in(stand), await Raw.logged_in(stand)
    count = 0

    async def prepares(client: Raw, name: bytes) -> str:
        client.send(parse(OPEN, name), wire.SYNC)
        return await client.kinds()

    while (kinds := await prepares(raw, b"s%d" % count)) == "1Z":
        count += 1
    again = await prepares(raw, b"s")
    theirs = await prepares(other, b"s")
    raw.send(bind(b"s0"), execute(), wire.SYNC)
    used = await raw.kinds()
    raw.send(close(b"S", b"s1"), wire.SYNC)
    await raw.kinds()

    assert (kinds, again, theirs, used) == ("EZ", "EZ", "1Z", "2DCZ")
    assert 3 < count < 25
    assert [await prepares(raw, name) for name in (b"s", b"t")] == ["1Z", "EZ"]
    outcomes = await stand.outcomes(3)
    assert sum(one.result == "blocked" for one in outcomes) >= 2


@e2e
async def test_who_has_prepared_too_much_is_told_so_and_goes_on(stand, monkeypatch):
    monkeypatch.setattr(room, "STATEMENTS_BYTES_MAX", 1)
    raw = await Raw.logged_in(stand)

    for asked in (parse(OPEN, b"s") + wire.SYNC, parse(OPEN) + wire.SYNC, query(OPEN)):
        raw.send(asked)
        (kind, body), (last, status) = await raw.until(b"Z")
        assert (kind, wire.fields(body)["C"], last, status) == (b"E", "54000", b"Z", b"I")

    monkeypatch.undo()
    raw.send(query(OPEN))
    assert await raw.kinds() == "TDCZ"


@e2e
async def test_what_is_not_answered_takes_room_as_what_has_a_name(stand, monkeypatch):
    monkeypatch.setattr(room, "STATEMENTS_BYTES_MAX", 100_000)
    raw = await Raw.logged_in(stand)

    # The server says nothing before it is asked to.
    raw.send(parse(OPEN) * 50, wire.SYNC)
    kinds = await raw.kinds()
    raw.send(parse(OPEN), bind(), execute(), wire.SYNC)

    assert kinds.startswith("111")
    assert kinds.endswith("1EZ")
    assert len(kinds) < 27
    assert await raw.kinds() == "12DCZ"


@e2e
async def test_values_that_a_rule_reads_take_room_for_as_long_as_they_are_bound(stand, monkeypatch):
    reads = "has(request.sql.params) && request.sql.params[0] == 'too much'"
    rule = f'    - {{id: not-so-much, effect: deny, when: "{reads}"}}\n'
    stand.bundle = bundle(POLICY + rule)
    monkeypatch.setattr(room, "STATEMENTS_BYTES_MAX", 400_000)
    raw = await Raw.logged_in(stand)
    asked = b"SELECT id FROM finance.expenses WHERE department = $1"
    raw.send(wire.parse(b"s", asked, b"\0\1\0\0\0\x19"), wire.SYNC)
    await raw.until(b"Z")
    value = b"x" * 5000

    def bound(portal: bytes) -> bytes:
        values = b"\0\0\0\1" + len(value).to_bytes(4, "big") + value + b"\0\0"
        return wire.message(b"B", portal + b"\0s\0", values)

    raw.send(*(bound(b"p%d" % number) for number in range(9)), wire.SYNC)
    held = await raw.kinds()
    passing = []
    for _ in range(9):
        raw.send(bound(b""), wire.SYNC)
        passing.append(await raw.kinds())

    assert held.startswith("2")
    assert held.endswith("EZ")
    assert passing == ["2Z"] * 9


async def test_who_says_very_much_at_once_lets_others_have_their_turn(stand, monkeypatch):
    monkeypatch.setattr(session, "MESSAGES_A_TURN_MAX", 8)
    monkeypatch.setattr(session, "WAITING_BYTES_MAX", 256)
    raw = await Raw.logged_in(stand)
    (held,) = stand.listener._sessions
    other = await Raw.logged_in(stand, "alice", "swk_alice-key")

    raw.send(wire.FLUSH * 20_000, query(OPEN))
    while not held._buffer:
        # Another client is served meanwhile.
        other.send(query(OPEN))
        assert await other.kinds() == "TDCZ"
    is_held = held._is_held

    assert await raw.kinds() == "TDCZ"
    assert (is_held, held._is_held) == (True, False)
    await raw.close()
    await other.close()


async def test_what_comes_meanwhile_gives_nobody_a_second_turn(stand, monkeypatch):
    monkeypatch.setattr(session, "MESSAGES_A_TURN_MAX", 8)
    raw = await Raw.logged_in(stand)
    (held,) = stand.listener._sessions

    for _ in range(3):
        held._client_sent(wire.FLUSH * 1000)
    left = len(held._buffer) // len(wire.FLUSH)
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert left == 3000 - 8
    assert len(held._buffer) // len(wire.FLUSH) >= left - 2 * 8
    raw.send(query(OPEN))
    assert await raw.kinds() == "TDCZ"
    await raw.close()


async def test_a_mistake_of_ours_behind_others_ends_the_connection(stand, monkeypatch):
    monkeypatch.setattr(session, "MESSAGES_A_TURN_MAX", 8)
    raw = await Raw.logged_in(stand)
    (held,) = stand.listener._sessions
    failed = []
    asyncio.get_running_loop().set_exception_handler(lambda _, said: failed.append(said))
    take = held._desk.take

    def fails(frame: bytes):
        assert frame != query(OPEN)
        return take(frame)

    monkeypatch.setattr(held._desk, "take", fails)
    raw.send(wire.FLUSH * 20, query(OPEN))

    assert (await raw.last_words())["C"] == "XX000"
    assert len(failed) == 1
