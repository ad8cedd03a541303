"""Counts runs to their decisions: how long the server took, and which values they had.

The values stand in Bind messages, which may be large and are not kept: of each its SHA-256 is,
behind the name of its portal, until the runs of that portal are answered. An outcome record has one
keyed digest of those of the uses that it tells of (`terms.record.OutcomeRecord`), so who has the
messages and the ledger's digest key can show which values a statement ran with, and nobody can find
them out by guessing.
"""

import hashlib
import time
from collections.abc import Callable

from sidecar.intercept.postgres.limits import NAMES_MAX
from sidecar.intercept.postgres.protocol.prepared import Lease


class Runs:
    """Those of one connection.

    Attributes:
        clock_s: In seconds, finer than microseconds.
    """

    __slots__ = ("_bound", "_keyed", "clock_s")

    def __init__(
        self,
        clock_s: Callable[[], float] = time.perf_counter,
        keyed: Callable[[], "hashlib._Hash"] = hashlib.sha256,
    ) -> None:
        """Take a clock, and what begins a digest."""
        self.clock_s = clock_s
        self._keyed = keyed
        # By portals, as the server has them.
        self._bound: dict[bytes, bytes] = {}

    def bound(self, portal: bytes, digest: bytes) -> None:
        """Note the digest of the Bind that `portal` came of, empty where it is the sidecar's."""
        self._bound.pop(portal, None)
        self._bound[portal] = digest
        if len(self._bound) > NAMES_MAX:
            # As names are forgotten: the oldest.
            del self._bound[next(iter(self._bound))]

    def forget(self) -> None:
        """Forget every portal."""
        self._bound.clear()

    def bind_of(self, portal: bytes) -> bytes:
        """Return the digest of the Bind that `portal` came of, empty where there was none."""
        return self._bound.get(portal, b"")

    def count(self, lease: Lease, rows: int, size: int, sent_s: float, bind: bytes | None) -> None:
        """Count what came of a message that was sent then, if it was sent at all.

        `bind` is the digest of the Bind of what was run, empty where it had none; None where
        nothing was run.
        """
        lease.rows += rows
        lease.size += size
        if sent_s:
            lease.upstream_s += self.clock_s() - sent_s
        if bind is None:
            return
        lease.uses += 1
        if bind:
            if lease.values is None:
                lease.values = self._keyed()
            lease.values.update(bind)
