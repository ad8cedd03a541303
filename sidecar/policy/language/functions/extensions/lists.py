"""The lists and sets extensions, and `reverse` of strings, which has the same name.

Sets are lists taken without order and repetition. Elements are found by fingerprint, so that a
comparison of two lists costs their sum, not their product.

Source: https://github.com/google/cel-go/blob/master/ext/README.md#lists
"""

from collections.abc import Hashable
from typing import Final

from sidecar.policy.language.faults import BudgetExceeded, InvalidArgument, NoSuchOverload
from sidecar.policy.language.functions.signature import function, member
from sidecar.policy.language.values.equality import Walk, fingerprints
from sidecar.policy.language.values.kinds import NONE, Duration, Maybe, Timestamp, Uint
from sidecar.policy.language.values.limits import ITEMS_MAX

_SORTED: Final = frozenset({bool, int, Uint, float, str, bytes, Timestamp, Duration})


def number_range(count: object) -> list[object]:
    """Return `[0, 1, …, count - 1]`."""
    if type(count) is not int:
        raise NoSuchOverload
    if count < 0:
        raise InvalidArgument
    if count > ITEMS_MAX:
        raise BudgetExceeded
    return list(range(count))


def piece(items: object, start: object, end: object) -> list[object]:
    """Return the elements from `start` up to `end`."""
    if not (type(items) is list and type(start) is int and type(end) is int):
        raise NoSuchOverload
    if not 0 <= start <= end <= len(items):
        raise InvalidArgument
    return items[start:end]


def flatten(items: object, depth: object = 1) -> list[object]:
    """Return the elements with lists among them opened, `depth` levels deep."""
    if type(items) is not list or type(depth) is not int:
        raise NoSuchOverload
    if depth < 0:
        raise InvalidArgument
    flat: list[object] = []
    _flatten(items, depth, flat, Walk(), 0)
    return flat


def _flatten(items: list[object], levels: int, flat: list[object], walk: Walk, depth: int) -> None:
    for item in items:
        # An empty list adds nothing and still costs a step.
        walk.spend(1, depth)
        if type(item) is list and levels:
            _flatten(item, levels - 1, flat, walk, depth + 1)
        else:
            flat.append(item)
    if len(flat) > ITEMS_MAX:
        raise BudgetExceeded


def distinct(items: object) -> list[object]:
    """Return the elements, each only where it stands first."""
    if type(items) is not list:
        raise NoSuchOverload
    first: dict[Hashable, object] = {}
    for mark, item in zip(fingerprints(items), items, strict=True):
        first.setdefault(mark, item)
    return list(first.values())


def reverse(value: object) -> object:
    """Return a list or string from its end to its start, by elements or code points."""
    if type(value) is list or type(value) is str:
        return value[::-1]
    raise NoSuchOverload


def sort(items: object) -> list[object]:
    """Return the elements in order; all have one type, which has an order."""
    return sort_by(items, items)


def sort_by(items: object, keys: object) -> list[object]:
    """Return the elements in the order of the `keys` beside them; equal ones keep theirs."""
    if type(items) is not list or type(keys) is not list:
        raise NoSuchOverload
    if len(items) != len(keys):
        raise InvalidArgument
    if len(items) > ITEMS_MAX:
        raise BudgetExceeded
    kinds = set(map(type, keys))
    if len(kinds) > 1 or not kinds <= _SORTED:
        raise NoSuchOverload
    order = sorted(range(len(items)), key=keys.__getitem__)
    return [items[position] for position in order]


def first(items: object) -> Maybe:
    """Return the first element, optionally."""
    if type(items) is list:
        return Maybe(items[0], has=True) if items else NONE
    raise NoSuchOverload


def last(items: object) -> Maybe:
    """Return the last element, optionally."""
    if type(items) is list:
        return Maybe(items[-1], has=True) if items else NONE
    raise NoSuchOverload


def _as_sets(left: object, right: object) -> tuple[set[Hashable], set[Hashable]]:
    if type(left) is list and type(right) is list:
        return set(fingerprints(left)), set(fingerprints(right))
    raise NoSuchOverload


def set_contains(left: object, right: object) -> bool:
    """Return whether every element of `right` is in `left`."""
    one, other = _as_sets(left, right)
    return other <= one


def set_equivalent(left: object, right: object) -> bool:
    """Return whether each list contains the other."""
    one, other = _as_sets(left, right)
    return one == other


def set_intersects(left: object, right: object) -> bool:
    """Return whether the lists have an element in common."""
    one, other = _as_sets(left, right)
    return not one.isdisjoint(other)


_SORTS: Final = tuple(
    f"list({kind}) -> list({kind})"
    for kind in ("int", "uint", "double", "bool", "string", "bytes", "timestamp", "duration")
)

DECLARED: Final = (
    function("lists.range", number_range, "int -> list(int)"),
    # What the `sortBy` macro comes to: the elements, and what was computed of each.
    function("lists.@sortByAssociatedKeys", sort_by, "list(A), list(B) -> list(A)"),
    member("slice", piece, "list(A), int, int -> list(A)"),
    member("flatten", flatten, "list(list(A)) -> list(dyn)", "list(A) -> list(A)"),
    member("flatten", flatten, "list(list(A)), int -> list(dyn)", "list(A), int -> list(A)"),
    member("distinct", distinct, "list(A) -> list(A)"),
    member("reverse", reverse, "list(A) -> list(A)", "string -> string"),
    member("sort", sort, *_SORTS),
    member("first", first, "list(A) -> optional(A)"),
    member("last", last, "list(A) -> optional(A)"),
    function("sets.contains", set_contains, "list(A), list(A) -> bool"),
    function("sets.equivalent", set_equivalent, "list(A), list(A) -> bool"),
    function("sets.intersects", set_intersects, "list(A), list(A) -> bool"),
)
