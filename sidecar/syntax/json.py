"""JSON read strictly: no duplicate keys, no numbers that consumers read differently, bounded depth.

orjson and the standard library both keep the last of two equal keys in silence, and two parsers
that keep different ones is a way round a policy (RFC 8259 §4). The grammar is orjson's (it
refuses NaN, infinities, lone surrogates, byte order marks and trailing data); keys are then
checked by the standard library's reader on the same bytes, which is asked only for the pairs.

Most texts are proven plain without it. Each member has one colon outside of strings. A reader that
drops a member writes back at least that colon fewer, and never more colons in strings than it read,
unless an escape spelt one. So where no character is escaped by number, as many colons written as
read means that nothing was dropped; where no run of digits is long, no integer is out of range.
"""

import json
import re
from typing import Any

import orjson

from sidecar.syntax.limits import JSON_BYTES_MAX, JSON_DEPTH_MAX, JSON_INT_MAX
from sidecar.terms.errors import ParseError
from sidecar.terms.reasons import reason

# Possessive, and a string left open runs to the end: whatever the text, one pass and no memory.
_STRINGS = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_BRACKETS = re.compile(rb"[\[\]{}]")
# Each digit becomes 0, every other byte a space: a run of so many may be beyond 64 bits, or a float
# that two readers round differently.
_DIGITS = bytes(0x30 if 0x30 <= byte <= 0x39 else 0x20 for byte in range(256))
_LONG_RUN = b"0" * 16
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*+\\u0000")


def loads(data: bytes | str, *, bytes_max: int = JSON_BYTES_MAX) -> Any:
    """Return the value of one JSON text.

    Args:
        data: UTF-8 bytes or text.
        bytes_max: Longer texts are refused unread.

    Raises:
        ParseError: `parse.too_large`, `parse.syntax`, `parse.duplicate_key`, `parse.number`.

    Source: RFC 8259; RFC 7493 (I-JSON) for duplicate keys and number range.
    """
    raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    if len(raw) > bytes_max:
        raise ParseError(reason("parse.too_large"), f"JSON of more than {bytes_max} bytes")
    _check_depth(raw)
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise ParseError(
            reason("parse.syntax"), f"not JSON at line {error.lineno} column {error.colno}"
        ) from None
    return value if _is_plain(raw, value) else _READER.decode(raw.decode())


def _is_plain(raw: bytes, value: Any) -> bool:
    """Return whether `value`, as orjson read it, is surely what the strict reader would read."""
    return (
        b"\\u" not in raw
        and _LONG_RUN not in raw.translate(_DIGITS)
        and orjson.dumps(value).count(b":") == raw.count(b":")
    )


def holds_nul(raw: bytes) -> bool:
    """Return whether a text or a key of well-formed JSON holds U+0000."""
    return b"\\u0000" in raw and _NUL.search(raw) is not None


def _check_depth(raw: bytes) -> None:
    """Refuse nesting beyond the bound before any recursive reader sees it."""
    if raw.count(b"[") + raw.count(b"{") <= JSON_DEPTH_MAX:
        return
    depth = 0
    # Brackets inside strings do not count; a string left open is refused by the grammar later.
    for bracket in _BRACKETS.findall(_STRINGS.sub(b"", raw)):
        depth += 1 if bracket in b"[{" else -1
        if depth > JSON_DEPTH_MAX:
            raise ParseError(reason("parse.too_large"), f"JSON nested deeper than {JSON_DEPTH_MAX}")


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
