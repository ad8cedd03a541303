"""The checks, each a function from a bundle looked at to findings, in the order of the table."""

from collections.abc import Callable, Iterator
from typing import Final

from sidecar.review.finding import Finding
from sidecar.review.linting.checks.costs import costly
from sidecar.review.linting.checks.effects import (
    allows_all,
    allows_anybody,
    modifies_nothing,
    subject_agents,
)
from sidecar.review.linting.checks.guards import absent_permits, unguarded_reads
from sidecar.review.linting.checks.leftover import (
    silent_denials,
    untested,
    unused_params,
    unused_variables,
)
from sidecar.review.linting.checks.logic import constant_parts, mixed_logic
from sidecar.review.linting.checks.matches import (
    excepts_nothing,
    list_leaks,
    matches_nothing,
)
from sidecar.review.linting.checks.names import odd_patterns, unknown_actions, unknown_resources
from sidecar.review.linting.checks.shadows import shadows, without_allow
from sidecar.review.linting.checks.slips import loose_patterns, slips
from sidecar.review.linting.checks.values import case_differs, constant_errors, never_equal
from sidecar.review.linting.checks.words import unknown_words, unused_labels
from sidecar.review.linting.looked import Looked

EVERY: Final[tuple[Callable[[Looked], Iterator[Finding]], ...]] = (
    allows_all,
    allows_anybody,
    absent_permits,
    subject_agents,
    constant_parts,
    matches_nothing,
    shadows,
    without_allow,
    modifies_nothing,
    excepts_nothing,
    list_leaks,
    unknown_words,
    unknown_resources,
    unknown_actions,
    odd_patterns,
    never_equal,
    case_differs,
    unguarded_reads,
    slips,
    loose_patterns,
    mixed_logic,
    constant_errors,
    costly,
    silent_denials,
    untested,
    unused_variables,
    unused_params,
    unused_labels,
)
