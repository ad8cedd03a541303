"""`+ - * / % -x`: integers that never wrap, doubles as IEEE 754 has them, times, joined texts.

Two numbers of different types have no sum: `1 + 1.0` is an error, as the specification says.
"""

import math
from typing import Final

from sidecar.policy.language.faults import BudgetExceeded, DivideByZero, NoSuchOverload
from sidecar.policy.language.functions.signature import function
from sidecar.policy.language.values.kinds import (
    Duration,
    Timestamp,
    Uint,
    instant,
    integer,
    span,
    unsigned,
)
from sidecar.policy.language.values.limits import ITEMS_MAX, TEXT_CHARS_MAX


def add(left: object, right: object) -> object:
    """Return the sum of numbers or times, or two texts or lists one after the other."""
    if type(left) is int and type(right) is int:
        return integer(left + right)
    if type(left) is float and type(right) is float:
        return left + right
    if type(left) is str and type(right) is str:
        _bound(len(left) + len(right), TEXT_CHARS_MAX)
        return left + right
    if type(left) is Uint and type(right) is Uint:
        return unsigned(int(left) + int(right))
    return _add_others(left, right)


def _add_others(left: object, right: object) -> object:
    if type(left) is list and type(right) is list:
        _bound(len(left) + len(right), ITEMS_MAX)
        return left + right
    if type(left) is bytes and type(right) is bytes:
        _bound(len(left) + len(right), TEXT_CHARS_MAX)
        return left + right
    if type(right) is Duration:
        if type(left) is Timestamp:
            return instant(left.nanos + right.nanos)
        if type(left) is Duration:
            return span(left.nanos + right.nanos)
    elif type(left) is Duration and type(right) is Timestamp:
        return instant(left.nanos + right.nanos)
    raise NoSuchOverload


def _bound(size: int, most: int) -> None:
    if size > most:
        raise BudgetExceeded


def subtract(left: object, right: object) -> object:
    """Return the difference of numbers or times."""
    if type(left) is int and type(right) is int:
        return integer(left - right)
    if type(left) is float and type(right) is float:
        return left - right
    if type(left) is Uint and type(right) is Uint:
        return unsigned(int(left) - int(right))
    if type(left) is Timestamp:
        if type(right) is Timestamp:
            return span(left.nanos - right.nanos)
        if type(right) is Duration:
            return instant(left.nanos - right.nanos)
    elif type(left) is Duration and type(right) is Duration:
        return span(left.nanos - right.nanos)
    raise NoSuchOverload


def multiply(left: object, right: object) -> object:
    """Return the product of two numbers."""
    if type(left) is int and type(right) is int:
        return integer(left * right)
    if type(left) is float and type(right) is float:
        return left * right
    if type(left) is Uint and type(right) is Uint:
        return unsigned(int(left) * int(right))
    raise NoSuchOverload


def divide(left: object, right: object) -> object:
    """Return the quotient; of integers it is cut towards zero."""
    if type(left) is int and type(right) is int:
        if right == 0:
            raise DivideByZero
        quotient = abs(left) // abs(right)
        return integer(quotient if (left < 0) == (right < 0) else -quotient)
    if type(left) is float and type(right) is float:
        return left / right if right else _divided_by_zero(left, right)
    if type(left) is Uint and type(right) is Uint:
        if right == 0:
            raise DivideByZero
        return Uint(int(left) // int(right))
    raise NoSuchOverload


def _divided_by_zero(left: float, zero: float) -> float:
    if left == 0 or math.isnan(left):
        return math.nan
    return math.copysign(math.inf, left) * math.copysign(1.0, zero)


def modulo(left: object, right: object) -> object:
    """Return the remainder, which has the sign of `left`; doubles have none."""
    if type(left) is int and type(right) is int:
        if right == 0:
            raise DivideByZero
        # The quotient of the smallest integer and -1 does not exist, so neither does the rest.
        divide(left, right)
        rest = abs(left) % abs(right)
        return -rest if left < 0 else rest
    if type(left) is Uint and type(right) is Uint:
        if right == 0:
            raise DivideByZero
        return Uint(int(left) % int(right))
    raise NoSuchOverload


def negate(value: object) -> object:
    """Return the opposite of an int or double."""
    if type(value) is int:
        return integer(-value)
    if type(value) is float:
        return -value
    raise NoSuchOverload


DECLARED: Final = (
    function(
        "_+_",
        add,
        "int, int -> int",
        "uint, uint -> uint",
        "double, double -> double",
        "string, string -> string",
        "bytes, bytes -> bytes",
        "list(A), list(A) -> list(A)",
        "timestamp, duration -> timestamp",
        "duration, timestamp -> timestamp",
        "duration, duration -> duration",
    ),
    function(
        "_-_",
        subtract,
        "int, int -> int",
        "uint, uint -> uint",
        "double, double -> double",
        "timestamp, timestamp -> duration",
        "timestamp, duration -> timestamp",
        "duration, duration -> duration",
    ),
    function("_*_", multiply, "int, int -> int", "uint, uint -> uint", "double, double -> double"),
    function("_/_", divide, "int, int -> int", "uint, uint -> uint", "double, double -> double"),
    function("_%_", modulo, "int, int -> int", "uint, uint -> uint"),
    function("-_", negate, "int -> int", "double -> double"),
)
