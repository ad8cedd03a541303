"""`== != < <= > >= in !`: what holds between two values.

Order is between numbers of any types, and between two bools, strings, bytes, timestamps or
durations. Against NaN every order is false.
"""

from typing import Final

from sidecar.policy.language.faults import NoSuchOverload
from sidecar.policy.language.functions.signature import function
from sidecar.policy.language.values.equality import aligned, among, equals, holds_key
from sidecar.policy.language.values.kinds import TYPE_NAMES


def equal(left: object, right: object) -> bool:
    """Return whether two values are equal."""
    return equals(left, right)


def unequal(left: object, right: object) -> bool:
    """Return whether two values differ."""
    return not equals(left, right)


def less(left: object, right: object) -> bool:
    """Return whether `left` comes before `right`."""
    one, other = aligned(left, right)
    return one < other


def less_or_equal(left: object, right: object) -> bool:
    """Return whether `left` comes before `right` or with it."""
    one, other = aligned(left, right)
    return one <= other


def greater(left: object, right: object) -> bool:
    """Return whether `left` comes after `right`."""
    one, other = aligned(left, right)
    return one > other


def greater_or_equal(left: object, right: object) -> bool:
    """Return whether `left` comes after `right` or with it."""
    one, other = aligned(left, right)
    return one >= other


def contains(needle: object, container: object) -> bool:
    """Return whether a list holds an element equal to `needle`, or a map has it as a key."""
    if type(container) is dict:
        return holds_key(container, needle)
    if type(container) is not list or type(needle) not in TYPE_NAMES:
        raise NoSuchOverload
    # No other type equals a string, so Python's own search finds what CEL's would; but it asks
    # no element whether it is of the language, which matters to nobody when it is not equal.
    if type(needle) is str:
        return needle in container
    return among(needle, container)


def negation(value: object) -> bool:
    """Return the opposite of a bool."""
    if type(value) is bool:
        return not value
    raise NoSuchOverload


_ORDER: Final = (
    "bool, bool -> bool",
    "string, string -> bool",
    "bytes, bytes -> bool",
    "timestamp, timestamp -> bool",
    "duration, duration -> bool",
    *(
        f"{left}, {right} -> bool"
        for left in ("int", "uint", "double")
        for right in ("int", "uint", "double")
    ),
)

DECLARED: Final = (
    function("_==_", equal, "A, A -> bool"),
    function("_!=_", unequal, "A, A -> bool"),
    function("_<_", less, *_ORDER),
    function("_<=_", less_or_equal, *_ORDER),
    function("_>_", greater, *_ORDER),
    function("_>=_", greater_or_equal, *_ORDER),
    function("@in", contains, "A, list(A) -> bool", "A, map(A, B) -> bool"),
    function("!_", negation, "bool -> bool"),
)
