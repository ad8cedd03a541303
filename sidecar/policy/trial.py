"""One CEL expression with any variables, values typed: for people, and for other people's vectors.

The engine is the one that policies run on; only the seam differs: variables have any name, and what
comes out keeps the types that JSON has no word for. A VALUE is `{"int": "-1"}`, `{"uint": "1"}`,
`{"double": "1.5"}`, `{"bytes": base64}`, `{"list": [VALUE]}`, `{"map": [[VALUE, VALUE]]}`,
`{"type": name}`, `{"null": null}`, `{"bool": b}` or `{"string": s}`.

The binding hands maps over as Python dicts, in which the keys `1`, `1u` and `true` are one. So a
map is never taken whole: its keys are asked for by a comprehension, its values by their keys.
"""

import base64
import binascii
import json
import math
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import msgspec
from cel_expr_python import cel as engine

from sidecar.policy.cel import EXTENSIONS
from sidecar.terms.call import Json
from sidecar.terms.errors import EnvelopeError, TrialError

_NESTING_MAX: Final = 32
# A value as the binding has it, whose own class mypy cannot follow.
_Found: TypeAlias = Any
_TYPES: Final = {
    "BOOL": "bool",
    "BYTES": "bytes",
    "DOUBLE": "double",
    "DURATION": "google.protobuf.Duration",
    "DYN": "dyn",
    "INT": "int",
    "LIST": "list",
    "MAP": "map",
    "NULL": "null_type",
    "STRING": "string",
    "TIMESTAMP": "google.protobuf.Timestamp",
    "TYPE": "type",
    "UINT": "uint",
}


