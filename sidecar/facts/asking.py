"""Ask for facts without doing any I/O oneself: a traveller yields what it needs and is sent it.

A traveller is a generator. It is sent on with the facts that could be had; those that never came
are left out, and it is for the traveller to say what that means. So the path is one function that
can be run to its end in one go, where everything is at hand, or be waited for, where it is not.
What takes too long to be done in between is yielded as well, and done elsewhere.
"""

import asyncio
from collections.abc import Awaitable, Callable, Generator
from typing import Final, Protocol, TypeAlias, TypeVar

from sidecar.facts.limits import ERRANDS_MAX, FACTS_DEADLINE_S
from sidecar.terms.decision import FactKey, Facts
from sidecar.terms.domain import Elsewhere
from sidecar.terms.errors import FactUnavailable, ParseError, RecordError
from sidecar.terms.reasons import reason

REVOKED: Final = "revoked"
T = TypeVar("T")
S = TypeVar("S")
Stop: TypeAlias = frozenset[FactKey] | Elsewhere
# Yields the facts that are needed and not at hand, and is sent those that could be had.
Stops: TypeAlias = Generator[frozenset[FactKey], Facts, T]
# The same, and what is to be done elsewhere; what is sent then says nothing.
LongStops: TypeAlias = Generator[Stop, Facts, T]
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


def next_stop(stops: Generator[S, Facts, T], sent: Facts | None) -> S | T:
    """Send on a traveller, with None one that has not begun; return where it stops or ends."""
    try:
        return stops.send(sent)  # type: ignore[arg-type]  # None begins a generator
    except StopIteration as end:
        return _end_of(stops, end)


async def ended(
    stops: LongStops[T],
    source: Fetches,
    stop: Stop | None = None,
    worked: Callable[[Elsewhere], Awaitable[None]] | None = None,
) -> T:
    """Return where a traveller ends, which stands at `stop` or has not begun.

    Without `worked` it does everything itself.
    """
    found: Stop | T = next_stop(stops, None) if stop is None else stop
    while isinstance(found, frozenset | Elsewhere):
        if isinstance(found, Elsewhere):
            assert worked is not None
            found = await _after_work(stops, worked, found)
        else:
            found = await _after_facts(stops, source, found)
    return found


async def _after_work(
    stops: LongStops[T], worked: Callable[[Elsewhere], Awaitable[None]], away: Elsewhere
) -> Stop | T:
    """Send on a traveller that waits for another process; what failed is raised where it waits."""
    (failed,) = await asyncio.gather(worked(away), return_exceptions=True)
    return next_stop(stops, {}) if failed is None else _thrown(stops, failed)


async def _after_facts(
    stops: LongStops[T], source: Fetches, wanted: frozenset[FactKey]
) -> Stop | T:
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
    return _thrown(stops, failed)


def done_elsewhere(
    away: Elsewhere, do: Callable[[], T], undone: Callable[[ParseError], T]
) -> LongStops[T]:
    """Return what `do` comes to, once everything that takes long was done in another process.

    Where it cannot be done there, or there is too much of it, return what `undone` makes of that.
    """
    try:
        for _ in range(ERRANDS_MAX):
            yield away
            try:
                return do()
            except Elsewhere as another:
                away = another
    except ParseError as error:
        return undone(error)
    text = f"more than {ERRANDS_MAX} long texts in a call"
    return undone(ParseError(reason("parse.too_large"), text))


def check_nobody_revoked_since(known: Facts, source: FactSource) -> None:
    """Refuse a call that has waited, where somebody in it was revoked meanwhile.

    A revocation is acknowledged once everybody judges by it: nothing that was judged before may be
    recorded as permitted after that. Who asks again is denied.

    Raises:
        RecordError: Somebody was.
    """
    free = frozenset(key for key in known if key.function == REVOKED and not known[key].value)
    if free and any(fact.value for fact in source.at_hand(free).values()):
        raise RecordError("somebody was revoked while the call was judged")


def nothing_at_hand(_keys: frozenset[FactKey]) -> Facts:
    """Return no facts: all of them are waited for."""
    return {}


def _thrown(stops: LongStops[T], failed: BaseException) -> Stop | T:
    try:
        return stops.throw(failed)
    except StopIteration as end:
        return _end_of(stops, end)


def _end_of(_stops: Generator[S, Facts, T], end: StopIteration) -> T:
    found: T = end.value
    return found
