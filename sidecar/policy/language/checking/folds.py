"""The types of macros: what their names stand for, and what comes out of them."""

from typing import Final

import msgspec

from sidecar.policy.language.tree import FoldKind
from sidecar.policy.language.types import (
    BOOL,
    DYN,
    INT,
    STRING,
    AnyType,
    Record,
    Type,
    list_of,
    map_of,
    optional_of,
)

OPTIONAL: Final = frozenset({"optMap", "optFlatMap"})
# The body of these is a condition.
TESTS: Final = frozenset({"all", "exists", "exists_one", "filter"})


def elements(kind: FoldKind, over: AnyType) -> tuple[AnyType, AnyType] | None:
    """Return the types of a key (or position) and a value of what a macro goes over.

    Returns:
        None for what it cannot go over. With one name, a list gives its values and a map its keys;
        see `named`.
    """
    if over == DYN:
        return DYN, DYN
    if isinstance(over, Record):
        return None if kind in OPTIONAL else (STRING, DYN)
    if kind in OPTIONAL:
        return (DYN, over.args[0]) if over.name == "optional" else None
    if over.name == "list":
        return INT, over.args[0]
    return (over.args[0], over.args[1]) if over.name == "map" else None


def named(over: AnyType, key: AnyType, value: AnyType, count: int) -> tuple[AnyType, ...]:
    """Return the types of one or two names."""
    if count == 2:
        return key, value
    return (key,) if isinstance(over, Record) or _is(over, "map") else (value,)


def result(kind: FoldKind, over: AnyType, element: AnyType, body: AnyType) -> AnyType:
    """Return the type of a macro.

    Args:
        kind: Of macro.
        over: What it goes over.
        element: The type of its first name.
        body: The type of its body.
    """
    if kind == "filter":
        return DYN if over == DYN else list_of(element)
    if kind in {"map", "transformList"}:
        return list_of(body)
    if kind == "transformMap":
        if isinstance(over, Record):
            return msgspec.structs.replace(over, fields=dict.fromkeys(over.fields, body))
        return map_of(element, body)
    if kind == "transformMapEntry":
        return body if _is(body, "map") else map_of(DYN, DYN)
    if kind in OPTIONAL:
        return optional_of(body) if kind == "optMap" else body
    return BOOL


def _is(what: AnyType, name: str) -> bool:
    return isinstance(what, Type) and what.name == name
