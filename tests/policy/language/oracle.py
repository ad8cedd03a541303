"""Google's cel-cpp, which answers the same questions independently."""

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
    value = found.value()
    if kind == "LIST":
        return ("list", [_plain(one) for one in value])
    if kind == "MAP":
        return ("map", sorted(((key, _plain(one)) for key, one in value.items()), key=repr))
    if kind == "BYTES":
        return ("bytes", bytes(value))
    if kind == "DOUBLE" and math.isnan(value):
        return ("double", "nan")
    return (kind.lower(), value)
