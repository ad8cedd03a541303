"""PDP: pure (Request, Bundle, facts) → Decision | NeedFacts. No I/O, no clock, no randomness."""

from sidecar.decide.again import Repeat, repeat_of
from sidecar.decide.pdp import (
    decide,
    decide_linearly,
    denial,
    explain,
    is_clean,
    standing_facts,
)
from sidecar.decide.target import left_out

__all__ = [
    "Repeat",
    "decide",
    "decide_linearly",
    "denial",
    "explain",
    "is_clean",
    "left_out",
    "repeat_of",
    "standing_facts",
]
