"""The sidecar's own way into the database, with a credential that the application never sees.

What decides how a statement is read is pinned in the startup packet, which outranks settings of
role and database, and to which `RESET` and `DISCARD ALL` return. What the server then reports
must agree: a statement that parser and server read differently would not have been decided at all.
"""

import asyncio
import contextlib
import ssl
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from sidecar.facts.scram import MECHANISM, NONCE_BYTES, ScramClient, ScramError
from sidecar.intercept.postgres.ends.channel import Channel, ConnectionEnded
from sidecar.intercept.postgres.ends.pinned import (
    REQUIRED,
    ReadOtherwise,
    check_parameter,
)
from sidecar.intercept.postgres.limits import LOGIN_MESSAGES_MAX, MESSAGE_BYTES_MAX
from sidecar.intercept.postgres.protocol.wire import (
    HEADER_BYTES,
    PROTOCOL_3_0,
    SSL_REQUEST,
    ProtocolError,
    Refused,
    cstring,
    fields,
    message,
    packet,
)
from sidecar.intercept.postgres.settings import PostgresSettings

_PINNED: Final = {**REQUIRED, "backslash_quote": "safe_encoding", "transform_null_equals": "off"}
_OK, _CLEARTEXT, _SASL, _SASL_CONTINUE, _SASL_FINAL = 0, 3, 10, 11, 12
_STEPS: Final = (_SASL, _SASL_CONTINUE, _SASL_FINAL)


@dataclass(slots=True)
class Greeting:
    """What the server said after the login: to be passed on to the client as it is."""

    parameters: list[bytes] = field(default_factory=list)
    key: bytes = b""
    ready: bytes = b""


async def connect(settings: PostgresSettings, made: Callable[[], Channel] = Channel) -> Channel:
    """Return a connection to the upstream, encrypted where it must be. Raises Refused."""
    loop = asyncio.get_running_loop()
    try:
        if settings.host.startswith("/"):
            path = f"{settings.host}/.s.PGSQL.{settings.port}"
            return (await loop.create_unix_connection(made, path))[1]
        upstream = (await loop.create_connection(made, settings.host, settings.port))[1]
    except OSError:
        raise Refused("08001", "the upstream cannot be reached") from None
    if settings.upstream_tls is not None and not (settings.is_plain_loopback and upstream.is_local):
        with contextlib.ExitStack() as undo:
            undo.callback(upstream.close)
            await _secure(upstream, settings.upstream_tls, settings.host)
            undo.pop_all()
    return upstream


async def _secure(upstream: Channel, tls: ssl.SSLContext, host: str) -> None:
    """Agree on TLS; a server that declines is not talked to. Raises Refused."""
    upstream.write(packet(SSL_REQUEST))
    try:
        answer = await upstream.take(lambda data: 1 if data else None)
        if answer != b"S" or upstream.has_more:
            # More bytes were sent in the open, by somebody in between (CVE-2021-23222).
            raise Refused("08001", "the upstream does not speak TLS, and nothing else is spoken")
        await upstream.secure(tls, is_server=False, host=host)
    except ConnectionEnded:
        raise Refused("08001", "TLS with the upstream failed") from None


async def log_in(
    upstream: Channel,
    settings: PostgresSettings,
    asked: dict[str, str],
    random: Callable[[int], bytes],
) -> Greeting:
    """Return what the server says once the sidecar is logged in.

    Args:
        upstream: A fresh connection.
        settings: Whose credential is used.
        asked: The client's own harmless settings.
        random: Returns that many bytes fit for cryptography.

    Raises:
        Refused: The server refuses, asks for what is not given, or reads statements differently.
    """
    upstream.write(_startup(settings, asked))
    greeting, said_by = Greeting(), _Said(upstream)
    try:
        await _prove(said_by, settings, random)
        await _greet(said_by, greeting, settings.search_path)
    except ReadOtherwise as error:
        raise Refused("08001", str(error)) from None
    except (ScramError, ProtocolError, ConnectionEnded):
        raise Refused("08001", "the upstream cannot be used") from None
    said = b"".join(greeting.parameters)
    # A pooler that hides these would hide a change of them as well.
    if any(name.encode() + b"\0" not in said for name in REQUIRED):
        raise Refused("08001", "the upstream does not say how it reads statements")
    return greeting


