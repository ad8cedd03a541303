"""THE PATH: parse → know → decide → enforce → record, in one function, `carry`. Read this first.

```
intercept ─Call▶ parse ─Request▶ know ─facts▶ decide ─Decision▶ enforce ─▶ record ─▶ forward ─▶
outcome
```

Laws that hold here (DESIGN §1): one immutable bundle a call; doubt is a denial with a reason
code; the record is durable before `carry` returns, whatever it returns; what happened upstream is
a second record, written by `settle`.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

import msgspec

from sidecar.decide import decide, denial, standing_facts
from sidecar.policy.bundle import Bundle
from sidecar.record.write import decision_record
from sidecar.terms.answer import Answer, Await, Forward, Refusal, Refuse
from sidecar.terms.call import Call, Json
from sidecar.terms.decision import Decision, FactKey, Facts, NeedFacts
from sidecar.terms.errors import EnforceError, FactUnavailable, ParseError
from sidecar.terms.reasons import Reason, reason
from sidecar.terms.record import SCHEMA, AnyRecord, OutcomeRecord
from sidecar.terms.request import Inner, ParseProblem, ParseStatus, Request
from sidecar.terms.words import CallId

# Calls inside calls inside calls: SQL in a tool argument in a batch is three.
PARTS_DEPTH_MAX = 3
# A rule may need a fact to know which fact it needs; more rounds than this is a loop.
FACT_ROUNDS_MAX = 3
FACTS_DEADLINE_S = 1.0

_log = logging.getLogger("sidecar.flow")


class Ledger(Protocol):
    """Where records become durable."""

    async def write(self, record: AnyRecord) -> None:
        """Return when `record` is durable. Raises RecordError, and then nothing may be answered."""
        ...


class FactSource(Protocol):
    """Where facts come from."""

    async def fetch(self, keys: frozenset[FactKey]) -> Facts:
        """Return the facts that can be had; a key that is left out is a missing fact."""
        ...


class Path(msgspec.Struct, frozen=True):
    """What the path runs on; `bundle` is read once a call and is one immutable snapshot."""

    bundle: Callable[[], Bundle]
    ledger: Ledger
    facts: FactSource
    new_id: Callable[[], CallId]
    now: Callable[[], str]


async def carry(call: Call, path: Path) -> Answer:
    """Carry one call down the path; when this returns, the decision's record is durable.

    Raises:
        RecordError: The decision could not be recorded; answer 503 or the protocol's equivalent.
    """
    bundle = path.bundle()
    request = _unread(call, bundle, reason("internal"), "not read")
    facts: Facts = {}
    payload = call.payload
    try:
        request = understand(call, bundle)
        said, facts = await judge(request, bundle, path.facts)
        decision, payload = enforce(call, request, said, bundle)
    except Exception:  # noqa: BLE001 - the one edge of the package, see below
        # INVARIANT: the one place where our own mistakes end; they end as a recorded denial.
        _log.exception("call %s failed inside the sidecar", call.id)
        said = decision = denial(request, bundle, reason("internal"), "the sidecar failed")
    record = decision_record(call, request, said, decision, facts, bundle)
    # Why before the answer: a crash between the two must lose the answer, never the record.
    await path.ledger.write(record)
    return _answer(call, request, decision, payload, bundle)


def understand(call: Call, bundle: Bundle) -> Request:
    """Return what `call` means, its inner calls read by their own domains.

    Never raises for bad input: what cannot be read comes back with `parse.status: failed`.
    """
    domain = bundle.domains.get(call.protocol)
    if domain is None:
        return _unread(call, bundle, reason("parse.protocol"), "no domain speaks this protocol")
    try:
        parsed = domain.parse(call, bundle.catalogues[domain.name], bundle.needs(call.protocol))
    except ParseError as error:
        return _unread(call, bundle, error.reason, str(error))
    except RecursionError:
        return _unread(call, bundle, reason("parse.too_large"), "nested too deeply")
    if not parsed.targets:
        return _unread(call, bundle, reason("targets.none"), "the call names no target")
    if parsed.inner and call.depth >= PARTS_DEPTH_MAX:
        return _unread(call, bundle, reason("parts.depth"), "calls inside calls nested too deeply")
    parts = tuple(
        msgspec.structs.replace(understand(_inner_call(call, inner), bundle), at=inner.at)
        for inner in parsed.inner
    )
    return Request(
        id=call.id,
        time=call.time,
        listener=call.listener,
        upstream=call.upstream,
        domain=domain.name,
        phase=parsed.phase,
        protocol=call.protocol,
        subject=call.identity.subject,
        actors=call.identity.actors,
        targets=parsed.targets,
        context=_context(call),
        request={call.protocol: parsed.native},
        parse=_joined(parsed.parse, parts),
        combine=parsed.combine,
        parts=parts,
        parent=call.parent,
    )


async def judge(request: Request, bundle: Bundle, source: FactSource) -> tuple[Decision, Facts]:
    """Return the PDP's decision and the facts it was made from."""
    if request.parse.status == "failed":
        problem = request.parse.error
        assert problem is not None
        return denial(request, bundle, problem.reason, problem.text), {}
    facts: Facts = {}
    wanted = standing_facts(request)
    for _ in range(FACT_ROUNDS_MAX + 1):
        facts.update(await _fetch(source, wanted))
        try:
            said = decide(request, bundle, facts)
        except ParseError as error:
            return denial(request, bundle, error.reason, str(error)), facts
        if not isinstance(said, NeedFacts):
            return said, facts
        wanted = said.keys
    return denial(request, bundle, reason("fact.missing"), _names(wanted)), facts


