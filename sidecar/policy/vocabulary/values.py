"""The types of values in hand at load: parameters, and what catalogues say of resources."""

from collections.abc import Iterator

from sidecar.policy.language.types import (
    BOOL,
    DOUBLE,
    INT,
    NULL,
    STRING,
    AnyType,
    Record,
    join_all,
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
        return Record(name, fields, may_ask=True)
    if isinstance(value, list):
        return list_of(join_all(type_of_value(one, f"{name}[]") for one in value))
    if isinstance(value, bool):
        return BOOL
    if isinstance(value, int):
        return INT
    if isinstance(value, float):
        return DOUBLE
    return NULL if value is None else STRING


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
