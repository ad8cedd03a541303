"""Conditions as clauses: what each compares, whether several can hold at once, and with what.

`formula` says what a condition asks, as `all of` and `any of` clauses, each a field beside a
constant. What it cannot say it keeps as an opaque clause, of which nothing is concluded. So "these
never hold together" is certain, and "they may" is not.
"""

from sidecar.review.clauses.build import Written, formula
from sidecar.review.clauses.conflict import conflicts, may_hold
from sidecar.review.clauses.formula import (
    ABSENT,
    AllOf,
    AnyOf,
    Clause,
    Formula,
    clauses_of,
    is_true,
    ways,
)
from sidecar.review.clauses.patterns import covers, meet, overlap

__all__ = [
    "ABSENT",
    "AllOf",
    "AnyOf",
    "Clause",
    "Formula",
    "Written",
    "clauses_of",
    "conflicts",
    "covers",
    "formula",
    "is_true",
    "may_hold",
    "meet",
    "overlap",
    "ways",
]
