"""What calls have in common that differ in their id and their time alone.

An application asks the same few questions over and over. Of an equal call, asked by the same
caller from the same address, all that is a function of it and of the bundle is as it was: what it
means, who is a person in it, how it is masked. Whether it is permitted is decided each time anew;
where that comes out as before, on the very same facts, the bytes of its record are those of the
record before, but for id, time and digest, and those of its answer, but for its id.

How it is decided anew is a matter of two ways. Who made the outcome may have said by which verdict
it follows (`Judged`): then the verdict alone is come to again, and where it is that one, so is the
outcome. Else the whole decision is made and compared.

INVARIANT: a record made so is, to the byte, the one that `decision_record` would make.
So nothing is kept of a call of which something is cut or put beside the record: what is cut out of
a record's bytes must be its id, its times and its digest, each as often as it stands there by
itself and in that order. A caller who writes one of them into a call is not remembered.
"""

from collections.abc import Callable, Mapping, Sequence
from hmac import compare_digest
from typing import Protocol, TypeAlias

import msgspec
import orjson

from sidecar.record.canonical import split
from sidecar.record.inputs.secrets import Secrets
from sidecar.record.limits import OUTCOMES_KEPT_MAX, TIMED_EVERY
from sidecar.terms.call import Call, Json
from sidecar.terms.decision import Decision, FactKey, Facts
from sidecar.terms.record import DecisionRecord, MadeRecord
from sidecar.terms.request import Request
from sidecar.terms.words import CallId

# How a decision is told to who asked.
Shape: TypeAlias = Callable[[Decision], Json]


class Judged(Protocol):
    """A request that can be judged anew by what follows of its rules alone."""

    def verdict(self, facts: Facts, time: str) -> object | None:
        """Return what follows now, the same object for the same; None where it is not known."""
        ...

    def verdict_of(self, decision: Decision, facts: Facts, time: str) -> object | None:
        """Return the verdict that `decision` says nothing more than; it was made of the same."""
        ...


class Stencil(msgspec.Struct, frozen=True):
    """The bytes of a record around its id, its times and its digest.

    Args:
        text: Of the input, three holes: id, time, time.
        hidden: What its digest is made over besides.
        head: Before the record's place in the log: id, digest, id, time, time.
        tail: Behind it: time.
        like: Any record that it makes, for what all of them say.
    """

    text: tuple[bytes, ...]
    hidden: bytes
    head: tuple[bytes, ...]
    tail: tuple[bytes, ...]
    like: MadeRecord

    def filled(self, call_id: CallId, call_time: str, secrets: Secrets) -> MadeRecord:
        """Return the record of a call of this id at this time."""
        id, time = call_id.encode(), call_time.encode()
        first, second, third, last = self.text
        raw = b"".join((first, id, second, time, third, time, last, self.hidden))
        digest = secrets.digest(raw).encode()
        one, two, three, four, five, six = self.head
        before, behind = self.tail
        like = self.like
        return MadeRecord(
            call_id,
            b"".join((one, id, two, digest, three, id, four, time, five, time, six)),
            b"".join((before, time, behind)),
            like.counted,
            like.listener_forwarded,
        )


def stencil_of(
    record: DecisionRecord, call: Call, hidden: bytes, secrets: Secrets
) -> Stencil | None:
    """Return the stencil of a record of `call`, None where it is not made of it alone."""
    kept = record.input
    if kept.text is None or kept.missing or kept.form != "masked" or record.obligations:
        return None
    raw = kept.text.encode("utf-8", "backslashreplace")
    if not compare_digest(secrets.digest(raw + hidden), kept.digest):
        # Something was taken out of the text.
        return None
    halves, id, time = split(record), call.id.encode(), call.time.encode()
    if id in hidden or time in hidden:
        return None
    text = _cut(raw, (id, time, time))
    head = _cut(halves.head, (id, kept.digest.encode(), id, time, time))
    tail = _cut(halves.tail, (time,))
    if text is None or head is None or tail is None:
        return None
    like = MadeRecord(
        record.id,
        halves.head,
        halves.tail,
        (record.domain, record.outcome, record.policy.version),
        record.listener_forwarded,
    )
    found = Stencil(text, hidden, head, tail, like)
    return found if found.filled(call.id, call.time, secrets) == like else None


def _cut(raw: bytes, holes: Sequence[bytes]) -> tuple[bytes, ...] | None:
    """Return what stands around `holes`, None unless each stands there once, in this order."""
    pieces = []
    for hole in holes:
        before, found, raw = raw.partition(hole)
        if not found:
            return None
        pieces.append(before)
    pieces.append(raw)
    if any(hole in piece for hole in set(holes) for piece in pieces):
        return None
    return tuple(pieces)


def is_plain(said: Decision, decision: Decision) -> bool:
    """Return whether nothing is due, asked or changed: what is said of it is said by its rules."""
    return (
        said is decision
        and not decision.obligations
        and decision.rewritten is None
        and decision.approval is None
    )


