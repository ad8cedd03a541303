"""TLS on both legs: who is let in how, who is talked to, and what is smuggled around it."""

import asyncio
import ssl

import psycopg
import pytest

from sidecar.intercept.postgres.ends import upstream as database
from sidecar.intercept.postgres.ends.channel import Channel
from sidecar.intercept.postgres.ends.tls import client_context, server_context
from sidecar.intercept.postgres.protocol import wire
from tests.intercept.postgres.stand import (
    BOT,
    OPEN,
    Raw,
    Stand,
    startup,
)
from tests.intercept.postgres.tls_stand import certificates

pytestmark = pytest.mark.e2e

SSL = wire.packet(wire.SSL_REQUEST)
GSS = wire.packet(wire.GSSENC_REQUEST)
CANCEL = wire.packet(wire.CANCEL_REQUEST, b"\0\0\0\1", b"\0\0\0\2")
LOGIN = {"user": "expense-bot", "database": "postgres"}


@pytest.fixture(scope="module")
def listening():
    """What the listener proves itself with."""
    known = certificates()
    return server_context(known.file("here.crt"), known.file("here.key"))


@pytest.fixture
async def secure(postgres, listening):
    stand = Stand(postgres, tls=listening)
    await stand.start()
    yield stand
    await stand.stop()


def trusting(*protocols: str) -> ssl.SSLContext:
    context = client_context(certificates().file("ca.crt"), is_verified=True)
    if protocols:
        context.set_alpn_protocols(protocols)
    return context


class Secret(Raw):
    """A client that says exactly what a test wants it to say, over TLS."""

    async def secured(self, context: ssl.SSLContext) -> None:
        """Speak TLS from here on."""
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._in, self._out, server_hostname="127.0.0.1")
        self._plain = b""
        await self._until(self._object.do_handshake)

    async def _until(self, step):
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                super().send(self._out.read())
                async with asyncio.timeout(5):
                    data = await self._reader.read(65536)
                self._in.write(data)
                if not data:
                    self._in.write_eof()
            finally:
                super().send(self._out.read())

    def send(self, *data: bytes) -> None:
        if not hasattr(self, "_object"):
            super().send(*data)
            return
        self._object.write(b"".join(data))
        super().send(self._out.read())

    async def exactly(self, size: int) -> bytes:
        if not hasattr(self, "_object"):
            return await super().exactly(size)
        while len(self._plain) < size:
            self._plain += await self._until(lambda: self._object.read(65536))
        found, self._plain = self._plain[:size], self._plain[size:]
        return found


async def test_a_client_that_verifies_the_listener_is_served_over_tls(secure):
    asked = secure.dsn(sslmode="verify-full", sslrootcert=str(certificates().file("ca.crt")))

    async with await psycopg.AsyncConnection.connect(asked) as connection:
        rows = await (await connection.execute(OPEN)).fetchall()
        is_encrypted = connection.pgconn.ssl_in_use

    assert rows[0][0] == 30
    assert is_encrypted


async def test_large_results_come_whole_over_tls(secure):
    asked = secure.dsn(sslmode="require")

    async with await psycopg.AsyncConnection.connect(asked) as connection:
        said = "SELECT repeat('x', 20000) FROM finance.expenses"
        rows = await (await connection.execute(said)).fetchall()

    assert [len(row[0]) for row in rows] == [20_000] * 100


async def test_tls_from_the_first_byte_is_taken_with_its_protocol_named(secure):
    raw = await Secret.connect(secure)
    await raw.secured(trusting("postgresql"))

    raw.send(startup(**LOGIN))
    await raw.prove(BOT)

    assert (await raw.kinds()).endswith("KZ")


@pytest.mark.parametrize("protocols", [(), ("h2",), ("http/1.1", "h2")])
async def test_tls_from_the_first_byte_without_its_protocol_named_is_refused(secure, protocols):
    raw = await Secret.connect(secure)
    await raw.secured(trusting(*protocols))

    assert wire.fields((await raw.until(b"E"))[-1][1])["C"] == "08P01"


async def asked_for_tls(stand: Stand) -> Secret:
    raw = await Secret.connect(stand)
    raw.send(SSL)
    assert await raw.exactly(1) == b"S"
    await raw.secured(trusting())
    return raw


async def test_gssapi_is_declined_and_tls_agreed_on_after_it(secure):
    raw = await Secret.connect(secure)
    raw.send(GSS)
    assert await raw.exactly(1) == b"N"
    raw.send(SSL)
    assert await raw.exactly(1) == b"S"
    await raw.secured(trusting())
    raw.send(startup(**LOGIN))
    await raw.prove(BOT)

    assert (await raw.kinds()).endswith("KZ")


@pytest.mark.parametrize("again", [SSL, GSS])
async def test_encryption_inside_of_tls_is_refused(secure, again):
    raw = await asked_for_tls(secure)

    raw.send(again)

    assert wire.fields((await raw.until(b"E"))[-1][1])["C"] == "08P01"


@pytest.mark.parametrize("more", [startup(**LOGIN), b"\x16", CANCEL, SSL])
async def test_what_is_sent_with_the_request_for_tls_is_never_taken(secure, more):
    raw = await Raw.connect(secure)

    raw.send(SSL + more)

    words = await raw.last_words()
    assert (words["V"], words["C"]) == ("FATAL", "08P01")


async def test_what_is_sent_in_the_open_after_tls_was_agreed_on_ends_the_connection(secure):
    raw = await Raw.connect(secure)
    raw.send(SSL)
    assert await raw.exactly(1) == b"S"

    raw.send(startup(**LOGIN))

    # An alert of TLS at most, and nothing of PostgreSQL's.
    assert not (await raw.rest()).startswith((b"R", b"E"))


