"""Texts that one connection asks for over and over, and the leases that they gave.

What a text means is a function of it, of the bundle and of what the listener pins; whether it is
permitted is decided and recorded each time (`intercept/known.py`). Where it comes out as before,
the lease is the one before with another id. Denials are made anew, for each says its own.

Memory is bounded by what is kept, not by what is asked: texts are weighed, those of a connection
and those of all that a worker serves.
"""

from typing import Final
from weakref import WeakSet

from sidecar.domains.data.parse.text.alike import Shape, form_of
from sidecar.intercept.known import Repeated
from sidecar.intercept.postgres.alike import Alike, AlsoSo
from sidecar.intercept.postgres.limits import (
    ALL_KNOWN_BYTES_MAX,
    FORMS_BYTES_MAX,
    KNOWN_BYTES_MAX,
    KNOWN_CHARS_MAX,
    KNOWN_TEXTS_MAX,
    NEAR_MAX,
    SEEN_TEXTS_MAX,
)
from sidecar.intercept.postgres.protocol.prepared import Lease, Statement
from sidecar.record.inputs.again import Again, Outcome
from sidecar.record.limits import OUTCOMES_KEPT_MAX
from sidecar.terms.call import Call, Identity, Json, remembers
from sidecar.terms.decision import Decision

# What a payload has that says nothing but its text: the rest is the same on every connection.
_PLAIN: Final = frozenset(("dialect", "text", "search_path", "carries"))


class Text:
    """One text, or those of one form, asked for by one identity.

    Attributes:
        is_plain: Whether a run of it changes nothing of the session.
        shape: That of the texts of one form.
        weight: How many bytes it was found to take.
    """

    __slots__ = ("_leases", "again", "is_plain", "shape", "weight")

    def __init__(self, again: Again, shape: Shape | None = None) -> None:
        self.again = again
        self.shape = shape
        self.is_plain = False
        self.weight = 0
        # INVARIANT: of each outcome that `again` may answer with, since none else is answered so.
        self._leases: dict[Outcome, tuple[Lease, float]] = {}

    def turn(self, raw: bytes) -> None:
        """Speak of this text from here on, which is the same or of the same form."""
        if isinstance(self.again, Alike):
            self.again.turn(raw)

    def came_to(self, outcome: Outcome, lease: Lease, began_s: float) -> None:
        """Keep the lease of a call that came out as one before it did."""
        outcome = outcome.like if isinstance(outcome, AlsoSo) else outcome
        if len(self._leases) >= OUTCOMES_KEPT_MAX:
            self._leases.clear()
            self.again.forget()
            return
        self.is_plain = Statement("", b"", lease, lease.asked).is_plain
        self._leases[outcome] = (lease, lease.until_s - began_s)
        outcome.answer(lease.forward.decision, _id_of)

    def lease(self, repeated: Repeated, epoch: int, began_s: float) -> Lease:
        """Return the lease of a call that came out as one before it did."""
        outcome = repeated.outcome
        outcome = outcome.like if isinstance(outcome, AlsoSo) else outcome
        like, lasts_s = self._leases[outcome]
        return Lease(
            like.forward, like.identity, like.digest, epoch, began_s + lasts_s,
            copies=like.copies, names=like.names, again=repeated.id,
            took_s=repeated.took_s,
        )  # fmt: skip


