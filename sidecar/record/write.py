"""Make the decision record: who asked for what, what was decided and why.

Persons stand in it as handles and sensitive values as `***` (`record.inputs`). What is planned
stands in `obligations`; values that filled holes of a rule are a caller's or a person's, and are
masked as well. A record has at most 60 KiB: a larger input goes to the side store, then lists and
texts are cut, and `missing` says so.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Protocol

import msgspec

from sidecar.record.canonical import encode, on_profile, unknown
from sidecar.record.inputs.names import MASK, Names, names_of
from sidecar.record.inputs.plan import Asked
from sidecar.record.inputs.scrub import scrub
from sidecar.record.inputs.secrets import Secrets, side_object
from sidecar.record.inputs.shown import input_of
from sidecar.record.inputs.sweep import Sweep
from sidecar.record.limits import (
    LISTS_CUT_TO,
    OBJECT_BYTES_MAX,
    RECORD_BYTES_MAX,
    TEXTS_CUT_TO,
)
from sidecar.record.persons.names import persons_of
from sidecar.terms.call import Call, Json
from sidecar.terms.decision import Decision, Facts, Obligation, RuleError, TargetDecision
from sidecar.terms.record import (
    SCHEMA,
    DecisionRecord,
    FactRecord,
    PartyRecord,
    SideObject,
    TargetRecord,
)
from sidecar.terms.request import Request
from sidecar.terms.words import strength


class Decided(Asked, Protocol):
    """What a record needs to know of the bundle that decided."""

    @property
    def engine(self) -> str:
        """Return name and version of the engine."""
        ...


class Keeping(NamedTuple):
    """What a record is made with beside what was decided.

    Args:
        bundle: For the engine, the words that are sensitive and what rules may read.
        handles: `type:id` → handle of every person of the request (`persons_of`).
        secrets: For digests and seals.
    """

    bundle: Decided
    handles: Mapping[str, str]
    secrets: Secrets


def decision_record(
    call: Call,
    request: Request,
    said: Decision,
    decision: Decision,
    facts: Facts,
    keeping: Keeping,
) -> tuple[DecisionRecord, tuple[SideObject, ...]]:
    """Return the record of one decision, within the size that a record may have.

    Args:
        call: For how the identity was verified.
        request: What was decided.
        said: What the PDP said: its effect and the planned obligations.
        decision: What it came to after enforcement.
        facts: Every fact that was in hand.
        keeping: Bundle, handles and secrets.

    Returns:
        The record, and the side objects that it names: they are made durable first.
    """
    bundle, handles, secrets = keeping
    names = names_of(persons_of(request), handles)
    kept = input_of(request, bundle, names, secrets)
    subject, verified, by = request.subject, call.identity.verified, call.identity.asserted_by
    message, errors = decision.message, decision.errors or said.errors
    record = DecisionRecord(
        SCHEMA,
        request.id,
        request.time,
        request.listener,
        request.upstream,
        request.domain,
        request.protocol,
        request.phase,
        _party(subject.type, subject.id, names),
        [_party(actor.type, actor.id, names) for actor in request.actors],
        verified,
        said.outcome,
        decision.outcome,
        decision.reason,
        decision.policy,
        bundle.engine,
        [_target(target, names) for target in decision.targets or said.targets],
        list(decision.rules),
        planned(said.obligations, names) if said.obligations else [],
        _facts(facts, names, secrets),
        [_error(error, names) for error in errors] if errors else [],
        kept.record,
        by if by is None else names.value(by),
        call.is_enforced and decision.permitted,
        message if message is None else scrub(names.told(message)),
        request.parent,
    )
    side = () if kept.sealed is None else (kept.sealed,)
    if kept.is_near and names.sweep is not None:
        record = _swept(record, names.sweep)
    if _surely_fits(record):
        return record, side
    return _within_bounds(record, side)


def _swept(record: DecisionRecord, sweep: Sweep) -> DecisionRecord:
    """Return `record` with handles where a person is named by what else the call says.

    All of this stands in the text of the input: where that names nobody, this does not.
    """
    missing = sweep.value(record.input.missing)
    return msgspec.structs.replace(
        record,
        upstream=sweep.text(record.upstream),
        protocol=sweep.text(record.protocol),
        actors=sweep.value(record.actors),
        targets=sweep.value(record.targets),
        input=msgspec.structs.replace(record.input, missing=missing),
    )


def hidden_of(request: Request, keeping: Keeping) -> bytes:
    """Return what the digest of the input is made over besides its masked text."""
    names = names_of(persons_of(request), keeping.handles)
    return input_of(request, keeping.bundle, names, keeping.secrets).hidden


def applied(
    request: Request, obligations: Iterable[Obligation], handles: Mapping[str, str]
) -> tuple[Obligation, ...]:
    """Return the obligations that were carried out, as an outcome record says them."""
    return tuple(planned(obligations, names_of(persons_of(request), handles)))


def planned(obligations: Iterable[Obligation], names: Names) -> list[Obligation]:
    """Return `obligations` as they are recorded: on the profile, and without what filled holes."""
    return [
        Obligation(one.type, _key(one.target, names), _planned(one.values, names), one.rules)
        for one in obligations
    ]


def _planned(values: Json, names: Names) -> Json:
    masked = _without_filling(msgspec.to_builtins(values, enc_hook=unknown), names)
    return on_profile(masked)


def _without_filling(value: Json, names: Names) -> Json:
    if isinstance(value, dict):
        filling = value.get("values")
        if value.keys() == {"text", "values"} and isinstance(filling, list):
            return {"text": value["text"], "values": [_filling(one, names) for one in filling]}
        return {names.value(name): _without_filling(one, names) for name, one in value.items()}
    if isinstance(value, list):
        return [_without_filling(member, names) for member in value]
    return names.value(value)


def _filling(value: Json, names: Names) -> Json:
    """Return what stands for a value that filled a hole; a person's id has a handle."""
    return names.exact.get(value, MASK) if isinstance(value, str) else MASK


