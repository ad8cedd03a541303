"""How one decision on a call differs from another: the words that replay and shadow count by."""

from collections.abc import Sequence
from typing import Protocol

PERMITTED = ("allow", "modify")
OBLIGATIONS = "obligations"


class Came(Protocol):
    """One target, as decided or as recorded."""

    @property
    def outcome(self) -> str:
        """Return what came of it."""
        ...


def group_of(outcome: str) -> str:
    """Return what `outcome` is to a caller: `modify` permits as `allow` does."""
    return "allow" if outcome in PERMITTED else outcome


def between(was: str, now: str) -> str | None:
    """Return `deny-to-allow` and the like, None where two outcomes are the same to a caller."""
    one, other = group_of(was), group_of(now)
    return None if one == other else f"{one}-to-{other}"


def moved(was: Sequence[Came], now: Sequence[Came]) -> str | None:
    """Return which way targets of a permitted list went, None where all stayed as they were.

    One that is gained counts as gained, whatever else is lost.
    """
    if len(was) != len(now):
        return None
    pairs = {
        (one.outcome in PERMITTED, other.outcome in PERMITTED)
        for one, other in zip(was, now, strict=True)
    }
    if (False, True) in pairs:
        return "deny-to-allow"
    return "allow-to-deny" if (True, False) in pairs else None
