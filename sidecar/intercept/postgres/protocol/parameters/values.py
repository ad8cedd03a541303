"""The values of a Bind, for rules that read `request.sql.params`.

A value is read as the type that the server has for the parameter, never as the client calls it: the
same value then reads the same however it is written. What may be spelt in more ways than are known
here, and every type that is not listed, is left unread: a rule that asks for it errs.

Source: PostgreSQL documentation, "Message Formats" (Bind, ParameterDescription); the binary forms
are those of each type's `send` function.
"""

import re
import struct
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Final

from sidecar.intercept.postgres.protocol.wire import ProtocolError
from sidecar.terms.call import Json

_INTEGER: Final = re.compile(r"[ \t\r\n]*([+-]?[0-9]{1,19})[ \t\r\n]*")
_DECIMAL: Final = re.compile(r"[ \t\r\n]*([+-]?[0-9]{1,40}(\.[0-9]{1,40})?)[ \t\r\n]*")
_TRUE: Final = frozenset(("t", "true", "y", "yes", "on", "1"))
_FALSE: Final = frozenset(("f", "false", "n", "no", "off", "0"))
# What every reader of JSON has as a whole number (RFC 8259 §6).
_INTEGER_MAX: Final = 2**53
# FLT_MIN: below it fewer bits are kept.
_SINGLE_NORMAL_MIN: Final = 2.0**-126
_NUMERIC_NEGATIVE: Final = 0x4000


class Unread(Exception):
    """A value that is not read here."""


def described_types(body: bytes) -> tuple[int, ...]:
    """Return the types of a ParameterDescription. Raises ProtocolError."""
    count = int.from_bytes(body[:2], "big")
    if len(body) != 2 + 4 * count:
        raise ProtocolError("a malformed ParameterDescription")
    return struct.unpack(f"!{count}I", body[2:])


def bound_values(body: bytes, types: tuple[int, ...]) -> list[Json]:
    """Return the values of a Bind.

    Raises:
        Unread: One of them is of a type, or written in a way, that is not read.
        ProtocolError: It is malformed.
    """
    try:
        formats, values = _raw(body)
    except (struct.error, ValueError):
        raise ProtocolError("a malformed Bind") from None
    if len(values) != len(types) or len(formats) not in (0, 1, len(values)):
        # The server refuses it.
        raise Unread
    if len(formats) < len(values):
        formats = (formats or (0,)) * len(values)
    return [
        None if raw is None else _value(oid, code, raw)
        for oid, code, raw in zip(types, formats, values, strict=True)
    ]


def _raw(body: bytes) -> tuple[tuple[int, ...], list[bytes | None]]:
    at = body.index(b"\0", body.index(b"\0") + 1) + 1
    (count,) = struct.unpack_from("!H", body, at)
    formats = struct.unpack_from(f"!{count}h", body, at + 2)
    at += 2 + 2 * count
    (count,) = struct.unpack_from("!H", body, at)
    at += 2
    values: list[bytes | None] = []
    for _ in range(count):
        (size,) = struct.unpack_from("!i", body, at)
        at += 4
        if size < -1 or at + size > len(body):
            raise ValueError
        values.append(None if size == -1 else body[at : at + size])
        at += max(size, 0)
    return formats, values


def _value(oid: int, code: int, raw: bytes) -> Json:
    read = _READERS.get((oid, code))
    if read is None:
        raise Unread
    try:
        return read(raw)
    except (ValueError, ArithmeticError, struct.error):
        raise Unread from None


def _whole(number: int) -> int:
    if abs(number) >= _INTEGER_MAX:
        raise Unread
    return number


def _text_integer(raw: bytes) -> Json:
    found = _INTEGER.fullmatch(raw.decode("ascii"))
    if found is None:
        raise Unread
    return _whole(int(found[1]))


def _binary_integer(size: int) -> Callable[[bytes], Json]:
    def read(raw: bytes) -> Json:
        if len(raw) != size:
            raise Unread
        return _whole(int.from_bytes(raw, "big", signed=True))

    return read


