"""THE PATH: parse → know → decide → enforce → record, in one function, `travel`. Read it first.

```
intercept ─Call▶ parse ─Request▶ know ─facts▶ decide ─Decision▶ enforce ─▶ record ─▶ forward ─▶
outcome
```

Laws that hold here (DESIGN §1): one immutable bundle a call; doubt is a denial with a reason
code; the record is durable before `carry` returns, whatever it returns; what happened upstream is
a second record, written by `settle`.

`travel` does no I/O: it yields the facts that it needs and is sent those that could be had, and
what takes too long for a loop. `begin` runs it as far as it goes without waiting, which for most
calls is to a record on its way to the disk; `finish` waits for the rest; `carry` is both.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import TypeAlias

import msgspec

from sidecar.decide import decide, denial, is_clean, repeat_of, standing_facts
from sidecar.facts import asking
from sidecar.facts.asking import FactSource, LongStops, Stop, Stops
from sidecar.flow.enforcing import enforce, refused, unenforced
from sidecar.policy.bundle import Bundle
from sidecar.record.inputs import Secrets
from sidecar.record.inputs.again import Again, Outcome, form_of, is_plain
from sidecar.record.persons import persons_of
from sidecar.record.write import Keeping, applied, decision_record, hidden_of
from sidecar.terms.answer import Answer, Forward, Shadow, durable, unseen
from sidecar.terms.call import Call, Json
from sidecar.terms.decision import Decision, FactKey, Facts, NeedFacts
from sidecar.terms.domain import Elsewhere, Worked, nowhere
from sidecar.terms.errors import ParseError
from sidecar.terms.reasons import reason
from sidecar.terms.record import (
    SCHEMA,
    DecisionRecord,
    Gathers,
    Ledger,
    OutcomeRecord,
    SideObject,
    Writing,
    Written,
)
from sidecar.terms.request import Request, context_of, inner_call, joined, unread
from sidecar.terms.spent import DECIDE, ENFORCE, FACTS, PARSE, RECORD, Spent, Timed, untimed
from sidecar.terms.words import CallId

# Calls inside calls inside calls: SQL in a tool argument in a batch is three.
PARTS_DEPTH_MAX = 3
# A rule may need a fact to know which fact it needs; more rounds than this is a loop.
FACT_ROUNDS_MAX = 3

_log = logging.getLogger("sidecar.flow")


class Path(msgspec.Struct, frozen=True):
    """What the path runs on; `bundle` is read once a call and is one immutable snapshot."""

    bundle: Callable[[], Bundle]
    ledger: Ledger
    facts: FactSource
    new_id: Callable[[], CallId]
    now: Callable[[], str]
    # Where the seconds of each call went (`terms.spent.STAGES`).
    timed: Timed = untimed
    shadow: Shadow = unseen
    clock_s: Callable[[], float] = time.perf_counter
    # Does what takes too long for this process, where its bundle's domains are told that it does.
    worked: Worked = nowhere
    # The ledger once more, where it takes many records at once.
    gathers: Gathers | None = None
    # Those of the state folder, where there is one.
    secrets: Secrets = msgspec.field(default_factory=Secrets.passing)


class Carried(msgspec.Struct, frozen=True):
    """One call at the end of the path: everything that its record and its answer are made of.

    Args:
        said: What the PDP said.
        decision: What it came to after enforcement.
        payload: What is forwarded where it is permitted.
        again: What is known of equal calls, where somebody remembers them.
    """

    call: Call
    bundle: Bundle
    request: Request
    said: Decision
    decision: Decision
    payload: dict[str, Json]
    facts: Facts
    spent: Spent
    again: Again | None = None


Travel: TypeAlias = LongStops[Carried]


class Begun(msgspec.Struct, frozen=True):
    """A call that waits for its record alone: `answer` holds once `written` is done.

    Args:
        outcome: What it has in common with equal calls that came out alike.
    """

    call: Call
    answer: Answer
    written: Written
    outcome: Outcome | None = None


class Waits(msgspec.Struct, frozen=True):
    """A call that waits for facts, or for another process."""

    call: Call
    path: Path
    travel: Travel
    wanted: Stop


async def carry(call: Call, path: Path) -> Answer:
    """Carry one call down the path; when this returns, the decision's record is durable.

    Raises:
        RecordError: The decision could not be recorded; answer 503 or the protocol's equivalent.
    """
    return await finish(begin(call, path))


def begin(call: Call, path: Path, again: Again | None = None) -> Begun | Waits:
    """Carry one call as far as it goes without waiting; `again` knows of equal ones."""
    gone = go(call, path, again)
    return gone if isinstance(gone, Waits) else record(gone, path)


def go(call: Call, path: Path, again: Again | None = None) -> Carried | Waits:
    """Carry one call up to its record, as far as that goes without waiting: half of `begin`.

    INVARIANT: `record`, the other half, follows before anything else happens but other calls.
    """
    travelling = travel(call, path.bundle(), path.facts.at_hand, Spent(path.clock_s), again)
    wanted = asking.next_stop(travelling, None)
    return wanted if isinstance(wanted, Carried) else Waits(call, path, travelling, wanted)


async def finish(begun: Begun | Waits) -> Answer:
    """Return the answer to a call that was begun; its record is durable. Raises RecordError."""
    if isinstance(begun, Waits):
        path, worked = begun.path, partial(begun.path.worked, begun.call)
        carried = await asking.ended(begun.travel, path.facts, begun.wanted, worked)
        asking.check_nobody_revoked_since(carried.facts, path.facts)
        begun = record(carried, path)
    await begun.written
    return durable(begun.answer)


def travel(
    call: Call, bundle: Bundle, at_hand: asking.AtHand, spent: Spent, again: Again | None = None
) -> Travel:
    """Take one call down the path, up to what is recorded of it."""
    request: Request | None = None
    facts: Facts = {}
    payload = call.payload
    try:
        try:
            request = _understood(call, bundle, again)
        except Elsewhere as away:
            do = partial(_understood, call, bundle, again)
            request = yield from asking.done_elsewhere(away, do, partial(_unread, call, bundle))
        spent.lap(PARSE)
        said, facts = yield from judging(request, bundle, at_hand, spent, again)
        try:
            decision, payload = enforce(call, request, said, bundle)
        except Elsewhere as away:
            enforced = partial(enforce, call, request, said, bundle)
            undone = partial(unenforced, call, request, said, bundle)
            decision, payload = yield from asking.done_elsewhere(away, enforced, undone)
    except Exception:  # noqa: BLE001 - the one edge of the package, see below
        # INVARIANT: the one place where our own mistakes end; they end as a recorded denial.
        _log.exception("call %s failed inside the sidecar", call.id)
        request = request or unread(call, _domain(bundle, call), reason("internal"), "not read")
        said = decision = denial(request, bundle, reason("internal"), "the sidecar failed")
    spent.lap(ENFORCE)
    return Carried(call, bundle, request, said, decision, payload, facts, spent, again)


def _understood(call: Call, bundle: Bundle, again: Again | None) -> Request:
    """Return what `call` means, as equal calls did before under this bundle."""
    if again is None:
        return understand(call, bundle)
    known = again.request(call, bundle)
    if known is None:
        known = understand(call, bundle)
        if again.keep(known, bundle):
            again.is_clean, again.standing = is_clean(known), standing_facts(known)
            again.judged = repeat_of(known, bundle) if again.is_clean else None
    return known


def _unread(call: Call, bundle: Bundle, error: ParseError) -> Request:
    return unread(call, _domain(bundle, call), error.reason, str(error))


def record(carried: Carried, path: Path) -> Begun:
    """Send the record on its way. Why before the answer: a crash loses the answer, never it."""
    # Others may have been carried in between.
    carried.spent.begin()
    call, known, outcome, made = carried.call, path.ledger.known_handles(), None, None
    again = carried.again if is_plain(carried.said, carried.decision) else None
    if again is not None:
        outcome = again.outcome(carried.decision, carried.facts, call.time, known)
    if outcome is not None:
        again, made = None, outcome.record(call.id, call.time, path.secrets)
    writing = _made(carried, path, known, again) if made is None else path.ledger.write(made)
    written = on_its_way(writing)
    carried.spent.lap(RECORD)
    path.timed(carried.spent.took_s, 1)
    path.shadow(call, carried.decision, carried.facts)
    return Begun(call, _answer(carried), written, outcome)


def on_its_way(writing: Writing) -> Written:
    """Return a record that is on its way, whether somebody waits for it or not."""
    if not isinstance(writing, Coroutine):
        return writing
    return asyncio.get_running_loop().create_task(writing)


def _made(carried: Carried, path: Path, known: Mapping[str, str], again: Again | None) -> Writing:
    """Make and write a record; tell `again` how equal calls come out."""
    persons = persons_of(carried.request)
    for person in persons:
        if person not in known:
            return _named(carried, path, persons)
    record, side = _record(carried, path, known)
    if again is not None and again.is_kept:
        hidden = hidden_of(carried.request, Keeping(carried.bundle, known, path.secrets))
        form = None if side else form_of(record, carried.call, hidden, path.secrets)
        handles = {person: known[person] for person in persons}
        verdict = again.verdict_of(carried.decision, carried.facts, carried.call.time)
        again.add(Outcome(carried.decision, carried.facts, handles, form, verdict))
    return path.ledger.write(record, side)


async def _named(carried: Carried, path: Path, persons: list[str]) -> None:
    """Record a call of somebody who was not seen before; the handle is durable first."""
    known = await path.ledger.handles(persons)
    asking.check_nobody_revoked_since(carried.facts, path.facts)
    record, side = _record(carried, path, known)
    await path.ledger.write(record, side)


def _record(
    carried: Carried, path: Path, handles: Mapping[str, str]
) -> tuple[DecisionRecord, tuple[SideObject, ...]]:
    return decision_record(
        carried.call, carried.request, carried.said, carried.decision, carried.facts,
        Keeping(carried.bundle, handles, path.secrets),
    )  # fmt: skip


def understand(call: Call, bundle: Bundle) -> Request:
    """Return what `call` means, its inner calls read by their own domains.

    Never raises for bad input: what cannot be read comes back with `parse.status: failed`.
    """
    domain = bundle.domains.get(call.protocol)
    if domain is None:
        return unread(call, "unknown", reason("parse.protocol"), "no domain speaks this protocol")
    try:
        parsed = domain.parse(call, bundle.catalogues[domain.name], bundle.needs(call.protocol))
    except ParseError as error:
        return unread(call, domain.name, error.reason, str(error))
    except RecursionError:
        return unread(call, domain.name, reason("parse.too_large"), "nested too deeply")
    if not parsed.targets:
        return unread(call, domain.name, reason("targets.none"), "the call names no target")
    if parsed.inner and call.depth >= PARTS_DEPTH_MAX:
        return unread(
            call, domain.name, reason("parts.depth"), "calls inside calls nested too deeply"
        )
    parts: tuple[Request, ...] = ()
    if parsed.inner:
        parts = tuple(
            msgspec.structs.replace(understand(inner_call(call, inner), bundle), at=inner.at)
            for inner in parsed.inner
        )
    return Request(
        id=call.id, time=call.time, listener=call.listener, upstream=call.upstream,
        domain=domain.name, phase=parsed.phase, protocol=call.protocol,
        subject=call.identity.subject, actors=call.identity.actors,
        targets=parsed.targets, context=context_of(call), request={call.protocol: parsed.native},
        parse=joined(parsed.parse, parts) if parts else parsed.parse,
        combine=parsed.combine, parts=parts, parent=call.parent,
    )  # fmt: skip


async def judge(request: Request, bundle: Bundle, source: asking.Fetches) -> tuple[Decision, Facts]:
    """Return the PDP's decision and the facts it was made from."""
    judged = judging(request, bundle, asking.nothing_at_hand, Spent(time.perf_counter))
    return await asking.ended(judged, source)


