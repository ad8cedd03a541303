"""Source → a checked expression, and its value as plain JSON or the kind of its failure."""

from collections.abc import Mapping

from sidecar.policy.language.checking.checker import check
from sidecar.policy.language.checking.names import Environment
from sidecar.policy.language.checking.reads import paths
from sidecar.policy.language.faults import Fault
from sidecar.policy.language.functions import FUNCTIONS
from sidecar.policy.language.limits import Limits
from sidecar.policy.language.reading.lexer import SyntaxProblem, place
from sidecar.policy.language.reading.parser import parse
from sidecar.policy.language.running.program import Program
from sidecar.policy.language.running.state import FACT_FUNCTIONS
from sidecar.policy.language.types import BOOL, DYN, AnyType
from sidecar.policy.language.values import admitted, to_json
from sidecar.terms.call import Json
from sidecar.terms.decision import Facts

_LIMITS = Limits()


class ExpressionError(Exception):
    """An expression does not compile: 1-based line and column inside it, and why."""

    def __init__(self, line: int, column: int, text: str) -> None:
        super().__init__(text)
        self.line = line
        self.column = column
        self.text = text


class EvaluationError(Exception):
    """An evaluation failed; the text names the kind of failure, never a value."""


class Compiled:
    """An expression that was checked.

    Attributes:
        source: As written.
        paths: Every dotted path that it may read; what lies below a path may be read too.
        result: The type of its value, `dyn` where that is known only at run time.
    """

    __slots__ = ("_program", "paths", "result", "source")

    def __init__(self, source: str, program: Program, found: frozenset[str], result: str) -> None:
        self.source = source
        self.paths = found
        self.result = result
        self._program = program

    def native(self, data: Mapping[str, object], facts: Facts) -> object:
        """Return the value in the types of the language, as other expressions may take it.

        Raises:
            EvaluationError: With the kind of failure.
            MissingFacts: Facts were asked for that are not in `facts`.
        """
        try:
            return self._program.run(data, facts)
        except Fault as fault:
            raise EvaluationError(str(fault)) from None

    def value(self, data: Mapping[str, object], facts: Facts) -> Json:
        """Return the value in plain JSON: what has no type there is a text, times for example.

        Raises:
            EvaluationError: With the kind of failure.
            MissingFacts: Facts were asked for that are not in `facts`.
        """
        found = self.native(data, facts)
        try:
            return to_json(admitted(found))
        except Fault as fault:
            raise EvaluationError(str(fault)) from None

    def holds(self, data: Mapping[str, object], facts: Facts) -> bool:
        """Return whether the condition is exactly `true`; anything but a bool is an error.

        Raises:
            EvaluationError: With the kind of failure.
            MissingFacts: Facts were asked for that are not in `facts`.
        """
        found = self.native(data, facts)
        if type(found) is bool:
            return found
        msg = "the condition is not a bool"
        raise EvaluationError(msg)


def environment(variables: Mapping[str, AnyType], container: str = "") -> Environment:
    """Return what an expression may speak of: `variables`, every function, the fact functions."""
    return Environment(variables, (*FUNCTIONS.values(), *FACT_FUNCTIONS), container)


def compile_expression(
    source: str, known: Environment, *, condition: bool, limits: Limits = _LIMITS
) -> Compiled:
    """Return `source` compiled.

    Args:
        source: CEL text.
        known: See `environment`; made once for the many expressions that share it.
        condition: The result must be a bool (or only known at run time).
        limits: Of its length and depth.

    Raises:
        ExpressionError: With the position inside `source`.
    """
    try:
        checked = check(parse(source, limits), known)
    except SyntaxProblem as problem:
        raise ExpressionError(*place(source, problem.start), problem.text) from None
    for wrong in sorted(checked.problems, key=lambda each: each.start):
        raise ExpressionError(*place(source, wrong.start), wrong.text)
    if condition and checked.type not in {BOOL, DYN}:
        raise ExpressionError(1, 1, f"a condition is a bool, this is {checked.type}")
    program = Program(checked.tree, known.variables.keys())
    return Compiled(source, program, paths(checked.tree), str(checked.type))
