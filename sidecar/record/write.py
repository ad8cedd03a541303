"""Make the decision record: what was asked, decided and why, with everything sensitive masked.

The Request stands in the record as one JSON text. Every scalar below a word that its domain calls
sensitive is replaced by `***`, and so is whatever a caller says in the context of any protocol, and
whatever is named like a credential wherever it stands.
The digest is over the text before masking. Masking that fails costs the text, never the record: a
call that cannot be masked is still a call that was decided.
"""

import re
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any, Final, Protocol

import cachetools
import msgspec

from sidecar.record.canonical import dumps, encode, unknown
from sidecar.record.limits import LISTS_CUT_TO, RECORD_BYTES_MAX, TEXTS_CUT_TO
from sidecar.syntax import json
from sidecar.terms.call import Call, Json
from sidecar.terms.decision import Decision, Facts, TargetDecision
from sidecar.terms.domain import Domain, Word
from sidecar.terms.record import (
    SCHEMA,
    DecisionRecord,
    FactRecord,
    InputRecord,
    PartyRecord,
    TargetRecord,
)
from sidecar.terms.request import Request
from sidecar.terms.words import strength

MASK: Final = "***"
# What the sidecar alone says in the context; the rest are a caller's words, and may be a prompt.
_OWN_CONTEXT: Final = frozenset(("time", "ip", "session"))
_Path = tuple[str, ...]
_SECRET_KEY = re.compile(
    r"(authorization|cookie|password|passwd|passphrase|secrets?|token|credentials?|assertion"
    r"|(api|private|access|secret)[-_]?key)\Z",
    re.IGNORECASE,
)
# A token is a token wherever it stands: compact JWS and JWE, and what follows `Bearer`.
# Run by run: a text of nothing but `eyJ` must not be read from each of them to its end.
_DOTTED = re.compile(r"(?<![A-Za-z0-9_-])[A-Za-z0-9_-]++\.[A-Za-z0-9_.-]++")
_JWT_HEAD_CHARS: Final = len("eyJ") + 6
_BEARER = re.compile(r"(bearer)(\s|%20|\+)+[A-Za-z0-9._~+/-]{6,}=*", re.IGNORECASE)
# A workload's own key, wherever its holder put it.
_OWN_KEY = re.compile(r"swk_[A-Za-z0-9_-]{16,}")
_SPLIT = re.compile(r"\.|\[\*?\]")


class Decided(Protocol):
    """What a record needs to know of the bundle that decided."""

    @property
    def domains(self) -> Mapping[str, Domain]:
        """Return the domain of each protocol."""
        ...

    @property
    def engine(self) -> str:
        """Return name and version of the engine."""
        ...


class _Unmaskable(Exception):
    """A sensitive word that cannot be found in a request; caught in `_input`."""


def decision_record(
    call: Call,
    request: Request,
    said: Decision,
    decision: Decision,
    facts: Facts,
    bundle: Decided,
) -> DecisionRecord:
    """Return the record of one decision, within the size that a record may have.

    Args:
        call: For how the identity was verified.
        request: What was decided.
        said: What the PDP said: its effect and the planned obligations.
        decision: What it came to after enforcement.
        facts: Every fact that was in hand.
        bundle: For the engine and the words that are sensitive.
    """
    record = DecisionRecord(
        schema=SCHEMA,
        id=request.id,
        time=request.time,
        listener=request.listener,
        upstream=request.upstream,
        domain=request.domain,
        protocol=request.protocol,
        phase=request.phase,
        subject=PartyRecord(request.subject.type, request.subject.id),
        actors=[PartyRecord(actor.type, actor.id) for actor in request.actors],
        verified=call.identity.verified,
        effect=said.outcome,
        outcome=decision.outcome,
        reason=decision.reason,
        policy=decision.policy,
        engine=bundle.engine,
        targets=[_target(target) for target in decision.targets or said.targets],
        rules=list(decision.rules),
        obligations=list(said.obligations),
        facts=_facts(facts),
        errors=list(decision.errors or said.errors),
        input=_input(request, bundle.domains),
        asserted_by=call.identity.asserted_by,
        message=_scrubbed(decision.message),
        parent=request.parent,
    )
    return _within_bounds(record)


