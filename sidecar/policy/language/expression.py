"""Source → a checked expression, and its value as plain JSON or the kind of its failure."""

from collections.abc import Mapping
from enum import Enum

from sidecar.policy.language.checking import wording
from sidecar.policy.language.checking.checker import check
from sidecar.policy.language.checking.names import Environment
from sidecar.policy.language.checking.reads import paths
from sidecar.policy.language.facts import FACT_FUNCTIONS
from sidecar.policy.language.faults import Fault
from sidecar.policy.language.functions import FUNCTIONS
from sidecar.policy.language.limits import Limits
from sidecar.policy.language.reading.lexer import SyntaxProblem, place
from sidecar.policy.language.reading.parser import parse
from sidecar.policy.language.running.program import Program
from sidecar.policy.language.spans import pointed
from sidecar.policy.language.tree import Tree
from sidecar.policy.language.types import BOOL, DYN, STRING, AnyType
from sidecar.policy.language.values import admitted, to_json
from sidecar.terms.call import Json
from sidecar.terms.decision import Facts

_LIMITS = Limits()


class Wanted(Enum):
    """What an expression is for, and the type that its value then has."""

    ANY = DYN
    CONDITION = BOOL
    MESSAGE = STRING


class ExpressionError(Exception):
    """An expression does not compile.

    Attributes:
        text: Why, in one line.
        start: Offset of the first code point of what is wrong; `line` and `column` count from 1.
        shown: The line that is wrong with carets below what is.
        others: What else is wrong, further on in the text.
    """

    def __init__(
        self,
        source: str,
        start: int,
        end: int,
        text: str,
        others: tuple["ExpressionError", ...] = (),
    ) -> None:
        super().__init__(text)
        self.others = others
        self.text = text
        self.start = start
        self.line, self.column = place(source, start)
        self.shown = pointed(source, start, end)


class EvaluationError(Exception):
    """An evaluation failed; the text names the kind of failure, never a value."""


class Compiled:
    """An expression that was checked.

    Attributes:
        source: As written.
        paths: Every dotted path that it may read; what lies below a path may be read too.
        type: The type of its value, `dyn` where that is known only at run time.
    """

    __slots__ = ("_program", "paths", "source", "type")

    def __init__(
        self, source: str, program: Program, found: frozenset[str], result: AnyType
    ) -> None:
        self.source = source
        self.paths = found
        self.type = result
        self._program = program

    @property
    def result(self) -> str:
        """Return the type as it is written."""
        return str(self.type)

    @property
    def tree(self) -> Tree:
        """Return its checked tree."""
        return self._program.tree

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


_EVERYTHING = Environment({}, (*FUNCTIONS.values(), *FACT_FUNCTIONS))


def environment(variables: Mapping[str, AnyType], container: str = "") -> Environment:
    """Return what an expression may speak of: `variables`, every function, the fact functions."""
    return _EVERYTHING.declaring(variables, container)


def compile_expression(
    source: str, known: Environment, *, wanted: Wanted = Wanted.ANY, limits: Limits = _LIMITS
) -> Compiled:
    """Return `source` compiled.

    Args:
        source: CEL text.
        known: See `environment`; made once for the many expressions that share it.
        wanted: What its value is for; what is known only at run time may be anything.
        limits: Of its length and depth.

    Raises:
        ExpressionError: With the position inside `source`.
    """
    try:
        checked = check(parse(source, limits), known)
    except SyntaxProblem as problem:
        raise ExpressionError(source, problem.start, problem.end, problem.text) from None
    if checked.problems:
        first, *more = sorted(checked.problems, key=lambda each: each.start)
        others = tuple(ExpressionError(source, each.start, each.end, each.text) for each in more)
        raise ExpressionError(source, first.start, first.end, first.text, others)
    if wanted is not Wanted.ANY and checked.type not in {wanted.value, DYN}:
        tree, found = checked.tree, wording.a(checked.type)
        said = f"{wanted.name.lower()} is {wording.a(wanted.value)}, this is {found}"
        raise ExpressionError(source, tree.start, tree.end, f"a {said}")
    program = Program(checked.tree, known.variables.keys())
    return Compiled(source, program, paths(checked.tree), checked.type)
