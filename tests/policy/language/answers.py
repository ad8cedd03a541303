"""Values as nested tuples that say their types: the one form in which evaluators are compared."""

import math
from typing import Any

from sidecar.policy.language.values import Duration, Timestamp, Uint, type_of
from sidecar.policy.language.values.equality import key_value

TIMES = {"google.protobuf.Timestamp": "timestamp", "google.protobuf.Duration": "duration"}


def shown(value: Any) -> Any:
    """Return a value as `Oracle.answer` does."""
    kind = type_of(value).name
    if kind == "null_type":
        return ("null", None)
    if kind == "list":
        return ("list", [shown(one) for one in value])
    if kind == "map":
        entries = ((_key(key), shown(one)) for key, one in value.items())
        return ("map", sorted(entries, key=repr))
    if kind == "double" and math.isnan(value):
        return ("double", "nan")
    if kind in TIMES:
        return (TIMES[kind], _micros(value))
    if kind == "type":
        return ("type", value.name)
    return (kind, int(value) if type(value) is Uint else value)


def _key(key: object) -> object:
    value = key_value(key)
    return int(value) if type(value) is Uint else value


def _micros(time: Timestamp | Duration) -> int:
    """Return the microseconds that the binding leaves: of an instant floored, of a span cut."""
    if type(time) is Timestamp or time.nanos >= 0:
        return time.nanos // 1000
    return -(-time.nanos // 1000)
