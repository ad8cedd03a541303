"""The ledger as the path sees it: `await write(record)` returns when the record is durable.

Group commit without a timer: a thread takes whatever is waiting, writes it, syncs it, and wakes all
who waited. While one batch is on its way to the disk the next one gathers, so the batches are as
large as the disk is slow, and a single writer never waits for others.

```
 loop    encode ─▶ queue ─▶ wait (deadline) ────────────────────▶ acknowledged
 thread              └─▶ take all ─▶ write ─▶ fdatasync ─▶ tree ─┘─▶ checkpoint when due
```
The recorder has no loop between: the thread itself asks a `Source` for what workers have sent.

A disk that hangs holds the thread and nothing else: each write has a deadline, and once a batch is
overdue new writes are refused at once.
"""

import asyncio
import os
import queue
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from sidecar.record.canonical import split
from sidecar.record.commit import Committer
from sidecar.record.disk import DISK, let_go, unopened, why
from sidecar.record.fold import Fold, Revocations
from sidecar.record.inputs.beside import Beside, anonymous, persons_named
from sidecar.record.keeping.batch import Batch, Nudge, One, Source
from sidecar.record.keeping.found import looked_around
from sidecar.record.keeping.grounds import lock
from sidecar.record.keeping.obeyed import Unsigned, is_obeyed
from sidecar.record.keeping.outside import Outside
from sidecar.record.keeping.stops.holds import check_none
from sidecar.record.limits import (
    BATCH_BYTES_MAX,
    BATCH_RECORDS_MAX,
    DURABLE_TIMEOUT_S,
    RECORD_BYTES_MAX,
    WAITING_MAX,
)
from sidecar.record.proof.checkpoint import Verifier
from sidecar.record.proof.identity import Identity
from sidecar.record.recovery import identify
from sidecar.terms.call import Json
from sidecar.terms.errors import LedgerBroken, RecordError
from sidecar.terms.ids import rfc3339, uuid7
from sidecar.terms.record import (
    SCHEMA,
    AdminRecord,
    AnyRecord,
    DecisionRecord,
    MadeRecord,
    OutcomeRecord,
    SideObject,
)

OUTSIDE: Final = Outside(
    io=DISK,
    now_us=lambda: time.time_ns() // 1000,
    monotonic_s=time.monotonic,
    random_bytes=os.urandom,
)


class Settings(msgspec.Struct, frozen=True):
    """How one ledger is kept.

    Args:
        name: The configured part of the origin; no spaces, no plus.
        durable_timeout_s: How long a call waits for its record before it is refused.
        folds: State that follows the records, beside revocations.
        outside: Disk, clocks, randomness, bounds.
    """

    name: str = "doorward"
    durable_timeout_s: float = DURABLE_TIMEOUT_S
    folds: tuple[Fold, ...] = ()
    outside: Outside = OUTSIDE


DEFAULT: Final = Settings()


def ledger_paths(state: Path) -> tuple[Path, Path]:
    """Return the ledger's folder and its key file below the state folder."""
    return state / "ledger", state / "keys" / "ledger.key"


