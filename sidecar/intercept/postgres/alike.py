"""Calls whose texts differ in literals alone: equal but for the text, and for its digest.

What such a call means, how it is judged and how it is recorded is known from another text of the
same form (`domains/data/parse/text/alike.py`), with its own digest in the place of that one's. What
is sent is the text as it came: only what needs no rewriting is known so.

INVARIANT: a record made so is, to the byte, the one that the text's own analysis would lead to. So
nothing is kept where the digest does not stand exactly once where it is to be put.
"""

import hashlib
from collections.abc import Mapping

import msgspec

from sidecar.record.inputs.again import Again, Outcome
from sidecar.record.inputs.secrets import Secrets
from sidecar.terms.call import Call
from sidecar.terms.decision import Decision, Facts
from sidecar.terms.record import MadeRecord
from sidecar.terms.request import Request
from sidecar.terms.words import CallId

_DIGEST = "text_sha256"


class AlsoSo(Outcome):
    """How a call came out whose text had another digest, the one whose turn it is.

    Attributes:
        like: As that one.
        digest: That of its text, in hexadecimal digits.
    """

    __slots__ = ("_was", "digest", "like")

    def __init__(self, like: Outcome, was: bytes) -> None:
        self.like = like
        self._was = was
        self.digest = was
        self.decision = like.decision
        self.verdict = like.verdict

    def record(
        self, id: CallId, time: str, secrets: Secrets, instead: tuple[bytes, bytes] | None = None
    ) -> MadeRecord | None:
        """Return the record of a call, None where it has to be made from nothing."""
        assert instead is None
        return self.like.record(id, time, secrets, (self._was, self.digest))


class Alike(Again):
    """What is known of calls of one form; of one of them at a time, whose turn it is."""

    __slots__ = ("_also", "_digest", "_text")

    def __init__(self, like: Call) -> None:
        super().__init__(like)
        self._text = b""
        self.turn(like.payload["text"].encode())

    def turn(self, text: bytes) -> None:
        """Speak of the call with this text from here on."""
        if text == self._text:
            return
        self._text = text
        self._digest = hashlib.sha256(text).hexdigest().encode()

    def forget(self) -> None:
        """Forget what was so under another bundle."""
        super().forget()
        self._also: dict[Outcome, AlsoSo] = {}

    def call(self, id: CallId, time: str) -> Call:
        """Return one more of these calls."""
        found = super().call(id, time)
        payload = {**found.payload, "text": self._text.decode()}
        return msgspec.structs.replace(found, payload=payload)

    def request(self, call: Call, bundle: object) -> Request | None:
        """Return what `call` means under `bundle`, None where that has to be found out."""
        assert call.payload["text"].encode() == self._text
        found = super().request(call, bundle)
        if found is None:
            return None
        native = {**found.request["sql"], _DIGEST: self._digest.decode()}
        return msgspec.structs.replace(found, request={"sql": native})

    def add(self, outcome: Outcome) -> None:
        """Keep what came out; of those that are kept already the oldest goes."""
        if outcome.says_once(self._digest):
            super().add(outcome)
            self._also[outcome] = AlsoSo(outcome, self._digest)

    def comes_out(
        self, bundle: object, facts: Facts, time: str, known: Mapping[str, str]
    ) -> Outcome | None:
        """Return what such a call comes to now, None where it has to be carried to know."""
        return self._so(super().comes_out(bundle, facts, time, known))

    def outcome(
        self, decision: Decision, facts: Facts, time: str, known: Mapping[str, str]
    ) -> Outcome | None:
        """Return what came out as `decision` before, with the handles that are known now."""
        return self._so(super().outcome(decision, facts, time, known))

    def _so(self, found: Outcome | None) -> Outcome | None:
        if found is None:
            return None
        also = self._also[found]
        also.digest = self._digest
        return also
