"""Connections: who gets in, who does not, and how they end."""

import asyncio
from typing import Any

import pytest

from sidecar.intercept.postgres import listener as listening
from sidecar.intercept.postgres.protocol import wire
from tests.intercept.postgres.stand import (
    BOT,
    OPEN,
    Raw,
    Stand,
    query,
    startup,
)

pytestmark = pytest.mark.e2e

SSL = wire.packet(wire.SSL_REQUEST)
GSS = wire.packet(wire.GSSENC_REQUEST)
LOGIN = {"user": "expense-bot", "database": "postgres"}


@pytest.mark.parametrize("asked", [[SSL], [GSS], [SSL, GSS], [GSS, SSL]])
async def test_encryption_is_declined_and_the_login_goes_on(stand, asked):
    raw = await Raw.connect(stand)

    for packet in asked:
        raw.send(packet)
        assert await raw.exactly(1) == b"N"
    raw.send(startup(**LOGIN))
    await raw.prove(BOT)

    assert (await raw.kinds()).endswith("KZ")


@pytest.mark.parametrize("asked", [SSL, GSS])
async def test_encryption_is_declined_once(stand, asked):
    raw = await Raw.connect(stand)

    raw.send(asked, asked)

    assert await raw.exactly(1) == b"N"
    assert (await raw.last_words())["C"] == "08P01"


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\0\0\x27\x11" + b"x" * 100,
        wire.packet(wire.SSL_REQUEST, b"more"),
        wire.packet(wire.CANCEL_REQUEST),
        startup(user="expense-bot", replication="true"),
        startup(user="expense-bot", options="-c role=hr"),
        startup(user="expense-bot", client_encoding="SJIS"),
        startup(0x00020000, user="expense-bot"),
        startup(database="postgres"),
    ],
    ids=[
        "TLS", "HTTP", "large", "long SSLRequest", "short CancelRequest", "replication", "options",
        "encoding", "version 2", "no user",
    ],
)  # fmt: skip
async def test_a_bad_start_is_told_and_hung_up_on(stand, data):
    raw = await Raw.connect(stand)

    raw.send(data)

    words = await raw.last_words()
    assert words["V"] == "FATAL"
    assert stand.ledger.records == []


@pytest.mark.parametrize(
    ("minor", "options", "negotiated", "size"),
    [
        (0, {}, None, 8),
        (1, {}, None, 8),
        (2, {}, None, 36),
        (3, {}, b"\0\3\0\2" + b"\0\0\0\0", 36),
        (9999, {}, b"\0\3\0\2" + b"\0\0\0\0", 36),
        (0, {"_pq_.x": "1"}, b"\0\3\0\0" + b"\0\0\0\1" + b"_pq_.x\0", 8),
        (2, {"_pq_.x": "1"}, b"\0\3\0\2" + b"\0\0\0\1" + b"_pq_.x\0", 36),
    ],
)
async def test_minor_versions_and_options_are_negotiated(stand, minor, options, negotiated, size):
    raw = await Raw.connect(stand)

    raw.send(startup(wire.PROTOCOL_3_0 + minor, **{**LOGIN, **options}))

    if negotiated is not None:
        assert await raw.message() == (b"v", negotiated)
    await raw.prove(BOT)
    greeting = dict(await raw.until(b"Z"))
    assert len(greeting[b"K"]) == size


async def test_a_session_is_cancelled_by_its_own_key_alone(stand):
    raw = await Raw.connect(stand)
    raw.send(startup(wire.PROTOCOL_3_0 + 2, **LOGIN))
    await raw.prove(BOT)
    key = dict(await raw.until(b"Z"))[b"K"]
    (theirs,) = stand.listener._keys.values()
    others = [theirs, key[:8], key[:4] + bytes(32), key + b"x", b"\0" * 36]
    passed: list[bytes] = []

    def elsewhere(_: object, asked: bytes) -> bool:
        passed.append(asked)
        return True

    stand.listener._elsewhere = elsewhere

    for one in others:
        stranger = await Raw.connect(stand)
        stranger.send(wire.packet(wire.CANCEL_REQUEST, one))
        assert await stranger.rest() == b""

    assert passed == others
    assert theirs[4:] not in key


