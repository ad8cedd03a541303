"""A candidate bundle beside the one in force: asked of every call, obeyed by nobody.

What was decided is put into a queue; a little later, for a few milliseconds at a time, the
candidate takes the same calls down the path of `flow`, from the bytes on, with its own catalogue
and with the facts that were in hand. It then rests nine times as long as it took: a candidate that
is slow is asked less often, and takes no more of the worker. One call is the least that it takes,
and the bounds of one call hold for it as well. A call for which the queue has no room is counted
and not looked at. Where the candidate needs what was not read or fetched for the bundle in force,
nothing is said: `undecided`.

A difference is counted, and recorded as `ops` `shadow_difference` with the id of the decision; who
and what it was about stands there. At most so many a second are recorded; the next one says how
many were not.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

from sidecar import flow
from sidecar.decide.change import OBLIGATIONS, between, moved
from sidecar.facts import asking
from sidecar.policy.bundle import Bundle
from sidecar.policy.cel import reads
from sidecar.runtime import names
from sidecar.runtime.limits import (
    SHADOW_BATCH_MAX,
    SHADOW_EVERY_S,
    SHADOW_QUEUE_MAX,
    SHADOW_RECORDS_PER_S_MAX,
    SHADOW_RESTS,
    SHADOW_TURN_S,
)
from sidecar.runtime.metrics import Counts
from sidecar.terms.call import Call, Json
from sidecar.terms.decision import Decision, FactKey, Facts, decided_by
from sidecar.terms.domain import Elsewhere
from sidecar.terms.errors import RecordError
from sidecar.terms.request import each_request
from sidecar.terms.spent import Spent
from sidecar.terms.words import Outcome

Note = Callable[[str, dict[str, Json]], Awaitable[None]]
_Seen = tuple[Call, Decision, Facts]
# Reasons that say that the candidate did not have what it takes.
_UNDECIDED: Final = ("fact.missing", "internal")
_RULES_SHOWN_MAX: Final = 16


class Shadow:
    """The candidate of one worker.

    Args:
        at_hand: Facts that can be had without waiting.
        note: Writes an ops record.
        counts: Where is counted.
        now_s: A clock that only goes on.
    """

    def __init__(
        self,
        at_hand: asking.AtHand,
        note: Note,
        counts: Counts,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._at_hand = at_hand
        self._note = note
        self._counts = counts
        self._now_s = now_s
        self._candidate: Bundle | None = None
        self._queue: deque[_Seen] = deque()
        self._waiting: asyncio.TimerHandle | None = None
        self._second = 0
        self._recorded = 0
        self._unrecorded = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def is_busy(self) -> bool:
        """Return whether a call waits, or a difference is on its way to the record."""
        return bool(self._queue or self._tasks)

    def use(self, candidate: Bundle | None) -> None:
        """Ask `candidate` from the next call on; None asks nobody."""
        self._candidate = candidate
        if candidate is None:
            self._queue.clear()

    def __call__(self, call: Call, decision: Decision, facts: Facts) -> None:
        """Take in a call that was decided; costs the caller nothing but its place in the queue."""
        if self._candidate is None:
            return
        if len(self._queue) >= SHADOW_QUEUE_MAX:
            self._count("dropped")
            return
        self._queue.append((call, decision, facts))
        if self._waiting is None:
            self._later(SHADOW_EVERY_S)

    def _later(self, seconds: float) -> None:
        self._waiting = asyncio.get_running_loop().call_later(seconds, self._some)

    def _some(self) -> None:
        """Ask the candidate of a few calls, and of the others after others had their turn."""
        self._waiting = None
        candidate, began_s, took_s = self._candidate, self._now_s(), 0.0
        for _ in range(min(SHADOW_BATCH_MAX, len(self._queue))):
            seen = self._queue.popleft()
            if candidate is not None:
                self._ask(candidate, *seen)
            took_s = self._now_s() - began_s
            if took_s >= SHADOW_TURN_S:
                break
        # Also when nothing waits: what comes next finds it resting.
        if self._queue or took_s >= SHADOW_TURN_S:
            self._later(max(SHADOW_EVERY_S, took_s * SHADOW_RESTS))

    def _ask(self, candidate: Bundle, call: Call, decision: Decision, facts: Facts) -> None:
        now = self._decided(candidate, call, facts)
        if now is None or now.reason in _UNDECIDED:
            self._count("same" if now and now.reason == decision.reason else "undecided")
            return
        change = change_of(decision, now)
        if change is None:
            self._count("same")
            return
        self._count("differs")
        self._counts.add(names.SHADOW_DIFFERENCES, (change,))
        self._tell(candidate, call, decision.outcome, now, change)

    def _decided(self, candidate: Bundle, call: Call, facts: Facts) -> Decision | None:
        """Return what the candidate decides, None where the call was not read far enough."""

        def at_hand(keys: frozenset[FactKey]) -> Facts:
            found = {key: facts[key] for key in keys if key in facts}
            return {**self._at_hand(keys.difference(found)), **found}

        travelling = flow.travel(call, candidate, at_hand, Spent(self._now_s))
        stop = asking.next_stop(travelling, None)
        while isinstance(stop, frozenset):
            stop = asking.next_stop(travelling, {})
        if isinstance(stop, Elsewhere):
            # A long text that its catalogue has read otherwise: nobody waits for another process.
            travelling.close()
            return None
        for part in each_request(stop.request):
            needs = candidate.needs(part.protocol).paths
            if any(reads(needs, path) for path in part.parse.missing):
                return None
        return stop.decision

    def _tell(
        self, candidate: Bundle, call: Call, was: Outcome, now: Decision, change: str
    ) -> None:
        second = int(self._now_s())
        if second != self._second:
            self._second, self._recorded = second, 0
        if self._recorded >= SHADOW_RECORDS_PER_S_MAX:
            self._unrecorded += 1
            return
        self._recorded += 1
        detail: dict[str, Json] = {
            # The call's own: what is decided of equal calls is one object.
            "decision": call.id,
            "change": change,
            "was": was,
            "now": now.outcome,
            "reason": now.reason,
            "rules": decided_by(now.outcome, now.rules)[:_RULES_SHOWN_MAX],
            "version": candidate.version,
            "digest": candidate.digest,
        }
        if self._unrecorded:
            detail["unrecorded_before"], self._unrecorded = self._unrecorded, 0
        task = asyncio.get_running_loop().create_task(self._noted(detail))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _noted(self, detail: dict[str, Json]) -> None:
        try:
            await self._note("shadow_difference", detail)
        except RecordError:
            # Nobody waits for it: the next one says that this one is not there.
            self._unrecorded += 1

    def _count(self, result: str) -> None:
        self._counts.add(names.SHADOW_DECISIONS, (result,))

    async def close(self) -> None:
        """Take no more; return when what was found is recorded."""
        self.use(None)
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
        await asyncio.gather(*self._tasks)


def change_of(was: Decision, now: Decision) -> str | None:
    """Return how `now` differs from `was` to the caller, None where it does not."""
    found = between(was.outcome, now.outcome)
    if found is not None or not was.permitted:
        return found
    found = moved(was.targets, now.targets)
    if found is not None or _due(was) == _due(now):
        return found
    return OBLIGATIONS


def _due(decision: Decision) -> list[tuple[str, str, Json]]:
    return sorted(((one.type, one.target, one.values) for one in decision.obligations), key=repr)