def _target(target: TargetDecision) -> TargetRecord:
    return TargetRecord(
        action=target.action.name,
        cls=target.action.cls,
        resource=_scrub(target.resource.key),
        upstream=target.resource.upstream,
        outcome=target.outcome,
        labels=target.resource.labels,
        rules=target.rules,
        at=target.at,
    )


def _facts(facts: Facts) -> list[FactRecord]:
    return [
        FactRecord(
            function=key.function,
            arguments=key.arguments,
            source=fact.source,
            revision=fact.revision,
            age_ms=fact.age_ms,
            digest=_digest(_canonical(fact.value)),
        )
        for key, fact in sorted(
            facts.items(), key=lambda item: (item[0].function, item[0].arguments)
        )
    ]


# --- the input ---


def _input(request: Request, domains: Mapping[str, Domain]) -> InputRecord:
    try:
        plain: dict[str, Json] = msgspec.to_builtins(request, enc_hook=unknown)
        digest = _digest(_canonical(plain))
    except RecursionError:
        # Parsers bound their depth; where one forgot, the decision is on the record all the same.
        return InputRecord(digest="", form="none", missing=("input", "input.digest"))
    try:
        _mask_request(plain, domains)
        text = _scrub(_canonical(plain).decode())
    except (_Unmaskable, RecursionError):
        return InputRecord(digest=digest, form="none", missing=("input",))
    return InputRecord(digest=digest, form="masked", text=text)


def _mask_request(plain: dict[str, Json], domains: Mapping[str, Domain]) -> None:
    """Mask one request and each part of it, by the words of its own protocol."""
    protocol = plain["protocol"]
    domain = domains.get(protocol)
    words = domain.vocabulary.words.get(protocol, ()) if domain is not None else ()
    for path in _sensitive(words):
        for root in _roots(plain, path[0]):
            _mask_below(root, path[0], path)
    context = plain["context"]
    for name in context.keys() - _OWN_CONTEXT:
        context[name] = _stars(context[name])
    for holder in _free_text(plain):
        _mask_secrets(holder)
    for part in plain["parts"]:
        _mask_request(part, domains)


_compiled: cachetools.LRUCache[int, tuple[object, tuple[_Path, ...]]] = cachetools.LRUCache(64)


def _sensitive(words: tuple[Word, ...]) -> tuple[_Path, ...]:
    """Return the paths of sensitive words; a domain's words are one tuple all the time."""
    known = _compiled.get(id(words))
    if known is None or known[0] is not words:
        paths = tuple(
            tuple(step for step in _SPLIT.split(word.path) if step)
            for word in words
            if word.sensitive
        )
        known = _compiled[id(words)] = (words, paths)
    return known[1]


def _roots(plain: dict[str, Json], word: str) -> Iterable[dict[str, Json]]:
    """Return the objects that hold what the CEL root `word` stands for."""
    if word in ("request", "context", "subject", "actors", "parse"):
        return (plain,)
    if word == "actor":
        # Who acts is the nearest actor, else the subject: both are masked.
        return [{"actor": party} for party in (*plain["actors"], plain["subject"])]
    if word in ("action", "resource"):
        targets: list[dict[str, Json]] = plain["targets"]
        return targets
    if word == "targets":
        return (plain,)
    raise _Unmaskable(word)


def _mask_below(holder: dict[str, Json], name: str, path: _Path) -> None:
    """Mask what `path` names below `holder[name]`; lists are looked through."""
    if name in holder:
        holder[name] = _masked_at(holder[name], path[1:])


def _masked_at(value: Json, path: _Path) -> Json:
    if not path:
        return _stars(value)
    if isinstance(value, list | tuple):
        return [_masked_at(member, path) for member in value]
    if isinstance(value, dict):
        step, rest = path[0], path[1:]
        for name in list(value) if step == "*" else [step]:
            _mask_below(value, name, (step, *rest))
        return value
    # A scalar where more was expected may well hold the rest.
    return value if value is None else MASK


