"""What Kubernetes asks of lists as wholes: order, sum, least and greatest, where an element stands.

`indexOf` and `lastIndexOf` are also those of strings, whose parts are searched by code points.
Elements are compared as `<` and `==` compare them, all comparisons of one search bounded together.

Source: https://pkg.go.dev/k8s.io/apiserver/pkg/cel/library#Lists
"""

from collections.abc import Iterable
from itertools import pairwise
from typing import Final

from sidecar.policy.language.faults import InvalidArgument, NoSuchOverload
from sidecar.policy.language.functions.extensions import strings
from sidecar.policy.language.functions.signature import member
from sidecar.policy.language.functions.standard.arithmetic import add
from sidecar.policy.language.values.equality import aligned, first_equal
from sidecar.policy.language.values.kinds import Duration, Uint, type_of

_SUMMED: Final = frozenset({int, Uint, float, Duration})


def _items(value: object) -> list[object]:
    if type(value) is list:
        return value
    raise NoSuchOverload


def is_sorted(items: object) -> bool:
    """Return whether no element is greater than the next."""
    listed = _items(items)
    for only in listed[:1]:
        aligned(only, only)
    # Every pair is looked at: whether a list has an order does not depend on where it breaks.
    orders = [aligned(*pair) for pair in pairwise(listed)]
    return all(one <= other for one, other in orders)


def total(items: object) -> object:
    """Return the sum of numbers of one type, or of durations; of no elements 0."""
    listed = _items(items)
    if not _SUMMED.issuperset(map(type, listed)):
        raise NoSuchOverload
    if not listed:
        return 0
    found, *rest = listed
    for each in rest:
        found = add(found, each)
    return found


def smallest(items: object) -> object:
    """Return the least element; of equals the first.

    Raises:
        InvalidArgument: There is none.
    """
    return _extreme(items, is_least=True)


def largest(items: object) -> object:
    """Return the greatest element; of equals the first.

    Raises:
        InvalidArgument: There is none.
    """
    return _extreme(items, is_least=False)


def _extreme(items: object, *, is_least: bool) -> object:
    listed = _items(items)
    if not listed:
        raise InvalidArgument
    best = listed[0]
    aligned(best, best)
    for each in listed[1:]:
        one, other = aligned(each, best)
        if one < other if is_least else one > other:
            best = each
    return best


def index_of(value: object, part: object) -> int:
    """Return where an element of a list, or a part of a text, first stands, or -1."""
    if type(value) is list:
        return _position(part, value)
    return strings.index_of(value, part)


def last_index_of(value: object, part: object) -> int:
    """Return where an element of a list, or a part of a text, last stands, or -1."""
    if type(value) is list:
        found = _position(part, reversed(value))
        return -1 if found < 0 else len(value) - 1 - found
    return strings.last_index_of(value, part)


def _position(needle: object, items: Iterable[object]) -> int:
    type_of(needle)
    return first_equal(needle, items)


_ORDERED: Final = ("int", "uint", "double", "bool", "string", "bytes", "timestamp", "duration")
_SUMS: Final = tuple(f"list({kind}) -> {kind}" for kind in ("int", "uint", "double", "duration"))
_EXTREMES: Final = tuple(f"list({kind}) -> {kind}" for kind in _ORDERED)
_PLACES: Final = ("string, string -> int", "list(A), A -> int")

DECLARED: Final = (
    member("isSorted", is_sorted, *(f"list({kind}) -> bool" for kind in _ORDERED)),
    member("sum", total, *_SUMS),
    member("min", smallest, *_EXTREMES),
    member("max", largest, *_EXTREMES),
    member("indexOf", index_of, *_PLACES),
    member("lastIndexOf", last_index_of, *_PLACES),
)
