"""Decide a recorded Request anew: the same, different, or the input that is missing for it.

The path is `flow`'s own, from the Request on: the PDP with the facts that the record names. What
enforcement refused then is refused again where the same is due; whether it could carry out other
obligations is not known without the call, and then the PDP's word counts.

What a caller asks over and over is decided once: questions that differ in id and time alone are one
question, unless a rule reads the time or either stands elsewhere in it. Where no rule reads the
native block or the context, questions that differ in these alone are one as well.
"""

import re
import time
from collections.abc import Iterator, Mapping
from hmac import compare_digest
from typing import Final, TypeAlias

import msgspec

from sidecar import flow
from sidecar.decide import decide, denial
from sidecar.decide.change import OBLIGATIONS, group_of, moved
from sidecar.facts import asking
from sidecar.policy.bundle import Bundle
from sidecar.policy.cel import reads
from sidecar.policy.rules import Rule
from sidecar.record.inputs.names import MASK, names_of
from sidecar.record.persons.names import HANDLE, persons_of
from sidecar.record.write import planned
from sidecar.review.replay.beside import Beside
from sidecar.review.replay.catalogues import Catalogues
from sidecar.review.replay.compare import came_out_alike, differences
from sidecar.review.replay.recorded import LoggedDecision, Recorded, Understood, understood
from sidecar.terms.call import Json
from sidecar.terms.decision import Decision, Fact, FactKey, Facts, Obligation
from sidecar.terms.errors import ParseError
from sidecar.terms.record import FactRecord
from sidecar.terms.request import Request, each_request
from sidecar.terms.spent import Spent

# Questions that are remembered; a service asks a few thousand different ones in a day.
_KNOWN_MAX: Final = 65_536
_MATCH: Final = "match"
_FREE: Final = ("request", "context", "session")
_CONTEXT: Final = ',"context":{'
_PARSE: Final = ',"parse":{'
CARRIED: Final = "whether the obligation can be carried out"
# Reasons that say something of the facts.
_SAYING: Final = ("revoked", "fact.missing", "internal")


class Same(msgspec.Struct, frozen=True):
    """It came out as it did; `told` names what is otherwise and changes nothing for the caller."""

    now: Decision
    told: tuple[str, ...] = ()


class Differs(msgspec.Struct, frozen=True):
    """It comes out otherwise.

    Args:
        now: The decision anew.
        change: `allow-to-deny`, `deny-to-allow`, `step_up-to-allow`, …, or `obligations`.
        told: What of the decision differs: outcome, targets, obligations, reason, rules, errors.
    """

    now: Decision
    change: str
    told: tuple[str, ...]


class InputGone(msgspec.Struct, frozen=True):
    """Nothing can be said: `missing` is what it takes and is not there."""

    missing: tuple[str, ...]


Replayed: TypeAlias = Same | Differs | InputGone


class _Decided:
    """A decision anew, what is due as a record has it, and what it was compared with last."""

    __slots__ = ("due", "last", "now", "replayed")

    def __init__(self, now: Decision, due: list[Obligation]) -> None:
        self.now = now
        self.due = due
        self.last: LoggedDecision | None = None
        self.replayed: Replayed | None = None