class Outcome:
    """What was decided of such a call, plainly, on which facts, and how that is said.

    Attributes:
        decision: One that comes out so; its id is nobody's.
        verdict: That of which it follows, None where there is more to it or that is not known.
    """

    __slots__ = ("_answer", "_facts", "_handles", "_names", "_stencil", "decision", "verdict")

    def __init__(
        self,
        decision: Decision,
        facts: Facts,
        handles: Mapping[str, str],
        stencil: Stencil | None,
        verdict: object | None,
    ) -> None:
        self.decision = decision
        self._facts = dict(facts)
        self._handles = handles
        # A handle stands wherever a text is one of these, also where it is the call's own time.
        self._names = frozenset(person.partition(":")[2] for person in handles)
        self._stencil = stencil
        self.verdict = verdict
        self._answer: tuple[bytes, ...] | None = None

    def is_of(self, decision: Decision, facts: Facts, known: Mapping[str, str]) -> bool:
        """Return whether `decision` says the same, on the very same facts, of the same persons."""
        mine = self.decision
        return (
            decision.outcome == mine.outcome
            and decision.reason == mine.reason
            and decision.message == mine.message
            and decision.policy is mine.policy
            and decision.targets == mine.targets
            and decision.rules == mine.rules
            and decision.errors == mine.errors
            and self._is_on(facts, known)
        )

    def follows(self, verdict: object, facts: Facts, known: Mapping[str, str]) -> bool:
        """Return whether this comes of `verdict`, on the very same facts, of the same persons.

        Only where both its record and its answer can be made of what is known.
        """
        return (
            verdict is self.verdict
            and self._answer is not None
            and self._stencil is not None
            and self._is_on(facts, known)
        )

    def _is_on(self, facts: Facts, known: Mapping[str, str]) -> bool:
        mine = self._facts
        if len(facts) != len(mine):
            return False
        for key, fact in facts.items():
            if mine.get(key) is not fact:
                return False
        return not self._handles or self._handles.items() <= known.items()

    def record(self, id: CallId, time: str, secrets: Secrets) -> MadeRecord | None:
        """Return the record of a call, None where it has to be made from nothing."""
        stencil, names = self._stencil, self._names
        if stencil is None or (names and (time in names or id in names)):
            return None
        return stencil.filled(id, time, secrets)

    def answer_to(self, id: CallId) -> bytes:
        """Return the answer's JSON, on a line of its own, where it `follows`."""
        assert self._answer is not None
        return id.encode().join(self._answer)

    def answer(self, decision: Decision, shape: Shape) -> bytes:
        """Return the answer's JSON, on a line of its own."""
        if self._answer is not None:
            return self.answer_to(decision.id)
        raw = orjson.dumps(shape(decision), option=orjson.OPT_APPEND_NEWLINE)
        self._answer = _cut(raw, (decision.id.encode(),))
        return raw


class Again:
    """What is known of equal calls, which are all answered in one shape.

    Args:
        like: One of them; its id and its time are nobody's.
    """

    __slots__ = ("_bundle", "_outcomes", "_request", "_untimed", "is_clean", "judged", "like",
                 "standing")  # fmt: skip

    def __init__(self, like: Call) -> None:
        self.like = like
        self._untimed = 0
        self.forget()

    def forget(self) -> None:
        """Forget what was so under another bundle."""
        self._bundle: object = None
        self._request: Request | None = None
        self._outcomes: list[Outcome] = []
        # Who judges it anew, where that can be done by the rules alone.
        self.judged: Judged | None = None
        # Whether no text of it is one that is refused before any rule is asked.
        self.is_clean = False
        # The facts that are asked for with each of them, where it is kept.
        self.standing: frozenset[FactKey] = frozenset()

    @property
    def is_kept(self) -> bool:
        """Return whether what such a call means is known."""
        return self._request is not None

    def call(self, id: CallId, time: str) -> Call:
        """Return one more of these calls."""
        like = self.like
        return Call(
            id, time, like.listener, like.upstream, like.protocol, like.payload, like.identity,
            like.context, is_enforced=like.is_enforced,
        )  # fmt: skip

    def request(self, call: Call, bundle: object) -> Request | None:
        """Return what `call` means under `bundle`, None where that has to be found out."""
        like = self._request
        if like is None or bundle is not self._bundle:
            return None
        return Request(
            call.id, call.time, like.listener, like.upstream, like.domain, like.phase,
            like.protocol, like.subject, like.actors, like.targets,
            {**like.context, "time": call.time}, like.request, like.parse, like.combine,
        )  # fmt: skip

    def keep(self, request: Request, bundle: object) -> bool:
        """Keep what such a call means under `bundle`; return whether it is kept."""
        self.forget()
        if request.parts or request.parse.status != "complete":
            return False
        self._bundle, self._request = bundle, request
        return True

    def verdict_of(self, decision: Decision, facts: Facts, time: str) -> object | None:
        """Return the verdict that `decision` says nothing more than, None where there is none."""
        return None if self.judged is None else self.judged.verdict_of(decision, facts, time)

    def comes_out(
        self, bundle: object, facts: Facts, time: str, known: Mapping[str, str]
    ) -> Outcome | None:
        """Return what such a call comes to now, None where it has to be carried to know."""
        if bundle is not self._bundle or self.judged is None:
            return None
        verdict = self.judged.verdict(facts, time)
        if verdict is not None:
            for outcome in self._outcomes:
                if outcome.follows(verdict, facts, known):
                    return outcome
        return None

    def outcome(
        self, decision: Decision, facts: Facts, time: str, known: Mapping[str, str]
    ) -> Outcome | None:
        """Return what came out as `decision` before, with the handles that are known now."""
        for outcome in self._outcomes:
            if outcome.is_of(decision, facts, known):
                # Verdicts are remembered for a while only, and not before rules have their code.
                outcome.verdict = self.verdict_of(decision, facts, time)
                return outcome
        return None

    def add(self, outcome: Outcome) -> None:
        """Keep what came out; of those that are kept already the oldest goes."""
        self._outcomes = [outcome, *self._outcomes][:OUTCOMES_KEPT_MAX]

    def timed(self) -> int:
        """Return for how many calls the time of this one stands, 0 where it is not taken."""
        self._untimed += 1
        if self._untimed < TIMED_EVERY:
            return 0
        self._untimed = 0
        return TIMED_EVERY