async def test_a_cancel_request_that_came_to_another_worker_is_carried_out_here(stand):
    raw = await Raw.connect(stand)
    raw.send(startup(wire.PROTOCOL_3_0 + 2, **LOGIN))
    await raw.prove(BOT)
    key = dict(await raw.until(b"Z"))[b"K"]
    slow = "SELECT count(*) FROM " + ", ".join(f"finance.expenses e{n}" for n in range(9))
    raw.send(query(slow))
    answer = asyncio.ensure_future(raw.until(b"Z"))

    stand.listener.cancel(b"of nobody")
    while not answer.done():
        stand.listener.cancel(key)
        await asyncio.wait({answer}, timeout=0.1)

    said = {kind: wire.fields(body) for kind, body in await answer if kind == b"E"}
    assert said[b"E"]["C"] == "57014"


@pytest.mark.parametrize(
    ("user", "key"),
    [("expense-bot", "swk_wrong"), ("nobody", BOT), ("nobody", ""), ("expense-bot' --", BOT)],
)
async def test_nobody_gets_in_with_a_wrong_name_or_key(stand, user, key):
    raw = await Raw.connect(stand)

    raw.send(startup(user=user, database="postgres"))

    with pytest.raises(PermissionError, match="28P01"):
        await raw.prove(key)
    assert await raw.rest() == b""


async def challenge(stand: Stand, user: str) -> bytes:
    raw = await Raw.connect(stand)
    raw.send(startup(user=user, database="postgres"))
    await raw.message()
    first = b"n,,n=,r=abc"
    raw.send(wire.message(b"p", b"SCRAM-SHA-256\0", len(first).to_bytes(4, "big"), first))
    kind, body = await raw.message()
    assert kind == b"R"
    return body[4:].partition(b",")[2]


async def test_a_name_cannot_be_found_out_by_asking(stand):
    unknown = [await challenge(stand, "nobody") for _ in range(2)]
    known = [await challenge(stand, "expense-bot") for _ in range(2)]

    assert unknown[0] == unknown[1]
    assert known[0] == known[1]
    assert len(unknown[0]) == len(known[0])
    assert unknown[0].rpartition(b",")[2] == known[0].rpartition(b",")[2]


@pytest.mark.parametrize(
    "answer",
    [
        query(OPEN),
        wire.message(b"p", b"SCRAM-SHA-256-PLUS\0", b"\0\0\0\1x"),
        wire.message(b"p", b"SCRAM-SHA-256\0", b"\0\0\0\x09x"),
        wire.message(b"p", b"SCRAM-SHA-256\0", b"\xff\xff\xff\xff"),
        wire.message(b"p", b"plaintext\0"),
        wire.message(b"p", b"x" * 5000),
    ],
    ids=["a query", "binding", "wrong length", "no first message", "a password", "too long"],
)
async def test_nothing_but_the_proof_is_taken_before_the_login(stand, answer):
    raw = await Raw.connect(stand)

    raw.send(startup(**LOGIN))
    await raw.message()
    raw.send(answer)

    assert (await raw.last_words())["C"] in ("08P01", "28P01")
    assert stand.ledger.records == []


async def test_another_database_is_refused_after_the_login(stand):
    raw = await Raw.connect(stand)

    raw.send(startup(user="expense-bot", database="template1"))
    await raw.prove(BOT)

    assert (await raw.last_words())["C"] == "3D000"


@pytest.mark.parametrize(
    "data",
    [
        b"Z\0\0\0\4",
        b"p\0\0\0\4",
        wire.message(b"P", b"s\0SELECT 1\0hidden\0\0\0"),
        wire.message(b"Q", b"SELECT 1\0hidden\0"),
        wire.message(b"Q"),
        wire.message(b"B", b"x" * 64 + b"\0\0" + b"\0" * 6),
        b"Q\xff\xff\xff\xff",
        b"Q" + (2 * 1024 * 1024).to_bytes(4, "big"),
    ],
    ids=["Z", "p", "Parse", "Query", "no text", "name", "negative", "2 MiB"],
)
async def test_a_broken_message_ends_the_connection(stand, data):
    raw = await Raw.logged_in(stand)

    raw.send(data)

    words = await raw.last_words()
    assert (words["V"], words["C"]) == ("FATAL", "08P01")
    assert stand.ledger.records == []


async def test_who_does_not_log_in_in_time_is_hung_up_on(stand, monkeypatch):
    monkeypatch.setattr(listening, "LOGIN_S_MAX", 0.05)
    raw = await Raw.connect(stand)

    raw.send(startup(**LOGIN))

    assert (await raw.message())[0] == b"R"
    assert await raw.rest() == b""


async def idle(postgres, said: bytes, kinds: str, **bounds: Any) -> str:
    """Return the SQLSTATE that a client is told that says `said` and then nothing."""
    stand = Stand(postgres, **bounds)
    await stand.start()
    raw = await Raw.logged_in(stand)
    raw.send(said)
    for kind in kinds:
        await raw.until(kind.encode())
    stand.listener._sweep()
    words = await raw.last_words()
    await stand.stop()
    return words["C"]