def _party(type: str, id: str, names: Names) -> PartyRecord:
    handles = names.handles
    if handles:
        found = handles.get(f"{type}:{id}")
        if found is not None:
            return PartyRecord(type, found)
    return PartyRecord(type, id)


def _target(target: TargetDecision, names: Names) -> TargetRecord:
    action, resource = target.action, target.resource
    return TargetRecord(
        action.name,
        action.cls,
        scrub(names.key(resource.type, resource.id)),
        resource.upstream,
        target.outcome,
        resource.labels,
        target.rules,
        target.at,
    )


def _key(key: str, names: Names) -> str:
    type_, _, id_ = key.partition(":")
    return scrub(names.text(names.key(type_, id_)))


def _error(error: RuleError, names: Names) -> RuleError:
    return RuleError(error.rule, _key(error.resource, names), names.told(error.text))


def _facts(facts: Facts, names: Names, secrets: Secrets) -> list[FactRecord]:
    told = [
        FactRecord(
            key.function,
            names.arguments(key.arguments),
            fact.source,
            fact.revision,
            fact.age_ms,
            secrets.digest_of(fact.value),
        )
        for key, fact in facts.items()
    ]
    if len(told) > 1:
        told.sort(key=_fact_order)
    return told


def _fact_order(fact: FactRecord) -> tuple[str, tuple[str, ...]]:
    return fact.function, fact.arguments


# --- sizes ---


def _within_bounds(
    record: DecisionRecord, side: tuple[SideObject, ...]
) -> tuple[DecisionRecord, tuple[SideObject, ...]]:
    """Return `record` cut to the size it may have; what was cut is named in `missing`."""
    if _fits(record):
        return record, side
    record, side = _with_text_beside(record, side)
    for length in LISTS_CUT_TO:
        if _fits(record):
            return record, side
        record = _shorter_lists(record, length)
    for length in TEXTS_CUT_TO:
        if not _fits(record):
            record = _shorter_texts(record, length)
    return record, side


def _surely_fits(record: DecisionRecord) -> bool:
    """Return whether a cheap upper bound is enough, as it is for almost every record.

    The input's text is escaped to at most twice its bytes, and the targets stand in it as well.
    Lists whose texts come from elsewhere are measured.
    """
    text = record.input.text
    if text is None or len(record.facts) > 8 or record.obligations or record.errors:
        return False
    rules, targets = len(record.rules), record.targets
    for target in targets:
        rules += len(target.rules)
    told = len(record.message or "")
    for fact in record.facts:
        told += len(fact.source) + len(fact.revision)
        for argument in fact.arguments:
            told += len(argument)
    factor = 3 if text.isascii() else 12
    return factor * len(text) + 12 * told + 512 * (rules + len(targets)) + 8192 < RECORD_BYTES_MAX


def _fits(record: DecisionRecord) -> bool:
    return len(encode(record)) <= RECORD_BYTES_MAX


def _with_text_beside(
    record: DecisionRecord, side: tuple[SideObject, ...]
) -> tuple[DecisionRecord, tuple[SideObject, ...]]:
    """Return `record` with the input's text in the side store."""
    kept = record.input
    if kept.text is None:
        return record, side
    data = kept.text.encode("utf-8", "backslashreplace")
    if len(data) > OBJECT_BYTES_MAX:
        told = (*kept.missing, "input.text")
        kept = msgspec.structs.replace(kept, form="none", text=None, missing=told)
    else:
        beside = side_object(data)
        side = (*side, beside)
        kept = msgspec.structs.replace(kept, text=None, text_object=beside.digest)
    return msgspec.structs.replace(record, input=kept), side


def _shorter_lists(record: DecisionRecord, length: int) -> DecisionRecord:
    """Return `record` with each list cut to `length`, what was refused first."""
    targets = sorted(record.targets, key=lambda target: -strength(target.outcome))
    lists: dict[str, list[Any]] = {
        "targets": targets if len(targets) > length else record.targets,
        "rules": sorted(record.rules, key=lambda rule: -strength(rule.effect)),
        "obligations": record.obligations,
        "facts": record.facts,
        "errors": record.errors,
        "actors": record.actors,
    }
    for name, members in lists.items():
        if len(members) > length:
            what = f"{name}[{length}:{len(members)}]"
            told = msgspec.structs.replace(record.input, missing=(*record.input.missing, what))
            record = msgspec.structs.replace(record, input=told, **{name: members[:length]})
    return record


def _shorter_texts(record: DecisionRecord, length: int) -> DecisionRecord:
    plain = _clipped(msgspec.to_builtins(record, enc_hook=unknown), length)
    plain["input"]["missing"].append(f"texts[{length}:]")
    return msgspec.convert(plain, DecisionRecord)


def _clipped(value: Json, length: int) -> Json:
    if isinstance(value, str):
        return value[:length]
    if isinstance(value, dict):
        return {name[:length]: _clipped(member, length) for name, member in value.items()}
    if isinstance(value, list | tuple):
        # Lists inside of values (labels, arguments) are as unbounded as the texts in them.
        return [_clipped(member, length) for member in value[:length]]
    return value
