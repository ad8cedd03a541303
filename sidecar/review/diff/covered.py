"""Whether a version of a rule certainly holds wherever the other does; in doubt it does not."""

import re
from typing import Final, TypeAlias

from sidecar.policy.rules import Rule
from sidecar.review.clauses import ABSENT, AllOf, clauses_of, conflicts, ways
from sidecar.review.linting import Looked
from sidecar.review.linting.reach import within
from sidecar.review.trees import sources_of

Version: TypeAlias = tuple[Rule, Looked]
# What every request has.
_THERE: Final = re.compile(
    r"(?:\A|\()(?:(?:subject|actor|resource)\.(?:type|id)|resource\.labels|action\.(?:name|class)"
    r"|delegated|actors|targets|request\.(?:phase|protocol|domain))\)*\Z"
)


def covered(one: Version, other: Version) -> bool:
    """Return whether `other` certainly holds wherever `one` does."""
    (rule, looked), (also, against) = one, other
    if rule.call_scope is not also.call_scope:
        return False
    if not within(looked.reach(rule), against.reach(also)):
        return False
    return _is_same_text(one, other) or _follows(one, other)


def _is_same_text(one: Version, other: Version) -> bool:
    (rule, looked), (also, against) = one, other
    is_same = looked.bundle.params == against.bundle.params or "params" not in rule.roots
    return is_same and sources_of(rule) == sources_of(also)


def _follows(one: Version, other: Version) -> bool:
    (rule, looked), (also, against) = one, other
    asked, denied = looked.asks(rule), against.asks(also, positive=False)
    # A field that the one does not read may be absent where it holds: then the other errs.
    read = {clause.field for clause in clauses_of(looked.asks(rule))}
    if not _may_err_on(also, against) <= read:
        return False
    both = ways(AllOf((asked, denied)))
    closed = looked.closed(rule)
    return both is not None and all(conflicts(way, closed) for way in both)


def _may_err_on(rule: Rule, looked: Looked) -> set[str]:
    """Return the fields that a rule reads as if they were there."""
    return {
        clause.field
        for clause in clauses_of(looked.asks(rule))
        if clause.kind not in {"opaque", "has"}
        and clause.default is ABSENT
        and not _THERE.search(clause.field)
    }