class Again:
    """Decides recorded decisions anew, by one bundle.

    Args:
        bundle: That decides now.
        beside: Of the records.
        catalogues: Of the bundles that decided then.
        as_read: Decide what was understood then, also where the catalogues differ.
    """

    def __init__(
        self,
        bundle: Bundle,
        beside: Beside,
        catalogues: Catalogues | None = None,
        *,
        as_read: bool = False,
    ) -> None:
        self._bundle = bundle
        self.beside = beside
        self._catalogues = catalogues or Catalogues(bundle, beside)
        self._as_read = as_read
        self._known: dict[object, _Decided | InputGone] = {}
        self._timeless: dict[str, bool] = {}
        # The protocols of whose native block and context no rule reads anything.
        self._blind: set[str] = set()
        self._facts_known: dict[object, Facts] = {}
        self._matches = any(_compares(rule) for rule in bundle.rules)

    def __call__(self, found: Recorded) -> Replayed:
        """Return what comes of a recorded decision now."""
        if found.text is None:
            return InputGone(found.gone)
        key = self._key(found)
        decided = self._known.get(key) if key is not None else None
        if decided is None:
            decided = self._decided(found)
            if key is not None:
                if len(self._known) >= _KNOWN_MAX:
                    self._known.clear()
                self._known[key] = decided
        if isinstance(decided, InputGone):
            return decided
        last = decided.last
        if last is None or decided.replayed is None or not came_out_alike(last, found.record):
            decided.replayed = self._compared(found, decided.now, decided.due)
            decided.last = found.record
        return decided.replayed

    # --- what is one question ---

    def _key(self, found: Recorded) -> object:
        """Return what all records of one question have in common, None where it is alone."""
        record, text = found.record, found.text
        assert text is not None
        if not self._is_timeless(record.protocol):
            return None
        if text.count(record.id) != 1 or text.count(record.time) != 2:
            return None
        # A NUL stands in no JSON text, so that two texts are alike only where these stood alike.
        question = text.replace(record.id, "\0", 1).replace(record.time, "\0\0")
        if record.protocol in self._blind:
            question = _seen_of(question)
        refused = record.reason if record.reason in _SAYING else ""
        return question, tuple(record.facts), record.policy.digest, refused, found.is_whole

    def _is_timeless(self, protocol: str) -> bool:
        found = self._timeless.get(protocol)
        if found is None:
            read = self._bundle.needs(protocol).paths
            found = not reads(read, "context.time")
            self._timeless[protocol] = found
            if not any(path.partition(".")[0] in _FREE for path in read):
                self._blind.add(protocol)
        return found

    # --- deciding ---

    def _decided(self, found: Recorded) -> _Decided | InputGone:
        is_own = compare_digest(found.record.policy.digest, self._bundle.digest)
        if found.record.reason == "internal":
            return InputGone(("what failed inside the sidecar",))
        seen = understood(found, by_others=not is_own)
        request = seen.request
        missing = list(self._lost(seen, request, is_own=is_own))
        if not is_own and not self._as_read:
            missing += self._read_otherwise(found, request)
        if missing:
            return InputGone(tuple(dict.fromkeys(missing)))
        facts = self._facts(found)
        may_lack = is_own and found.record.reason == "fact.missing"
        said = _judged(request, self._bundle, facts, may_lack=may_lack)
        if not isinstance(said, Decision):
            return InputGone(tuple(sorted(f"the fact {_shown(key)}" for key in said)))
        return _Decided(said, self._due(said, request))

    def _due(self, said: Decision, request: Request) -> list[Obligation]:
        """Return the obligations of a decision as a record has them."""
        if not said.obligations:
            return []
        handles = {name: handle for handle, name in self.beside.names.items()}
        return planned(said.obligations, names_of(persons_of(request), handles))

    def _lost(self, seen: Understood, request: Request, *, is_own: bool) -> Iterator[str]:
        """Yield what a rule of the bundle may read of the request and the record does not have."""
        if request.parse.status != "failed" and seen.open:
            needs = self._needs(request)
            for path, what in seen.open:
                if reads(needs, path):
                    is_match = path == _MATCH
                    yield "what `match` is compared with" if is_match else f"{path}: {what}"
        if not is_own:
            yield from self._unread(request)

    def _needs(self, request: Request) -> frozenset[str]:
        """Return what rules may read of a request and its parts, `match` among it."""
        found = [self._bundle.needs(part.protocol).paths for part in each_request(request)]
        matched = {_MATCH} if self._matches else ()
        return frozenset(matched).union(*found)

    def _unread(self, request: Request) -> Iterator[str]:
        for part in each_request(request):
            for path in part.parse.missing:
                if reads(self._bundle.needs(part.protocol).paths, path):
                    yield f"{path}: what was not read then"

    def _read_otherwise(self, found: Recorded, request: Request) -> Iterator[str]:
        digest = found.record.policy.digest
        for part in each_request(request):
            if self._catalogues.differs(digest, part.domain):
                yield f"the call itself: the catalogue of {part.domain} is another"

    # --- facts ---

    def _facts(self, found: Recorded) -> Facts:
        key = tuple(found.record.facts), found.record.reason == "revoked"
        facts = self._facts_known.get(key)
        if facts is None:
            if len(self._facts_known) >= _KNOWN_MAX:
                self._facts_known.clear()
            facts = self._facts_known[key] = self._facts_of(found)
        return facts

    def _facts_of(self, found: Recorded) -> Facts:
        facts: Facts = {}
        for one in found.record.facts:
            arguments = tuple([self._argument(text, found.names) for text in one.arguments])
            value = self._value(one, arguments, is_revoked=found.record.reason == "revoked")
            if value is not None:
                key = FactKey(one.function, arguments)
                facts[key] = Fact(value[0], one.source, one.revision, one.age_ms)
        return facts

    def _argument(self, text: str, names: Mapping[str, str]) -> str:
        if "p_" not in text:
            return text

        def shown(found: re.Match[str]) -> str:
            known = names.get(found[0])
            return found[0] if known is None else known.partition(":")[2]

        return HANDLE.sub(shown, text)

    def _value(
        self, one: FactRecord, arguments: tuple[str, ...], *, is_revoked: bool
    ) -> tuple[Json] | None:
        """Return the value of a fact in a tuple, None where it cannot be had."""
        if MASK in one.arguments:
            return None
        if one.function == "revoked":
            return self._flag(one, is_revoked=is_revoked)
        if one.function != "entity" or len(arguments) != 2:
            return None
        found = self.beside.entity(one.revision, *arguments)
        secrets = self.beside.secrets
        if found is None:
            return None
        if secrets is None:
            # The file is that of the revision; whom a handle stands for that nobody knows it
            # cannot say.
            return None if any(map(HANDLE.search, arguments)) else found
        return found if compare_digest(secrets.digest_of(found[0]), one.digest) else None

    def _flag(self, one: FactRecord, *, is_revoked: bool) -> tuple[Json] | None:
        secrets = self.beside.secrets
        if secrets is None:
            # Who is revoked is asked before any rule: where rules were heard, nobody was.
            return (is_revoked,)
        for value in (False, True):
            if compare_digest(secrets.digest_of(value), one.digest):
                return (value,)
        return None

    # --- comparing ---

    def _compared(self, found: Recorded, now: Decision, due: list[Obligation]) -> Replayed:
        record = found.record
        told = tuple(differences(found, now, due))
        change = self._change(found, now, is_due=OBLIGATIONS not in told)
        if change == OBLIGATIONS and not _was_carried_out(found.record, due):
            return InputGone((CARRIED,))
        if change is not None:
            return Differs(now, change, told)
        if compare_digest(record.policy.digest, self._bundle.digest) and told:
            return Differs(now, "told", told)
        return Same(now, told)

    def _change(self, found: Recorded, now: Decision, *, is_due: bool) -> str | None:
        record = found.record
        was, is_ = group_of(record.effect), group_of(now.outcome)
        if group_of(record.outcome) != was:
            # Enforcement refused: it does so again where the same is due.
            if is_ == was and is_due:
                return None
            was = group_of(record.outcome)
        if was != is_:
            return f"{was}-to-{is_}"
        if was != "allow":
            return None
        if not found.is_cut and (gone := moved(record.targets, now.targets)) is not None:
            return gone
        return None if is_due else OBLIGATIONS


