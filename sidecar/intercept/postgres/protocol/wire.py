"""Messages of PostgreSQL's protocol 3.0: cut from a stream, read, and built. Sans-I/O.

Every message but the first is `type (1 byte) · length (4 bytes, itself included) · body`. Lengths
come from the other side: each type has a bound, checked before a byte of the body is waited for.

Source: PostgreSQL documentation, chapter "Frontend/Backend Protocol".
"""

import functools
import struct
from collections.abc import Mapping
from typing import Final

from sidecar.intercept.postgres.limits import (
    BIND_BYTES_MAX,
    MESSAGE_BYTES_MAX,
    MESSAGE_CHARS_MAX,
    NAME_BYTES_MAX,
    STATEMENT_BYTES_MAX,
)

HEADER_BYTES: Final = 5
PROTOCOL_3_0: Final = 196608
CANCEL_REQUEST: Final = 80877102
SSL_REQUEST: Final = 80877103
GSSENC_REQUEST: Final = 80877104

# What a client may send once it is logged in, with the bound of each; any other type ends it.
_BOUNDS: Final[Mapping[int, int]] = {
    ord("Q"): STATEMENT_BYTES_MAX,
    ord("P"): STATEMENT_BYTES_MAX,
    ord("B"): BIND_BYTES_MAX,
    ord("D"): MESSAGE_BYTES_MAX,
    ord("E"): MESSAGE_BYTES_MAX,
    ord("C"): MESSAGE_BYTES_MAX,
    ord("S"): 0,
    ord("H"): 0,
    ord("F"): BIND_BYTES_MAX,
    ord("d"): BIND_BYTES_MAX,
    ord("c"): 0,
    ord("f"): MESSAGE_BYTES_MAX,
    ord("X"): 0,
}
_SIZE = struct.Struct("!I")
# What an Execute may ask for is a signed number.
_ROWS_MAX: Final = 2**31 - 1


class ProtocolError(ValueError):
    """The other side broke the protocol; `code` is the SQLSTATE that the client is told."""

    def __init__(self, text: str, code: str = "08P01") -> None:
        super().__init__(text)
        self.code = code


