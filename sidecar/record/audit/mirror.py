"""Compare a log with a mirror of it, record by record: a copy of its folder, or an export.

The mirror is verified on its own, by code that shares nothing with ours, and the two are compared
as far as both go; either may be ahead by what is not signed yet. Our own log that is shorter than
the mirror was cut or rolled back. Where they differ, whichever is not what its own checkpoint signs
is named first; if both are, the log has two histories.
"""

import hmac
from collections.abc import Sequence
from pathlib import Path

from sidecar.record.outside.forms import Leaf
from sidecar.record.outside.notes import Tampered, Unusable, read_key
from sidecar.record.outside.verifier import FORMLESS, judged_leaves
from sidecar.record.proof.checkpoint import Verifier
from sidecar.record.proof.merkle import Tree
from sidecar.record.segments.walk import Batch, Damage


class Mirror:
    """A mirror that is read in step with the log; see `verify.Watch`."""

    def __init__(self, folder: Path, trusted: Verifier) -> None:
        # As a whole path: what is told of it stands behind the ledger's otherwise.
        self._folder = folder.resolve()
        self._leaves = judged_leaves(folder, [read_key(trusted.text())], [])
        self._seq = 0
        self._is_over = False
        self._fork: Damage | None = None

    def take(self, batch: Batch, leaves: Sequence[bytes], tree: Tree, signed: int) -> None:
        """Compare the records of `batch` with the mirror. Damage when that is not intact."""
        while self._seq < batch.first_seq and self._next() is not None:
            # Of what we pruned the mirror may still have the records.
            pass
        for at, leaf in enumerate(leaves):
            theirs = self._next()
            if theirs is None:
                return
            if self._fork is None and not hmac.compare_digest(theirs.hash, leaf):
                seq, text = batch.first_seq + at, "the mirror has another record here: a fork"
                self._fork = Damage(batch.file, batch.offsets[at], seq, text)

    def end(self, size: int, keys: Sequence[Verifier]) -> None:
        """Refuse a log that is shorter than its mirror, or another one.

        Raises:
            Damage: It is, or the mirror is not intact itself.
        """
        while self._next() is not None:
            pass
        if self._fork is not None:
            raise self._fork
        if self._seq > size:
            text = f"the mirror holds {self._seq} records and {size} are there: cut or rolled back"
            raise Damage(str(self._folder), None, size, text)

    def _next(self) -> Leaf | None:
        if self._is_over:
            return None
        try:
            found = next(self._leaves)
        except StopIteration:
            self._is_over = True
            return None
        except (Tampered, Unusable, OSError, *FORMLESS) as error:
            raise Damage(str(self._folder), None, None, f"the mirror: {error}") from None
        self._seq += 1
        return found
