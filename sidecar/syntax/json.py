"""JSON read strictly: no duplicate keys, no numbers that consumers read differently, bounded depth.

orjson and the standard library both keep the last of two equal keys in silence, and two parsers
that keep different ones is a way round a policy (RFC 8259 §4). The grammar is orjson's (it
refuses NaN, infinities, lone surrogates, byte order marks and trailing data); keys are then
checked by the standard library's reader on the same bytes, which is asked only for the pairs.

Most texts are proven plain without it, at a cost that is counted in bytes. Each member has one
colon outside of strings, and a reader that drops a member writes back at least that colon fewer. So
as many colons written as read, those that an escape spells among them, mean that nothing was
dropped. Of numbers only the long ones can be read in two ways, and those alone are read again.

What a value costs is far more than its bytes: how many there are is bounded before any is made.
"""

import json
import re
from itertools import accumulate
from typing import Any

import orjson

from sidecar.syntax.limits import (
    JSON_BYTES_MAX,
    JSON_DEPTH_MAX,
    JSON_INT_MAX,
    JSON_VALUES_MAX,
)
from sidecar.terms.errors import ParseError
from sidecar.terms.reasons import reason

# What each byte outside of strings does to the depth: one more, one less, nothing to be looked at.
_STEPS = bytes(1 if byte in b"[{" else 255 for byte in range(256))
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
# Each digit becomes 0, every other byte a space: a run of so many may be beyond 64 bits, or a float
# that two readers round differently.
_DIGITS = bytes(0x30 if 0x30 <= byte <= 0x39 else 0x20 for byte in range(256))
_LONG_RUN = b"0" * 16
_LONG_NUMBER = re.compile(rb"[-+.eE0-9]{16,}+")
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*+\\u0000")


def loads(
    data: bytes | str,
    *,
    bytes_max: int = JSON_BYTES_MAX,
    values_max: int = JSON_VALUES_MAX,
) -> Any:
    """Return the value of one JSON text.

    Args:
        data: UTF-8 bytes or text.
        bytes_max: Longer texts are refused unread.
        values_max: So are texts of more values; each is an object, a list, a text, a number or a
            word.

    Raises:
        ParseError: `parse.too_large`, `parse.syntax`, `parse.duplicate_key`, `parse.number`.

    Source: RFC 8259; RFC 7493 (I-JSON) for duplicate keys and number range.
    """
    raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    if len(raw) > bytes_max:
        raise ParseError(reason("parse.too_large"), f"JSON of more than {bytes_max} bytes")
    _check_size(raw, values_max)
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise ParseError(
            reason("parse.syntax"), f"not JSON at line {error.lineno} column {error.colno}"
        ) from None
    return value if _is_plain(raw, value) else _READER.decode(raw.decode())


def _is_plain(raw: bytes, value: Any) -> bool:
    """Return whether `value`, as orjson read it, is surely what the strict reader would read."""
    colons = raw.count(b":")
    if b"\\u003" in raw:
        escapes = raw.replace(b"\\\\", b"")
        colons += escapes.count(b"\\u003a") + escapes.count(b"\\u003A")
    if orjson.dumps(value).count(b":") != colons:
        return False
    return _LONG_RUN not in raw.translate(_DIGITS) or _are_exact(_outside(raw))


def _are_exact(bare: bytes) -> bool:
    """Return whether both readers read the same of the long numbers outside of strings."""
    long = b"[" + b",".join(_LONG_NUMBER.findall(bare)) + b"]"
    try:
        return bool(_READER.decode(long.decode()) == orjson.loads(long))
    except ParseError:
        return False


def holds_nul(raw: bytes) -> bool:
    """Return whether a text or a key of well-formed JSON holds U+0000."""
    return b"\\u0000" in raw and _NUL.search(raw) is not None


def _check_size(raw: bytes, values_max: int) -> None:
    """Refuse what is nested too deeply, or has too many values, before anything is made of it."""
    opened = raw.count(b"[") + raw.count(b"{")
    if opened <= JSON_DEPTH_MAX and opened + raw.count(b",") < values_max:
        return
    bare = _outside(raw, values_max)
    brackets = bare.translate(_STEPS, _NO_BRACKETS)
    # Each value is the first of what holds it, or follows a comma, or is the whole.
    if brackets.count(1) + bare.count(b",") >= values_max:
        raise _too_many(values_max)
    if max(accumulate(memoryview(brackets).cast("b")), default=0) > JSON_DEPTH_MAX:
        raise ParseError(reason("parse.too_large"), f"JSON nested deeper than {JSON_DEPTH_MAX}")


def holds_more(value: Any, values_max: int) -> bool:
    """Return whether a value that was read here holds more than so many values."""
    raw = orjson.dumps(value)
    if raw.count(b"[") + raw.count(b"{") + raw.count(b",") < values_max:
        return False
    bare = _outside(raw)
    return bare.count(b"[") + bare.count(b"{") + bare.count(b",") >= values_max


def _outside(raw: bytes, values_max: int | None = None) -> bytes:
    """Return what of a text stands outside of strings; of what is no JSON, up to where that is.

    A run of backslashes begins with an escape, so that pairs of them, taken from its begin, and the
    quotes behind an odd one are no ends of strings.
    """
    if b"\\" in raw:
        raw = raw.replace(b"\\\\", b"").replace(b'\\"', b"")
    # A value and its name have four quotes at most.
    if values_max is not None and raw.count(b'"') > 4 * values_max:
        raise _too_many(values_max)
    return b"".join(raw.split(b'"')[::2])


def _too_many(values_max: int) -> ParseError:
    return ParseError(reason("parse.too_large"), f"JSON of more than {values_max} values")


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ParseError(reason("parse.duplicate_key"), "a JSON object names a key twice")
    return found


def _integer(digits: str) -> int:
    # Length first: int() of a million digits is quadratic.
    if len(digits) > 20 or not -JSON_INT_MAX - 1 <= int(digits) <= JSON_INT_MAX:
        raise ParseError(reason("parse.number"), "an integer outside the 64-bit range")
    return int(digits)


def _float(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise ParseError(reason("parse.number"), "a number outside the range of a double")
    return value


def _constant(_name: str) -> Any:
    raise ParseError(reason("parse.number"), "NaN and infinities are not JSON")


_READER = json.JSONDecoder(
    object_pairs_hook=_pairs, parse_int=_integer, parse_float=_float, parse_constant=_constant
)


def canonical(value: Any) -> bytes:
    """Return the RFC 8785 form of a value without floats and with string keys.

    Sorted keys over ASCII-keyed dicts without floats is RFC 8785 (JCS) to the byte; the caller
    guarantees the profile, records and digests keep to it.
    """
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
