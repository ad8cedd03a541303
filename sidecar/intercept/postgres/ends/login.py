"""A client's way in: the packets before the session, TLS, SCRAM against the workload's verifier.

With a certificate TLS is spoken where it is asked for, by SSLRequest or from the first byte;
without one, and for GSSAPI always, the answer is `N`, each once, as PostgreSQL does. Who comes over
a network without TLS is refused unless the configuration says otherwise in so many words.
"""

import ssl
import struct
from collections.abc import Callable

from sidecar.facts.scram import MECHANISM, NONCE_BYTES, ScramError, ScramServer, Verifier
from sidecar.intercept.postgres.ends.channel import Channel
from sidecar.intercept.postgres.ends.startup import (
    CancelAsked,
    EncryptionAsked,
    Startup,
    packet_end,
    read_packet,
)
from sidecar.intercept.postgres.ends.tls import ALPN
from sidecar.intercept.postgres.limits import LOGIN_BYTES_MAX
from sidecar.intercept.postgres.protocol.wire import (
    AUTHENTICATION_OK,
    HEADER_BYTES,
    SSL_REQUEST,
    ProtocolError,
    Refused,
    cstring,
    message,
)

_SASL, _SASL_CONTINUE, _SASL_FINAL = 10, 11, 12


async def read_startup(
    client: Channel, tls: ssl.SSLContext | None, *, is_plain_allowed: bool
) -> Startup | CancelAsked:
    """Return what the client wants.

    Args:
        client: A fresh connection.
        tls: Spoken where it is asked for; None where there is no certificate.
        is_plain_allowed: Whether a client elsewhere may do without.

    Raises:
        ProtocolError: What it says is no start of a session.
        Refused: It asks for what is not served.
        ConnectionEnded: It went away, or TLS failed.
    """
    if tls is not None and await client.begins_with_tls():
        await _secured(client, tls, is_direct=True)
    declined: set[int] = set()
    while True:
        asked = read_packet(await client.take(packet_end))
        if not isinstance(asked, EncryptionAsked):
            break
        if asked.code in declined or client.is_encrypted:
            raise ProtocolError("encryption was agreed on or declined already")
        declined.add(asked.code)
        if asked.code == SSL_REQUEST and tls is not None:
            await _secured(client, tls, is_direct=False)
        else:
            client.write(b"N")
    is_safe = client.is_encrypted or is_plain_allowed or client.is_local
    # A key for cancelling is no credential, and clients before version 17 send it in the open.
    if isinstance(asked, Startup) and not is_safe:
        raise Refused("28000", "TLS is required here", "connect with sslmode=verify-full")
    return asked


async def _secured(client: Channel, tls: ssl.SSLContext, *, is_direct: bool) -> None:
    if not is_direct:
        if client.has_more:
            # Bytes sent in the open would be read as if they had come encrypted (CVE-2021-23214).
            raise ProtocolError("data between the request for TLS and its answer")
        client.write(b"S")
    agreed = await client.secure(tls, is_server=True)
    if is_direct and agreed.alpn != ALPN:
        # Another protocol's client, made to talk to us, is told apart by nothing else.
        raise ProtocolError("TLS from the first byte is for clients that offer ALPN `postgresql`")


async def authenticate(
    client: Channel, user: str, verifier: str | None, random: Callable[[int], bytes], decoy: bytes
) -> None:
    """Return when the client has proven that it is `user`.

    Args:
        client: The connection, whose startup packet is read.
        user: The name in it.
        verifier: None for a user there is none of, who is asked all the same and fails at the end.
        random: Returns that many bytes fit for cryptography.
        decoy: Secret of this process, from which such a user's salt is made.

    Raises:
        Refused: It has not.
    """
    known = Verifier.read(verifier) if verifier else Verifier.decoy(user, decoy)
    exchange = ScramServer(known, random(NONCE_BYTES))
    client.write(_authentication(_SASL, cstring(MECHANISM.encode()), b"\0"))
    try:
        challenge = exchange.first(_initial(await _answer(client)))
        client.write(_authentication(_SASL_CONTINUE, challenge))
        proof = exchange.final(await _answer(client))
    except ScramError:
        raise Refused("28P01", "authentication failed") from None
    if verifier is None:
        raise Refused("28P01", "authentication failed")
    client.write(_authentication(_SASL_FINAL, proof) + AUTHENTICATION_OK)


async def _answer(client: Channel) -> bytes:
    return (await client.take(_answer_end))[HEADER_BYTES:]


def _answer_end(data: bytearray) -> int | None:
    """Return where a SASL message ends; before login a client sends nothing else."""
    if data and data[0] != ord("p"):
        raise ProtocolError("expected an answer to the request for a password")
    if len(data) < HEADER_BYTES:
        return None
    size = int.from_bytes(data[1:HEADER_BYTES], "big")
    if not 4 <= size <= LOGIN_BYTES_MAX:
        raise ProtocolError("an answer of impossible or excessive length")
    return size + 1 if size < len(data) else None


def _initial(body: bytes) -> bytes:
    """Return the client-first-message of a SASLInitialResponse."""
    mechanism, end, rest = body.partition(b"\0")
    if not end or len(rest) < 4 or struct.unpack("!i", rest[:4])[0] != len(rest) - 4:
        raise ProtocolError("a malformed SASLInitialResponse")
    if mechanism != MECHANISM.encode():
        raise ProtocolError("a mechanism that was not offered")
    return rest[4:]


def _authentication(code: int, *parts: bytes) -> bytes:
    return message(b"R", struct.pack("!I", code), *parts)
