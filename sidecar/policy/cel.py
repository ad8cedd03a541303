"""The one seam to the expression engine: compile with positions, evaluate to a value or an error.

Behind it stands Google's cel-cpp (`cel_expr_python`) until our own compiler does. Three of its
habits are dangerous and end here: evaluation errors come back as values whose text is truthy,
some errors are raised instead, and an exception in a function is absorbed by `||`. So a condition
holds only when the value `is True`, and a fact that is not in hand is noted beside the
evaluation: any note voids the result.

Source: https://github.com/google/cel-spec/blob/master/doc/langdef.md
"""

import re
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Final, TypeAlias

import msgspec
from cel_expr_python import cel as engine

from sidecar.policy.limits import EXPRESSION_CHARS_MAX, EXPRESSION_NESTING_MAX
from sidecar.syntax.glob import glob
from sidecar.terms.call import Json
from sidecar.terms.decision import FactKey, Facts

ENGINE: Final = "cel-cpp/0.1.3"
# What every expression may name; DESIGN §3. `variables.<name>` are added per policy.
ROOTS: Final = (
    "subject",
    "actor",
    "actors",
    "delegated",
    "action",
    "resource",
    "targets",
    "context",
    "request",
    "session",
    "parse",
    "params",
)
# Fact functions: name → parameter count. All parameters are strings.
FACT_FUNCTIONS: Final = {"entity": 2}

EXTENSIONS = """
name: sidecar
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


# A value as the binding has it, whose own class mypy cannot follow.
_Said: TypeAlias = Any
# The binding raises these; anything else is our own mistake and ends at the edge as a denial.
_ENGINE_FAILURES = (RuntimeError, TypeError, ValueError, OverflowError)


class ExpressionError(Exception):
    """An expression does not compile: 1-based line and column inside it, and why."""

    def __init__(self, line: int, column: int, text: str) -> None:
        super().__init__(text)
        self.line = line
        self.column = column
        self.text = text


class EvaluationError(Exception):
    """An evaluation failed; the text names the kind of failure, never a value."""


class _InHand:
    """The facts of one evaluation, and the ones that it asked for in vain."""

    __slots__ = ("facts", "missed", "used")

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.missed: set[FactKey] = set()
        self.used: set[FactKey] = set()


_in_hand: ContextVar[_InHand] = ContextVar("facts of the evaluation under way")


class MissingFacts(Exception):
    """The evaluation asked for facts that are not in hand; its result is void."""

    def __init__(self, keys: frozenset[FactKey]) -> None:
        super().__init__("facts are missing")
        self.keys = keys


def _entity(kind: str, name: str) -> Json:
    key = FactKey("entity", (kind, name))
    hand = _in_hand.get()
    fact = hand.facts.get(key)
    if fact is None:
        hand.missed.add(key)
        msg = "fact not in hand"
        raise LookupError(msg)
    hand.used.add(key)
    return fact.value


def _glob(pattern: str, text: str) -> bool:
    return glob(pattern, text)


class Expression(msgspec.Struct, frozen=True):
    """A compiled expression; `paths` are the dotted paths it reads, as far as its text shows."""

    source: str
    program: Any
    result: str
    paths: frozenset[str]

    def value(self, data: Mapping[str, Json], facts: Facts) -> Json:
        """Return the plain value.

        Raises:
            EvaluationError: With the kind of failure.
            MissingFacts: Facts were asked for that are not in `facts`.
        """
        hand = _InHand(facts)
        token = _in_hand.set(hand)
        try:
            said = self.program.eval(data=data)
            failed = said.type() == engine.Type.ERROR
            plain = str(said.value()) if failed else _plain(said)
        except _ENGINE_FAILURES as error:
            failed, plain = True, str(error)
        finally:
            _in_hand.reset(token)
        if hand.missed:
            raise MissingFacts(frozenset(hand.missed))
        if failed:
            raise EvaluationError(_kind(str(plain)))
        return plain

    def holds(self, data: Mapping[str, Json], facts: Facts) -> bool:
        """Return whether the condition is exactly `true`; anything but a bool is an error."""
        value = self.value(data, facts)
        if value is True or value is False:
            return value is True
        msg = "the condition is not a bool"
        raise EvaluationError(msg)


def _plain(said: _Said) -> Json:
    """Return a value as plain JSON values.

    The binding's own `plain_value` gives up a reference to None for each null that it converts;
    with the last of them the process ends, and callers choose how many nulls there are.
    """
    if said.type() == engine.Type.NULL:
        return None
    value = said.value()
    if isinstance(value, list):
        return [_plain(member) for member in value]
    if isinstance(value, dict):
        return {name: _plain(member) for name, member in value.items()}
    return value


class Compiler:
    """Compiles the expressions of one policy: the roots plus its own `variables.<name>`."""

    def __init__(self, variables: tuple[str, ...] = ()) -> None:
        dyn, text = engine.Type.DYN, engine.Type.STRING
        names = [*ROOTS, *(f"variables.{name}" for name in variables)]
        self._env = engine.NewEnv(
            config=engine.NewEnvConfigFromYaml(EXTENSIONS),
            variables=dict.fromkeys(names, dyn),
            functions=[
                _declared("glob", engine.Type.BOOL, [text, text]),
                _declared("entity", dyn, [text, text]),
            ],
            function_impls={"glob_overload": _glob, "entity_overload": _entity},
        )

    def compile(self, source: str, *, condition: bool = False) -> Expression:
        """Return `source` compiled.

        Args:
            source: CEL text.
            condition: The result must be a bool (or only known at run time).

        Raises:
            ExpressionError: With the position inside `source`.
        """
        _bound(source)
        try:
            program = self._env.compile(source)
        except _ENGINE_FAILURES as error:
            raise _compile_error(str(error)) from None
        result = str(program.return_type().name())
        if condition and result not in ("BOOL", "DYN"):
            raise ExpressionError(1, 1, f"a condition is a bool, this is {result.lower()}")
        return Expression(source, program, result, paths(source))


def _declared(  # the binding ships types that mypy cannot follow
    name: str, result: object, parameters: list[object]
) -> object:
    overload = engine.Overload(f"{name}_overload", result, parameters, is_member=False)
    return engine.FunctionDecl(name, [overload])


def _bound(source: str) -> None:
    if len(source) > EXPRESSION_CHARS_MAX:
        raise ExpressionError(1, 1, f"longer than {EXPRESSION_CHARS_MAX} characters")
    depth = 0
    for match in re.finditer(r"[(\[{]|[)\]}]", _STRINGS.sub("", source)):
        depth += 1 if match.group() in "([{" else -1
        if depth > EXPRESSION_NESTING_MAX:
            raise ExpressionError(1, 1, f"nested deeper than {EXPRESSION_NESTING_MAX}")


_FOUND = re.compile(r"ERROR: [^:]*:(\d+):(\d+): ([^\n]*)")


def _compile_error(text: str) -> ExpressionError:
    found = _FOUND.search(text)
    if not found:
        return ExpressionError(1, 1, text.splitlines()[0][:200] if text else "does not compile")
    line, column, said = found.groups()
    said = said.replace(" (in container '')", "").strip()
    root = re.match(r"undeclared reference to '([^']*)'", said)
    if root:
        name = root.group(1)
        offers = (
            "the policy declares no such variable"
            if name.startswith("variables.")
            else ("known here: " + ", ".join(ROOTS))
        )
        said = f"unknown word `{name}`; {offers}"
    return ExpressionError(int(line), int(column), said[:300])


_KINDS = (
    ("Key not found", "an absent field was read"),
    ("No value with name", "a variable could not be evaluated"),
    ("No matching overload", "no overload for these types"),
    ("SELECT to non-message", "a field was read of something that has none"),
    ("Iteration budget", "the evaluation budget is exceeded"),
    ("recursion", "the evaluation budget is exceeded"),
    ("Index error", "an index is out of range"),
    ("convert", "a value could not be converted"),
    ("out of range", "a number is out of range"),
    ("overflow", "a number is out of range"),
    ("divide by zero", "division by zero"),
    ("Non-CEL value", "a value is not of the language"),
)


def _kind(text: str) -> str:
    """Return the kind of failure: the engine's text may quote values, which records must not."""
    for part, kind in _KINDS:
        if part in text:
            return kind
    return "the expression failed"


