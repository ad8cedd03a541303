"""Compiles the expressions of one policy, and says of each mistake where in its file it stands."""

from collections.abc import Callable
from typing import Final

from sidecar.policy.cel import Compiler, Expression, ExpressionError, Wanted
from sidecar.policy.language.checking import wording
from sidecar.policy.language.types import (
    BOOL,
    DOUBLE,
    DURATION,
    DYN,
    INT,
    STRING,
    TIMESTAMP,
    UINT,
    AnyType,
)
from sidecar.policy.vocabulary.roots import Calls, Roots
from sidecar.syntax.holes import OPENING, holes
from sidecar.syntax.scalars import place_in
from sidecar.syntax.yaml12 import Document, Step

# What can be written as one literal of a statement.
_LITERALS: Final = frozenset({BOOL, DOUBLE, DURATION, DYN, INT, STRING, TIMESTAMP, UINT})


class Expressions:
    """The expressions of one document, each under what its rule can see.

    Attributes:
        variables: Those declared so far, by name, with their types.
    """

    def __init__(
        self, document: Document, data: bytes, roots: Roots, report: Callable[[str], None]
    ) -> None:
        """Make the compiler of a document.

        Args:
            document: For positions.
            data: The bytes of its file, for positions inside of an expression.
            roots: The types of the bundle.
            report: Takes each `file:line:column: text`.
        """
        self.variables: dict[str, AnyType] = {}
        self._document = document
        self._data = data
        self._roots = roots
        self._report = report
        self._compilers: dict[tuple[Calls, int], Compiler] = {}

    def compile(
        self, source: str, path: tuple[Step, ...], calls: Calls, wanted: Wanted = Wanted.ANY
    ) -> Expression | None:
        """Return the expression at `path` compiled for rules that meet `calls`; None is reported.

        A variable sees those above it, so there is no cycle to find.
        """
        return self._compiled(source, path, 0, calls, wanted)

    def holes(self, text: str, path: tuple[Step, ...], calls: Calls) -> list[Expression | None]:
        """Return the expression of each hole of the text at `path`; None is reported."""
        return [self._hole(text, path, start, end, calls) for start, end in holes(text)]

    def _hole(
        self, text: str, path: tuple[Step, ...], start: int, end: int, calls: Calls
    ) -> Expression | None:
        if end > len(text):
            error = ExpressionError(text, start, len(text), "the hole is not closed by `}`")
            self._wrong(path, error, 0)
            return None
        at = start + len(OPENING)
        source = text[at : end - 1]
        found = self._compiled(source, path, at, calls, Wanted.ANY)
        if found is None or found.type in _LITERALS:
            return found
        said = f"a hole is a string, number, bool or time, this is {wording.a(found.type)}"
        self._wrong(path, ExpressionError(source, 0, len(source), said), at)
        return None

    def _compiled(
        self, source: str, path: tuple[Step, ...], at: int, calls: Calls, wanted: Wanted
    ) -> Expression | None:
        try:
            return self._compiler(calls).compile(source, wanted)
        except ExpressionError as error:
            for wrong in (error, *error.others):
                self._wrong(path, wrong, at)
            return None

    def _compiler(self, calls: Calls) -> Compiler:
        key = calls, len(self.variables)
        found = self._compilers.get(key)
        if found is None:
            found = Compiler(dict(self.variables), self._roots.seen(calls))
            self._compilers[key] = found
        return found

    def _wrong(self, path: tuple[Step, ...], error: ExpressionError, at: int) -> None:
        """Report an error with its place in the file, and the expression's line below it."""
        value = self._document.value
        for step in path:
            value = value[step]
        line, column = self._document.positions.get(path, (1, 1))
        text = self._data.decode()
        line, column = place_in(text, line, column, value, at + error.start)
        shown = "".join(f"\n    {each}" for each in error.shown.splitlines())
        self._report(f"{self._document.name}:{line}:{column}: {error.text}{shown}")
