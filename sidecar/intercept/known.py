"""The calls that were asked before, by the very bytes that asked them.

What a body says is a function of its bytes, of who sends it and from where: read once, it is not
read again. What is decided is no such function, and is decided each time.
"""

import asyncio
from collections.abc import Sequence
from typing import TypeAlias

import msgspec

from sidecar import flow
from sidecar.facts.identity import Caller
from sidecar.intercept.hot.seam import Peer
from sidecar.intercept.limits import (
    KNOWN_BODIES_BYTES_MAX,
    KNOWN_BODIES_MAX,
    KNOWN_BODY_BYTES_MAX,
    SEEN_BODIES_MAX,
    TOGETHER_MAX,
)
from sidecar.record.inputs.again import Again, Outcome
from sidecar.record.recorder.worker.link import Pending
from sidecar.terms.answer import Shadow, unseen
from sidecar.terms.call import Call, remembers
from sidecar.terms.decision import Decision, Facts
from sidecar.terms.record import Written
from sidecar.terms.spent import DECIDE, FACTS, RECORD, UNTOLD, Spent
from sidecar.terms.words import CallId

# Workload, how it was proven, its address, the body.
_Key: TypeAlias = tuple[str, str, str | None, bytes]


class Asked(msgspec.Struct, frozen=True):
    """Who asks, and from where."""

    caller: Caller
    peer: Peer


class Known:
    """Calls by the bodies of one path, from the second time on that they are asked.

    Of so many at most. Where there are as many, one that is asked again takes the place of one that
    was asked less often since it was looked at last, which is done in turn, one for each that asks
    for a place; the others have half of what they had. So what is asked over and over stays, and
    little is made that nobody asks for any more. What they mean is weighed, for a short body may
    mean thousands of columns; where it is too much, all are let go of.
    """

    def __init__(self) -> None:
        self._known: dict[_Key, Again] = {}
        # Of each but the last, which has yet to be read when it is kept.
        self._weights: dict[_Key, int] = {}
        self._weight = 0
        self._last: _Key | None = None
        # How often, by their hashes: most calls are asked once, and cost no more than that.
        self._seen: dict[int, int] = {}
        remembers(self.forget)

    def forget(self) -> None:
        """Forget every call."""
        self._let_go()
        self._seen.clear()

    def _let_go(self) -> None:
        self._known.clear()
        self._weights.clear()
        self._weight = 0
        self._last = None

    def get(self, asked: Asked, body: bytes) -> Again | None:
        """Return what is known of calls equal to the one that `body` asks about."""
        caller = asked.caller
        return self._known.get((caller.workload.id, caller.verified, asked.peer.ip, body))

    def keep(self, asked: Asked, body: bytes, call: Call) -> Again | None:
        """Keep the call that `body` asks about; None where it is not to be kept."""
        if len(body) > KNOWN_BODY_BYTES_MAX:
            return None
        caller = asked.caller
        key = (caller.workload.id, caller.verified, asked.peer.ip, body)
        times = self._asked_for(hash(key))
        if times == 1 or not self._has_place(times):
            return None
        self._weigh()
        found = self._known[key] = Again(call)
        found.asked = times
        self._last = key
        return found

    def _weigh(self) -> None:
        """Count the one that was kept last, and let go of all where they are too much."""
        key, self._last = self._last, None
        last = None if key is None else self._known.get(key)
        if key is None or last is None:
            return
        self._weights[key] = last.weight
        self._weight += last.weight
        if self._weight > KNOWN_BODIES_BYTES_MAX:
            self._let_go()

    def _asked_for(self, seen: int) -> int:
        """Return how often a call was asked for, this time as well, as far as is remembered."""
        times = self._seen.get(seen, 0) + 1
        if times == 1 and len(self._seen) >= SEEN_BODIES_MAX:
            self._seen.clear()
        self._seen[seen] = times
        return times

    def _has_place(self, times: int) -> bool:
        """Return whether there is a place for a call that was asked so often, and make it."""
        if len(self._known) < KNOWN_BODIES_MAX:
            return True
        key = next(iter(self._known))
        oldest = self._known.pop(key)
        if oldest.asked < times:
            self._weight -= self._weights.pop(key, 0)
            return True
        oldest.asked //= 2
        self._known[key] = oldest
        return False


