"""The one seam to the expression engine: what an expression may name, and what it reads.

The language itself is `sidecar.policy.language`. A condition holds only when its value is exactly
`true`, and a fact that is not in hand voids whatever the evaluation came to.
"""

from functools import lru_cache
from typing import Final

from sidecar.policy.language import (
    Compiled,
    Environment,
    EvaluationError,
    ExpressionError,
    Limits,
    MissingFacts,
    compile_expression,
    environment,
)
from sidecar.policy.language.faults import Fault
from sidecar.policy.language.types import DYN
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
    "reads",
    "shown",
]

# What a decision depends on beside its bundle: another number may decide differently.
ENGINE: Final = "doorward-cel/1"
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
Expression = Compiled
_LIMITS: Final = Limits(EXPRESSION_CHARS_MAX, EXPRESSION_NESTING_MAX)


class Compiler:
    """Compiles the expressions of one policy: the roots plus its own `variables.<name>`."""

    def __init__(self, variables: tuple[str, ...] = ()) -> None:
        self._known = _known(variables)

    def compile(self, source: str, *, condition: bool = False) -> Expression:
        """Return `source` compiled.

        Args:
            source: CEL text.
            condition: The result must be a bool (or only known at run time).

        Raises:
            ExpressionError: With the position inside `source`.
        """
        return compile_expression(source, self._known, condition=condition, limits=_LIMITS)


@lru_cache(maxsize=256)
def _known(variables: tuple[str, ...]) -> Environment:
    names = (*ROOTS, *(f"variables.{name}" for name in variables))
    return environment(dict.fromkeys(names, DYN))


def shown(value: object) -> Json:
    """Return what `native` gave in plain JSON, for people; None where it has no such form."""
    try:
        return to_json(admitted(value))
    except Fault:
        return None


def reads(found: frozenset[str], missing: str) -> bool:
    """Return whether an expression that reads `found` may read `missing` or anything below it."""
    return any(
        path == missing or path.startswith(missing + ".") or missing.startswith(path + ".")
        for path in found
    )
