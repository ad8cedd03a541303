"""TLS between a transport and the protocol above it: ciphertext in, plaintext out. Sans-I/O.

Not `loop.start_tls`: there the bytes that were read before it are lost or, worse, taken as if they
had come encrypted (CVE-2021-23214, CVE-2021-23222), and TLS from the first byte (PostgreSQL 17,
`sslnegotiation=direct`) begins with bytes that were read already. Here one owner has all of them.

No channel binding is offered (`-PLUS`): the ends of the two legs are different certificates.
"""

import contextlib
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Final

# What PostgreSQL's clients offer from version 17 on; TLS without asking is taken with it alone.
ALPN: Final = "postgresql"
# The first byte of a TLS record with a handshake in it.
HANDSHAKE: Final = 0x16
_CHUNK_BYTES: Final = 64 * 1024


class TlsFailed(Exception):
    """The other side speaks no TLS, other TLS, or is not who it should be."""


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Return what the client's leg is encrypted with. Raises OSError (SSLError among them)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols([ALPN])
    context.load_cert_chain(certificate, key, password=_no_password)
    return context


def client_context(authorities: Path | None, *, is_verified: bool) -> ssl.SSLContext:
    """Return what the upstream's leg is encrypted with; without a file the system's authorities.

    Raises:
        OSError: The file cannot be read or holds no certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    if not is_verified:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif authorities is None:
        context.load_default_certs()
    else:
        context.load_verify_locations(authorities)
    return context


def _no_password() -> str:
    # Without this the library would ask whoever sits at the terminal.
    return ""


class Tls:
    """One leg's encryption; `send` takes what is to go out on the wire."""

    def __init__(
        self,
        context: ssl.SSLContext,
        send: Callable[[bytes], None],
        *,
        is_server: bool,
        host: str | None = None,
    ) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, is_server, host)
        self._send = send
        self.is_open = self.is_ended = False

    @property
    def alpn(self) -> str | None:
        """Return the protocol that both sides agreed on above TLS."""
        return self._object.selected_alpn_protocol()

    def feed(self, data: bytes) -> bytes:
        """Return the plaintext that `data` completes; b"" while the handshake goes on.

        Raises:
            TlsFailed: The other side broke TLS; what it is to be told has been sent.
        """
        self._incoming.write(data)
        try:
            if not self.is_open:
                self._object.do_handshake()
                self.is_open = True
            return self._read()
        except ssl.SSLWantReadError:
            return b""
        except ssl.SSLError as error:
            # The library's word alone: `reason` names a step, never bytes.
            raise TlsFailed(error.reason or "TLS failed") from None
        finally:
            self._flush()

    def begin(self) -> None:
        """Say the first words, as the client."""
        self.feed(b"")

    def write(self, data: bytes) -> None:
        """Send `data` encrypted. Raises TlsFailed when the other side has ended TLS."""
        try:
            self._object.write(data)
        except ssl.SSLError as error:
            raise TlsFailed(error.reason or "TLS failed") from None
        self._flush()

    def end(self) -> None:
        """Say that nothing follows, so that what was said is known to be all."""
        if self.is_open:
            with contextlib.suppress(ssl.SSLError):
                self._object.unwrap()
            self._flush()

    def _read(self) -> bytes:
        found: list[bytes] = []
        with contextlib.suppress(ssl.SSLWantReadError):
            while chunk := self._object.read(_CHUNK_BYTES):
                found.append(chunk)
            # Nothing to read is the other side's clean end; who waits for more reads an error.
            self.is_ended = True
        return b"".join(found)

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._send(self._outgoing.read())
