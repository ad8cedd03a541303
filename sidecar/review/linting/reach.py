"""How the targets of two rules stand to each other: apart, meeting, one within the other."""

from collections.abc import Iterable, Sequence

from sidecar.review.clauses import covers, overlap
from sidecar.review.linting.looked import Reach

Lists = Sequence[tuple[str, ...]]


def within(inner: Reach, outer: Reach) -> bool:
    """Return whether `outer` takes every target that `inner` does; in doubt it does not."""
    return (
        inner.phases <= outer.phases
        and inner.protocols <= outer.protocols
        and inner.classes <= outer.classes
        and _listed(inner.resources, outer.resources)
        and _listed(inner.actions, outer.actions)
        and _listed(inner.upstreams, outer.upstreams)
        and all(_left_alone(each, inner) for each in outer.excepted)
    )


def meets(one: Reach, other: Reach, *, phases: bool = True, classes: bool = True) -> bool:
    """Return whether both may take one target; in doubt they do."""
    if phases and not one.phases & other.phases:
        return False
    if classes and not one.classes & other.classes:
        return False
    return bool(one.protocols & other.protocols) and all(
        _may_meet(first, second)
        for first, second in (
            (one.resources, other.resources),
            (one.actions, other.actions),
            (one.upstreams, other.upstreams),
        )
    )


def both(one: Reach, other: Reach) -> Reach:
    """Return what two rules both take."""
    return Reach(
        phases=one.phases & other.phases,
        protocols=one.protocols & other.protocols,
        classes=one.classes & other.classes,
        resources=(*one.resources, *other.resources),
        actions=(*one.actions, *other.actions),
        upstreams=(*one.upstreams, *other.upstreams),
        excepted=(*one.excepted, *other.excepted),
    )


def _listed(inner: Lists, outer: Lists) -> bool:
    """Return whether each outer list covers all patterns of an inner one."""
    return all(any(_all_covered(few, many) for few in inner) or "*" in many for many in outer)


def _all_covered(few: Iterable[str], many: Iterable[str]) -> bool:
    return all(any(covers(general, special) for general in many) for special in few)


def _left_alone(excepted: str, inner: Reach) -> bool:
    """Return whether what is excepted from the outer is not taken by the inner either."""
    if any(covers(each, excepted) for each in inner.excepted):
        return True
    return any(not any(overlap(each, excepted) for each in few) for few in inner.resources)


def _may_meet(one: Lists, other: Lists) -> bool:
    return all(
        any(overlap(first, second) for first in few for second in many)
        for few in one
        for many in other
    )
