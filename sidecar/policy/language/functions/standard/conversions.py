"""`int() uint() double() string() bytes() bool() type() dyn()`: from one type to another.

Texts are read strictly: ASCII digits with a sign, no white space, no underscores, no other base.
A double becomes an integer by cutting towards zero, and must lie strictly inside of its range.
"""

import re
from typing import Final

from sidecar.policy.language.faults import BadConversion, NoSuchOverload, Overflow
from sidecar.policy.language.functions.signature import function
from sidecar.policy.language.values.kinds import (
    NANOS,
    Cidr,
    Duration,
    Ip,
    Timestamp,
    TypeValue,
    Uint,
    integer,
    type_of,
    unsigned,
)
from sidecar.policy.language.values.limits import SCALAR_CHARS_MAX
from sidecar.policy.language.values.texts import (
    cidr_text,
    double_text,
    duration_text,
    ip_text,
    timestamp_text,
)

_INTEGER: Final = re.compile(r"[+-]?[0-9]+")
_UNSIGNED: Final = re.compile(r"\+?[0-9]+")
_DOUBLE: Final = re.compile(
    r"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|inf(?:inity)?|nan)", re.IGNORECASE
)
_BOOLS: Final = {
    **dict.fromkeys(("1", "t", "true", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "false", "FALSE", "False"), False),
}


def _read(text: str, form: re.Pattern[str]) -> str:
    if len(text) > SCALAR_CHARS_MAX or not form.fullmatch(text):
        raise BadConversion
    return text


def to_int(value: object) -> int:
    """Return an int: of a timestamp the seconds since 1970."""
    if type(value) is int:
        return value
    if type(value) is Uint:
        return integer(int(value))
    if type(value) is float:
        if -(2.0**63) < value < 2.0**63:
            return int(value)
        raise Overflow
    if type(value) is str:
        return integer(int(_read(value, _INTEGER)))
    if type(value) is Timestamp:
        return value.nanos // NANOS
    raise NoSuchOverload


def to_uint(value: object) -> Uint:
    """Return a uint."""
    if type(value) is Uint:
        return value
    if type(value) is int:
        return unsigned(value)
    if type(value) is float:
        if 0.0 <= value < 2.0**64:
            return Uint(value)
        raise Overflow
    if type(value) is str:
        return unsigned(int(_read(value, _UNSIGNED)))
    raise NoSuchOverload


def to_double(value: object) -> float:
    """Return a double, the nearest where an integer has none."""
    if type(value) is float:
        return value
    if isinstance(value, int) and type(value) in {int, Uint}:
        try:
            return float(value)
        except OverflowError:
            raise Overflow from None
    if type(value) is str:
        return float(_read(value, _DOUBLE))
    raise NoSuchOverload


def to_string(value: object) -> str:
    """Return the text of a scalar, time or address; bytes are read as UTF-8."""
    if type(value) is str:
        return value
    if type(value) is bool:
        return "true" if value else "false"
    if type(value) is int or type(value) is Uint:
        return str(int(value))
    if type(value) is float:
        return double_text(value)
    if type(value) is bytes:
        return _utf8(value)
    return _other_text(value)


def _other_text(value: object) -> str:
    if type(value) is Timestamp:
        return timestamp_text(value)
    if type(value) is Duration:
        return duration_text(value)
    if type(value) is Ip:
        return ip_text(value)
    if type(value) is Cidr:
        return cidr_text(value)
    raise NoSuchOverload


def _utf8(value: bytes) -> str:
    """Return the text that `value` encodes."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise BadConversion from None


def encoded(text: str) -> bytes:
    """Return `text` in UTF-8; a lone surrogate, which no reader lets in, has no bytes."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise BadConversion from None


def to_bytes(value: object) -> bytes:
    """Return bytes: of a string its UTF-8."""
    if type(value) is bytes:
        return value
    if type(value) is str:
        return encoded(value)
    raise NoSuchOverload


def to_bool(value: object) -> bool:
    """Return a bool: of a string one of ten spellings."""
    if type(value) is bool:
        return value
    if type(value) is str:
        if value in _BOOLS:
            return _BOOLS[value]
        raise BadConversion
    raise NoSuchOverload


def type_name(value: object) -> TypeValue:
    """Return the type of `value`."""
    return type_of(value)


def dyn(value: object) -> object:
    """Return `value`, of which the checker then knows nothing."""
    type_of(value)
    return value


DECLARED: Final = (
    function(
        "int",
        to_int,
        "int -> int",
        "uint -> int",
        "double -> int",
        "string -> int",
        "timestamp -> int",
    ),
    function("uint", to_uint, "uint -> uint", "int -> uint", "double -> uint", "string -> uint"),
    function(
        "double",
        to_double,
        "double -> double",
        "int -> double",
        "uint -> double",
        "string -> double",
    ),
    function(
        "string",
        to_string,
        *(
            f"{kind} -> string"
            for kind in (
                *("string", "bool", "int", "uint", "double", "bytes"),
                *("timestamp", "duration", "ip", "cidr"),
            )
        ),
    ),
    function("bytes", to_bytes, "bytes -> bytes", "string -> bytes"),
    function("bool", to_bool, "bool -> bool", "string -> bool"),
    function("type", type_name, "A -> type"),
    function("dyn", dyn, "A -> dyn"),
)