HALF = query(OPEN)[:-3]
COPY = query("COPY scratch FROM STDIN")


@pytest.mark.parametrize(
    ("said", "kinds", "bounds", "code"),
    [
        (b"", "", {"idle_s": -1}, "57P05"),
        (query("SELECT 1"), "Z", {"idle_s": -1}, "57P05"),
        (query("BEGIN"), "Z", {"idle_in_transaction_s": -1}, "25P03"),
        (query("BEGIN") + query("SELECT 1/0"), "ZZ", {"idle_in_transaction_s": -1}, "25P03"),
        (COPY, "G", {"idle_in_transaction_s": -1}, "25P03"),
        (COPY + wire.message(b"d", b"a"), "G", {"idle_in_transaction_s": -1}, "25P03"),
        (query("SELECT 1") + HALF, "Z", {"idle_s": -1}, "57P05"),
    ],
    ids=[
        "at once",
        "after a query",
        "transaction",
        "failed",
        "copy",
        "in its data",
        "half a query",
    ],
)
async def test_who_says_nothing_for_too_long_is_hung_up_on(postgres, said, kinds, bounds, code):
    assert await idle(postgres, said, kinds, **bounds) == code


async def test_who_is_within_bounds_is_kept(stand):
    raw = await Raw.logged_in(stand)
    raw.send(query("BEGIN"))
    await raw.until(b"Z")

    stand.listener._sweep()
    raw.send(query(OPEN))

    assert await raw.kinds() == "TDCZ"


async def test_no_more_connections_are_taken_than_the_bound(stand, monkeypatch):
    monkeypatch.setattr(listening, "CONNECTIONS_MAX", 1)
    first = await Raw.logged_in(stand)
    second = await Raw.connect(stand)

    assert (await second.last_words())["C"] == "53300"
    first.send(query(OPEN))
    assert await first.kinds() == "TDCZ"


async def test_a_cancel_request_with_a_strangers_key_is_ignored(stand):
    raw = await Raw.connect(stand)

    raw.send(wire.packet(wire.CANCEL_REQUEST, b"\0\0\0\1", b"\0\0\0\2"))

    assert await raw.rest() == b""


async def test_an_upstream_that_refuses_the_sidecar_is_told_of_without_its_words(postgres):
    stand = Stand(postgres, password="wrong-secret")
    await stand.start()
    raw = await Raw.connect(stand)

    raw.send(startup(**LOGIN))
    await raw.prove(BOT)

    words = await raw.last_words()
    assert words["C"] == "08001"
    assert "28P01" in words["M"]
    assert "erp" not in words["M"]
    await stand.stop()


async def test_an_upstream_that_is_not_there_is_told_of(postgres):
    stand = Stand(postgres, port=1)
    await stand.start()
    raw = await Raw.connect(stand)

    raw.send(startup(**LOGIN))
    await raw.prove(BOT)

    assert (await raw.last_words())["C"] == "08001"
    await stand.stop()


async def test_a_backend_that_dies_is_said_to_have_died(stand):
    raw = await Raw.logged_in(stand)

    stand.server.psql("select pg_terminate_backend(pid) from pg_stat_activity where usename='erp'")

    assert (await raw.last_words())["C"] == "57P01"


async def test_draining_ends_the_idle_at_once_and_waits_for_the_busy(stand):
    idle, busy = await Raw.logged_in(stand), await Raw.logged_in(stand)
    busy.send(query("BEGIN"))
    assert await busy.kinds() == "CZ"

    draining = asyncio.ensure_future(stand.listener.drain(5))
    assert (await idle.last_words())["C"] == "57P01"
    busy.send(query(OPEN), query("COMMIT"))

    assert await busy.kinds() == "TDCZ"
    assert await busy.kinds() == "CZ"
    assert (await busy.last_words())["C"] == "57P01"
    await draining


async def test_draining_ends_what_does_not_end_in_time(stand):
    busy = await Raw.logged_in(stand)
    busy.send(query("BEGIN"))
    await busy.kinds()

    await stand.listener.drain(0.05)

    assert (await busy.last_words())["C"] == "57P01"


async def test_no_connection_stays_open_upstream_after_the_client_left(stand):
    raw = await Raw.logged_in(stand)
    await raw.close()

    left = "1"
    async with asyncio.timeout(5):
        while left != "0":
            asked = "select count(*) from pg_stat_activity where usename = 'erp'"
            left = (await asyncio.to_thread(stand.server.psql, asked)).strip()

    assert left == "0"
