"""The first packets of a connection: what a client may ask for before it has logged in. Sans-I/O.

Settings in a startup packet are settings of the session, so the same rule holds for them as for
`SET`: what changes how a statement is read, or who runs it, is refused. The list is of what may be.
Those in `options` are taken out of it and sent on by their names: the text itself goes nowhere.
`search_path` is read, for a client may ask for the pinned one, and goes nowhere either.

Source: PostgreSQL documentation, "Start-up" and "Message Formats" (StartupMessage, SSLRequest,
GSSENCRequest, CancelRequest, NegotiateProtocolVersion).
"""

import re
import struct
from dataclasses import dataclass
from typing import Final

from sidecar.intercept.postgres.ends.pinned import steps_of
from sidecar.intercept.postgres.limits import STARTUP_BYTES_MAX
from sidecar.intercept.postgres.protocol.wire import (
    CANCEL_REQUEST,
    GSSENC_REQUEST,
    PROTOCOL_3_0,
    SSL_REQUEST,
    ProtocolError,
    Refused,
    cstring,
    message,
)

# Settings that change neither what a statement means nor whose it is; the upstream checks values.
HARMLESS: Final = frozenset(
    {
        "application_name",
        "bytea_output",
        "client_min_messages",
        "datestyle",
        "default_transaction_deferrable",
        "default_transaction_isolation",
        "default_transaction_read_only",
        "extra_float_digits",
        "geqo",
        "idle_in_transaction_session_timeout",
        "intervalstyle",
        "jit",
        "lock_timeout",
        "statement_timeout",
        "timezone",
    }
)
# Protocol 3.2 differs from 3.0 in the length of the keys for cancelling alone.
MINOR_MAX: Final = 2
_UTF8: Final = frozenset({"utf8", "utf-8", "unicode"})
_VALUE_BYTES_MAX: Final = 256
# A word of `options`: a backslash takes the meaning of whatever stands behind it.
_WORD: Final = re.compile(r"(?:[^\\ ]|\\.)+")
_OPTION: Final = re.compile(r"(?:-c|--)(?P<name>[A-Za-z_][A-Za-z0-9_.-]*)=(?P<value>.*)")


@dataclass(frozen=True, slots=True)
class EncryptionAsked:
    """SSLRequest or GSSENCRequest; the answer is `N`, and another packet follows."""

    code: int


@dataclass(frozen=True, slots=True)
class CancelAsked:
    """CancelRequest: `key` is what BackendKeyData carried, `packet` what goes to the upstream."""

    key: bytes
    packet: bytes


@dataclass(frozen=True, slots=True)
class Startup:
    """A session; `unknown` are protocol options that are declined, `minor` the version asked.

    `search_path` is None where the client says nothing of it; who may say it is asked later on.
    """

    user: str
    database: str
    settings: dict[str, str]
    minor: int
    unknown: tuple[str, ...]
    search_path: tuple[str, ...] | None = None

    @property
    def negotiation(self) -> bytes:
        """Return NegotiateProtocolVersion where the client asks for more than there is."""
        if self.minor <= MINOR_MAX and not self.unknown:
            return b""
        names = (cstring(name.encode()) for name in self.unknown)
        spoken = PROTOCOL_3_0 + min(self.minor, MINOR_MAX)
        return message(b"v", struct.pack("!II", spoken, len(self.unknown)), *names)

    @property
    def secret_bytes(self) -> int:
        """Return how long the secret of a key for cancelling is: longer from 3.2 on."""
        return 32 if self.minor >= MINOR_MAX else 4


Packet = EncryptionAsked | CancelAsked | Startup


def packet_end(data: bytes | bytearray) -> int | None:
    """Return where the packet at the start of `data` ends, None when it is not all there.

    Raises:
        ProtocolError: No packet begins so; TLS begun without asking is one such case.
    """
    if len(data) < 4:
        return None
    size = int.from_bytes(data[:4], "big")
    if not 8 <= size <= STARTUP_BYTES_MAX:
        raise ProtocolError("not a startup packet")
    return size if size <= len(data) else None


