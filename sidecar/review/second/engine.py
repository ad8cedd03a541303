"""cel-python behind one function: an expression and its data → its value, or the error it had."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final, TypeAlias

import celpy
import msgspec
from celpy import celtypes
from celpy.adapter import json_to_cel
from celpy.celparser import CELParseError
from celpy.evaluation import CELEvalError, CELFunction

from sidecar.policy.language.values import Uint
from sidecar.syntax.glob import glob
from sidecar.terms.decision import FactKey, Facts

# What an error of the evaluation is to cel-python: beside its own, whatever its Python meets.
_FAILURES: Final = (
    CELEvalError,
    ArithmeticError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
)
_VALUE: TypeAlias = celtypes.Value


class NotComparable(Exception):
    """cel-python cannot be asked, or what it says cannot be compared; the text says why."""


class Said(msgspec.Struct, frozen=True):
    """What an evaluator said: a value of JSON (or bytes) with its types, or that it failed."""

    value: object = None
    failed: bool = False

    def __str__(self) -> str:
        if self.failed:
            return "an error"
        return (
            {True: "true", False: "false"}.get(self.value, "a value")
            if (type(self.value) is bool)
            else "a value"
        )

    def same(self, other: "Said") -> bool:
        """Return whether two evaluators said the same, types included."""
        return self.failed is other.failed and repr(self.value) == repr(other.value)


def activation(data: Mapping[str, object]) -> dict[str, _VALUE]:
    """Return data as cel-python takes it: `variables.<name>` are fields of `variables`.

    What has no form there is left out, so that reading it is an error.
    """
    roots: dict[str, object] = {}
    variables: dict[str, object] = {}
    for name, value in data.items():
        held, short = (variables, name.partition(".")[2]) if "." in name else (roots, name)
        held[short] = value
    if variables:
        roots["variables"] = {name: value for name, value in variables.items() if is_given(value)}
    return {name: _given(value) for name, value in roots.items() if is_given(value)}


def evaluate(source: str, given: Mapping[str, _VALUE], facts: Facts) -> Said:
    """Return what cel-python says of `source`.

    Raises:
        NotComparable: It cannot read it, or its answer is of a type that JSON does not have.
    """
    tree = _tree(source)
    if tree is None:
        raise NotComparable("its grammar does not have this syntax")
    try:
        value = _environment().program(tree, functions=_functions(facts)).evaluate(dict(given))
    except _FAILURES:
        return Said(failed=True)
    except RecursionError:
        raise NotComparable("it cannot go as deep") from None
    return Said(theirs(value))


@lru_cache(maxsize=1)
def _environment() -> celpy.Environment:
    return celpy.Environment()


@lru_cache(maxsize=4_096)
def _tree(source: str) -> celpy.Expression | None:  # type: ignore[type-arg]  # its own name
    try:
        return _environment().compile(source)
    except (CELParseError, RecursionError):
        return None


def _functions(facts: Facts) -> dict[str, CELFunction]:
    def entity(kind: celtypes.StringType, name: celtypes.StringType) -> _VALUE:
        return json_to_cel(facts[FactKey("entity", (str(kind), str(name)))].value)

    def matches(pattern: celtypes.StringType, text: celtypes.StringType) -> celtypes.BoolType:
        return celtypes.BoolType(glob(str(pattern), str(text)))

    return {"entity": entity, "glob": matches}


_PLAIN: Final[dict[type, Callable[..., object]]] = {
    celtypes.BoolType: bool,
    celtypes.IntType: int,
    celtypes.UintType: Uint,
    celtypes.DoubleType: float,
    celtypes.StringType: str,
    celtypes.BytesType: bytes,
    type(None): lambda _: None,
}


def theirs(value: object) -> object:
    """Return a value of cel-python as ours has it. Raises NotComparable."""
    if isinstance(value, celtypes.ListType):
        return [theirs(each) for each in value]
    if isinstance(value, celtypes.MapType):
        return {theirs(key): theirs(each) for key, each in value.items()}
    convert = _PLAIN.get(type(value))
    if convert is None:
        raise NotComparable("its result has no form in JSON")
    return convert(value)


_TYPES: Final = frozenset({type(None), bool, int, float, str, bytes, Uint})


def is_given(value: object) -> bool:
    """Return whether cel-python has the type of a value, and of all in it."""
    if type(value) is list:
        return all(map(is_given, value))
    if type(value) is dict:
        return all(type(key) is str for key in value) and all(map(is_given, value.values()))
    return type(value) in _TYPES


def _given(value: object) -> _VALUE:
    if type(value) is Uint:
        return celtypes.UintType(int(value))
    if type(value) is bytes:
        return celtypes.BytesType(value)
    if type(value) is list:
        return celtypes.ListType([_given(each) for each in value])
    if type(value) is dict:
        return celtypes.MapType({_given(key): _given(each) for key, each in value.items()})
    assert value is None or isinstance(value, bool | int | float | str)
    return json_to_cel(value)


def ours(value: object) -> object:
    """Return a value of ours where JSON has its type. Raises NotComparable."""
    if not is_given(value):
        raise NotComparable("our result has no form in JSON")
    return value