def _stars(value: Json) -> Json:
    if isinstance(value, dict):
        return {name: _stars(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [_stars(member) for member in value]
    return MASK


def _free_text(plain: dict[str, Json]) -> Iterable[Json]:
    """Return what of a request may hold names that its sender has chosen."""
    yield plain["request"]
    yield plain["context"]
    holders = [plain["subject"], *plain["actors"]]
    for target in plain["targets"]:
        holders += (target["action"], target["resource"])
    # Most have none, and this is on the way of every call.
    yield from (holder["properties"] for holder in holders if holder["properties"])


def _mask_secrets(value: Json) -> None:
    """Mask everything below a name that is a credential's."""
    members = value.values() if isinstance(value, dict) else value
    if isinstance(value, dict):
        for name in value:
            if _SECRET_KEY.search(name):
                value[name] = _stars(value[name])
    for member in members:
        if isinstance(member, dict | list | tuple):
            _mask_secrets(member)


def _scrub(text: str) -> str:
    """Return `text` without tokens, whatever they are named."""
    if "eyJ" in text:
        text = _DOTTED.sub(_without_token, text)
    if "bearer" in text.lower():
        text = _BEARER.sub(rf"\1 {MASK}", text)
    if "swk_" in text:
        text = _OWN_KEY.sub(MASK, text)
    return text


def _without_token(found: re.Match[str]) -> str:
    """Return a dotted run up to where a compact token begins in it."""
    text, at = found[0], 0
    for part in text.split(".")[:-1]:
        start = part.find("eyJ")
        if start >= 0 and len(part) - start >= _JWT_HEAD_CHARS:
            return text[: at + start] + MASK
        at += len(part) + 1
    return text


def _scrubbed(text: str | None) -> str | None:
    return None if text is None else _scrub(text)


# --- sizes ---


def _within_bounds(record: DecisionRecord) -> DecisionRecord:
    """Return `record` cut to the size it may have; what was cut is named in `missing`."""
    if _surely_fits(record) or _fits(record):
        return record
    record = _without(record, "input.text", input_text=None)
    for length in LISTS_CUT_TO:
        if _fits(record):
            return record
        record = _shorter_lists(record, length)
    for length in TEXTS_CUT_TO:
        if not _fits(record):
            record = _shorter_texts(record, length)
    return record


def _surely_fits(record: DecisionRecord) -> bool:
    """Return whether a cheap upper bound is enough, as it is for almost every record.

    The input's text is escaped to at most twice its bytes, and the targets stand in it as well.
    Lists whose texts come from elsewhere are measured.
    """
    if record.input.text is None or record.facts or record.obligations or record.errors:
        return False
    rules = 512 * (len(record.rules) + sum(len(target.rules) for target in record.targets))
    factor = 3 if record.input.text.isascii() else 12
    texts = factor * len(record.input.text) + 12 * len(record.message or "")
    return texts + rules + 512 * len(record.targets) + 4096 < RECORD_BYTES_MAX


def _fits(record: DecisionRecord) -> bool:
    return len(encode(record)) <= RECORD_BYTES_MAX


def _without(
    record: DecisionRecord, what: str, *, input_text: str | None, **fields: Json
) -> DecisionRecord:
    told = msgspec.structs.replace(
        record.input, text=input_text, missing=(*record.input.missing, what)
    )
    return msgspec.structs.replace(record, input=told, **fields)


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
            record = _without(record, what, input_text=None, **{name: members[:length]})
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


def _canonical(value: Json) -> bytes:
    """Return one canonical text of any JSON value; floats stay: it is a value, not a record."""
    try:
        return json.canonical(value)
    except (TypeError, ValueError):
        return dumps(value)


def _digest(data: bytes) -> str:
    return f"sha256:{sha256(data).hexdigest()}"