def judging(
    request: Request,
    bundle: Bundle,
    at_hand: asking.AtHand,
    spent: Spent,
    again: Again | None = None,
) -> Stops[tuple[Decision, Facts]]:
    """Return the PDP's decision and the facts it was made from; yield those that are not at hand.

    What is sent back may leave some of them out.
    """
    if request.parse.status == "failed":
        problem = request.parse.error
        assert problem is not None
        return denial(request, bundle, problem.reason, problem.text), {}
    facts: Facts = {}
    was_clean = again is not None and again.is_clean
    wanted = again.standing if again is not None and again.is_kept else standing_facts(request)
    for _ in range(FACT_ROUNDS_MAX + 1):
        facts.update(at_hand(wanted))
        if missing := wanted.difference(facts):
            facts.update((yield missing))
        spent.lap(FACTS)
        try:
            said = decide(request, bundle, facts, was_clean=was_clean)
            spent.lap(DECIDE)
        except ParseError as error:
            return denial(request, bundle, error.reason, str(error)), facts
        if not isinstance(said, NeedFacts):
            return said, facts
        wanted = said.keys
    return denial(request, bundle, reason("fact.missing"), _names(wanted)), facts


async def settle(forward: Forward, path: Path, outcome: OutcomeRecord) -> None:
    """Record what happened upstream; on RecordError the caller lets nothing more through."""
    assert outcome.parent == forward.decision.id
    await path.ledger.write(outcome)