def enforce(
    call: Call, request: Request, decision: Decision, bundle: Bundle
) -> tuple[Decision, dict[str, Json]]:
    """Return the decision after enforcement and the payload to forward.

    An obligation that cannot be carried out turns the decision into a denial.
    """
    if not decision.permitted:
        return decision, call.payload
    domain = bundle.domains[call.protocol]
    try:
        payload = domain.rewrite(call, request, decision, bundle.catalogues[domain.name])
    except EnforceError as error:
        refused = denial(request, bundle, error.reason, str(error))
        return msgspec.structs.replace(refused, rules=decision.rules), call.payload
    if payload is call.payload:
        return decision, payload
    return msgspec.structs.replace(decision, outcome="modify", rewritten=payload), payload


async def settle(forward: Forward, path: Path, outcome: OutcomeRecord) -> None:
    """Record what happened upstream; on RecordError the caller lets nothing more through."""
    assert outcome.parent == forward.decision.id
    await path.ledger.write(outcome)


def outcome_record(forward: Forward, path: Path, **fields: Json) -> OutcomeRecord:
    """Return the outcome record of `forward`; `fields` are those of OutcomeRecord in hand."""
    result = "rewritten" if forward.decision.rewritten is not None else "forwarded"
    return OutcomeRecord(
        schema=SCHEMA,
        id=path.new_id(),
        parent=forward.decision.id,
        time=path.now(),
        result=fields.pop("result", result),
        applied=forward.decision.obligations,
        **fields,
    )


def _answer(
    call: Call, request: Request, decision: Decision, payload: dict[str, Json], bundle: Bundle
) -> Answer:
    if decision.permitted:
        result = bundle.domains[call.protocol].result(request, decision)
        return Forward(call, request, decision, payload, result)
    refusal = _refusal(call, decision, bundle)
    if decision.outcome in ("step_up", "defer"):
        return Await(decision, refusal, decision.approval)
    return Refuse(decision, refusal)


def _refusal(call: Call, decision: Decision, bundle: Bundle) -> Refusal:
    domain = bundle.domains.get(call.protocol)
    if domain is None:
        return Refusal(403, {"title": "Forbidden", "reason": decision.reason, "id": decision.id})
    return domain.refuse(call, decision)


async def _fetch(source: FactSource, wanted: frozenset[FactKey]) -> Facts:
    try:
        async with asyncio.timeout(FACTS_DEADLINE_S):
            return await source.fetch(wanted)
    except (TimeoutError, FactUnavailable):
        # Nothing in hand: the PDP asks again, and the last round ends as `fact.missing`.
        return {}


def _inner_call(call: Call, inner: Inner) -> Call:
    return msgspec.structs.replace(
        call,
        protocol=inner.protocol,
        payload=inner.payload,
        upstream=inner.upstream or call.upstream,
        parent=call.id,
        depth=call.depth + 1,
    )


def _joined(outer: ParseStatus, parts: tuple[Request, ...]) -> ParseStatus:
    """Return the status of the whole: no better than the worst of what is found inside."""
    for part in parts:
        if part.parse.status == "failed":
            problem = part.parse.error
            assert problem is not None
            told = ParseProblem(problem.reason, f"{part.at}: {problem.text}")
            return msgspec.structs.replace(outer, status="failed", error=told)
    missing = tuple(f"{part.at}.{path}" for part in parts for path in part.parse.missing)
    if missing:
        return msgspec.structs.replace(outer, status="partial", missing=(*outer.missing, *missing))
    return outer


def _unread(call: Call, bundle: Bundle, why: Reason, text: str) -> Request:
    domain = bundle.domains.get(call.protocol)
    return Request(
        id=call.id,
        time=call.time,
        listener=call.listener,
        upstream=call.upstream,
        domain=domain.name if domain else "unknown",
        phase="call",
        protocol=call.protocol,
        subject=call.identity.subject,
        actors=call.identity.actors,
        targets=(),
        context=_context(call),
        request={},
        parse=ParseStatus("failed", call.protocol, error=ParseProblem(why, text)),
        parent=call.parent,
    )


def _context(call: Call) -> dict[str, Json]:
    return {**call.context, "time": call.time}


def _names(keys: frozenset[FactKey]) -> str:
    return "missing: " + ", ".join(sorted({key.function for key in keys}))
