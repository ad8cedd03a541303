"""PDP: pure (Request, Bundle, facts) → Decision | NeedFacts. No I/O, no clock, no randomness."""

from sidecar.decide.again import repeat_of
from sidecar.decide.pdp import (
    decide,
    decide_linearly,
    denial,
    explain,
    is_clean,
    standing_facts,
)

__all__ = [
    "decide",
    "decide_linearly",
    "denial",
    "explain",
    "is_clean",
    "repeat_of",
    "standing_facts",
]
