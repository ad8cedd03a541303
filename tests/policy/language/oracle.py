"""Google's cel-cpp, which answers the same questions independently."""

import datetime as dt
import math
from typing import Any

from cel_expr_python import cel as engine

EXTENSIONS = """
name: oracle
extensions:
- name: optional
- name: strings
- name: math
- name: encoders
- name: bindings
- name: sets
- name: lists
- name: regex
- name: two-var-comprehensions
"""
ERROR = "error"
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
# Types that the binding names otherwise; of the others the name in small letters is theirs.
_TYPES = {
    "NULL": "null_type",
    "TIMESTAMP": "google.protobuf.Timestamp",
    "DURATION": "google.protobuf.Duration",
}
_FAILURES = (RuntimeError, TypeError, ValueError, OverflowError)


class Oracle:
    """One environment in which some names are declared as `dyn`."""

    def __init__(self, names: list[str]) -> None:
        self._env = engine.NewEnv(
            config=engine.NewEnvConfigFromYaml(EXTENSIONS),
            variables=dict.fromkeys(names, engine.Type.DYN),
        )

    def answer(self, source: str, data: dict[str, Any]) -> Any:
        """Return the value as nested tuples that say their types, or ERROR."""
        try:
            found = self._env.compile(source, disable_check=True).eval(data=data)
            return _plain(found)
        except _FAILURES:
            return ERROR


def _plain(found: Any) -> Any:
    kind = str(found.type().name()).partition("<")[0]
    if kind == "ERROR":
        return ERROR
    if kind == "NULL":
        return ("null", None)
    return _read(kind, found.value())


def _read(kind: str, value: Any) -> Any:
    if kind == "LIST":
        return ("list", [_plain(one) for one in value])
    if kind == "MAP":
        return ("map", sorted(((key, _plain(one)) for key, one in value.items()), key=repr))
    if kind == "BYTES":
        return ("bytes", bytes(value))
    if kind == "DOUBLE" and math.isnan(value):
        return ("double", "nan")
    if kind == "TYPE":
        name = str(value.name()).partition("<")[0]
        return ("type", _TYPES.get(name, name.lower()))
    if kind == "TIMESTAMP":
        return ("timestamp", _micros(value - _EPOCH))
    if kind == "DURATION":
        return ("duration", _micros(value))
    return (kind.lower(), value)


def _micros(span: dt.timedelta) -> int:
    return span // dt.timedelta(microseconds=1)