_STRINGS = re.compile(
    r"""[rR][bB]?("[^"\n]*"|'[^'\n]*')|[rRbB]{0,2}("{3}.*?"{3}|'{3}.*?'{3}|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')|//[^\n]*""",
    re.DOTALL,
)
# A root may follow a dot: `.request.http` is the language's absolute form of `request.http`.
_CHAIN = re.compile(r"(?<!\w)([A-Za-z_]\w*(?:\s*\.\s*\??\s*[A-Za-z_]\w*)*)\s*(\()?")


def paths(source: str) -> frozenset[str]:
    """Return every dotted chain that starts at a root: `request.http.body.amount`, `request`.

    A chain ends where the text no longer shows what is read (`request[x]`), so a shorter path means
    that anything below it may be read.
    """
    found = set()
    for chain, is_called in _CHAIN.findall(_STRINGS.sub(" '' ", source)):
        path = re.sub(r"[\s?]", "", chain)
        # The last step of `request.exists(` is a method: what it is called on is read.
        path = path.rpartition(".")[0] if is_called else path
        if path.split(".", 1)[0] in ROOTS:
            found.add(path)
    return frozenset(found)


def reads(found: frozenset[str], missing: str) -> bool:
    """Return whether an expression that reads `found` may read `missing` or anything below it."""
    return any(
        path == missing or path.startswith(missing + ".") or missing.startswith(path + ".")
        for path in found
    )
