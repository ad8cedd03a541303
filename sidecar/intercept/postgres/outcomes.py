"""What became of permitted statements, on record: one outcome for each decision and Sync.

A simple query is one use. A prepared statement may be used many times before a Sync, and its uses
up to there are one record. A decision that was never used is told of once its name is gone; what is
open when the connection ends is `unknown`.

A client that is faster than the disk is held, not cut off: none of its messages is taken while too
many outcomes wait. What was sent before goes on, and may bring as many as may be unanswered.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from sidecar.flow import Path, outcome_record, settle
from sidecar.intercept.postgres.limits import OUTCOMES_MAX
from sidecar.intercept.postgres.protocol.prepared import Lease
from sidecar.terms.answer import Forward
from sidecar.terms.errors import RecordError
from sidecar.terms.record import OutcomeRecord

Spawn = Callable[[asyncio.Task[None]], None]


class Outcomes:
    """Writes one connection's outcome records in order, behind its back."""

    def __init__(
        self, path: Path, spawned: Spawn, lost: Callable[[], None], eased: Callable[[], None]
    ) -> None:
        """Take the path, who keeps tasks alive, whom to tell of lost and of written records."""
        self._path = path
        self._spawned = spawned
        self._lost = lost
        self._eased = eased
        self._waiting: deque[tuple[Forward, OutcomeRecord]] = deque()
        self._under_way = 0
        self._is_writing = False

    def is_full(self, to_come: int) -> bool:
        """Return whether the client must wait; `to_come` answers will bring an outcome each."""
        return len(self._waiting) + self._under_way + to_come >= OUTCOMES_MAX

    def tell(self, leases: dict[Lease, None]) -> None:
        """Record what has come of `leases` since the last time, and empty the list."""
        for lease in leases:
            self._waiting.append((lease.forward, self._record(lease)))
        leases.clear()
        if self._waiting and not self._is_writing:
            self._is_writing = True
            self._spawned(asyncio.get_running_loop().create_task(self._write()))

    def _record(self, lease: Lease) -> OutcomeRecord:
        record = outcome_record(
            lease.forward,
            self._path,
            **({} if lease.result == "forwarded" else {"result": lease.result}),
            upstream_status=lease.status,
            rows=lease.rows,
            bytes=lease.size,
            uses=lease.uses,
        )
        lease.uses = lease.rows = lease.size = 0
        lease.result, lease.status, lease.told = "forwarded", None, True
        return record

    async def _write(self) -> None:
        try:
            while self._waiting:
                # All at once: the ledger keeps their order and makes them durable together.
                batch = [self._waiting.popleft() for _ in range(len(self._waiting))]
                self._under_way = len(batch)
                await asyncio.gather(*(settle(one, self._path, record) for one, record in batch))
                self._under_way = 0
                # Why not at once: what goes wrong with the next message is not an outcome's doing.
                asyncio.get_running_loop().call_soon(self._eased)
        except RecordError:
            # Law: what cannot be recorded lets nothing more through; the next start says `unknown`.
            self._waiting.clear()
            self._lost()
        finally:
            self._is_writing = False