def read_packet(data: bytes) -> Packet:
    """Return what a whole packet asks for.

    Raises:
        ProtocolError: It is malformed.
        Refused: It asks for what is not served.
    """
    code = int.from_bytes(data[4:8], "big")
    if code in (SSL_REQUEST, GSSENC_REQUEST):
        if len(data) != 8:
            raise ProtocolError("a malformed request for encryption")
        return EncryptionAsked(code)
    if code == CANCEL_REQUEST:
        return _cancel(data)
    if code >> 16 != 3:
        raise Refused("0A000", "only protocol version 3 is spoken here")
    return _startup(code & 0xFFFF, _pairs(data[8:]))


def _cancel(data: bytes) -> CancelAsked:
    # A process id and a secret of 4 bytes (3.0) to 256 (3.2).
    if not 16 <= len(data) <= 12 + 256:
        raise ProtocolError("a malformed CancelRequest")
    return CancelAsked(data[8:], data)


def _pairs(body: bytes) -> dict[str, str]:
    """Return the names and values of a startup packet; a name that stands twice is refused."""
    # INVARIANT: name NUL value NUL … NUL; the empty name ends the list and nothing may follow it.
    parts = body[:-1].split(b"\0")
    if not body.endswith(b"\0") or parts[-1] or len(parts) % 2 == 0:
        raise ProtocolError("a startup packet without its end, or a name without its value")
    found: dict[str, str] = {}
    for at in range(0, len(parts) - 1, 2):
        name, value = _text(parts[at]), _text(parts[at + 1])
        key = name if name.startswith("_pq_.") else name.lower()
        if not name or key in found:
            raise ProtocolError("a startup packet with an empty or repeated name")
        found[key] = value
    return found


def _text(raw: bytes) -> str:
    if len(raw) > _VALUE_BYTES_MAX:
        raise ProtocolError("a startup packet with a name or value that is too long")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise ProtocolError("a startup packet that is not UTF-8") from None
    if not text.isprintable():
        raise ProtocolError("a startup packet with a control character")
    return text


def _startup(minor: int, pairs: dict[str, str]) -> Startup:
    user = pairs.pop("user", "")
    if not user:
        raise Refused("28000", "no user name in the startup packet")
    database = pairs.pop("database", "") or user
    unknown = tuple(name for name in pairs if name.startswith("_pq_."))
    settings = {name: value for name, value in pairs.items() if name not in unknown}
    _add_options(settings)
    encoding = settings.pop("client_encoding", "UTF8")
    if encoding.strip("'\"").lower() not in _UTF8:
        raise Refused("22023", "client_encoding must be UTF8", "set PGCLIENTENCODING=UTF8")
    search_path = _search_path(settings.pop("search_path", None))
    for name in settings:
        if name not in HARMLESS:
            raise Refused(
                "42501",
                f"the sidecar does not let a session start with `{name}`",
                "it may set: " + ", ".join(sorted(HARMLESS)),
            )
    return Startup(user, database, settings, minor, unknown, search_path)


def _search_path(said: str | None) -> tuple[str, ...] | None:
    found = None if said is None else steps_of(said)
    if said is not None and found is None:
        raise Refused("22023", "search_path is not a list of schemas")
    return found


def _add_options(settings: dict[str, str]) -> None:
    """Put the settings of `options` beside the others: `-c name=value` and `--name=value`.

    Raises:
        ProtocolError: One of them stands twice.
        Refused: It holds something else.
    """
    words = iter(_WORD.findall(settings.pop("options", "")))
    for word in words:
        # INVARIANT: what is read here is all that the upstream is sent, so no reading can differ.
        whole = word + next(words, "") if word == "-c" else word
        found = _OPTION.fullmatch(re.sub(r"\\(.)", r"\1", whole))
        if found is None:
            raise Refused("42501", "of `options` only settings are taken", "write -c name=value")
        name = found["name"].replace("-", "_").lower()
        if name in settings:
            raise ProtocolError("a startup packet with a setting that stands twice")
        settings[name] = found["value"]