class Refused(Exception):
    """A client that cannot be served; it is told `code` and the text, and the connection ends."""

    def __init__(self, code: str, text: str, hint: str | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.hint = hint


def frame_at(data: bytes | bytearray, at: int) -> int | None:
    """Return where the client's message that starts at `at` ends, None when it is not all there.

    Raises:
        ProtocolError: A type that clients do not send, or a length over its bound.
    """
    if len(data) - at < HEADER_BYTES:
        # The type alone is enough to refuse.
        if len(data) > at and data[at] not in _BOUNDS:
            raise ProtocolError("unknown message type")
        return None
    bound = _BOUNDS.get(data[at])
    if bound is None:
        raise ProtocolError("unknown message type")
    size = int.from_bytes(data[at + 1 : at + HEADER_BYTES], "big")
    if not 4 <= size <= bound + 4:
        raise ProtocolError("a message of impossible or excessive length")
    end = at + 1 + size
    return end if end <= len(data) else None


def message(kind: bytes, *parts: bytes) -> bytes:
    """Return one typed message."""
    body = b"".join(parts)
    return kind + _SIZE.pack(len(body) + 4) + body


def packet(code: int, *parts: bytes) -> bytes:
    """Return one packet without a type: startup, cancel and the requests before it."""
    body = _SIZE.pack(code) + b"".join(parts)
    return _SIZE.pack(len(body) + 4) + body


def cstring(text: bytes) -> bytes:
    """Return `text` with its NUL."""
    assert b"\0" not in text
    return text + b"\0"


def statement_text(body: bytes) -> bytes:
    """Return the text of a Query. Raises ProtocolError unless it is one string and nothing more."""
    if not body or body.find(b"\0") != len(body) - 1:
        raise ProtocolError("a Query that is not one string")
    return body[:-1]


def parse_parts(body: bytes) -> tuple[bytes, bytes, bytes]:
    """Return name, text and the rest (parameter types) of a Parse. Raises ProtocolError."""
    name, at = _string(body, 0)
    text, at = _string(body, at)
    rest = body[at:]
    if len(rest) < 2 or len(rest) != 2 + 4 * int.from_bytes(rest[:2], "big"):
        raise ProtocolError("a Parse with malformed parameter types")
    return _name(name), text, rest


def bind_parts(body: bytes) -> tuple[bytes, bytes]:
    """Return portal and statement of a Bind; its values stay unread. Raises ProtocolError."""
    portal, at = _string(body, 0)
    statement, _ = _string(body, at)
    return _name(portal), _name(statement)


def execute_portal(body: bytes) -> bytes:
    """Return the portal of an Execute. Raises ProtocolError."""
    portal, at = _string(body, 0)
    if len(body) != at + 4:
        raise ProtocolError("a malformed Execute")
    return _name(portal)


def kind_and_name(body: bytes) -> tuple[bytes, bytes]:
    """Return `S` or `P` and the name, of a Describe or a Close. Raises ProtocolError."""
    name, at = _string(body, 1)
    if body[:1] not in (b"S", b"P") or at != len(body):
        raise ProtocolError("a malformed Describe or Close")
    return body[:1], _name(name)


def _string(body: bytes, at: int) -> tuple[bytes, int]:
    end = body.find(b"\0", at)
    if end < 0:
        raise ProtocolError("a string without its end")
    return body[at:end], end + 1


def _name(name: bytes) -> bytes:
    # PostgreSQL cuts longer names off, so two that differ here would be one there.
    if len(name) > NAME_BYTES_MAX:
        raise ProtocolError("a name of more than 63 bytes")
    return name


def fields(body: bytes) -> dict[str, str]:
    """Return the fields of an ErrorResponse or NoticeResponse by their letter."""
    found: dict[str, str] = {}
    for field in body.split(b"\0"):
        if field:
            found[chr(field[0])] = field[1:].decode("utf-8", "replace")
    return found


@functools.lru_cache(maxsize=256)
def tag_of(body: bytes) -> tuple[str, int]:
    """Return the first word of a CommandComplete, and its count of rows."""
    words = body.rstrip(b"\0").decode("ascii", "replace").split(" ")
    return words[0] or "EMPTY", int(words[-1]) if words[-1].isdigit() else 0


def error(
    code: str, text: str, detail: str | None = None, hint: str | None = None, *, fatal: bool = False
) -> bytes:
    """Return an ErrorResponse; texts are cut and lose what the protocol could not carry."""
    severity = "FATAL" if fatal else "ERROR"
    said = {"S": severity, "V": severity, "C": code, "M": text, "D": detail, "H": hint}
    parts = [
        letter.encode("ascii") + cstring(_clean(value)) for letter, value in said.items() if value
    ]
    return message(b"E", *parts, b"\0")


def _clean(text: str) -> bytes:
    return text[:MESSAGE_CHARS_MAX].replace("\0", " ").encode("utf-8", "replace")


def query(text: bytes) -> bytes:
    """Return a Query."""
    return message(b"Q", cstring(text))


def parse(name: bytes, text: bytes, rest: bytes = b"\0\0") -> bytes:
    """Return a Parse; `rest` are its parameter types, none by default."""
    return message(b"P", cstring(name), cstring(text), rest)


def execute(rows: int, portal: bytes = b"") -> bytes:
    """Return an Execute that asks for at most `rows`, 0 for all."""
    return message(b"E", cstring(portal), _rows(rows))


def execute_at_most(frame: bytes, rows: int) -> bytes:
    """Return an Execute that asks for what `frame` does, but for no more than `rows`."""
    asked = int.from_bytes(frame[-4:], "big", signed=True)
    # Anything below 1 asks for all.
    return frame if 0 < asked <= rows else frame[:-4] + _rows(rows)


def _rows(rows: int) -> bytes:
    # More than the protocol can say are all: they are counted as they pass.
    return _SIZE.pack(rows if rows <= _ROWS_MAX else 0)


def describe_statement(name: bytes) -> bytes:
    """Return a Describe of a statement."""
    return message(b"D", b"S", cstring(name))


# The unnamed portal of the unnamed statement, without parameters, everything as text.
BIND: Final = message(b"B", b"\0\0", b"\0" * 6)
DESCRIBE_PORTAL: Final = message(b"D", b"P\0")
FLUSH: Final = message(b"H")
SYNC: Final = message(b"S")
TERMINATE: Final = message(b"X")
AUTHENTICATION_OK: Final = message(b"R", _SIZE.pack(0))
