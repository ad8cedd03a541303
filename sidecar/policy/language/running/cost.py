"""What a function costs inside of a macro, where it is called once for each element.

Every function is bounded by itself, and a macro by its budget; both together would still allow ten
thousand searches of a list of a million. So a call inside of a macro pays for what it is given and
what it gives, in proportion to the work: a step is about what going over one element takes. What is
short is free, which is what the fast code asks for; what stops at the shorter of two values pays
for that one. A call that looks at one place, whatever lies around it, is always free.

Outside of macros nothing is paid, as an expression has only so many calls.
"""

from collections.abc import Sequence
from typing import Final

from sidecar.policy.language.functions import Function
from sidecar.policy.language.values import Maybe
from sidecar.policy.language.values.equality import Walk
from sidecar.policy.language.values.limits import NODES_MAX

# What is shorter is free: a text, a list or map that is given, one that is made, one that is
# searched for something without parts.
LIGHT: Final = 256
LIST_LIGHT: Final = 64
MADE_LIGHT: Final = 16
SEARCH_LIGHT: Final = 32
# How much of each is one step's work; powers of two, so that no fraction is ever rounded.
_CHARS: Final = 1_024
_ITEMS: Final = 256
_MADE: Final = 64
_PAIRED: Final = 16
SEARCHED: Final = 64
PARTS: Final = 8
_SIZED: Final = frozenset({str, bytes, list, dict})
_SCALARS: Final = frozenset(
    {"bool", "int", "uint", "double", "null_type", "timestamp", "duration", "type"}
)
_FREE: Final = frozenset(
    {
        *("_[_]", "_[?_]", "size", "type", "dyn", "hasValue", "value", "orValue", "or"),
        *("optional.of", "optional.none", "optional.ofNonZeroValue", "first", "last"),
    }
)
_HOLDING: Final = frozenset({list, dict, Maybe})
_COMPARED: Final = frozenset({"_==_", "_!=_"})
# These read no further than the shorter of two texts.
_ORDERED: Final = frozenset({"_<_", "_<=_", "_>_", "_>=_"})
_ALONG: Final = frozenset({"startsWith", "endsWith"})
_TEXTS: Final = frozenset({str, bytes})
# Of a list these compare deeply; of a text they are searches like others.
_SEARCHES: Final = frozenset({"indexOf", "lastIndexOf"})
# This reads a text that its argument holds.
PAIRS: Final = "getQuery"
# These look, or may look, into every part of what they are given, however deep.
DEEP: Final = _SEARCHES | {
    *("sets.contains", "sets.equivalent", "sets.intersects", "distinct", "flatten", "format"),
    *("sort", "sortBy", "math.greatest", "math.least", "sum", "min", "max", "isSorted"),
}


def is_free(function: Function) -> bool:
    """Return whether a function costs nothing whatever it is given."""
    if function.name in _FREE:
        return True
    types = (each for signature in function.signatures for each in signature.parameters)
    return all(each.name in _SCALARS for each in types) and function.name != "lists.range"


def is_light(value: object) -> bool:
    """Return whether a value is free to be given."""
    kind = type(value)
    if kind not in _SIZED:
        return True
    return len(value) < (LIGHT if kind in _TEXTS else LIST_LIGHT)  # type: ignore[arg-type]  # sized


def is_light_made(value: object) -> bool:
    """Return whether a value is free to be returned."""
    kind = type(value)
    if kind not in _SIZED:
        return True
    return len(value) < (LIGHT if kind in _TEXTS else MADE_LIGHT)  # type: ignore[arg-type]  # sized


def is_light_pair(one: object, other: object) -> bool:
    """Return whether two values are free to be compared as far as the shorter of them goes."""
    return _unlike(one, other) == 0


def is_flat(value: object) -> bool:
    """Return whether a value has no parts, so that comparing it is free."""
    return type(value) not in _HOLDING


def steps(name: str, values: Sequence[object]) -> float:
    """Return what a call with these arguments costs, in whole steps and fractions."""
    if name in _COMPARED:
        return _compared(*values)
    if name in _ORDERED:
        return _unlike(*values)
    if name in _ALONG:
        return _along(*values)
    if name == "@in":
        return _searched(*values)
    if name == PAIRS:
        return len(getattr(values[0], "query", "")) / _PAIRED
    if name in DEEP and not (name in _SEARCHES and type(values[0]) is str):
        return _nodes(list(values)) / PARTS
    return sum(map(_given, values))


def steps_made(value: object) -> float:
    """Return what a call costs that gives this."""
    if is_light_made(value):
        return 0
    return len(value) / (_CHARS if type(value) in _TEXTS else _MADE)  # type: ignore[arg-type]  # not light, so sized


def _given(value: object) -> float:
    if is_light(value):
        return 0
    return len(value) / (_CHARS if type(value) in _TEXTS else _ITEMS)  # type: ignore[arg-type]  # not light, so sized


def _compared(one: object, other: object) -> float:
    if is_flat(one) or is_flat(other):
        return _unlike(one, other)
    return _nodes([one]) / PARTS


def _unlike(one: object, other: object) -> float:
    # To compare a text with itself looks at nothing.
    return 0 if one is other else _along(one, other)


def _along(one: object, other: object) -> float:
    if type(one) not in _TEXTS or type(other) not in _TEXTS:
        return 0
    shorter = min(len(one), len(other))  # type: ignore[arg-type]  # texts
    return shorter / _CHARS if shorter >= LIGHT else 0


def _searched(needle: object, held: object) -> float:
    """Return what looking for `needle` costs: a map is not searched, a list deeply if need be."""
    if type(held) is not list:
        return 0
    if not is_flat(needle):
        return _nodes([held]) / PARTS
    return len(held) / SEARCHED if len(held) >= SEARCH_LIGHT else 0


def _nodes(value: list[object]) -> int:
    """Return of how many parts values are made; long texts count as many."""
    walk = Walk()
    rest: list[tuple[object, int]] = [(each, 0) for each in value]
    while rest:
        part, depth = rest.pop()
        walk.spend(1, depth)
        if isinstance(part, str | bytes):
            walk.spend(len(part) // _CHARS, depth)
        elif type(part) is list:
            rest += [(each, depth + 1) for each in part]
        elif type(part) is dict:
            rest += [(each, depth + 1) for each in part.values()]
        elif type(part) is Maybe:
            rest.append((part.value, depth + 1))
    return NODES_MAX - walk.left
