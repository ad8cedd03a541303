"""The ledger as the path sees it: `await write(record)` returns when the record is durable.

Group commit without a timer: a thread takes whatever is waiting, writes it, syncs it, and wakes all
who waited. While one batch is on its way to the disk the next one gathers, so the batches are as
large as the disk is slow, and a single writer never waits for others.

```
 loop    encode ─▶ queue ─▶ wait (deadline) ────────────────────▶ acknowledged
 thread              └─▶ take all ─▶ write ─▶ fdatasync ─▶ tree ─┘─▶ checkpoint when due
```
A disk that hangs holds the thread and nothing else: each write has a deadline, and once a batch is
overdue new writes are refused at once.
"""

import asyncio
import os
import queue
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from sidecar.record.canonical import Halves, split
from sidecar.record.commit import Committer, Outside
from sidecar.record.disk import DISK, let_go
from sidecar.record.fold import Fold, Revocations
from sidecar.record.limits import (
    BATCH_BYTES_MAX,
    BATCH_RECORDS_MAX,
    DURABLE_TIMEOUT_S,
    RECORD_BYTES_MAX,
    WAITING_MAX,
)
from sidecar.record.proof.checkpoint import Verifier
from sidecar.record.proof.identity import Identity
from sidecar.record.recovery import identify, lock
from sidecar.terms.errors import LedgerBroken, RecordError
from sidecar.terms.record import AnyRecord

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


class _Waiting(NamedTuple):
    """A record on its way, and who waits for it."""

    halves: Halves
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[None]


def ledger_paths(state: Path) -> tuple[Path, Path]:
    """Return the ledger's folder and its key file below the state folder."""
    return state / "ledger", state / "keys" / "ledger.key"


class Ledger:
    """The one ledger of this machine's sidecar; made by `Ledger.open`."""

    def __init__(
        self, committer: Committer, who: Identity, revocations: Revocations, settings: Settings
    ) -> None:
        self.revocations = revocations
        self._committer = committer
        self._who = who
        self._timeout_s = settings.durable_timeout_s
        self._monotonic_s = settings.outside.monotonic_s
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._waiting = 0
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
            ConfigError: The key would stand inside of the ledger's folder.
        """
        outside, revocations = settings.outside, Revocations()
        fd = -1
        try:
            fd = lock(outside.io, folder)
            who = identify(outside.io, folder, key_file, settings.name, outside.random_bytes)
            folds = (revocations, *settings.folds)
            committer = Committer(folder, fd, who, folds, outside)
        except OSError as error:
            _let_go(outside, fd)
            why = os.strerror(error.errno or 0)
            raise LedgerBroken(f"{error.filename or folder}: {why}") from error
        except (LedgerBroken, ValueError):
            _let_go(outside, fd)
            raise
        return cls(committer, who, revocations, settings)

    @property
    def size(self) -> int:
        """Return how many records are durable."""
        return self._committer.size

    @property
    def verifier(self) -> Verifier:
        """Return the public key that an auditor is handed."""
        return self._who.verifier

    @property
    def is_refusing(self) -> bool:
        """Return whether calls are refused because records cannot be made durable."""
        return self._committer.is_refusing or self._is_overdue() or not self._thread.is_alive()

    async def write(self, record: AnyRecord) -> None:
        """Return when `record` is durable.

        Raises:
            RecordError: It is not, or not within the deadline; nothing may be answered or
            forwarded.
        """
        halves = split(record)
        if halves.size > RECORD_BYTES_MAX:
            raise RecordError(
                f"a record of {halves.size} bytes; at most {RECORD_BYTES_MAX} are kept"
            )
        self._check_open()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._waiting += 1
        self._queue.put(_Waiting(halves, loop, future))
        try:
            async with asyncio.timeout(self._timeout_s):
                await future
        except TimeoutError:
            raise RecordError("the record was not durable in time") from None
        finally:
            self._waiting -= 1

    async def close(self) -> None:
        """Write what is waiting, sign it, and let go; a disk that hangs is not waited for."""
        if self._is_closed:
            return
        self._is_closed = True
        self._queue.put(None)
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
            self._refuse_the_rest()

    def _turn(self) -> bool:
        """Commit one batch; return whether there may be more."""
        batch, is_last = self._take()
        if batch or self._committer.has_news:
            self._busy_since_s = self._monotonic_s()
            _wake(batch, self._commit(batch))
        self._committer.sign_when_due()
        self._busy_since_s = None
        return not is_last

    def _commit(self, batch: Sequence[_Waiting]) -> RecordError | None:
        try:
            self._committer.commit([waiting.halves for waiting in batch])
        except RecordError as error:
            return error
        return None

    def _take(self) -> tuple[list[_Waiting], bool]:
        """Return whatever is waiting; wait for the first, but no longer than a checkpoint may."""
        batch: list[_Waiting] = []
        bytes_ = 0
        try:
            waiting = self._queue.get(timeout=self._patience_s())
            while waiting is not None:
                # Who has given up in the meantime was refused: no record is made of it.
                if not waiting.future.done():
                    batch.append(waiting)
                    bytes_ += waiting.halves.size
                if len(batch) >= BATCH_RECORDS_MAX or bytes_ >= BATCH_BYTES_MAX:
                    return batch, False
                waiting = self._queue.get_nowait()
        except queue.Empty:
            return batch, False
        return batch, True

    def _patience_s(self) -> float | None:
        if self._committer.has_news and not self._committer.is_refusing:
            return 0
        due_s = self._committer.due_s()
        return None if due_s is None else max(due_s, 0)

    def _refuse_the_rest(self) -> None:
        rest: list[_Waiting] = []
        try:
            while True:
                waiting = self._queue.get_nowait()
                if waiting is not None:
                    rest.append(waiting)
        except queue.Empty:
            _wake(rest, RecordError("the ledger is closed"))


def _wake(batch: Sequence[_Waiting], error: RecordError | None) -> None:
    """Tell all who wait, with one call into each loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
    for waiting in batch:
        by_loop.setdefault(waiting.loop, []).append(waiting.future)
    for loop, futures in by_loop.items():
        # A loop that was closed has nobody left who waits.
        if not loop.is_closed():
            loop.call_soon_threadsafe(_settle, futures, error)


def _settle(futures: Sequence[asyncio.Future[None]], error: RecordError | None) -> None:
    for future in futures:
        if future.done():
            continue
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(RecordError(str(error)))


def _let_go(outside: Outside, fd: int) -> None:
    if fd >= 0:
        let_go(outside.io, fd)
