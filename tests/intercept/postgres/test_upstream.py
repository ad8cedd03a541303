"""The sidecar's own login against servers that lie, and what a permitted call may ask for."""

import asyncio
import base64
import socket
import struct
from types import SimpleNamespace

import pytest

from sidecar.facts.scram import MECHANISM, ScramClient
from sidecar.intercept.postgres.ends import upstream as database
from sidecar.intercept.postgres.ends.channel import Channel
from sidecar.intercept.postgres.protocol import wire
from sidecar.intercept.postgres.settings import PostgresSettings
from tests.intercept.postgres.stand import (
    OPEN,
    Raw,
    bind,
    execute,
    parse,
    query,
)

SAYS = [
    wire.message(b"S", b"client_encoding\0UTF8\0"),
    wire.message(b"S", b"standard_conforming_strings\0on\0"),
    wire.message(b"K", b"\0\0\0\1\0\0\0\2"),
    wire.message(b"Z", b"I"),
]


def request(code: int, rest: bytes = b"") -> bytes:
    return wire.message(b"R", struct.pack("!I", code), rest)


class Liar:
    """A server that says what it is told to say, whatever it hears."""

    def __init__(self, *script: bytes) -> None:
        self.heard = b""
        self._script = script
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> PostgresSettings:
        self._server = await asyncio.start_server(self._talk, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        return PostgresSettings(
            name="erp", upstream="erp", host="127.0.0.1", port=port, database="erp", user="erp",
            password="erp-secret",
        )  # fmt: skip

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._writers:
            writer.close()
        await self._server.wait_closed()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        for said in self._script:
            self.heard += await reader.read(4096)
            writer.write(said)
        while data := await reader.read(4096):
            self.heard += data


async def log_in(settings: PostgresSettings) -> database.Greeting:
    channel = await database.connect(settings, Channel)
    try:
        async with asyncio.timeout(5):
            return await database.log_in(channel, settings, {}, lambda size: b"n" * size)
    finally:
        channel.close()


SASL = request(10, MECHANISM.encode() + b"\0\0")
GOOD = b"".join(SAYS)
# What asks for a proof by so many rounds of hashing, as often as a server likes.
NONCE = base64.b64encode(b"n" * 18)
HASH = request(11, b"r=" + NONCE + b"+,s=AAAA,i=4096")


async def test_a_server_that_trusts_is_taken_at_its_word():
    path = wire.message(b"S", b'search_path\0"public"\0')
    async with Liar(request(0) + path + GOOD) as settings:
        greeting = await log_in(settings)

    assert greeting.key == b"\0\0\0\1\0\0\0\2"


@pytest.mark.parametrize(
    "script",
    [
        [SASL, request(0) + GOOD],
        [SASL, request(11, b"r=other,s=AAAA,i=4096")],
        [SASL, HASH, request(0) + GOOD],
        [request(11, b"r=other,s=AAAA,i=4096")],
        [SASL, SASL],
        [SASL, request(3)],
        [request(3), request(3), request(0) + GOOD],
        [request(0) + wire.message(b"N", b"\0") * 600 + GOOD],
        [request(0) + wire.message(b"S", b"x\0" + b"x" * 40_000 + b"\0") * 2 + GOOD],
        [request(5, b"salt")],
        [request(10, b"SCRAM-SHA-256-PLUS\0\0")],
        [request(7)],
        [request(0) + GOOD.replace(b"UTF8", b"SJIS")],
        [request(0) + GOOD.replace(b"\0on\0", b"\0of\0")],
        [request(0) + wire.message(b"S", b"search_path\0hr, public\0") + GOOD],
        [request(0) + wire.message(b"S", b"search_path\0\0") + GOOD],
        [request(0) + b"".join(SAYS[1:])],
        [request(0) + SAYS[0] + SAYS[1] + SAYS[2] + wire.message(b"Z", b"T")],
        [request(0) + wire.message(b"G", b"\0\0\0")],
        [wire.message(b"Z", b"I")],
        [b"R\0\0\0\1"],
        [b"R\x7f\xff\xff\xff"],
        [wire.error("53300", "the secret words of the server", fatal=True)],
    ],
    ids=[
        "breaks the exchange off", "another's nonce", "breaks it off later",
        "begins in the middle", "begins twice", "asks for the password after all",
        "asks for the password twice", "notices without an end", "says too much of itself",
        "MD5", "only with binding", "GSS",
        "another encoding", "other strings", "another path", "no path", "hides its encoding",
        "in a transaction", "copies", "ready at once", "short", "endless", "refuses",
    ],
)  # fmt: skip
async def test_a_server_that_lies_or_refuses_is_not_used(script):
    async with Liar(*script) as settings:
        with pytest.raises(wire.Refused) as refused:
            await log_in(settings)

    assert refused.value.code == "08001"
    assert "secret" not in str(refused.value)


async def test_a_server_has_one_proof_of_a_login_however_often_it_asks():
    liar = Liar(SASL, HASH * 200)
    async with liar as settings:
        with pytest.raises(wire.Refused) as refused:
            await log_in(settings)

    assert refused.value.code == "08001"
    assert liar.heard.count(b"c=biws") <= 1


def channel(family: int, peer: object) -> Channel:
    known = {"socket": SimpleNamespace(family=family), "peername": peer}
    found = Channel()
    found._transport = SimpleNamespace(get_extra_info=known.get)  # type: ignore[assignment]
    return found


@pytest.mark.parametrize(
    ("family", "peer"),
    [
        (socket.AF_INET, ("127.0.0.1", 5432)),
        (socket.AF_INET6, ("::1", 5432, 0, 0)),
        (socket.AF_UNIX, ""),
    ],
)
def test_nobody_else_listens_on_this_machine(family, peer):
    assert channel(family, peer).is_local


@pytest.mark.parametrize("address", ["10.0.0.1", "192.168.1.1", "0.0.0.0", "::ffff:10.0.0.1", "::"])
def test_anywhere_else_is_a_network(address):
    assert not channel(socket.AF_INET, (address, 5432)).is_local


def test_the_password_itself_is_told_where_nobody_else_can_listen():
    told = database._reply(3, b"", ScramClient("", b"n" * 18), "erp-secret", is_private=True)

    assert b"erp-secret" in told
    with pytest.raises(wire.Refused):
        database._reply(3, b"", ScramClient("", b"n" * 18), "erp-secret", is_private=False)


def test_settings_do_not_show_the_password():
    settings = PostgresSettings(
        name="a", upstream="b", host="c", port=1, database="d", user="e", password="erp-secret"
    )

    assert "erp-secret" not in repr(settings)


class Rewriting:
    """The data domain, with the text or the result of a permitted call changed afterwards."""

    def __init__(self, domain, text=None, result=None) -> None:
        self._domain = domain
        self.text = text
        self._result = result

    def __getattr__(self, name):
        return getattr(self._domain, name)

    def rewrite(self, call, request, decision, catalogue):
        return call.payload if self.text is None else {**call.payload, "text": self.text}

    def result(self, request, decision):
        return self._result


def rewriting(stand, **how) -> Rewriting:
    """Let the stand's bundle rewrite; the shared one stays as it is."""
    import copy

    changed = Rewriting(stand.bundle.domains["sql"], **how)
    stand.bundle = copy.copy(stand.bundle)
    stand.bundle.domains = {**stand.bundle.domains, "sql": changed}
    return changed


@pytest.mark.e2e
async def test_what_is_sent_is_the_rewritten_text(stand):
    rewriting(stand, text="SELECT 7")
    raw = await Raw.logged_in(stand)

    raw.send(query(OPEN))

    row = next(body for kind, body in await raw.until(b"Z") if kind == b"D")
    assert row.endswith(b"7")


@pytest.mark.e2e
async def test_a_result_that_must_be_filtered_is_refused(stand):
    rewriting(stand, result=object())
    raw = await Raw.logged_in(stand)

    raw.send(query(OPEN))

    said = await raw.until(b"Z")
    assert [wire.fields(body)["C"] for kind, body in said if kind == b"E"] == ["0A000"]
    (outcome,) = await stand.outcomes(1)
    assert (outcome.result, outcome.uses) == ("blocked", 0)
    assert outcome.parent == stand.ledger.decisions[0].id


@pytest.mark.e2e
async def test_a_statement_that_would_be_rewritten_otherwise_must_be_prepared_again(stand):
    changed = rewriting(stand, text="SELECT 7")
    raw = await Raw.logged_in(stand)
    raw.send(parse(OPEN, b"s"), wire.SYNC)
    assert await raw.kinds() == "1Z"

    changed.text = "SELECT 8"
    stand.revoked.epoch += 1
    raw.send(bind(b"s"), execute(), wire.SYNC, bind(b"s"), execute(), wire.SYNC)

    for _ in range(2):
        said = await raw.until(b"Z")
        assert [wire.fields(body)["C"] for kind, body in said if kind == b"E"] == ["26000"]
