"""Values to and from plain JSON, and to and from the typed form of the conformance suite.

A parsed JSON document is a value already; `admitted` only makes sure that it is one. The way back
is lossy where JSON has no such type: a uint becomes a number, bytes base64, times text as in
protobuf's JSON mapping. The typed form loses nothing: `{"uint": "1"}`, `{"map": [[key, value]]}`.
"""

import base64
import binascii
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from sidecar.policy.language.faults import BadConversion, NoSuchOverload
from sidecar.policy.language.values.equality import Walk, key_value, map_key
from sidecar.policy.language.values.kinds import (
    KEY_KINDS,
    TYPE_NAMES,
    Cidr,
    Duration,
    Ip,
    Maybe,
    Quantity,
    Timestamp,
    TypeValue,
    Uint,
    Url,
    integer,
    type_of,
    unsigned,
)
from sidecar.policy.language.values.texts import (
    cidr_text,
    double_text,
    duration_text,
    ip_text,
    timestamp_text,
)


def admitted(value: object) -> object:
    """Return `value`, which is a value of the language throughout.

    Raises:
        NoSuchOverload: Something in it is not.
        Overflow: An integer in it is beyond int64.
        BudgetExceeded: It is too large or too deep.
    """
    _admit(value, Walk(), 0)
    return value


def _admit(value: object, walk: Walk, depth: int) -> None:
    walk.spend(1, depth)
    if type(value) not in TYPE_NAMES:
        raise NoSuchOverload
    if type(value) is int:
        integer(value)
    for part in _parts(value):
        _admit(part, walk, depth + 1)


def _parts(value: object) -> Iterable[object]:
    if type(value) is list:
        return value
    if type(value) is Maybe:
        return (value.value,)
    if type(value) is not dict:
        return ()
    if not KEY_KINDS.issuperset(map(type, value)):
        raise NoSuchOverload
    return value.values()


_TEXTS: Final[dict[type, Callable[..., object]]] = {
    Uint: int,
    bytes: lambda value: base64.b64encode(value).decode(),
    float: lambda value: value if math.isfinite(value) else double_text(value),
    Timestamp: timestamp_text,
    Duration: duration_text,
    TypeValue: lambda value: value.name,
    Ip: ip_text,
    Cidr: cidr_text,
    Quantity: lambda value: decimal_text(value.nanos),
    Url: lambda value: f"{value.scheme}://{value.host}{value.path}",
}


def to_json(value: object) -> object:
    """Return `value` in plain JSON; an optional is what it holds or null."""
    return _to_json(value, Walk(), 0)


def _to_json(value: object, walk: Walk, depth: int) -> object:
    walk.spend(1, depth)
    if type(value) is list:
        return [_to_json(item, walk, depth + 1) for item in value]
    if type(value) is dict:
        return {_key_text(key): _to_json(item, walk, depth + 1) for key, item in value.items()}
    if type(value) is Maybe:
        return _to_json(value.value, walk, depth + 1)
    if type(value) not in TYPE_NAMES:
        raise NoSuchOverload
    write = _TEXTS.get(type(value))
    return write(value) if write else value


def _key_text(key: object) -> str:
    value = key_value(key)
    if type(value) is bool:
        return "true" if value else "false"
    return value if type(value) is str else str(int(value))  # type: ignore[call-overload]  # a key is text, bool or integer


def decimal_text(nanos: int) -> str:
    """Return billionths as a decimal number without trailing zeros."""
    whole, fraction = divmod(abs(nanos), 1_000_000_000)
    digits = f".{fraction:09d}".rstrip("0") if fraction else ""
    return f"{'-' if nanos < 0 else ''}{whole}{digits}"


def typed(value: object) -> dict[str, object]:
    """Return `value` in the typed form: one key that says what it is."""
    return _typed(value, Walk(), 0)


def _typed(value: object, walk: Walk, depth: int) -> dict[str, object]:
    walk.spend(1, depth)
    name = type_of(value).name
    if type(value) is list:
        return {"list": [_typed(item, walk, depth + 1) for item in value]}
    if type(value) is dict:
        entries = [
            [_typed(key_value(key), walk, depth + 1), _typed(item, walk, depth + 1)]
            for key, item in value.items()
        ]
        return {"map": entries}
    if type(value) is Maybe:
        return {"optional": _typed(value.value, walk, depth + 1) if value.has else None}
    if type(value) in {type(None), bool, str}:
        return {"null" if value is None else name: value}
    if isinstance(value, int):
        return {name: str(int(value))}
    if type(value) is float:
        return {name: repr(value)}
    return {name: to_json(value)}


def _read_bytes(given: object) -> bytes:
    try:
        return base64.b64decode(given if type(given) is str else b"*", validate=True)
    except (binascii.Error, ValueError):
        raise BadConversion from None


def _only(kind: type) -> Callable[[object], object]:
    def read(given: object) -> object:
        if type(given) is kind:
            return given
        raise BadConversion

    return read


def _read_null(given: object) -> object:
    if given is None:
        return None
    raise BadConversion


def _read_type(given: object) -> TypeValue:
    if type(given) is str and given:
        return TypeValue(given)
    raise BadConversion


_READ: Final[Mapping[str, Callable[..., object]]] = {
    "null": _read_null,
    "bool": _only(bool),
    "int": lambda given: integer(int(given)),
    "uint": lambda given: unsigned(int(given)),
    "double": float,
    "string": _only(str),
    "bytes": _read_bytes,
    "type": _read_type,
    "list": lambda given: [untyped(item) for item in given],
    "map": lambda given: {map_key(untyped(key)): untyped(item) for key, item in given},
}


def untyped(given: object) -> object:
    """Return the value that the typed form `given` says.

    Raises:
        BadConversion: It is not of that form.
        Overflow: An integer is beyond its type.
    """
    if not isinstance(given, Mapping) or len(given) != 1:
        raise BadConversion
    ((name, inner),) = given.items()
    read = _READ.get(name)
    if read is None:
        raise BadConversion
    try:
        return read(inner)
    except (TypeError, ValueError):
        raise BadConversion from None
