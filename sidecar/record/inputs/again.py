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

from sidecar.record.canonical import fixed_text, split
from sidecar.record.inputs.secrets import DIGEST, Secrets
from sidecar.record.limits import AGAIN_BYTES, OUTCOMES_KEPT_MAX, REQUEST_FACTOR, TIMED_EVERY
from sidecar.terms.call import Call, Json
from sidecar.terms.decision import Decision, FactKey, Facts
from sidecar.terms.record import DecisionRecord, Hole, MadeRecord, Stencil, hole_of
from sidecar.terms.request import Request
from sidecar.terms.words import CallId

# How a decision is told to who asked.
Shape: TypeAlias = Callable[[Decision], Json]


class Given(Protocol):
    """What is done when so many are answered."""

    def __call__(self, count: int = 1, /) -> None:
        """Do it."""
        ...


class Judged(Protocol):
    """A request that can be judged anew by what follows of its rules alone."""

    def verdict(self, facts: Facts, time: str) -> object | None:
        """Return what follows now, the same object for the same; None where it is not known."""
        ...

    def verdict_of(self, decision: Decision, facts: Facts, time: str) -> object | None:
        """Return the verdict that `decision` says nothing more than; it was made of the same."""
        ...


class Form(msgspec.Struct, frozen=True):
    """How the record of a call is made of its id and its time alone.

    Args:
        text: Of the input, around id, time, time.
        hidden: What its digest is made over besides.
        stencil: Of the record.
        hole: Where in `text` the digest of the call's text stands, if calls of others are meant.
    """

    text: tuple[bytes, ...]
    hidden: bytes
    stencil: Stencil
    hole: Hole | None = None

    def filled(self, id: CallId, time: str, secrets: Secrets, digest: bytes = b"") -> MadeRecord:
        """Return the record of a call of this id at this time, of the text with this digest."""
        text = self.text if self.hole is None else self.hole.filled(self.text, digest)
        first, second, third, last = text
        raw_time = time.encode()
        raw = (first, id.encode(), second, raw_time, third, raw_time, last, self.hidden)
        mac = secrets.mac(b"".join(raw))
        if self.hole is None:
            return MadeRecord(id, time, mac, self.stencil)
        return MadeRecord(id, time, mac, self.stencil, bytes.fromhex(digest.decode()))

    def filled_all(
        self, ids: Sequence[CallId], times: Sequence[str], secrets: Secrets
    ) -> list[MadeRecord]:
        """Return the records of calls of this text, of these ids at these times."""
        first, second, third, fourth = self.text
        stencil, mac, last = self.stencil, secrets.mac, fourth + self.hidden
        made = []
        for id, time in zip(ids, times, strict=True):
            raw = time.encode()
            said = (first, id.encode(), second, raw, third, raw, last)
            made.append(MadeRecord(id, time, mac(b"".join(said)), stencil))
        return made

    def opened(self, digest: bytes) -> "Form":
        """Return the form of calls of other texts as well, where this one says `digest`, once."""
        hole = hole_of(self.text, digest)
        return Form(self.text, self.hidden, self.stencil.opened(digest), hole)