class Trial(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is evaluated: `expr`, in `container`, with `bindings` of name → VALUE."""

    expr: str
    container: str = ""
    disable_macros: bool = False
    bindings: dict[str, dict[str, Json]] = {}


def evaluate(trial: Trial) -> dict[str, Json]:
    """Return the VALUE of an expression.

    Raises:
        TrialError: It does not compile, or evaluating it fails.
        EnvelopeError: A binding is no VALUE.
    """
    return _Run(trial).encoded(trial.expr, 0)


class _Run:
    """One environment and its data."""

    def __init__(self, trial: Trial) -> None:
        macros = "stdlib:\n  disable_macros: true\n" if trial.disable_macros else ""
        declared = {name: _declared(value) for name, value in trial.bindings.items()}
        self._data = {name: decoded(value) for name, value in trial.bindings.items()}
        self._env = engine.NewEnv(
            config=engine.NewEnvConfigFromYaml(EXTENSIONS + macros),
            variables=declared,
            container=trial.container,
        )

    def _value(self, source: str) -> _Found:
        try:
            found = self._compiled(source).eval(data=self._data)
            failed = found.type() == engine.Type.ERROR
            plain = found.value()
        except (RuntimeError, TypeError, ValueError) as error:
            raise TrialError(_first_line(str(error))) from None
        if failed:
            raise TrialError(_first_line(str(plain)))
        return found

    def _compiled(self, source: str) -> _Found:
        """Return a program; what the type checker refuses is tried as the dynamic language."""
        try:
            return self._env.compile(source)
        except (RuntimeError, TypeError, ValueError):
            try:
                return self._env.compile(source, disable_check=True)
            except (RuntimeError, TypeError, ValueError):
                # What the checker said is more to the point.
                return self._env.compile(source)

    def encoded(self, source: str, depth: int) -> dict[str, Json]:
        """Return what `source` comes to as a VALUE."""
        if depth > _NESTING_MAX:
            raise TrialError(f"a value nested deeper than {_NESTING_MAX}")
        found = self._value(source)
        kind = _kind(found)
        # A line of its own: the expression may end in a comment.
        inner = f"({source}\n)"
        if kind == "list":
            return {"list": [self._element(inner, i, v, depth) for i, v in _numbered(found)]}
        if kind == "map":
            return {"map": self._pairs(inner, depth)}
        return _scalar(kind, found.value())

    def _element(self, inner: str, index: int, value: _Found, depth: int) -> dict[str, Json]:
        if _kind(value) in ("list", "map"):
            return self.encoded(f"{inner}[{index}]", depth + 1)
        return _scalar(_kind(value), value.value())

    def _pairs(self, inner: str, depth: int) -> list[list[dict[str, Json]]]:
        keys = [_scalar(_kind(key), key.value()) for key in self._keys(inner)]
        return [[key, self.encoded(f"{inner}[{_literal(key)}]", depth + 1)] for key in keys]

    def _keys(self, inner: str) -> list[_Found]:
        found: list[_Found] = self._value(f"{inner}.transformList(key, value, key)").value()
        return found


def _numbered(found: _Found) -> list[tuple[int, _Found]]:
    return list(enumerate(found.value()))


def _kind(found: _Found) -> str:
    name = str(found.type().name()).partition("<")[0]
    return _TYPES.get(name, name)


def _scalar(kind: str, value: _Found) -> dict[str, Json]:
    match kind:
        case "null_type":
            return {"null": None}
        case "bool" | "string":
            return {kind: value}
        case "int" | "uint":
            return {kind: str(value)}
        case "double":
            return {"double": _double(value)}
        case "bytes":
            return {"bytes": base64.b64encode(bytes(value)).decode()}
        case "type":
            name = str(value.name()).partition("<")[0]
            return {"type": _TYPES.get(name, name)}
        case _:
            return _moment(kind, value)


def _moment(kind: str, value: _Found) -> dict[str, Json]:
    """Return a time or a duration: texts that a person can read, beside the VALUEs of a suite."""
    if kind == "google.protobuf.Timestamp":
        return {"timestamp": value.isoformat().replace("+00:00", "Z")}
    if kind == "google.protobuf.Duration":
        return {"duration": f"{value.total_seconds():g}s"}
    raise TrialError(f"a value of type `{kind}` has no form here")


def _double(value: float) -> str:
    if math.isnan(value):
        return "nan"
    return repr(value) if math.isfinite(value) else ("inf" if value > 0 else "-inf")


def _literal(key: Mapping[str, Json]) -> str:
    """Return a map's key as CEL text."""
    ((kind, value),) = key.items()
    match kind:
        case "uint":
            return f"{value}u"
        case "string":
            # JSON's escapes are CEL's as well; pairs of surrogates are not made here.
            return json.dumps(value, ensure_ascii=False)
        case "bool":
            return "true" if value else "false"
        case _:
            return str(value)


def _declared(value: Mapping[str, Json]) -> _Found:
    """Return the type to declare; the binding only makes a uint where one is declared."""
    return engine.Type.UINT if "uint" in value else engine.Type.DYN


def decoded(value: Mapping[str, Json]) -> Json:
    """Return a VALUE as the engine takes it. Raises EnvelopeError."""
    if not isinstance(value, dict) or len(value) != 1:
        raise EnvelopeError('a binding is a VALUE such as {"int": "1"}')
    ((kind, inner),) = value.items()
    try:
        return _decoded(kind, inner)
    except (ValueError, TypeError, binascii.Error):
        raise EnvelopeError(f"a binding's `{kind}` is not of its form") from None


def _decoded(kind: str, inner: Json) -> Json:
    match kind:
        case "null":
            return None
        case "bool" | "string":
            return inner
        case "int" | "uint":
            return int(inner)
        case "double":
            return float(inner)
        case "bytes":
            return base64.b64decode(inner, validate=True)
        case "list":
            return [decoded(one) for one in inner]
        case "map":
            return {decoded(key): decoded(one) for key, one in inner}
        case _:
            raise EnvelopeError(f"a binding of kind `{kind}` is not taken")


def from_json(value: Json) -> dict[str, Json]:
    """Return a plain JSON value as a VALUE."""
    if value is None:
        return {"null": None}
    if isinstance(value, bool | str):
        return {"bool" if isinstance(value, bool) else "string": value}
    if isinstance(value, int | float):
        return {"int" if isinstance(value, int) else "double": str(value)}
    if isinstance(value, list):
        return {"list": [from_json(one) for one in value]}
    return {"map": [[{"string": key}, from_json(one)] for key, one in value.items()]}


def to_json(value: Mapping[str, Json]) -> Json:
    """Return a VALUE as plain JSON, for reading; keys become strings."""
    ((kind, inner),) = value.items()
    match kind:
        case "int" | "uint":
            return int(inner)
        case "double":
            number = float(inner)
            return number if math.isfinite(number) else inner
        case "list":
            return [to_json(one) for one in inner]
        case "map":
            return {_shown(to_json(key)): to_json(one) for key, one in inner}
        case _:
            return inner


def _shown(key: Json) -> str:
    return key if isinstance(key, str) else json.dumps(key)


def _first_line(text: str) -> str:
    return text.partition("\n")[0][:300] or "the expression failed"
