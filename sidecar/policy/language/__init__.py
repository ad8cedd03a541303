"""CEL, ours: text → tree → checked types → Python code; one job a file."""

from sidecar.policy.language.checking.names import Environment
from sidecar.policy.language.expression import (
    Compiled,
    EvaluationError,
    ExpressionError,
    Wanted,
    compile_expression,
    environment,
)
from sidecar.policy.language.limits import Limits
from sidecar.policy.language.running.state import MissingFacts

__all__ = [
    "Compiled",
    "Environment",
    "EvaluationError",
    "ExpressionError",
    "Limits",
    "MissingFacts",
    "Wanted",
    "compile_expression",
    "environment",
]
