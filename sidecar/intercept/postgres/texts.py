"""Texts that one connection asks for over and over, and the leases that they gave.

What a text means is a function of it, of the bundle and of what the listener pins; whether it is
permitted is decided and recorded each time (`intercept/known.py`). Where it comes out as before,
the lease is the one before with another id. Denials are made anew, for each says its own.
"""

from typing import Final

import msgspec

from sidecar.intercept.known import Repeated
from sidecar.intercept.postgres.limits import KNOWN_CHARS_MAX, KNOWN_TEXTS_MAX, SEEN_TEXTS_MAX
from sidecar.intercept.postgres.protocol.prepared import Lease
from sidecar.record.inputs.again import Again, Outcome
from sidecar.record.limits import OUTCOMES_KEPT_MAX
from sidecar.terms.answer import Forward
from sidecar.terms.call import Call, Identity, Json
from sidecar.terms.decision import Decision

# What a payload has that says nothing but its text: the rest is the same on every connection.
_PLAIN: Final = frozenset(("dialect", "text", "search_path", "carries"))


class Text:
    """One text, asked for by one identity."""

    __slots__ = ("_leases", "again")

    def __init__(self, call: Call) -> None:
        self.again = Again(call)
        # INVARIANT: of each outcome that `again` may answer with, since none else is answered so.
        self._leases: dict[Outcome, Lease] = {}

    def came_to(self, outcome: Outcome, lease: Lease) -> None:
        """Keep the lease of a call that came out as one before it did."""
        if len(self._leases) >= OUTCOMES_KEPT_MAX:
            self._leases.clear()
            self.again.forget()
            return
        self._leases[outcome] = lease
        outcome.answer(lease.forward.decision, _id_of)

    def lease(self, repeated: Repeated, epoch: int, until_s: float) -> Lease:
        """Return the lease of a call that came out as one before it did."""
        like = self._leases[repeated.outcome]
        id, time, forward = repeated.id, repeated.time, like.forward
        again = Forward(
            self.again.call(id, time),
            msgspec.structs.replace(forward.request, id=id, time=time),
            msgspec.structs.replace(forward.decision, id=id),
            forward.payload,
        )
        return Lease(
            again, like.identity, like.digest, epoch, until_s, copies=like.copies, names=like.names
        )


class Texts:
    """Those of one connection, from the second time on that they are asked."""

    def __init__(self) -> None:
        self._known: dict[str, Text] = {}
        # A text that is asked once costs a hash alone.
        self._seen: set[int] = set()

    def get(self, payload: dict[str, Json], identity: Identity) -> Text | None:
        """Return what is known of `payload`, where its text is all that it says."""
        text = payload.get("text")
        if not isinstance(text, str) or not _PLAIN.issuperset(payload):
            return None
        found = self._known.get(text)
        return found if found is not None and found.again.like.identity is identity else None

    def keep(self, call: Call) -> Text | None:
        """Keep a call from the second time on; None where it is not to be kept."""
        text = call.payload.get("text")
        if not isinstance(text, str) or not _PLAIN.issuperset(call.payload):
            return None
        if len(text) > KNOWN_CHARS_MAX:
            return None
        if (seen := hash(text)) not in self._seen:
            if len(self._seen) >= SEEN_TEXTS_MAX:
                self._seen.clear()
            self._seen.add(seen)
            return None
        if len(self._known) >= KNOWN_TEXTS_MAX:
            self._known.clear()
        found = self._known[text] = Text(call)
        return found


def _id_of(decision: Decision) -> Json:
    # Nobody is told it in this form; that there is one says that the outcome may be repeated.
    return decision.id