async def test_a_handshake_that_never_ends_is_hung_up_on(secure, monkeypatch):
    from sidecar.intercept.postgres import listener

    monkeypatch.setattr(listener, "LOGIN_S_MAX", 0.05)
    raw = await Raw.connect(secure)
    raw.send(b"\x16\x03\x01\x40\x00")

    assert await raw.rest() == b""
    assert secure.listener._open == 0


def from_elsewhere(monkeypatch):
    monkeypatch.setattr(Channel, "is_local", False)


async def test_who_comes_over_a_network_without_tls_is_refused(secure, monkeypatch):
    from_elsewhere(monkeypatch)
    raw = await Raw.connect(secure)

    raw.send(startup(**LOGIN))

    assert (await raw.last_words())["C"] == "28000"


async def test_who_comes_over_a_network_with_tls_is_asked_for_its_proof(secure, monkeypatch):
    from_elsewhere(monkeypatch)
    raw = await asked_for_tls(secure)

    raw.send(startup(**LOGIN))

    assert (await raw.message())[1] == b"\0\0\0\x0aSCRAM-SHA-256\0\0"


async def test_a_listener_that_is_said_to_be_insecure_takes_who_comes_without(
    postgres, monkeypatch
):
    from_elsewhere(monkeypatch)
    stand = Stand(postgres, is_plain_allowed=True)
    await stand.start()
    raw = await Raw.connect(stand)

    raw.send(startup(**LOGIN))

    assert (await raw.message())[0] == b"R"
    await stand.stop()


@pytest.mark.parametrize("said", [b"N", b"E", b"X", b"SX", b"S" + wire.message(b"R", b"\0\0\0\0")])
async def test_an_upstream_that_declines_or_smuggles_is_not_talked_to(postgres, said):
    heard = b""
    is_over = asyncio.Event()

    async def declines(reader, writer):
        nonlocal heard
        heard += await reader.read(100)
        writer.write(said)
        heard += await reader.read(100)
        writer.close()
        await writer.wait_closed()
        is_over.set()

    server = await asyncio.start_server(declines, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    stand = Stand(postgres, port=port, upstream_tls=trusting(), is_plain_loopback=False)

    with pytest.raises(wire.Refused) as refused:
        await database.connect(stand.settings)
    await is_over.wait()
    server.close()
    await server.wait_closed()

    assert refused.value.code == "08001"
    assert heard == SSL


# From here on against a server that has TLS.


async def test_both_legs_are_encrypted_and_proven(encrypted, listening):
    stand = Stand(encrypted, tls=listening, upstream_tls=trusting(), is_plain_loopback=False)
    await stand.start()
    asked = stand.dsn(sslmode="verify-full", sslrootcert=str(certificates().file("ca.crt")))

    async with await psycopg.AsyncConnection.connect(asked) as connection:
        rows = await (await connection.execute(OPEN)).fetchall()
        told = await asyncio.to_thread(
            encrypted.psql,
            "select ssl from pg_stat_ssl join pg_stat_activity using (pid) where usename = 'erp'",
        )
    await stand.stop()

    assert rows[0][0] == 30
    assert told.strip() == "t"


async def test_a_cancel_request_goes_over_tls_too(encrypted, listening):
    stand = Stand(encrypted, tls=listening, upstream_tls=trusting(), is_plain_loopback=False)
    await stand.start()
    asked = stand.dsn(sslmode="require")
    slow = "SELECT count(*) FROM " + ", ".join(f"finance.expenses e{n}" for n in range(9))
    async with await psycopg.AsyncConnection.connect(asked, autocommit=True) as connection:
        running = asyncio.ensure_future(connection.execute(slow))
        while not running.done():
            await connection.cancel_safe()
            await asyncio.wait({running}, timeout=0.1)
        with pytest.raises(psycopg.errors.QueryCanceled):
            await running
    await stand.stop()


async def first_words(stand: Stand) -> dict[str, str]:
    await stand.start()
    raw = await Raw.connect(stand)
    raw.send(startup(**LOGIN))
    await raw.prove(BOT)
    words = await raw.last_words()
    await stand.stop()
    return words


@pytest.mark.parametrize("ca", ["stranger.crt", "elsewhere.crt"])
async def test_an_upstream_that_nobody_vouches_for_is_not_talked_to(encrypted, ca):
    context = client_context(certificates().file(ca), is_verified=True)
    stand = Stand(encrypted, upstream_tls=context, is_plain_loopback=False)

    assert (await first_words(stand))["C"] == "08001"


async def test_an_upstream_of_another_name_is_not_talked_to(encrypted):
    stand = Stand(encrypted, upstream_tls=trusting(), is_plain_loopback=False, host="localhost")

    assert (await first_words(stand))["C"] == "08001"


async def test_insecure_require_asks_nobody_and_encrypts(encrypted):
    context = client_context(None, is_verified=False)
    stand = Stand(encrypted, upstream_tls=context, is_plain_loopback=False)
    await stand.start()

    async with await psycopg.AsyncConnection.connect(stand.dsn()) as connection:
        rows = await (await connection.execute(OPEN)).fetchall()
    await stand.stop()

    assert rows[0][0] == 30


async def test_a_server_that_wants_tls_refuses_the_open(encrypted):
    words = await first_words(Stand(encrypted, upstream_tls=None))

    assert words["C"] == "08001"
    assert "28000" in words["M"]
