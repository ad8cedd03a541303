"""When two values are equal, which comes first, and what stands for a value in a set.

Numbers of different types are compared by what they are worth. An integer beside a double is first
rounded to a double, as the specification's conformance suite has it: 2^53 + 1 equals 2^53 as a
double, and the largest int 2^63. Keys of maps and elements of sets are told apart exactly, or they
could be no keys: there 2^53 + 1 is another number. Everything else is equal only to its own type.
NaN equals nothing, itself and inside of lists included, so identity is never asked.

Work is bounded in values visited and in depth: beyond, the fault is `BudgetExceeded`.

Source: https://github.com/google/cel-spec/blob/master/doc/langdef.md#equality
"""

import math
from collections.abc import Hashable, Iterable
from contextlib import suppress
from typing import Final

from sidecar.policy.language.faults import BudgetExceeded, NoSuchField, NoSuchOverload
from sidecar.policy.language.values.kinds import (
    FALSE_KEY,
    KEY_KINDS,
    NUMBERS,
    PLAIN,
    TRUE_KEY,
    TYPE_NAMES,
    BoolKey,
    Duration,
    Key,
    Maybe,
    Timestamp,
)
from sidecar.policy.language.values.limits import DEPTH_MAX, NODES_MAX

_ORDERED: Final = frozenset({bool, str, bytes, Timestamp, Duration})


class Walk:
    """What one walk through values may still visit."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = NODES_MAX

    def spend(self, count: int, depth: int) -> None:
        """Take `count` values off what is left; `depth` is how deep they lie."""
        self.left -= count
        if self.left < 0 or depth > DEPTH_MAX:
            raise BudgetExceeded


def equals(left: object, right: object) -> bool:
    """Return whether two values are equal; of different types they are not.

    Raises:
        NoSuchOverload: Something is not of the language.
        BudgetExceeded: Too much would have to be compared.
    """
    kind = type(left)
    if kind is type(right) and kind in PLAIN:
        return left == right
    return _equals(left, right, Walk(), 0)


def _equals(left: object, right: object, walk: Walk, depth: int) -> bool:
    kind, other = type(left), type(right)
    if kind is not other:
        if kind not in TYPE_NAMES or other not in TYPE_NAMES:
            raise NoSuchOverload
        return kind in NUMBERS and other in NUMBERS and _equal_numbers(left, right)
    if kind in PLAIN:
        return left == right
    if type(left) is list and type(right) is list:
        return _equal_lists(left, right, walk, depth + 1)
    if type(left) is dict and type(right) is dict:
        return _equal_maps(left, right, walk, depth + 1)
    if type(left) is Maybe and type(right) is Maybe:
        walk.spend(1, depth)
        if not (left.has and right.has):
            return left.has is right.has
        return _equals(left.value, right.value, walk, depth + 1)
    raise NoSuchOverload


def _equal_numbers(left: object, right: object) -> bool:
    one, other = aligned(left, right)
    return one == other


def _equal_lists(left: list[object], right: list[object], walk: Walk, depth: int) -> bool:
    if len(left) != len(right):
        return False
    for one, other in zip(left, right, strict=True):
        walk.spend(1, depth)
        if not _equals(one, other, walk, depth):
            return False
    return True


def _equal_maps(
    left: dict[object, object], right: dict[object, object], walk: Walk, depth: int
) -> bool:
    if len(left) != len(right):
        return False
    for key, one in left.items():
        walk.spend(1, depth)
        if type(key) not in KEY_KINDS:
            raise NoSuchOverload
        if key not in right or not _equals(one, right[key], walk, depth):
            return False
    return True


def among(needle: object, items: list[object]) -> bool:
    """Return whether one of `items` equals `needle`, all comparisons bounded together."""
    return first_equal(needle, items) >= 0


def first_equal(needle: object, items: Iterable[object]) -> int:
    """Return the position of the first of `items` that equals `needle`, or -1; see `among`."""
    walk = Walk()
    for position, item in enumerate(items):
        walk.spend(1, 0)
        if _equals(needle, item, walk, 0):
            return position
    return -1


def aligned(left: object, right: object) -> tuple[float, float]:
    """Return two values in a form in which Python's `<` and its kin mean CEL's.

    Raises:
        NoSuchOverload: They have no order: lists, maps, null, types, or values of different types.
    """
    kind, other = type(left), type(right)
    if kind in NUMBERS and other in NUMBERS:
        if kind is not other and float in {kind, other}:
            # An integer beyond every double, which only data can give, is compared as it is.
            with suppress(OverflowError):
                return float(left), float(right)  # type: ignore[arg-type]  # numbers
    elif kind is not other or kind not in _ORDERED:
        raise NoSuchOverload
    return left, right  # type: ignore[return-value]  # or alike, and ordered as numbers are


def map_key(key: object) -> Key:
    """Return how `key` stands in a dict.

    Raises:
        NoSuchOverload: Only int, uint, bool and string are keys.
    """
    if type(key) is bool:
        return TRUE_KEY if key else FALSE_KEY
    if isinstance(key, str | int) and type(key) in KEY_KINDS:
        return key
    raise NoSuchOverload


def key_value(key: object) -> object:
    """Return the value that stands in a dict as `key`."""
    if type(key) is BoolKey:
        return key.value
    if type(key) not in KEY_KINDS:
        raise NoSuchOverload
    return key


def value_at(mapping: dict[object, object], key: object) -> object:
    """Return what `mapping` holds at `key`; a double finds the integer that it equals.

    Raises:
        NoSuchField: The key is absent.
        NoSuchOverload: A value of this type is never a key.
    """
    try:
        return mapping[key if type(key) is str else _sought(key)]
    except KeyError:
        raise NoSuchField from None


def holds_key(mapping: dict[object, object], key: object) -> bool:
    """Return whether `mapping` has `key`; the faults are those of `found`."""
    return (key if type(key) is str else _sought(key)) in mapping


def _sought(key: object) -> object:
    # A double hashes as the integer that it equals, and NaN is found nowhere.
    return key if type(key) is float else map_key(key)


def fingerprint(value: object) -> Hashable:
    """Return what is equal and hashes alike for values that are equal, and only for them."""
    return _fingerprint(value, Walk(), 0)


def fingerprints(values: list[object]) -> list[Hashable]:
    """Return the fingerprint of each of `values`, bounded together."""
    walk = Walk()
    return [_fingerprint(value, walk, 0) for value in values]


def _fingerprint(value: object, walk: Walk, depth: int) -> Hashable:
    walk.spend(1, depth)
    if type(value) is bool:
        return TRUE_KEY if value else FALSE_KEY
    if type(value) is float and math.isnan(value):
        return object()
    if type(value) is list:
        return ("list", tuple(_fingerprint(item, walk, depth + 1) for item in value))
    if type(value) is dict:
        entries = (
            (map_key(key_value(key)), _fingerprint(item, walk, depth + 1))
            for key, item in value.items()
        )
        return ("map", frozenset(entries))
    if type(value) is Maybe:
        inner = _fingerprint(value.value, walk, depth + 1) if value.has else None
        return ("optional", value.has, inner)
    if type(value) not in PLAIN:
        raise NoSuchOverload
    return ("bytes", value) if type(value) is bytes else value