def _judged(
    request: Request, bundle: Bundle, facts: Facts, *, may_lack: bool
) -> Decision | frozenset[FactKey]:
    """Return the decision, or the facts that it takes and nobody recorded."""
    if request.parse.status == "failed" or may_lack:
        return _judged_by_flow(request, bundle, facts)
    try:
        said = decide(request, bundle, facts)
    except ParseError as error:
        return denial(request, bundle, error.reason, str(error))
    return said if isinstance(said, Decision) else said.keys


def _judged_by_flow(request: Request, bundle: Bundle, facts: Facts) -> Decision:
    """Return the decision, with facts left out that could not be had then either."""

    def at_hand(keys: frozenset[FactKey]) -> Facts:
        return {key: facts[key] for key in keys if key in facts}

    judging = flow.judging(request, bundle, at_hand, Spent(time.perf_counter))
    stop = asking.next_stop(judging, None)
    while isinstance(stop, frozenset):
        stop = asking.next_stop(judging, {})
    return stop[0]


def _seen_of(text: str) -> str:
    """Return the text of a request without context and native block; all of it if not sure.

    A name in quotes stands in no text of JSON but as a name; one that stands once is the request's.
    """
    if text.count(_CONTEXT) != 1 or text.count(_PARSE) != 1 or "\\u0000" in text:
        return text
    return text[: text.index(_CONTEXT)] + text[text.index(_PARSE) :]


def _was_carried_out(record: LoggedDecision, due: list[Obligation]) -> bool:
    """Return whether all that is due was due then as well, where enforcement let the call pass."""
    then = [(one.type, one.target, one.values) for one in record.obligations]
    return all((one.type, one.target, one.values) in then for one in due)


def _compares(rule: Rule) -> bool:
    """Return whether `match` of a rule is compared with what a call names."""
    return any(
        globs is not None
        for one in (rule.policy_filter, rule.filter)
        for globs in (one.upstreams, one.actions, one.resources, one.excepted)
    )


def _shown(key: FactKey) -> str:
    """Return a fact by its function and its first argument's type: who it is of is not told."""
    return f"{key.function}({key.arguments[0].partition(':')[0]}, …)"
