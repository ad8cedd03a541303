"""What an expression computes with: each type of CEL as exactly one Python type.

| CEL | here | CEL | here |
|---|---|---|---|
| null, bool, int | `None`, `bool`, `int` | list | `list` |
| uint | `Uint` | map | `dict`, keys `str`, `int`, `Uint`, `BoolKey` |
| double, string, bytes | `float`, `str`, `bytes` | timestamp, duration | `Timestamp`, `Duration` |
| type | `TypeValue` | optional | `Maybe` |

A parsed JSON document is a value as it stands. Types are told apart by `type(x) is …`: a bool is
never a number although Python's is an int, and whatever is none of these is refused by every
function. Python takes `1` and `True` for the same key, so a bool stands in a dict as `BoolKey`.

INVARIANT: an int lies in int64 and a `Uint` in uint64; every function that makes one checks it.
"""

from typing import Final, TypeAlias

import msgspec

from sidecar.policy.language.faults import NoSuchOverload, Overflow

INT_MIN: Final = -(2**63)
INT_MAX: Final = 2**63 - 1
UINT_MAX: Final = 2**64 - 1
NANOS: Final = 1_000_000_000
# 0001-01-01T00:00:00Z and 9999-12-31T23:59:59.999999999Z.
TIMESTAMP_MIN: Final = -62_135_596_800 * NANOS
TIMESTAMP_MAX: Final = 253_402_300_800 * NANOS - 1
# google.protobuf.Duration: ten thousand years of 365.25 days.
DURATION_MAX: Final = 315_576_000_000 * NANOS


class Uint(int):
    """An unsigned 64-bit integer; arithmetic on it goes through the functions, not `+`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"{int(self)}u"


class BoolKey(msgspec.Struct, frozen=True):
    """A bool as a key of a map."""

    value: bool


TRUE_KEY: Final = BoolKey(value=True)
FALSE_KEY: Final = BoolKey(value=False)


class Timestamp(msgspec.Struct, frozen=True, order=True, gc=False):
    """An instant, in nanoseconds since 1970-01-01T00:00:00Z."""

    nanos: int


class Duration(msgspec.Struct, frozen=True, order=True, gc=False):
    """A span of time, in nanoseconds."""

    nanos: int


class TypeValue(msgspec.Struct, frozen=True, gc=False):
    """A type as a value: `int`, `google.protobuf.Timestamp`."""

    name: str


class Maybe(msgspec.Struct, frozen=True):
    """An optional: a value, or none. Compare it with `equals`, as all that may hold values."""

    value: object = None
    has: bool = False


NONE: Final = Maybe()


class Ip(msgspec.Struct, frozen=True, gc=False):
    """An IP address without zone; an IPv4-mapped one is its IPv4 address."""

    version: int
    number: int


class Cidr(msgspec.Struct, frozen=True, gc=False):
    """An address with the length of its network's prefix, as written: host bits stay."""

    ip: Ip
    prefix: int


class Quantity(msgspec.Struct, frozen=True, gc=False):
    """A Kubernetes quantity, exact to a billionth."""

    nanos: int


class Url(msgspec.Struct, frozen=True, gc=False):
    """A URL in parts: scheme and host in lower case, path escaped, query as written."""

    scheme: str
    host: str
    hostname: str
    port: str
    path: str
    query: str


Key: TypeAlias = str | int | BoolKey
Scalar: TypeAlias = bool | int | float | str | bytes | None
Opaque: TypeAlias = Timestamp | Duration | TypeValue | Maybe | Ip | Cidr | Quantity | Url
Value: TypeAlias = Scalar | Opaque | list["Value"] | dict[Key, "Value"]

NUMBERS: Final = frozenset({int, Uint, float})
KEY_KINDS: Final = frozenset({str, int, Uint, BoolKey})
# Values without parts: `==` of Python means the same on two of one such type.
PLAIN: Final = frozenset(
    {
        *(type(None), bool, int, Uint, float, str, bytes),
        *(Timestamp, Duration, TypeValue, Ip, Cidr, Quantity, Url),
    }
)
TYPE_NAMES: Final[dict[type, str]] = {
    type(None): "null_type",
    bool: "bool",
    int: "int",
    Uint: "uint",
    float: "double",
    str: "string",
    bytes: "bytes",
    list: "list",
    dict: "map",
    Timestamp: "google.protobuf.Timestamp",
    Duration: "google.protobuf.Duration",
    TypeValue: "type",
    Maybe: "optional_type",
    Ip: "net.IP",
    Cidr: "net.CIDR",
    Quantity: "kubernetes.Quantity",
    Url: "kubernetes.URL",
}
# What an expression may name: `type(x) == int`.
TYPES: Final = {name: TypeValue(name) for name in TYPE_NAMES.values()}


def type_of(value: object) -> TypeValue:
    """Return the type of a value.

    Raises:
        NoSuchOverload: `value` is not of the language.
    """
    name = TYPE_NAMES.get(type(value))
    if name is None:
        raise NoSuchOverload
    return TYPES[name]


def integer(number: int) -> int:
    """Return `number` where it is an int64."""
    if INT_MIN <= number <= INT_MAX:
        return number
    raise Overflow


def unsigned(number: int) -> Uint:
    """Return `number` where it is a uint64."""
    if 0 <= number <= UINT_MAX:
        return Uint(number)
    raise Overflow


def instant(nanos: int) -> Timestamp:
    """Return the instant, where it lies in the years 1 to 9999."""
    if TIMESTAMP_MIN <= nanos <= TIMESTAMP_MAX:
        return Timestamp(nanos)
    raise Overflow


def span(nanos: int) -> Duration:
    """Return what arithmetic on times came to: nanoseconds in an int64, about 292 years."""
    return Duration(integer(nanos))
