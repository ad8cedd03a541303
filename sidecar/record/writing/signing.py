"""What the one writer signs, when, and the marks of what it has not signed yet."""

import math
from contextlib import suppress
from functools import partial

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sidecar.record import recovery
from sidecar.record.keeping.outside import Outside
from sidecar.record.proof import identity
from sidecar.record.proof.marks import Marks
from sidecar.record.recovery import Log
from sidecar.record.segments.aside import Aside
from sidecar.record.writing.grown import Grown


class Signing:
    """Signs the tree of one ledger."""

    def __init__(self, log: Log, grown: Grown, aside: Aside, outside: Outside) -> None:
        self._log = log
        self._grown = grown
        self._aside = aside
        self._outside = outside
        self._size = -1
        self._at_s = 0.0

    @property
    def is_behind(self) -> bool:
        """Return whether something is durable and not signed."""
        return self._grown.size != self._size

    @property
    def due_s(self) -> float:
        """Return when it is to be signed; never if it is not behind."""
        return self._at_s + self._outside.checkpoint_every_s if self.is_behind else math.inf

    def sign(self, *also: Ed25519PrivateKey) -> None:
        """Sign the tree, durable."""
        self._aside.settle(waits=True)
        recovery.sign(self._log, self._grown.known.tree, *also)
        self._signed(self._grown.size, self._outside.monotonic_s())

    def sign_if_due(self, now_s: float) -> None:
        """Sign what is due; the disk is waited for beside, where that can be."""
        if now_s < self.due_s:
            return
        if self._aside.is_free:
            tree, at_s = self._grown.known.tree, self._outside.monotonic_s()
            note = recovery.signed_note(self._log, tree)
            signed = partial(self._signed, tree.size, at_s)
            self._aside.begin(partial(recovery.keep_note, self._log, note), signed)
        elif not self._aside.is_there or now_s >= self.due_s + self._outside.checkpoint_every_s:
            self.sign()

    def new_marks(self) -> Marks:
        """Return new marks, all being signed: what was refused, or cut, bears others."""
        return identity.new_marks(self._log.io, self._log.who, self._outside.random_bytes)

    def marks_from(self, seq: int, marks: Marks) -> Marks:
        """Return new marks for record `seq` and on, which was refused; the same if none can be."""
        log, random_bytes = self._log, self._outside.random_bytes
        with suppress(OSError):
            return identity.marks_from(log.io, log.who, marks, seq, random_bytes)
        return marks

    def _signed(self, size: int, at_s: float) -> None:
        self._size, self._at_s = size, at_s