class Repeated(msgspec.Struct, frozen=True, gc=False):
    """A call that came out as an equal one did before; it holds once `written` is done.

    `took_s` says how long its stages took, where that was looked at.
    """

    id: CallId
    time: str
    outcome: Outcome
    written: Written
    took_s: Sequence[float] = UNTOLD


class AllRepeated(msgspec.Struct, frozen=True, gc=False):
    """Calls that came out as an equal one did before; they hold once `written` is done."""

    answers: list[bytes]
    outcome: Outcome
    written: Written


def once_more(again: Again, path: flow.Path) -> Repeated | None:
    """Carry one more of the calls that `again` knows, where it comes out as one did before.

    The path of `flow`, as short as it can be: facts and rules are asked, and the record is made, as
    for any other; only what follows is known. Returns None, with nothing done, for a call that has
    to be begun. Raises RecordError.
    """
    counted, ledger = again.timed(1), path.ledger
    again.asked += 1
    spent = Spent(path.clock_s) if counted else None
    time, facts = path.now(), path.facts.at_hand(again.standing)
    if spent is not None:
        spent.lap(FACTS)
    outcome = again.comes_out(path.bundle(), facts, time, ledger.known_handles())
    if outcome is None:
        return None
    if spent is not None:
        spent.lap(DECIDE)
    id = path.new_id()
    made = outcome.record(id, time, path.secrets)
    if made is None:
        return None
    written = ledger.write(made)
    if not isinstance(written, Pending):
        written = flow.on_its_way(written)
    took_s = UNTOLD if spent is None else spent.took_s
    found = Repeated(id, time, outcome, written, took_s)
    if spent is not None:
        spent.lap(RECORD)
        path.timed(spent.took_s, counted)
    if path.shadow is not unseen:
        path.shadow(again.call(id, time), outcome.decision, facts)
    return found


def once_more_all(again: Again, path: flow.Path, count: int) -> AllRepeated | None:
    """Carry the first of so many such calls, at this moment, as far as they come out alike.

    As `once_more` does, each judged and recorded by itself; facts and bundle are the same for all,
    for nothing else happens in between. Returns None, with nothing done, where each of them has to
    be carried by itself.
    """
    if path.gathers is None:
        return None
    spent, facts = Spent(path.clock_s), path.facts.at_hand(again.standing)
    spent.lap(FACTS)
    ids, times, outcome = [], [], None
    bundle, known = path.bundle(), path.ledger.known_handles()
    for _ in range(min(count, TOGETHER_MAX)):
        time = path.now()
        found = again.comes_out(bundle, facts, time, known)
        if found is None or (outcome is not None and found is not outcome):
            break
        outcome = found
        ids.append(path.new_id())
        times.append(time)
    spent.lap(DECIDE)
    made = None if outcome is None else outcome.records(ids, times, path.secrets)
    if outcome is None or made is None:
        return None
    answers = outcome.answers_to(ids)
    # INVARIANT: nothing behind it can fail: each would be carried, and recorded, once more.
    written = path.gathers.write_all(made)
    if written is None:
        return None
    spent.lap(RECORD)
    again.asked += len(ids)
    loop = asyncio.get_running_loop()
    if counted := again.timed(len(ids)):
        loop.call_soon(path.timed, [seconds / len(ids) for seconds in spent.took_s], counted)
    if path.shadow is not unseen:
        calls = [*zip(ids, times, strict=True)]
        loop.call_soon(_shown, again, calls, path.shadow, outcome.decision, facts)
    return AllRepeated(answers, outcome, written)


def _shown(
    again: Again,
    calls: list[tuple[CallId, str]],
    shadow: Shadow,
    decision: Decision,
    facts: Facts,
) -> None:
    """Show calls that were carried together to the bundle in the shadow."""
    for id, time in calls:
        shadow(again.call(id, time), decision, facts)
