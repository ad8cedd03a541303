"""Kubernetes quantities: `1.5Gi`, `200m`, `10k`, `1e3`; exact, and compared by what they are worth.

A quantity is kept in billionths; a finer one is rounded away from zero, as Kubernetes does.

Source: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
"""

import re
from typing import Final

from sidecar.policy.language.faults import BadConversion, NoSuchOverload, Overflow
from sidecar.policy.language.functions.signature import function, member, spells
from sidecar.policy.language.values.kinds import INT_MAX, INT_MIN, NANOS, Quantity
from sidecar.policy.language.values.limits import QUANTITY_NANOS_MAX

# Digits and exponents beyond these exceed the largest quantity.
_CHARS_MAX: Final = 80
_EXPONENT_MAX: Final = 60
_QUANTITY: Final = re.compile(
    r"([+-]?)([0-9]+(?:\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]{1,2})?"
)
_BINARY: Final = {f"{letter}i": 1024**power for power, letter in enumerate("KMGTPE", 1)}
_DECIMAL: Final = {
    "n": -9,
    "u": -6,
    "m": -3,
    "k": 3,
    "M": 6,
    "G": 9,
    "T": 12,
    "P": 15,
    "E": 18,
}


def _parsed(text: str) -> Quantity:
    read = _QUANTITY.fullmatch(text) if len(text) <= _CHARS_MAX else None
    if read is None:
        raise BadConversion
    sign, digits, suffix = read[1], read[2], read[3] or ""
    whole, _, fraction = digits.partition(".")
    number = int(whole + fraction or "0") * _BINARY.get(suffix, 1)
    exponent = 9 - len(fraction) + _exponent(suffix)
    nanos = number * 10**exponent if exponent >= 0 else -(-number // 10**-exponent)
    return _bounded(-nanos if sign == "-" else nanos)


def _exponent(suffix: str) -> int:
    if suffix[:1] in {"e", "E"} and len(suffix) > 1 and suffix != "Ei":
        exponent = int(suffix[1:])
        if abs(exponent) > _EXPONENT_MAX:
            raise BadConversion
        return exponent
    return _DECIMAL.get(suffix, 0)


def _bounded(nanos: int) -> Quantity:
    if abs(nanos) > QUANTITY_NANOS_MAX:
        raise Overflow
    return Quantity(nanos)


def to_quantity(text: object) -> Quantity:
    """Return a quantity of a string."""
    if type(text) is str:
        return _parsed(text)
    raise NoSuchOverload


def _nanos(value: object) -> int:
    if type(value) is Quantity:
        return value.nanos
    raise NoSuchOverload


def _amount(value: object) -> int:
    return value * NANOS if type(value) is int else _nanos(value)


def sign(quantity: object) -> int:
    """Return -1, 0 or 1."""
    nanos = _nanos(quantity)
    return (nanos > 0) - (nanos < 0)


def is_integer(quantity: object) -> bool:
    """Return whether a quantity is a whole number that an int can hold."""
    whole, rest = divmod(_nanos(quantity), NANOS)
    return not rest and INT_MIN <= whole <= INT_MAX


def as_integer(quantity: object) -> int:
    """Return a whole quantity as an int."""
    if is_integer(quantity):
        return _nanos(quantity) // NANOS
    raise BadConversion


def as_approximate_float(quantity: object) -> float:
    """Return the double nearest to a quantity."""
    return _nanos(quantity) / NANOS


def add(quantity: object, other: object) -> Quantity:
    """Return the sum with a quantity or an int."""
    return _bounded(_nanos(quantity) + _amount(other))


def subtract(quantity: object, other: object) -> Quantity:
    """Return the difference to a quantity or an int."""
    return _bounded(_nanos(quantity) - _amount(other))


def is_less_than(quantity: object, other: object) -> bool:
    """Return whether a quantity is less than another."""
    return _nanos(quantity) < _nanos(other)


def is_greater_than(quantity: object, other: object) -> bool:
    """Return whether a quantity is greater than another."""
    return _nanos(quantity) > _nanos(other)


def compare_to(quantity: object, other: object) -> int:
    """Return -1, 0 or 1 as a quantity is less than, equal to or greater than another."""
    one, two = _nanos(quantity), _nanos(other)
    return (one > two) - (one < two)


_BOTH: Final = ("quantity, quantity -> quantity", "quantity, int -> quantity")

DECLARED: Final = (
    function("quantity", to_quantity, "string -> quantity"),
    function("isQuantity", spells(to_quantity), "string -> bool"),
    function("sign", sign, "quantity -> int"),
    member("sign", sign, "quantity -> int"),
    member("isInteger", is_integer, "quantity -> bool"),
    member("asInteger", as_integer, "quantity -> int"),
    member("asApproximateFloat", as_approximate_float, "quantity -> double"),
    member("add", add, *_BOTH),
    member("sub", subtract, *_BOTH),
    member("isLessThan", is_less_than, "quantity, quantity -> bool"),
    member("isGreaterThan", is_greater_than, "quantity, quantity -> bool"),
    member("compareTo", compare_to, "quantity, quantity -> int"),
)
