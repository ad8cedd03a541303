"""Make batches of records durable, and keep the ledger honest while the disk is not.

One thread calls this; nothing here waits for anything but the disk.

```
            ┌─────────── any OSError: the batch is refused ───────────┐
  writing ──┤                                                         ├─▶ refusing
     ▲      └─ fdatasync failed: once more, in a new segment, else ───┘      │
     └────────── the next write finds the disk well: recovery ◀──────────────┘
```
Recovery happens inside the next write: the folder is ours again, the old segment is in place and
cut to what was acknowledged, a new segment is begun, a checkpoint is signed; and the first record
of it tells of the outage. A segment that was unlinked is restored from the descriptor that is still
open; where it cannot be, the records are lost and the log says which.

`commit` returns when its records are durable (`strict`). `accept` returns when they are written and
not yet synced (`group`), of which there is a bounded window: `size` counts the durable ones,
`accepted` all. What was accepted and could not be synced is kept and written again; only the end of
this process loses it, and then the next start records a gap.

INVARIANT: the tree, the folds and checkpoints know only records that fdatasync has returned for.
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sidecar.record import disk, recovery
from sidecar.record.canonical import Halves, place_of
from sidecar.record.fold import Fold
from sidecar.record.keeping.feed import Feeder
from sidecar.record.keeping.grounds import ClockWatch, Reserve, check_access, is_full
from sidecar.record.keeping.history import CLOSED, PRUNED, History, Rotation
from sidecar.record.keeping.obeyed import is_obeyed
from sidecar.record.keeping.outside import Outside
from sidecar.record.keeping.told import News, Outage, Teller, lives
from sidecar.record.keeping.upkeep import Upkeep
from sidecar.record.limits import GROUNDS_EVERY_S, GROUP_RECORDS_MAX, GROUP_S_MAX
from sidecar.record.proof.identity import Identity
from sidecar.record.proof.merkle import leaf_hashes
from sidecar.record.recovery import Known, Log
from sidecar.record.segments.current import Segment, Unsynced
from sidecar.record.segments.segment import first_seq_of, segment_names
from sidecar.terms.errors import LedgerBroken, RecordError
from sidecar.terms.ids import rfc3339


class Committer:
    """The one writer of a ledger."""

    def __init__(
        self, folder: Path, folder_fd: int, who: Identity, folds: Sequence[Fold], outside: Outside
    ) -> None:
        io, history = outside.io, History()
        self._io = io
        self._outside = outside
        self._folder = folder
        self._folder_fd = folder_fd
        self._log = Log(io, folder, who, Feeder([history, *folds]), history, outside.now_us)
        self._place = b",%b" % place_of(who.name, who.epoch, 0).removesuffix(b"0}")
        self._clock = ClockWatch(outside.now_us, outside.monotonic_s)
        self._reserve = Reserve(io, folder, outside.reserve_bytes)
        self._upkeep = Upkeep(io, folder, who.origin, outside.retention, outside.now_us)
        # Written and not synced: the records, where in each its place begins, and since when.
        self._unsynced: list[bytes] = []
        self._heads: list[int] = []
        self._unsynced_s = 0.0
        self._say = Teller(outside.now_us, outside.random_bytes)
        whole = recovery.recover(self._log)
        self._known: Known = whole.known
        self._segment: Segment = whole.segment
        self._news: list[News] = [*whole.news, *lives(history, outside.durability, outside.boot)]
        self._outage: Outage | None = None
        self._is_full_told = False
        self._signed_size = -1
        self._signed_s = 0.0
        self._looked_s = outside.monotonic_s()
        self._reserve.keep()
        self._sign()
        if outside.seals:
            self._upkeep.seal_the_rest()
        self._upkeep.prune(self._tell_pruned)

    @property
    def size(self) -> int:
        """Return how many records are durable."""
        return self._known.tree.size

    @property
    def rotation(self) -> Rotation | None:
        """Return how the key came to follow another, None when it is the first."""
        rotations = self._log.history.rotations
        return rotations[-1] if rotations else None

    @property
    def accepted(self) -> int:
        """Return how many records are written; those beyond `size` are not yet synced."""
        return self.size + len(self._unsynced)

    @property
    def has_news(self) -> bool:
        """Return whether the ledger has something to record of its own."""
        return bool(self._news)

    @property
    def is_refusing(self) -> bool:
        """Return whether the last write failed."""
        return self._outage is not None

    @property
    def is_tending(self) -> bool:
        """Return whether there is upkeep that will be done."""
        return self._upkeep.is_waiting and self._outage is None

    def commit(self, batch: Sequence[Halves]) -> None:
        """Make `batch` durable, all of it or none, and all that was accepted before.

        Raises:
            RecordError: None of it is durable as far as the ledger says.
        """
        self._take(batch, is_durable=True)

    def accept(self, batch: Sequence[Halves]) -> None:
        """Write `batch`; it is durable when `size` has come to what `accepted` is now.

        Raises:
            RecordError: None of it is written as far as the ledger says.
        """
        self._take(batch, is_durable=False)

    def refused(self, count: int, cause: str) -> None:
        """Count writes that were refused; the next record that can be written tells of them."""
        if self._outage is None:
            self._outage = Outage(rfc3339(self._outside.now_us()), cause)
        self._outage.refused += count

    def tend(self) -> None:
        """Do what is due: sync what was accepted, sign, look around, and a little upkeep."""
        try:
            self._look_around()
            if self._outage is not None and self._unsynced:
                self._recover()
                self._news.append(self._outage.news())
                self._outage, self._is_full_told = None, False
            if self._outage is None:
                self._sync_or_sign()
        except OSError as error:
            # What cannot be signed can be cut off unseen: nothing more is taken until it can be.
            self._fail(0, error)
        if self._outage is None and (failed := self._upkeep.step()):
            self._news.append(("ledger.upkeep_failed", failed))

    def due_s(self) -> float:
        """Return in how many seconds `tend` has something to do."""
        now_s, due = self._outside.monotonic_s(), [self._looked_s + GROUNDS_EVERY_S]
        if self._outage is None:
            if self._upkeep.is_waiting:
                return 0.0
            if self._unsynced:
                due.append(self._unsynced_s + GROUP_S_MAX)
            if self.size != self._signed_size:
                due.append(self._signed_s + self._outside.checkpoint_every_s)
        return max(min(due) - now_s, 0.0)

    def sign_with(self, following: Ed25519PrivateKey) -> None:
        """Sign what is there with the key that follows as well."""
        recovery.sign(self._log, self._known.tree, following)
        self._signed_size = self.size

    def close(self) -> None:
        """Sign what is there and let go of the ledger."""
        with suppress(RecordError):
            if self._outside.durability == "group" or self._unsynced:
                self.commit([self._say.halves(CLOSED, {})])
        with suppress(OSError):
            if self.size != self._signed_size and self._outage is None:
                self._sign()
        self._segment.close()
        disk.let_go(self._io, self._folder_fd)

    # --- writing ---

    def _take(self, batch: Sequence[Halves], *, is_durable: bool) -> None:
        before = self.accepted
        try:
            try:
                self._write(batch, is_durable=is_durable)
            except Unsynced as error:
                # Why once more: the disk may be well again, and what it was given before is
                # forgotten.
                self._drop(before)
                self.refused(0, _cause(error))
                self._write(batch, is_durable=is_durable)
        except OSError as error:
            self._drop(before)
            self._fail(len(batch), error)
            raise RecordError(f"the record cannot be made durable: {_cause(error)}") from error
        self._outage, self._is_full_told = None, False

    def _write(self, batch: Sequence[Halves], *, is_durable: bool) -> None:
        self._make_ready()
        told = self._told()
        self._append([*told, *batch])
        is_late = self._outside.monotonic_s() - self._unsynced_s > GROUP_S_MAX
        if is_durable or is_late or len(self._unsynced) >= GROUP_RECORDS_MAX:
            self._sync()
        if any(is_obeyed(halves.head) for halves in batch):
            self._sign()
        # What was told is in the segment, or kept to be written again.
        del self._news[: len(told)]

    def _append(self, batch: Sequence[Halves]) -> None:
        """Write records, each with its place: its number is the index of its leaf."""
        first, place = self.accepted, self._place
        records = [
            b"%b%b%d},%b" % (halves.head, place, seq, halves.tail)
            for seq, halves in enumerate(batch, first)
        ]
        self._segment.write(records)
        if not self._unsynced:
            self._unsynced_s = self._outside.monotonic_s()
        self._unsynced += records
        self._heads += [len(halves.head) for halves in batch]

    def _sync(self) -> None:
        """Make durable what is written; then, and not before, the tree and the folds know it."""
        self._segment.sync()
        records, heads = self._unsynced, self._heads
        self._unsynced, self._heads = [], []
        leaves = leaf_hashes(records)
        self._known.tree.extend(leaves)
        self._known.leaves.extend(b"".join(leaves))
        self._log.feeder.feed(records, heads)

    def _drop(self, before: int) -> None:
        """Forget what was written after there were `before` records, and was refused."""
        kept = max(before - self.size, 0)
        del self._unsynced[kept:]
        del self._heads[kept:]
        self._segment.cut()

    def _fail(self, count: int, error: OSError) -> None:
        """Take note of a failure; a full disk is told in the log while it is full."""
        self.refused(count, _cause(error))
        if not is_full(error) or self._is_full_told:
            return
        with suppress(OSError):
            self._reserve.release()
            self._cut_old()
            self._rewrite([self._say.halves("ledger.disk_full", {"cause": _cause(error)})])
            self._is_full_told = True
            self._sign()

    def _make_ready(self) -> None:
        if self._outage is not None:
            self._recover()
        elif self._segment.size >= self._outside.segment_bytes_max or self._is_aged():
            self._rotate()

    def _is_aged(self) -> bool:
        age_us = self._outside.now_us() - self._segment.said.created_us
        return bool(self._segment.offsets) and age_us > self._outside.segment_age_s_max * 1e6

    def _rotate(self) -> None:
        if self._unsynced:
            self._sync()
        self._sign()
        self._begin_segment()
        self._upkeep.prune(self._tell_pruned)

    def _begin_segment(self) -> None:
        """End the segment that is written, if it has records, and begin the next."""
        old, known = self._segment, self._known
        is_full, leaves = bool(old.offsets), bytes(known.leaves)
        if is_full:
            old.end(known.tree.size, known.tree.root())
        segments = [*known.segments, old.first_seq] if is_full else known.segments
        try:
            new = recovery.begin_segment(self._log, known._replace(segments=segments))
        except OSError:
            known.leaves[:] = leaves
            raise
        if is_full:
            known.segments.append(old.first_seq)
            old.make_read_only()
            self._upkeep.segment_is_full(old.path, leaves, seals=self._outside.seals)
        old.close()
        self._segment = new

    # --- what the ledger records of itself ---

    def _told(self) -> list[Halves]:
        """Return the ledger's own records, which go before all others."""
        halves = [self._say.halves(event, detail) for event, detail in self._news]
        if self._outage is not None:
            halves.append(self._say.halves(*self._outage.news()))
        return halves

    def _tell_pruned(self, detail: dict[str, Any]) -> None:
        try:
            self.commit([self._say.halves(PRUNED, detail)])
        except RecordError as error:
            raise OSError(None, str(error)) from None

    # --- what is due ---

    def _look_around(self) -> None:
        now_s = self._outside.monotonic_s()
        if now_s - self._looked_s < GROUNDS_EVERY_S:
            return
        self._looked_s = now_s
        step_ms = self._clock.step_ms()
        if step_ms is not None:
            self._news.append(("ledger.clock_step", {"step_ms": step_ms}))
        if self._outage is None:
            check_access(self._io, self._folder, self._segment.path)

    def _sync_or_sign(self) -> None:
        now_s = self._outside.monotonic_s()
        if self._unsynced and now_s - self._unsynced_s >= GROUP_S_MAX:
            self._sync()
        if self._is_aged():
            self._rotate()
        is_due = now_s - self._signed_s >= self._outside.checkpoint_every_s
        if is_due and self.size != self._signed_size:
            self._sign()

    def _sign(self) -> None:
        recovery.sign(self._log, self._known.tree)
        self._signed_size = self.size
        self._signed_s = self._outside.monotonic_s()

    # --- recovery ---

    def _recover(self) -> None:
        """Return when all that was acknowledged is in place and more can be written."""
        self._hold_folder()
        check_access(self._io, self._folder, self._segment.path)
        self._reserve.keep()
        if self._segment.is_in_place():
            self._cut_old()
        else:
            recovery.remove_begun(self._log, self._segment.first_seq)
            self._restore_old()
        self._sign()
        self._begin_segment()
        self._rewrite([])
        self._sign()

    def _rewrite(self, told: Sequence[Halves]) -> None:
        """Write again what was accepted and not synced, then what is told, durable."""
        if self._unsynced:
            self._segment.write(self._unsynced)
        if told:
            self._append(told)
        if self._unsynced:
            self._sync()

    def _hold_folder(self) -> None:
        """Take the folder that stands at the path now, if it is not the one that is held."""
        seen, held = self._io.stat(self._folder), self._io.fstat(self._folder_fd)
        if (seen.st_dev, seen.st_ino) == (held.st_dev, held.st_ino):
            return
        try:
            fd = recovery.lock(self._io, self._folder)
        except LedgerBroken as error:
            raise OSError(None, str(error)) from None
        disk.let_go(self._io, self._folder_fd)
        self._folder_fd = fd
        first_seqs = map(first_seq_of, segment_names(self._io.names(self._folder)))
        known = sum(first_seq < self._segment.first_seq for first_seq in first_seqs)
        detail = {"segments_before": known, "first_seq": self._segment.first_seq}
        self._news.append(("ledger.folder_replaced", detail))

    def _cut_old(self) -> None:
        """Cut off what was not acknowledged, through a descriptor that has not failed."""
        old = self._segment
        recovery.remove_begun(self._log, old.first_seq)
        new = old.reopened()
        old.close()
        self._segment = new

    def _restore_old(self) -> None:
        """Put the segment that was unlinked back from its open descriptor, or say what is lost."""
        old = self._segment
        detail = {"file": old.path.name, "first_seq": old.first_seq, "next_seq": self.size}
        new = old.restored(f"{old.path.name}.{self.size}.foreign")
        if new is not None:
            self._segment = new
            old.close()
        self._news.append(("ledger.unlinked", {**detail, "restored": new is not None}))


def _cause(error: OSError) -> str:
    """Return why, without paths: the text may reach a caller."""
    return os.strerror(error.errno) if error.errno else str(error)
