"""The one seam to the expression engine: what an expression may name, and what it reads.

The language itself is `sidecar.policy.language`. A condition holds only when its value is exactly
`true`, and a fact that is not in hand voids whatever the evaluation came to.
"""

from collections.abc import Mapping
from typing import Final

from sidecar.policy.language import (
    Compiled,
    EvaluationError,
    ExpressionError,
    Limits,
    MissingFacts,
    Wanted,
    compile_expression,
    environment,
)
from sidecar.policy.language.faults import Fault
from sidecar.policy.language.types import DYN, AnyType
from sidecar.policy.language.values import admitted, to_json
from sidecar.policy.limits import EXPRESSION_CHARS_MAX, EXPRESSION_NESTING_MAX
from sidecar.terms.call import Json

__all__ = [
    "ENGINE",
    "ROOTS",
    "Compiler",
    "EvaluationError",
    "Expression",
    "ExpressionError",
    "MissingFacts",
    "Wanted",
    "reads",
    "shown",
]

# What a decision depends on beside its bundle: another number may decide differently.
ENGINE: Final = "doorward-cel/2"
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
UNTYPED: Final[Mapping[str, AnyType]] = dict.fromkeys(ROOTS, DYN)
Expression = Compiled
_LIMITS: Final = Limits(EXPRESSION_CHARS_MAX, EXPRESSION_NESTING_MAX)


class Compiler:
    """Compiles expressions that may name the same things: the roots, and a policy's variables."""

    def __init__(
        self, variables: Mapping[str, AnyType] | None = None, roots: Mapping[str, AnyType] = UNTYPED
    ) -> None:
        """Make a compiler.

        Args:
            variables: The policy's own by name, each of the type of its expression.
            roots: Everything else that may be named; see `roots.Roots`.
        """
        own = {f"variables.{name}": found for name, found in (variables or {}).items()}
        self._known = environment({**roots, **own} if own else roots)
        self._made: dict[tuple[str, Wanted], Expression] = {}

    def compile(self, source: str, wanted: Wanted = Wanted.ANY) -> Expression:
        """Return `source` compiled; the same text asked for again is the same expression.

        Raises:
            ExpressionError: With the position inside `source`.
        """
        made = self._made.get((source, wanted))
        if made is None:
            made = compile_expression(source, self._known, wanted=wanted, limits=_LIMITS)
            self._made[source, wanted] = made
        return made


def shown(value: object) -> Json:
    """Return what `native` gave in plain JSON, for people; None where it has no such form."""
    try:
        return to_json(admitted(value))
    except Fault:
        return None


def reads(paths: frozenset[str], missing: str) -> bool:
    """Return whether an expression that reads `paths` may read `missing` or anything below it."""
    return any(
        path == missing or path.startswith(missing + ".") or missing.startswith(path + ".")
        for path in paths
    )
