"""Protobuf's wrapper messages, the only messages that there are: each is the value that it wraps.

`google.protobuf.Int32Value{value: 1}` is the int 1, and without a value the type's zero. They bring
the ranges that CEL's own types lack: 32 bits, and a double as precise as a float.

Source: https://github.com/google/cel-spec/blob/master/doc/langdef.md#dynamic-values
"""

import math
import struct
from collections.abc import Callable
from typing import Final, NamedTuple

from sidecar.policy.language.faults import NoSuchOverload, Overflow
from sidecar.policy.language.types import (
    BOOL,
    BYTES,
    DOUBLE,
    INT,
    STRING,
    UINT,
    AnyType,
)
from sidecar.policy.language.values import Uint

FIELD: Final = "value"


class Wrapper(NamedTuple):
    """What a message wraps: its type, its zero, and what else is asked of it."""

    type: AnyType
    zero: object
    narrow: Callable[[object], object]

    def wrapped(self, value: object) -> object:
        """Return `value` as the message holds it."""
        if type(value) is not type(self.zero):
            raise NoSuchOverload
        return self.narrow(value)


def _same(value: object) -> object:
    return value


def _within(least: int, most: int) -> Callable[[object], object]:
    def narrow(value: object) -> object:
        if isinstance(value, int) and least <= value <= most:
            return value
        raise Overflow

    return narrow


def _single(value: object) -> object:
    assert isinstance(value, float)
    try:
        return struct.unpack("<f", struct.pack("<f", value))[0]
    except OverflowError:
        return math.copysign(math.inf, value)


WRAPPERS: Final = {
    f"google.protobuf.{name}Value": wrapper
    for name, wrapper in {
        "Bool": Wrapper(BOOL, False, _same),  # noqa: FBT003  # a zero
        "Bytes": Wrapper(BYTES, b"", _same),
        "Double": Wrapper(DOUBLE, 0.0, _same),
        "Float": Wrapper(DOUBLE, 0.0, _single),
        "Int32": Wrapper(INT, 0, _within(-(2**31), 2**31 - 1)),
        "Int64": Wrapper(INT, 0, _same),
        "String": Wrapper(STRING, "", _same),
        "UInt32": Wrapper(UINT, Uint(0), _within(0, 2**32 - 1)),
        "UInt64": Wrapper(UINT, Uint(0), _same),
    }.items()
}