def form_of(record: DecisionRecord, call: Call, hidden: bytes, secrets: Secrets) -> Form | None:
    """Return the form of a record of `call`, None where it is not made of it alone."""
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
    digest = kept.digest.removeprefix(DIGEST).encode()
    text = _cut(raw, (id, time, time))
    head = _cut(halves.head, (id, digest, id, time, time))
    tail = _cut(halves.tail, (time,))
    if text is None or head is None or tail is None:
        return None
    counted = (record.domain, record.outcome, record.policy.version)
    # Why ignored: there are as many pieces as there are holes, and one.
    stencil = Stencil(head, tail, counted, record.listener_forwarded)  # type: ignore[arg-type]
    found = Form(text, hidden, stencil)
    return found if split(found.filled(call.id, call.time, secrets)) == halves else None


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
        given: What is done when it is answered, or so many times; who answers says what.
    """

    __slots__ = ("_answer", "_facts", "_form", "_handles", "_names", "_opened", "_same",
                 "decision", "given", "verdict")  # fmt: skip

    def __init__(
        self,
        decision: Decision,
        facts: Facts,
        handles: Mapping[str, str],
        form: Form | None,
        verdict: object | None,
    ) -> None:
        self.decision = decision
        self._facts = dict(facts)
        # The last that were found to be the same.
        self._same: Facts | None = None
        self._handles = handles
        # A handle stands wherever a text is one of these, also where it is the call's own time.
        self._names = frozenset(person.partition(":")[2] for person in handles)
        self._form = form
        self._opened: Form | None = None
        self.verdict = verdict
        self.given: Given | None = None
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

    def follows(self, facts: Facts, known: Mapping[str, str]) -> bool:
        """Return whether this comes of its verdict, on the very same facts, of the same persons.

        Only where both its record and its answer can be made of what is known.
        """
        return (
            self._answer is not None
            and self._form is not None
            and ((facts is self._same and not self._handles) or self._is_on(facts, known))
        )

    def _is_on(self, facts: Facts, known: Mapping[str, str]) -> bool:
        if facts is not self._same:
            mine = self._facts
            if len(facts) != len(mine):
                return False
            for key, fact in facts.items():
                if mine.get(key) is not fact:
                    return False
            # INVARIANT: nobody changes facts that were found; another time they are another object.
            self._same = facts
        return not self._handles or self._handles.items() <= known.items()

    def record(
        self, id: CallId, time: str, secrets: Secrets, instead: tuple[bytes, bytes] | None = None
    ) -> MadeRecord | None:
        """Return the record of a call, None where it has to be made from nothing.

        `instead` is the digest that this says of a text (`says_once`), the same each time, and the
        one that it says in that place.
        """
        form, names = self._form, self._names
        if form is None or (names and (time in names or id in names)):
            return None
        if instead is None:
            return form.filled(id, time, secrets)
        was, new = instead
        if names and new.decode() in {name.casefold() for name in names}:
            return None
        opened = self._opened = self._opened or form.opened(was)
        return opened.filled(id, time, secrets, new)

    def records(
        self, ids: Sequence[CallId], times: Sequence[str], secrets: Secrets
    ) -> list[MadeRecord] | None:
        """Return the records of calls, None where one of them has to be made from nothing."""
        form, names = self._form, self._names
        if form is None or (names and not names.isdisjoint((*ids, *times))):
            return None
        return form.filled_all(ids, times, secrets)

    def says_once(self, digest: bytes) -> bool:
        """Return whether another digest can stand in the place of this one in a record."""
        form = self._form
        if form is None or digest in form.hidden:
            return False
        in_text = sum(piece.count(digest) for piece in form.text)
        in_head = sum(piece.count(digest) for piece in form.stencil.head)
        in_tail = sum(piece.count(digest) for piece in form.stencil.tail)
        return (in_text, in_head, in_tail) == (1, 1, 0)

    def answer_to(self, id: CallId) -> bytes:
        """Return the answer's JSON, on a line of its own, where it `follows`."""
        assert self._answer is not None
        return id.encode().join(self._answer)

    def answers_to(self, ids: Sequence[CallId]) -> list[bytes]:
        """Return the same for each of `ids`."""
        assert self._answer is not None
        answer = self._answer
        return [id.encode().join(answer) for id in ids]

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

    Attributes:
        asked: How often one was, for whoever keeps these and has no room for all.
    """

    __slots__ = ("_bundle", "_outcomes", "_request", "_untimed", "_weight", "asked", "is_clean",
                 "judged", "like", "standing")  # fmt: skip

    def __init__(self, like: Call) -> None:
        self.like = like
        self.asked = 0
        self._untimed = 0
        self.forget()

    def forget(self) -> None:
        """Forget what was so under another bundle."""
        self._bundle: object = None
        self._request: Request | None = None
        self._weight = 0
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

    @property
    def weight(self) -> int:
        """Return about how many bytes are kept with it, and no fewer."""
        if not self._weight:
            request = b"" if self._request is None else fixed_text(self._request)
            self._weight = AGAIN_BYTES + REQUEST_FACTOR * len(request)
        return self._weight

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
        self._bundle, self._request, self._weight = bundle, request, 0
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
                if verdict is outcome.verdict and outcome.follows(facts, known):
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

    def timed(self, count: int) -> int:
        """Return for how many calls the time of these stands, 0 where it is not taken."""
        counted = self._untimed + count
        if counted < TIMED_EVERY:
            self._untimed = counted
            return 0
        self._untimed = 0
        return counted
