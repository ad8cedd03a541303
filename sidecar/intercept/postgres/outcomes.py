"""What became of permitted statements, on record: one outcome for each decision and Sync.

A simple query is one use. The uses of a prepared statement up to the first Sync are one record;
from then on they are counted, and told of once a second, when one fails, and when the connection
ends: a crash loses the count of a second, never the decision. A decision that was never used is
told of once its name is gone; what is open when the connection ends is `unknown`.

A client that is faster than the disk is held, not cut off: none of its messages is taken while too
many outcomes wait. What was sent before goes on, and may bring as many as may be unanswered.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

import msgspec

from sidecar.flow import Path, on_its_way, outcome_record
from sidecar.intercept.postgres.limits import (
    OUTCOMES_APART_S,
    OUTCOMES_EVERY_S,
    OUTCOMES_GATHERED_S,
    OUTCOMES_MAX,
)
from sidecar.intercept.postgres.protocol.guard import may_lack_hash
from sidecar.intercept.postgres.protocol.prepared import Lease
from sidecar.record.recorder.worker.link import Pending
from sidecar.terms.errors import RecordError
from sidecar.terms.record import SCHEMA, OutcomeRecord, Written
from sidecar.terms.spent import UNTOLD, timings_us


class Gathered:
    """The connections of a listener whose outcomes wait to go with a decision of any.

    Nobody waits for an outcome, and a frame to the ledger costs more than a record in it.
    """

    def __init__(self) -> None:
        self._due: dict[Outcomes, None] = {}
        # From when on a decision takes them along.
        self._from_s = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def add(self, one: "Outcomes") -> None:
        """Let the outcomes of a connection go soon."""
        if not self._due:
            loop = asyncio.get_running_loop()
            self._from_s = loop.time() + OUTCOMES_APART_S
            if self._timer is None:
                self._timer = loop.call_later(OUTCOMES_GATHERED_S, self._late)
        self._due[one] = None

    def go_with(self, now_s: float) -> None:
        """Send all of them if it is time: a decision is about to be sent, or has been."""
        if self._due and now_s >= self._from_s:
            self._send()

    def _send(self) -> None:
        due, self._due = self._due, {}
        for one in due:
            one.write()

    def _late(self) -> None:
        self._timer = None
        self._send()


class Holder(Protocol):
    """What outlives a connection."""

    @property
    def gathered(self) -> Gathered:
        """Return the connections whose outcomes wait."""
        ...

    def spawned(self, task: asyncio.Task[None]) -> None:
        """Keep a task alive until it is done."""
        ...

    def lacks_hash(self) -> None:
        """Say to the operator that the database may lack the function for masks `hash`."""
        ...


class Outcomes:
    """Writes one connection's outcome records in order, behind its back."""

    def __init__(
        self, path: Path, holder: Holder, lost: Callable[[], None], eased: Callable[[], None]
    ) -> None:
        """Take the path, who outlives this, whom to tell of lost and of written records."""
        self._path = path
        self._holder = holder
        self._lost = lost
        self._eased = eased
        self._waiting: list[OutcomeRecord] = []
        # Kept, since the loop does not keep what it runs.
        self._batch: list[Written] = []
        self._under_way = 0
        self._is_awaited = False
        # Whether those that wait are to go as soon as those under way are written.
        self._is_due = False
        self._ended: asyncio.Event | None = None
        self._counted: dict[Lease, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def is_full(self, to_come: int) -> bool:
        """Return whether the client must wait; `to_come` answers will bring an outcome each."""
        is_full = len(self._waiting) + self._under_way + to_come >= OUTCOMES_MAX
        self._is_awaited |= is_full
        return is_full

    def tell(self, leases: dict[Lease, None]) -> None:
        """Record what has come of `leases` since the last time, or soon, and empty the list."""
        for lease in leases:
            if lease.told and lease.result == "forwarded":
                self._counted[lease] = None
                lease.is_counted = True
            else:
                self._waiting.append(self._record(lease))
        leases.clear()
        if self._waiting:
            self._holder.gathered.add(self)
        if self._counted and self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(OUTCOMES_EVERY_S, self.tell_all)

    def tell_all(self) -> None:
        """Record what was only counted so far."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        counted = list(self._counted)
        self._counted.clear()
        for lease in counted:
            lease.is_counted = False
            # A use that failed has told of those before it.
            if lease.uses:
                self._waiting.append(self._record(lease))
        self.write()

    def end(self) -> None:
        """Record all that there is to tell, for the connection is over; keep alive until it is."""
        self.tell_all()
        if self._under_way and (self._ended is None or self._ended.is_set()):
            self._ended = asyncio.Event()
            rest = self._all_written(self._ended)
            self._holder.spawned(asyncio.get_running_loop().create_task(rest))

    def write(self) -> None:
        """Send on their way, in order, those that wait, behind those that are."""
        self._is_due = bool(self._under_way)
        if self._under_way or not self._waiting:
            return
        batch, self._waiting = self._waiting, []
        self._under_way = len(batch)
        # All at once: the ledger keeps their order and makes them durable together.
        try:
            self._batch = [self._on_its_way(record) for record in batch]
        except RecordError:
            # There is no hope; whoever tells of outcomes goes on to the end of what it does.
            self._under_way = 0
            asyncio.get_running_loop().call_soon(self._lost)
            return
        for one in self._batch:
            one.add_done_callback(self._written)

    def _on_its_way(self, record: OutcomeRecord) -> Written:
        writing = self._path.ledger.write(record)
        # Asked first for what it nearly always is.
        return writing if isinstance(writing, Pending) else on_its_way(writing)

    def _written(self, written: Written) -> None:
        self._under_way -= 1
        if written.exception() is not None:
            # Law: what cannot be recorded lets nothing more through; the next start says `unknown`.
            self._waiting.clear()
            self._lost()
        if self._under_way:
            return
        if self._is_awaited:
            self._is_awaited = False
            # Why not at once: what goes wrong with the next message is not an outcome's doing.
            asyncio.get_running_loop().call_soon(self._eased)
        if self._is_due:
            self.write()
        if self._ended is not None and not self._under_way:
            self._ended.set()

    async def _all_written(self, ended: asyncio.Event) -> None:
        await ended.wait()

    def _record(self, lease: Lease) -> OutcomeRecord:
        path, forward = self._path, lease.forward
        # What the decision took is told of once, with its first uses.
        timings = timings_us(lease.took_s, lease.durable_s, lease.upstream_s)
        digest = None if lease.values is None else path.secrets.ended(lease.values)
        is_plain = not forward.decision.obligations and forward.decision.rewritten is None
        if lease.result == "forwarded" and is_plain:
            record = OutcomeRecord(
                SCHEMA, path.new_id(), lease.id, path.now(), "forwarded",
                lease.status, lease.rows, lease.size, digest, (), timings, lease.uses,
            )  # fmt: skip
        else:
            assert lease.again is None or is_plain
            record = outcome_record(
                forward,
                path,
                **({} if lease.result == "forwarded" else {"result": lease.result}),
                upstream_status=lease.status,
                rows=lease.rows,
                bytes=lease.size,
                digest=digest,
                timings_us=timings,
                uses=lease.uses,
            )
            record = msgspec.structs.replace(record, parent=lease.id)
            if may_lack_hash(forward.decision.obligations, lease.status):
                self._holder.lacks_hash()
        lease.uses = lease.rows = lease.size = 0
        lease.result, lease.status, lease.told = "forwarded", None, True
        lease.took_s, lease.durable_s, lease.upstream_s, lease.values = UNTOLD, 0.0, 0.0, None
        return record
