"""The math extension: greatest and least across number types, rounding, signs, bits.

Rounding takes doubles alone and gives doubles; halves go away from zero. Bits are those of 64-bit
two's complement, and a shift to the right fills with zeros, of negative numbers too.

Source: https://github.com/google/cel-go/blob/master/ext/README.md#math
"""

import math
from collections.abc import Callable
from typing import Final

from sidecar.policy.language.faults import InvalidArgument, NoSuchOverload
from sidecar.policy.language.functions.signature import Function, function
from sidecar.policy.language.values.equality import aligned
from sidecar.policy.language.values.kinds import INT_MAX, NUMBERS, UINT_MAX, Uint, integer

# `math.greatest(a, b, …)` takes any number of arguments; the table holds as many as anyone writes.
ARGUMENTS_MAX: Final = 32


def _numbers(args: tuple[object, ...]) -> list[float]:
    given = args[0] if len(args) == 1 and type(args[0]) is list else list(args)
    assert isinstance(given, list)
    if not given:
        raise InvalidArgument
    if not NUMBERS.issuperset(map(type, given)):
        raise NoSuchOverload
    return given


def greatest(*args: object) -> object:
    """Return the greatest of numbers, or of a list of them; of equals the first."""
    best, *rest = _numbers(args)
    for number in rest:
        one, other = aligned(best, number)
        best = number if one < other else best
    return best


def least(*args: object) -> object:
    """Return the least of numbers, or of a list of them; of equals the first."""
    best, *rest = _numbers(args)
    for number in rest:
        one, other = aligned(best, number)
        best = number if other < one else best
    return best


def _on_doubles(change: Callable[[float], int]) -> Callable[[object], float]:
    """Return a rounding that leaves NaN and infinities as they are, and keeps the sign of zero."""

    def rounded(value: object) -> float:
        if type(value) is not float:
            raise NoSuchOverload
        return math.copysign(float(change(value)), value) if math.isfinite(value) else value

    return rounded


def _half_away(value: float) -> int:
    whole = math.trunc(value)
    # The difference is exact, which `value + 0.5` would not be.
    return whole + int(math.copysign(1, value)) if abs(value - whole) >= 0.5 else whole


def _asks(test: Callable[[float], bool]) -> Callable[[object], bool]:
    def asked(value: object) -> bool:
        if type(value) is float:
            return test(value)
        raise NoSuchOverload

    return asked


def absolute(value: object) -> object:
    """Return a number without its sign."""
    if type(value) is int:
        return integer(abs(value))
    if type(value) is Uint:
        return value
    if type(value) is float:
        return abs(value)
    raise NoSuchOverload


def sign(value: object) -> object:
    """Return -1, 0 or 1 in the type of the number; of NaN, NaN."""
    if type(value) is int:
        return (value > 0) - (value < 0)
    if type(value) is Uint:
        return Uint(value > 0)
    if type(value) is float:
        return value if math.isnan(value) else float((value > 0) - (value < 0))
    raise NoSuchOverload


def square_root(value: object) -> float:
    """Return the square root as a double; of a negative number NaN."""
    if type(value) in NUMBERS:
        number = float(value)  # type: ignore[arg-type]  # a number
        return math.sqrt(number) if number >= 0 else math.nan
    raise NoSuchOverload


def _signed(bits: int) -> int:
    return bits - (UINT_MAX + 1) if bits > INT_MAX else bits


def _on_bits(change: Callable[[int, int], int]) -> Callable[[object, object], object]:
    def changed(left: object, right: object) -> object:
        if type(left) is int and type(right) is int:
            return change(left, right)
        if type(left) is Uint and type(right) is Uint:
            return Uint(change(int(left), int(right)))
        raise NoSuchOverload

    return changed


def bit_not(value: object) -> object:
    """Return a number with every bit turned."""
    if type(value) is int:
        return ~value
    if type(value) is Uint:
        return Uint(UINT_MAX - value)
    raise NoSuchOverload


def _shift(value: object, offset: object, change: Callable[[int, int], int]) -> object:
    if type(value) not in {int, Uint} or type(offset) is not int:
        raise NoSuchOverload
    if offset < 0:
        raise InvalidArgument
    assert isinstance(value, int)
    shifted = 0 if offset > 63 else change(int(value) & UINT_MAX, offset) & UINT_MAX
    return Uint(shifted) if type(value) is Uint else _signed(shifted)


def shift_left(value: object, offset: object) -> object:
    """Return a number with its bits moved up; what leaves the 64 is lost."""
    return _shift(value, offset, lambda bits, by: bits << by)


def shift_right(value: object, offset: object) -> object:
    """Return a number with its bits moved down and zeros above them."""
    return _shift(value, offset, lambda bits, by: bits >> by)


_SAME: Final = ("int -> int", "uint -> uint", "double -> double")
_BITS: Final = ("int, int -> int", "uint, uint -> uint")
_SHIFTS: Final = ("int, int -> int", "uint, int -> uint")
_ONE: Final = (
    *_SAME,
    "list(int) -> int",
    "list(uint) -> uint",
    "list(double) -> double",
    "list(dyn) -> dyn",
)


def _variadic(name: str, call: Callable[..., object]) -> list[Function]:
    made = [function(name, call, *_ONE)]
    for count in range(2, ARGUMENTS_MAX + 1):
        alike = [
            f"{', '.join([kind] * count)} -> {kind}" for kind in ("int", "uint", "double", "dyn")
        ]
        made.append(function(name, call, *alike))
    return made


DECLARED: Final = (
    *_variadic("math.greatest", greatest),
    *_variadic("math.least", least),
    function("math.ceil", _on_doubles(math.ceil), "double -> double"),
    function("math.floor", _on_doubles(math.floor), "double -> double"),
    function("math.trunc", _on_doubles(math.trunc), "double -> double"),
    function("math.round", _on_doubles(_half_away), "double -> double"),
    function("math.isNaN", _asks(math.isnan), "double -> bool"),
    function("math.isInf", _asks(math.isinf), "double -> bool"),
    function("math.isFinite", _asks(math.isfinite), "double -> bool"),
    function("math.abs", absolute, *_SAME),
    function("math.sign", sign, *_SAME),
    function("math.sqrt", square_root, "int -> double", "uint -> double", "double -> double"),
    function("math.bitAnd", _on_bits(lambda left, right: left & right), *_BITS),
    function("math.bitOr", _on_bits(lambda left, right: left | right), *_BITS),
    function("math.bitXor", _on_bits(lambda left, right: left ^ right), *_BITS),
    function("math.bitNot", bit_not, "int -> int", "uint -> uint"),
    function("math.bitShiftLeft", shift_left, *_SHIFTS),
    function("math.bitShiftRight", shift_right, *_SHIFTS),
)