class Ledger:
    """The one ledger of this machine's sidecar; made by `Ledger.open`."""

    def __init__(
        self,
        committer: Committer,
        who: Identity,
        revocations: Revocations,
        beside: Beside,
        settings: Settings,
    ) -> None:
        self.revocations = revocations
        self._committer = committer
        self._who = who
        self._timeout_s = settings.durable_timeout_s
        self._outside = settings.outside
        self._monotonic_s = settings.outside.monotonic_s
        self._beside = beside
        self._is_group = settings.outside.durability == "group"
        self._queue: queue.SimpleQueue[Batch | None] = queue.SimpleQueue()
        self._source: Source | None = None
        # Submitted, and those of the source in this turn: each counted where it is known.
        self._waiting = self._gathered = 0
        self._counting = threading.Lock()
        self._busy_since_s: float | None = None
        self._is_closed = False
        # A daemon: a disk that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)
        self._thread.start()

    @classmethod
    def open(cls, folder: Path, key_file: Path, settings: Settings = DEFAULT) -> "Ledger":
        """Return the ledger in `folder`, proven to be whole; blocks while it is read.

        Raises:
            LedgerBroken: It is not intact, not ours, or another process writes it.
            LedgerUnwritable: Its disk takes nothing.
            ConfigError: The key would stand inside of the ledger's folder.
        """
        outside, revocations = settings.outside, Revocations()
        fd = -1
        try:
            fd = lock(outside.io, folder)
            who = identify(outside.io, folder, key_file, settings.name, outside.random_bytes)
            folds = (revocations, *settings.folds)
            beside = Beside(folder.parent, revocations, outside.io, outside.random_bytes)
            news = [*beside.open(), *looked_around(folder, who, outside)]
            committer = Committer(folder, fd, who, folds, outside)
            for event, detail in news:
                committer.note(event, detail)
        except OSError as error:
            _let_go(outside, fd)
            raise unopened(error, f"{error.filename or folder}: {why(error)}") from error
        except RecordError as error:
            _let_go(outside, fd)
            raise unopened(error, str(error)) from error
        except (LedgerBroken, ValueError):
            _let_go(outside, fd)
            raise
        return cls(committer, who, revocations, beside, settings)

    @property
    def size(self) -> int:
        """Return how many records are durable."""
        return self._committer.size

    @property
    def accepted(self) -> int:
        """Return how many records are written; those beyond `size` are not yet durable."""
        return self._committer.accepted

    @property
    def is_group(self) -> bool:
        """Return whether a record is acknowledged when it is written, before it is durable."""
        return self._is_group

    @property
    def waiting(self) -> int:
        """Return how many records are on their way to the disk."""
        return self._waiting + self._gathered

    @property
    def verifier(self) -> Verifier:
        """Return the public key that an auditor is handed."""
        return self._who.verifier

    @property
    def is_running(self) -> bool:
        """Return whether its thread is there, which has let go of everything when it is not."""
        return self._thread.is_alive()

    @property
    def is_refusing(self) -> bool:
        """Return whether calls are refused because records cannot be made durable."""
        return self._committer.is_refusing or self._is_overdue() or not self._thread.is_alive()

    def listen(self, source: Source) -> None:
        """Let the committer's thread find batches at `source` as well."""
        self._source = source
        self._queue.put(Nudge())

    async def write(self, record: AnyRecord, side: tuple[SideObject, ...] = ()) -> None:
        """Return when `record`, and the objects that it names, are durable.

        Raises:
            RecordError: They are not, or not within the deadline; nothing may be answered or
            forwarded.
        """
        if not isinstance(record, MadeRecord) and (found := persons_named(record)):
            record = anonymous(record, await self.handles(found))
        halves = split(record)
        if halves.size > RECORD_BYTES_MAX:
            raise RecordError(
                f"a record of {halves.size} bytes; at most {RECORD_BYTES_MAX} are kept"
            )
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        is_strict = not isinstance(record, MadeRecord | DecisionRecord | OutcomeRecord)
        self.submit(One((halves,), side, loop, future, is_strict))
        try:
            async with asyncio.timeout(self._timeout_s):
                await future
        except TimeoutError:
            raise RecordError("the record was not durable in time") from None

    def submit(self, batch: Batch) -> None:
        """Take a batch; it is settled on its loop when it is durable or refused.

        Raises:
            RecordError: It is not taken, and will not be settled.
        """
        self._check_open()
        with self._counting:
            self._waiting += len(batch.halves)
        self._put(batch)

    def _put(self, batch: Batch | None) -> None:
        self._queue.put(batch)
        if self._source is not None:
            self._source.wake()

    def known_handles(self) -> Mapping[str, str]:
        """Return `type:id` → handle of everybody who has one, live."""
        return self._beside.known()

    async def handles(self, persons: Collection[str]) -> Mapping[str, str]:
        """Return the durable handles of `persons`. Raises RecordError."""
        return await self._beside.handles(persons)

    async def forget(self, person: str) -> bool:
        """Erase a person and record that; return whether there was one. Raises RecordError."""
        await asyncio.to_thread(check_none, self._outside.io, self._who.key_file)
        return await self._beside.forget(person, self._note)

    async def _note(self, event: str, detail: dict[str, Json]) -> None:
        now_us = self._outside.now_us()
        id = uuid7(now_us // 1000, self._outside.random_bytes(10))
        await self.write(AdminRecord(SCHEMA, id, rfc3339(now_us), event, detail))

    async def close(self) -> None:
        """Write what is waiting, sign it, and let go; a disk that hangs is not waited for."""
        if self._is_closed:
            return
        self._is_closed = True
        self._put(None)
        await asyncio.to_thread(self._thread.join, self._timeout_s)

    def _check_open(self) -> None:
        if self._is_closed or not self._thread.is_alive():
            raise RecordError("the ledger is closed")
        if self._is_overdue():
            raise RecordError("the disk does not answer")
        if self._waiting >= WAITING_MAX:
            raise RecordError("too many records are waiting for the disk")

    def _is_overdue(self) -> bool:
        since_s = self._busy_since_s
        return since_s is not None and self._monotonic_s() - since_s > self._timeout_s

    # --- the committer's thread ---

    def _run(self) -> None:
        try:
            while self._turn():
                pass
        finally:
            # INVARIANT: also after a mistake of ours nobody waits for a thread that is gone.
            self._committer.close()
            self._beside.close()
            self._refuse_the_rest()

    def _turn(self) -> bool:
        """Commit what waits; return whether there may be more."""
        gathered = self._from_source()
        submitted, is_last = self._take(gathered)
        self._busy_since_s = self._monotonic_s()
        if gathered or submitted or self._committer.has_news:
            error = self._commit([*gathered, *submitted])
            for batch in gathered:
                batch.settle(_came(batch, error))
            self._gathered = 0
            self._wake(submitted, error)
        size = self.size
        if self._source is not None:
            self._source.told()
        # What nobody waits for comes last.
        self._committer.tend()
        if self._source is not None and self.size != size:
            self._source.told()
        self._busy_since_s = None
        return not is_last

    def _commit(self, batches: Sequence[Batch]) -> RecordError | None:
        side = [one for batch in batches for one in batch.side]
        try:
            if side:
                self._beside.inputs.put(side)
            records = [halves for batch in batches for halves in batch.halves]
            if self._is_group and not any(batch.is_strict for batch in batches):
                self._committer.accept(records)
            else:
                self._committer.commit(records)
        except RecordError as error:
            return error
        return None

    def _take(self, gathered: Sequence[Batch]) -> tuple[list[Batch], bool]:
        """Return whatever was submitted; wait for the first, but no longer than there is time."""
        batches: list[Batch] = []
        if self._source is not None and self._queue.empty():
            return batches, False
        records, bytes_ = self._gathered, sum(one.size for one in gathered)
        try:
            is_alone = self._source is None
            batch = self._queue.get(is_alone, self._patience_s() if is_alone else None)
            while batch is not None:
                if batch.is_wanted():
                    batches.append(batch)
                    records += len(batch.halves)
                    bytes_ += batch.size
                else:
                    self._wake([batch], RecordError("nobody waits for the record any more"))
                if records >= BATCH_RECORDS_MAX or bytes_ >= BATCH_BYTES_MAX:
                    return batches, False
                batch = self._queue.get_nowait()
        except queue.Empty:
            return batches, False
        return batches, True

    def _from_source(self) -> Sequence[Batch]:
        """Return what the source has; what is submitted is not kept waiting for it."""
        if self._source is None:
            return ()
        found = self._source.gather(self._patience_s() if self._queue.empty() else 0.0)
        self._gathered = sum(len(one.halves) for one in found)
        return found

    def _patience_s(self) -> float:
        if self._committer.has_news and not self._committer.is_refusing:
            return 0
        return self._committer.due_s()

    def _refuse_the_rest(self) -> None:
        rest: list[Batch] = []
        while not self._queue.empty():
            batch = self._queue.get_nowait()
            if batch is not None:
                rest.append(batch)
        self._wake(rest, RecordError("the ledger is closed"))

    def _wake(self, batches: Sequence[Batch], error: RecordError | None) -> None:
        """Tell all who wait, with one call into each loop."""
        by_loop: dict[asyncio.AbstractEventLoop | None, list[Batch]] = {}
        for batch in batches:
            by_loop.setdefault(batch.loop, []).append(batch)
        for loop, its in by_loop.items():
            if loop is None:
                self._settle(its, error)
            # A loop that was closed has nobody left who waits.
            elif not loop.is_closed():
                loop.call_soon_threadsafe(self._settle, its, error)

    # --- back on the loop ---

    def _settle(self, batches: Sequence[Batch], error: RecordError | None) -> None:
        with self._counting:
            self._waiting -= sum(len(batch.halves) for batch in batches)
        for batch in batches:
            batch.settle(_came(batch, error))


def _came(batch: Batch, error: RecordError | None) -> RecordError | None:
    """Return what to tell of a batch: durable, where another waits for a signature."""
    if isinstance(error, Unsigned) and not any(
        is_obeyed(one.head) for one in batch.halves if not one.is_plain
    ):
        return None
    return error


def _let_go(outside: Outside, fd: int) -> None:
    if fd >= 0:
        let_go(outside.io, fd)
