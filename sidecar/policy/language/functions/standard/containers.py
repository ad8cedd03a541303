"""Reading from values: fields, elements and sizes, on plain values and through optionals.

Reading through an optional gives an optional: `m.?a.b` is none where `a` is absent, and an error
where `a` is there and `b` is not a field that it could have. One optional is opened, never one
inside of another: that has no fields.
"""

from typing import Final

from sidecar.policy.language.faults import IndexOutOfRange, NoSuchField, NoSuchOverload
from sidecar.policy.language.functions.signature import function, member
from sidecar.policy.language.values.equality import value_at
from sidecar.policy.language.values.kinds import NONE, TYPE_NAMES, Maybe, Uint

# What a map can be asked for; of any other value it holds nothing.
_KEYS: Final = frozenset({bool, int, Uint, float, str})
_SIZED: Final = frozenset({str, bytes, list, dict})


def size(value: object) -> int:
    """Return how many code points, bytes, elements or entries `value` has."""
    if isinstance(value, str | bytes | list | dict) and type(value) in _SIZED:
        return len(value)
    raise NoSuchOverload


def select(operand: object, field: str) -> object:
    """Return the field of a map; of an optional, optionally."""
    if type(operand) is dict:
        if field in operand:
            return operand[field]
        raise NoSuchField
    if type(operand) is Maybe:
        return _through(operand, field)
    raise NoSuchOverload("a field was read of something that has none")


def _through(operand: Maybe, field: str) -> Maybe:
    return optional_select(_inside(operand), field) if operand.has else NONE


def _inside(operand: Maybe) -> object:
    if type(operand.value) is Maybe:
        raise NoSuchOverload
    return operand.value


def optional_select(operand: object, field: str) -> Maybe:
    """Return the field of a map, or none: `operand.?field`."""
    if type(operand) is dict:
        return Maybe(operand[field], has=True) if field in operand else NONE
    if type(operand) is Maybe:
        return _through(operand, field)
    raise NoSuchOverload


def has_field(operand: object, field: str) -> bool:
    """Return whether a map has the field: `has(operand.field)`."""
    if type(operand) is dict:
        return field in operand
    if type(operand) is Maybe:
        return operand.has and has_field(_inside(operand), field)
    raise NoSuchOverload


def index(operand: object, key: object) -> object:
    """Return an element of a list or the value at a key of a map; of an optional, optionally."""
    if type(operand) is dict:
        return value_at(operand, key)
    if type(operand) is list:
        position = _position(key)
        if 0 <= position < len(operand):
            return operand[position]
        raise IndexOutOfRange
    if type(operand) is Maybe:
        return optional_index(operand, key)
    raise NoSuchOverload


def _position(key: object) -> int:
    if type(key) is int or type(key) is Uint:
        return int(key)
    if type(key) is float and key.is_integer():
        return int(key)
    raise NoSuchOverload


def optional_index(operand: object, key: object) -> Maybe:
    """Return the element or value, or none: `operand[?key]`."""
    if type(operand) is Maybe:
        return optional_index(_inside(operand), key) if operand.has else NONE
    if type(operand) is dict and type(key) not in _KEYS and type(key) in TYPE_NAMES:
        return NONE
    try:
        return Maybe(index(operand, key), has=True)
    except (NoSuchField, IndexOutOfRange):
        return NONE


_SIZES: Final = ("string -> int", "bytes -> int", "list(A) -> int", "map(A, B) -> int")

DECLARED: Final = (
    function("size", size, *_SIZES),
    member("size", size, *_SIZES),
    function(
        "_[_]",
        index,
        "list(A), int -> A",
        "list(A), uint -> A",
        "list(A), double -> A",
        "map(A, B), A -> B",
        "optional(A), dyn -> optional(dyn)",
    ),
    function(
        "_[?_]",
        optional_index,
        "list(A), int -> optional(A)",
        "list(A), uint -> optional(A)",
        "list(A), double -> optional(A)",
        "map(A, B), A -> optional(B)",
        "optional(A), dyn -> optional(dyn)",
    ),
)