def _decimal(raw: bytes) -> Decimal:
    found = _DECIMAL.fullmatch(raw.decode("ascii"))
    if found is None:
        raise Unread
    return Decimal(found[1])


def _text_numeric(raw: bytes) -> Json:
    return _exact(_decimal(raw))


def _text_float(raw: bytes) -> Json:
    # The server keeps the nearest that the type has, whatever digits follow.
    return _number(Decimal(float(_decimal(raw))))


def _text_single(raw: bytes) -> Json:
    double = float(_decimal(raw))
    (bits,) = struct.unpack("!Q", struct.pack("!d", double))
    # Rounded twice, what lies about half-way between two of them might come out as the other one.
    if bits & 0x1FFFFFFF == 0x10000000 or 0 < abs(double) < _SINGLE_NORMAL_MIN:
        raise Unread
    (single,) = struct.unpack("!f", struct.pack("!f", double))
    return _number(Decimal(single))


def _exact(number: Decimal) -> Json:
    """Return a `numeric`, which has digits that no float has; those are left."""
    found = _number(number)
    if Decimal(repr(found)) != number:
        raise Unread
    return found


def _number(number: Decimal) -> Json:
    if not number.is_finite():
        raise Unread
    return _whole(int(number)) if number == number.to_integral_value() else float(number)


def _binary_numeric(raw: bytes) -> Json:
    count, weight, sign, _scale = struct.unpack_from("!HhHH", raw)
    if sign not in (0, _NUMERIC_NEGATIVE) or abs(weight) > 20 or len(raw) != 8 + 2 * count:
        raise Unread
    digits = struct.unpack_from(f"!{count}H", raw, 8)
    found = sum((Decimal(d).scaleb(4 * (weight - i)) for i, d in enumerate(digits)), Decimal(0))
    return _exact(-found if sign else found)


def _binary_float(form: str) -> Callable[[bytes], Json]:
    def read(raw: bytes) -> Json:
        (found,) = struct.unpack(form, raw)
        return _number(Decimal(found))

    return read


def _text_bool(raw: bytes) -> Json:
    word = raw.decode("ascii").strip(" \t\r\n").lower()
    if word not in _TRUE | _FALSE:
        raise Unread
    return word in _TRUE


def _binary_bool(raw: bytes) -> Json:
    if raw not in (b"\0", b"\1"):
        raise Unread
    return raw == b"\1"


def _text(raw: bytes) -> Json:
    return raw.decode("utf-8")


def _padded(raw: bytes) -> Json:
    # Spaces at the end of a `char(n)` are not part of its value.
    return raw.decode("utf-8").rstrip(" ")


def _text_uuid(raw: bytes) -> Json:
    return str(uuid.UUID(raw.decode("ascii")))


def _binary_uuid(raw: bytes) -> Json:
    return str(uuid.UUID(bytes=raw))


# (type, format 0 for text or 1 for binary) → reader; the numbers are pg_type.oid.
_READERS: Final[dict[tuple[int, int], Callable[[bytes], Json]]] = {
    (16, 0): _text_bool, (16, 1): _binary_bool,
    (21, 0): _text_integer, (21, 1): _binary_integer(2),
    (23, 0): _text_integer, (23, 1): _binary_integer(4),
    (20, 0): _text_integer, (20, 1): _binary_integer(8),
    (700, 1): _binary_float("!f"), (701, 1): _binary_float("!d"),
    (700, 0): _text_single, (701, 0): _text_float,
    (1700, 0): _text_numeric, (1700, 1): _binary_numeric,
    (25, 0): _text, (25, 1): _text, (1043, 0): _text, (1043, 1): _text,
    (1042, 0): _padded, (1042, 1): _padded,
    (2950, 0): _text_uuid, (2950, 1): _binary_uuid,
}  # fmt: skip
