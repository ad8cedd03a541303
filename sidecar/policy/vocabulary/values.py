"""The types of values in hand at load: parameters, and what catalogues say of resources."""

from collections.abc import Iterable, Iterator

from sidecar.policy.language.types import (
    BOOL,
    DOUBLE,
    DYN,
    INT,
    NULL,
    STRING,
    AnyType,
    Record,
    join,
    list_of,
)
from sidecar.terms.call import Json


def type_of_value(value: Json, name: str) -> AnyType:
    """Return the exact type of a JSON value: an object has the fields that it has.

    Args:
        value: As read.
        name: How an expression spells it, for errors.
    """
    if isinstance(value, dict):
        fields = {key: type_of_value(one, f"{name}.{key}") for key, one in value.items()}
        return Record(name, fields)
    if isinstance(value, list):
        return list_of(either(type_of_value(one, f"{name}[]") for one in value))
    if isinstance(value, bool):
        return BOOL
    if isinstance(value, int):
        return INT
    if isinstance(value, float):
        return DOUBLE
    return NULL if value is None else STRING


def either(types: Iterable[AnyType]) -> AnyType:
    """Return the type of what may be any of `types`: an object then has the fields of each."""
    found: AnyType | None = None
    for each in types:
        found = each if found is None else _either(found, each)
    return DYN if found is None else found


def _either(one: AnyType, other: AnyType) -> AnyType:
    if not (isinstance(one, Record) and isinstance(other, Record)):
        return join(one, other)
    fields = {
        key: either(each.fields[key] for each in (one, other) if key in each.fields)
        for key in (*one.fields, *other.fields)
    }
    return Record(one.name, fields, is_open=one.is_open or other.is_open)


def properties_of(spec: Json) -> Iterator[tuple[str, Json]]:
    """Yield each property, with its value, that a catalogue gives to anything."""
    if isinstance(spec, list):
        for one in spec:
            yield from properties_of(one)
    elif isinstance(spec, dict):
        for key, one in spec.items():
            if key == "properties" and isinstance(one, dict):
                yield from one.items()
            else:
                yield from properties_of(one)
