"""What a function costs inside of a macro, where it is called once for each element.

Every function is bounded by itself, and a macro by its budget; both together would still allow ten
thousand searches of a list of a million. So a call inside of a macro pays a step for each 1,024
elements or characters that it is given or gives, and what is shorter is free; where it looks into
every part, a step for each 64 of them. What stops at the
shorter of two values, or looks at one place, is always free: its cost is paid by who brought them.

Outside of macros nothing is paid, as an expression has only so many calls.
"""

from collections.abc import Sequence
from typing import Final

from sidecar.policy.language.functions import Function
from sidecar.policy.language.values import Maybe
from sidecar.policy.language.values.equality import Walk
from sidecar.policy.language.values.limits import NODES_MAX

# One step, in elements or characters.
LIGHT: Final = 1_024
# The same, in parts that are visited one by one.
DEEP_LIGHT: Final = 64
_SIZED: Final = frozenset({str, bytes, list, dict})
_SCALARS: Final = frozenset(
    {"bool", "int", "uint", "double", "null_type", "timestamp", "duration", "type"}
)
_FREE: Final = frozenset(
    {
        *("_<_", "_<=_", "_>_", "_>=_", "_[_]", "_[?_]", "size", "type", "dyn"),
        *("startsWith", "endsWith", "hasValue", "value", "orValue", "or"),
        *("optional.of", "optional.none", "optional.ofNonZeroValue", "first", "last"),
    }
)
_HOLDING: Final = frozenset({list, dict, Maybe})
_COMPARED: Final = frozenset({"_==_", "_!=_"})
# These look into every part of what they are given, however deep.
DEEP: Final = frozenset(
    {"sets.contains", "sets.equivalent", "sets.intersects", "distinct", "flatten", "format"}
)


def is_free(function: Function) -> bool:
    """Return whether a function costs nothing whatever it is given."""
    if function.name in _FREE:
        return True
    types = (each for signature in function.signatures for each in signature.parameters)
    return all(each.name in _SCALARS for each in types) and function.name != "lists.range"


def is_light(value: object) -> bool:
    """Return whether a value is free to be given or returned."""
    return type(value) not in _SIZED or len(value) < LIGHT  # type: ignore[arg-type]  # sized


def is_flat(value: object) -> bool:
    """Return whether a value has no parts, so that comparing it is free."""
    return type(value) not in _HOLDING


def steps(name: str, values: Sequence[object]) -> int:
    """Return what a call with these arguments costs, or one that gives this."""
    if name in _COMPARED:
        first, second = values
        return 0 if is_flat(first) or is_flat(second) else _nodes([first]) // DEEP_LIGHT
    if name == "@in":
        # A map is not searched; a list is, and deeply where the needle has parts itself.
        needle, held = values
        if type(held) is not list:
            return 0
        return len(held) // LIGHT if is_flat(needle) else _nodes([held]) // DEEP_LIGHT
    if name in DEEP:
        return _nodes(list(values)) // DEEP_LIGHT
    sizes = (len(value) for value in values if type(value) in _SIZED)  # type: ignore[arg-type]  # sized
    return sum(size // LIGHT for size in sizes)


def _nodes(value: list[object]) -> int:
    """Return of how many parts values are made; long texts count as many."""
    walk = Walk()
    rest: list[tuple[object, int]] = [(each, 0) for each in value]
    while rest:
        part, depth = rest.pop()
        walk.spend(1, depth)
        if isinstance(part, str | bytes):
            walk.spend(len(part) // LIGHT, depth)
        elif type(part) is list:
            rest += [(each, depth + 1) for each in part]
        elif type(part) is dict:
            rest += [(each, depth + 1) for each in part.values()]
        elif type(part) is Maybe:
            rest.append((part.value, depth + 1))
    return NODES_MAX - walk.left