class Texts:
    """Those of one connection, from the second time on that they are asked.

    Of a text with literals it counts how often one of its form is asked (`alike.py`).
    """

    def __init__(self) -> None:
        # How many bytes what is known takes, about.
        self.weight = 0
        self._known: dict[bytes, Text] = {}
        # By form. Apart, for a text may look like the form of others.
        self._alike: dict[bytes, Text] = {}
        # Of these the last ones that were asked, the latest first.
        self._near: list[Text] = []
        # The form of each text that was asked last, None where it has none.
        self._forms: dict[bytes, bytes | None] = {}
        self._forms_bytes = 0
        # A text that is asked once costs a hash alone.
        self._seen: set[int] = set()
        _all.add(self)
        remembers(self.forget)

    def forget(self) -> None:
        """Forget every text."""
        self.let_go()
        self._forms.clear()
        self._seen.clear()

    def let_go(self) -> None:
        """Forget what texts mean, not which were asked."""
        self._known.clear()
        self._alike.clear()
        self._near.clear()
        self.weight = 0

    def weigh(self, text: Text) -> None:
        """Count what is known of a text by now; let go of what is too much."""
        more = text.again.weight - text.weight
        if not more:
            return
        text.weight += more
        self.weight += more
        if self.weight > KNOWN_BYTES_MAX:
            self.let_go()
        elif sum(one.weight for one in _all) > ALL_KNOWN_BYTES_MAX:
            # Whoever has the most, so that nobody takes what others have.
            max(_all, key=_weight_of).let_go()

    def get(self, payload: dict[str, Json], identity: Identity) -> Text | None:
        """Return what is known of `payload`, where its text is all that it says."""
        text = payload.get("text")
        if not isinstance(text, str) or not _PLAIN.issuperset(payload):
            return None
        return _of(self._known.get(text.encode()), identity)

    def plain(self, raw: bytes, identity: Identity, *, by_form: bool = False) -> Text | None:
        """Return what is known of a text of which a run changes nothing of the session."""
        found = _of(self._known.get(raw), identity)
        if found is None and by_form:
            found = _of(self._of_form(raw), identity)
        if found is None or not found.is_plain:
            return None
        found.turn(raw)
        return found

    def _of_form(self, raw: bytes) -> Text | None:
        """Return what is known of texts of the form that `raw` has."""
        for near in self._near:
            if near.shape is not None and near.shape.holds(raw):
                return near
        found = self._alike.get(self._form_of(raw) or b"")
        if found is not None and found not in self._near:
            self._near = [found, *self._near][:NEAR_MAX]
        return found

    def keep(self, call: Call, *, by_form: bool = False) -> Text | None:
        """Keep a call from the second time on; None where it is not to be kept."""
        text = call.payload.get("text")
        if not isinstance(text, str) or not _PLAIN.issuperset(call.payload):
            return None
        if len(text) > KNOWN_CHARS_MAX:
            return None
        raw = text.encode()
        form = self._form_of(raw) if by_form else None
        if form is None:
            return self._kept(self._known, raw, call)
        found = _of(self._alike.get(form), call.identity) or self._kept(self._alike, form, call)
        if found is not None:
            found.turn(raw)
        return found

    def _kept(self, known: dict[bytes, Text], key: bytes, call: Call) -> Text | None:
        if (seen := hash(key)) not in self._seen:
            if len(self._seen) >= SEEN_TEXTS_MAX:
                self._seen.clear()
            self._seen.add(seen)
            return None
        if len(known) >= KNOWN_TEXTS_MAX:
            self.let_go()
        # It may take the place of one that somebody else has asked.
        self._near.clear()
        is_alike = known is self._alike
        found = known[key] = Text(Alike(call), Shape(key)) if is_alike else Text(Again(call))
        return found

    def _form_of(self, raw: bytes) -> bytes | None:
        if len(raw) > KNOWN_CHARS_MAX:
            return None
        if raw not in self._forms:
            self._forms_bytes += len(raw)
            if len(self._forms) >= KNOWN_TEXTS_MAX or self._forms_bytes > FORMS_BYTES_MAX:
                self._forms.clear()
                self._forms_bytes = len(raw)
            self._forms[raw] = form_of(raw)
        return self._forms[raw]


# Those of this process.
_all: Final[WeakSet[Texts]] = WeakSet()


def _weight_of(texts: Texts) -> int:
    return texts.weight


def _of(found: Text | None, identity: Identity) -> Text | None:
    """Return what is known of a text, where it was asked by the very same."""
    return found if found is not None and found.again.like.identity is identity else None


def _id_of(decision: Decision) -> Json:
    # Nobody is told it in this form; that there is one says that the outcome may be repeated.
    return decision.id