def _startup(settings: PostgresSettings, asked: dict[str, str]) -> bytes:
    quoted = ['"' + name.replace('"', '""') + '"' for name in settings.search_path]
    said = {"user": settings.user, "database": settings.database, **asked, **_PINNED}
    said["search_path"] = ", ".join(quoted)
    words = (cstring(word.encode()) for pair in said.items() for word in pair)
    return packet(PROTOCOL_3_0, *words, b"\0")


async def _prove(
    said_by: "_Said", settings: PostgresSettings, random: Callable[[int], bytes]
) -> None:
    """Answer what the server asks for until it is satisfied."""
    upstream = said_by.upstream
    exchange = ScramClient(settings.password, random(NONCE_BYTES))
    # Each once, so that nobody keeps us hashing.
    steps = list(_STEPS)
    while True:
        code, body = await said_by.request()
        if code == _OK:
            # A server that breaks the exchange off has not shown that it knows the password.
            if len(steps) in (1, 2):
                raise ProtocolError("the upstream has not proven itself")
            return
        if code in _STEPS and (not steps or steps.pop(0) != code):
            raise ProtocolError("a step of the login out of turn")
        if code == _SASL_FINAL:
            exchange.verify(body)
            continue
        if code == _SASL_CONTINUE:
            # Not in the loop: how many rounds of hashing there are is for the server to say.
            final = await asyncio.to_thread(exchange.final, body)
            upstream.write(message(b"p", final))
            continue
        is_known = upstream.is_encrypted and settings.is_upstream_verified
        # Nor is the password itself told where a better way was offered and broken off.
        is_private = len(steps) == len(_STEPS) and (upstream.is_local or is_known)
        reply = _reply(code, body, exchange, settings.password, is_private=is_private)
        if code == _CLEARTEXT:
            steps.clear()
        upstream.write(reply)


def _reply(
    code: int, body: bytes, exchange: ScramClient, password: str, *, is_private: bool
) -> bytes:
    """Answer one request; `is_private` says that nobody but the right server hears it."""
    if code == _SASL and MECHANISM.encode() in body.split(b"\0"):
        first = exchange.first()
        return message(b"p", cstring(MECHANISM.encode()), struct.pack("!I", len(first)), first)
    if code == _CLEARTEXT and is_private:
        return message(b"p", cstring(password.encode()))
    # MD5 among them: its digest is as good as the password to whoever reads it (RFC 6151).
    raise Refused("08001", "the upstream asks for a login that is not given")


async def _greet(said_by: "_Said", greeting: Greeting, search_path: tuple[str, ...]) -> None:
    said = 0
    while not greeting.ready:
        kind, body = await said_by.next()
        if kind == b"S":
            check_parameter(body, search_path, is_greeting=True)
            greeting.parameters.append(message(kind, body))
            said += len(body)
            if said > MESSAGE_BYTES_MAX:
                raise ProtocolError("a greeting of excessive length")
        elif kind == b"K":
            greeting.key = body
        elif kind == b"Z" and body == b"I":
            greeting.ready = message(kind, body)
        else:
            raise ProtocolError("not a greeting")


class _Said:
    """What the server says in one login: so many messages, for they are taken without a turn."""

    def __init__(self, upstream: Channel) -> None:
        self.upstream = upstream
        self._left = LOGIN_MESSAGES_MAX

    async def next(self) -> tuple[bytes, bytes]:
        """Return the next message but notices; an error of the server is told by its code alone."""
        while self._left:
            self._left -= 1
            said = await self.upstream.take(_message_end)
            kind, body = said[:1], said[HEADER_BYTES:]
            if kind == b"E":
                code = fields(body).get("C", "?")
                raise Refused("08001", f"the upstream refused the sidecar ({code})")
            if kind != b"N":
                return kind, body
        raise ProtocolError("a login without an end")

    async def request(self) -> tuple[int, bytes]:
        """Return the next message, which must ask for something."""
        kind, body = await self.next()
        if kind != b"R" or len(body) < 4:
            raise ProtocolError("not a request for a login")
        return int.from_bytes(body[:4], "big"), body[4:]


def _message_end(data: bytearray) -> int | None:
    if len(data) < HEADER_BYTES:
        return None
    size = int.from_bytes(data[1:HEADER_BYTES], "big")
    if not 4 <= size <= MESSAGE_BYTES_MAX:
        raise ProtocolError("an answer of impossible or excessive length")
    return size + 1 if size < len(data) else None
