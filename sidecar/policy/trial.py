"""One CEL expression with any variables, values typed: for people, and for other people's vectors.

The engine is the one that policies run on; only the seam differs: variables have any name, and what
comes out keeps the types that JSON has no word for. A VALUE is `{"int": "-1"}`, `{"uint": "1"}`,
`{"double": "1.5"}`, `{"bytes": base64}`, `{"list": [VALUE]}`, `{"map": [[VALUE, VALUE]]}`,
`{"type": name}`, `{"null": null}`, `{"bool": b}` or `{"string": s}`; beside these, for people,
`{"timestamp": text}`, `{"duration": text}` and `{"optional": VALUE | null}`.

What the type checker refuses is evaluated all the same, as the dynamic language that CEL is; if
that fails, what the checker said is more to the point.
"""

import json
import math
import re
from collections.abc import Mapping
from typing import Final

import msgspec

from sidecar.policy.language import Limits
from sidecar.policy.language.checking.checker import check
from sidecar.policy.language.expression import environment
from sidecar.policy.language.faults import BadConversion, Fault
from sidecar.policy.language.reading.lexer import SyntaxProblem, place
from sidecar.policy.language.reading.parser import parse
from sidecar.policy.language.running.program import Program
from sidecar.policy.language.types import DYN
from sidecar.policy.language.values import typed, untyped
from sidecar.terms.call import Json
from sidecar.terms.errors import EnvelopeError, TrialError

# Other people's vectors hold longer expressions than a policy may.
_LIMITS: Final = Limits(characters=1_000_000)
_CONTAINER: Final = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*", re.ASCII)
# What JSON has no word for, and the vectors neither.
_SHOWN: Final = {
    "google.protobuf.Timestamp": "timestamp",
    "google.protobuf.Duration": "duration",
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
    if trial.container and not _CONTAINER.fullmatch(trial.container):
        raise EnvelopeError("a container is a name such as `a.b`")
    data = {name: _decoded(value) for name, value in trial.bindings.items()}
    known = environment(dict.fromkeys(data, DYN), trial.container)
    try:
        tree = parse(trial.expr, _LIMITS, macros=not trial.disable_macros)
    except SyntaxProblem as problem:
        raise _said(trial, problem.start, problem.text) from None
    checked = check(tree, known)
    try:
        return shown_typed(typed(Program(checked.tree, data).run(data, {})))
    except Fault as fault:
        for wrong in checked.problems:
            raise _said(trial, wrong.start, wrong.text) from None
        raise TrialError(str(fault)) from None


def _said(trial: Trial, start: int, text: str) -> TrialError:
    line, column = place(trial.expr, start)
    return TrialError(f"{line}:{column}: {text}")


def _decoded(value: Json) -> object:
    """Return a VALUE as the engine takes it. Raises EnvelopeError."""
    if not isinstance(value, dict) or len(value) != 1:
        raise EnvelopeError('a binding is a VALUE such as {"int": "1"}')
    try:
        return untyped(value)
    except BadConversion:
        raise EnvelopeError(f"a binding's `{next(iter(value))}` is not of its form") from None
    except Fault as fault:
        raise EnvelopeError(f"a binding's `{next(iter(value))}`: {fault}") from None


def shown_typed(value: dict[str, Json]) -> dict[str, Json]:
    """Return a VALUE under the names that are told for people."""
    ((kind, inner),) = value.items()
    if kind == "list":
        return {kind: [shown_typed(one) for one in inner]}
    if kind == "map":
        return {kind: [[shown_typed(key), shown_typed(one)] for key, one in inner]}
    if kind == "optional" and inner is not None:
        return {kind: shown_typed(inner)}
    return {_SHOWN.get(kind, kind): inner}


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
        case "optional":
            return None if inner is None else to_json(inner)
        case _:
            return inner


def _shown(key: Json) -> str:
    return key if isinstance(key, str) else json.dumps(key)
