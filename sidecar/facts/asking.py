"""Ask for facts without doing any I/O oneself: a traveller yields what it needs and is sent it.

A traveller is a generator. It is sent on with the facts that could be had; those that never came
are left out, and it is for the traveller to say what that means. So the path is one function that
can be run to its end in one go, where everything is at hand, or be waited for, where it is not.
"""

import asyncio
from collections.abc import Callable, Generator
from typing import Protocol, TypeAlias, TypeVar

from sidecar.facts.limits import FACTS_DEADLINE_S
from sidecar.terms.decision import FactKey, Facts
from sidecar.terms.errors import FactUnavailable

T = TypeVar("T")
# Yields the facts that are needed and not at hand, and is sent those that could be had.
Stops: TypeAlias = Generator[frozenset[FactKey], Facts, T]
AtHand: TypeAlias = Callable[[frozenset[FactKey]], Facts]


class Fetches(Protocol):
    """Where facts come from, for who can wait."""

    async def fetch(self, keys: frozenset[FactKey]) -> Facts:
        """Return the facts that can be had; a key that is left out is a missing fact."""
        ...


class FactSource(Fetches, Protocol):
    """Where facts come from; most are at hand."""

    def at_hand(self, keys: frozenset[FactKey]) -> Facts:
        """Return the facts that can be had without waiting; others are left out."""
        ...


def next_stop(stops: Stops[T], sent: Facts | None) -> frozenset[FactKey] | T:
    """Send on a traveller, with None one that has not begun; return where it stops or ends."""
    try:
        return stops.send(sent)  # type: ignore[arg-type]  # None begins a generator
    except StopIteration as end:
        return _end_of(stops, end)


async def after_facts(
    stops: Stops[T], source: Fetches, wanted: frozenset[FactKey]
) -> frozenset[FactKey] | T:
    """Send on a traveller that waits for facts; one that never came is left out.

    A mistake in a source is raised where the traveller waits, and ends where its own would.
    """
    fetching = asyncio.ensure_future(source.fetch(wanted))
    try:
        await asyncio.wait((fetching,), timeout=FACTS_DEADLINE_S)
    finally:
        fetching.cancel()
    if not fetching.done():
        return next_stop(stops, {})
    failed = fetching.exception()
    if failed is None:
        return next_stop(stops, fetching.result())
    if isinstance(failed, FactUnavailable):
        return next_stop(stops, {})
    try:
        return stops.throw(failed)
    except StopIteration as end:
        return _end_of(stops, end)


def nothing_at_hand(_keys: frozenset[FactKey]) -> Facts:
    """Return no facts: all of them are waited for."""
    return {}


def _end_of(_stops: Stops[T], end: StopIteration) -> T:
    found: T = end.value
    return found
