"""Optionals: made, asked and opened. How fields are read through them stands in `containers`.

Source: https://github.com/google/cel-spec/wiki/proposal-246
"""

from typing import Final

from sidecar.policy.language.faults import InvalidArgument, NoSuchOverload
from sidecar.policy.language.functions.signature import function, member
from sidecar.policy.language.values.kinds import NONE, Duration, Maybe, Timestamp, Uint, type_of

_SCALARS: Final = frozenset({bool, int, Uint, float, str, bytes, list, dict})


def of(value: object) -> Maybe:
    """Return an optional that holds `value`."""
    type_of(value)
    return Maybe(value, has=True)


def none() -> Maybe:
    """Return the optional that holds nothing."""
    return NONE


def of_non_zero_value(value: object) -> Maybe:
    """Return an optional that holds `value`, or none if it is null, zero, false or empty."""
    type_of(value)
    if value is None or (type(value) in _SCALARS and not value):
        return NONE
    if type(value) is Timestamp or type(value) is Duration:
        return Maybe(value, has=True) if value.nanos else NONE
    return Maybe(value, has=True)


def _opened(value: object) -> Maybe:
    if type(value) is Maybe:
        return value
    raise NoSuchOverload


def has_value(optional: object) -> bool:
    """Return whether an optional holds a value."""
    return _opened(optional).has


def value_of(optional: object) -> object:
    """Return what an optional holds.

    Raises:
        InvalidArgument: It holds nothing.
    """
    held = _opened(optional)
    if held.has:
        return held.value
    raise InvalidArgument


def either(optional: object, other: object) -> Maybe:
    """Return the first of two optionals that holds a value."""
    held, instead = _opened(optional), _opened(other)
    return held if held.has else instead


def value_or(optional: object, instead: object) -> object:
    """Return what an optional holds, or `instead`."""
    held = _opened(optional)
    type_of(instead)
    return held.value if held.has else instead


def unwrap(optionals: object) -> list[object]:
    """Return what the optionals of a list hold."""
    if type(optionals) is not list:
        raise NoSuchOverload
    return [held.value for held in map(_opened, optionals) if held.has]


DECLARED: Final = (
    function("optional.of", of, "A -> optional(A)"),
    function("optional.none", none, "-> optional(dyn)"),
    function("optional.ofNonZeroValue", of_non_zero_value, "A -> optional(A)"),
    function("optional.unwrap", unwrap, "list(optional(A)) -> list(A)"),
    member("unwrapOpt", unwrap, "list(optional(A)) -> list(A)"),
    member("hasValue", has_value, "optional(A) -> bool"),
    member("value", value_of, "optional(A) -> A"),
    # An evaluator that has the trees may leave the second argument alone when the first holds.
    member("or", either, "optional(A), optional(A) -> optional(A)"),
    member("orValue", value_or, "optional(A), A -> A"),
)