def outcome_record(forward: Forward, path: Path, **fields: Json) -> OutcomeRecord:
    """Return the outcome record of `forward`; `fields` are those of OutcomeRecord in hand."""
    result = "rewritten" if forward.decision.rewritten is not None else "forwarded"
    due, known = forward.decision.obligations, path.ledger.known_handles()
    said = {"result": result, "timings_us": forward.spent.timings_us(), **fields}
    return OutcomeRecord(
        schema=SCHEMA, id=path.new_id(), parent=forward.decision.id, time=path.now(), **said,
        applied=applied(forward.request, due, known) if due else (),
    )  # fmt: skip


def _answer(carried: Carried) -> Answer:
    call, decision, bundle = carried.call, carried.decision, carried.bundle
    if not decision.permitted:
        return refused(call, decision, bundle)
    result = bundle.domains[call.protocol].result(carried.request, decision)
    return Forward(call, carried.request, decision, carried.payload, carried.spent, result)


def _domain(bundle: Bundle, call: Call) -> str:
    domain = bundle.domains.get(call.protocol)
    return "unknown" if domain is None else domain.name


def _names(keys: frozenset[FactKey]) -> str:
    return "missing: " + ", ".join(sorted({key.function for key in keys}))


__all__ = [
    "FACT_ROUNDS_MAX",
    "PARTS_DEPTH_MAX",
    "Begun",
    "Carried",
    "Path",
    "Waits",
    "begin",
    "carry",
    "enforce",
    "finish",
    "go",
    "judge",
    "judging",
    "on_its_way",
    "outcome_record",
    "record",
    "settle",
    "travel",
    "understand",
]
