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

INVARIANT: the tree, `folds` and acknowledgements know only records that fdatasync has returned for.
"""

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from sidecar.record import disk, recovery
from sidecar.record.canonical import Halves, place_of, split
from sidecar.record.disk import Io
from sidecar.record.fold import Fold
from sidecar.record.limits import CHECKPOINT_EVERY_S, SEGMENT_BYTES_MAX
from sidecar.record.proof.identity import Identity
from sidecar.record.segment import Segment, Unsynced, framed, segment_names
from sidecar.terms.errors import LedgerBroken, RecordError
from sidecar.terms.ids import rfc3339, uuid7
from sidecar.terms.record import SCHEMA, OpsRecord

News = tuple[str, dict[str, Any]]


class Outside(msgspec.Struct, frozen=True):
    """What is not the ledger's own: the disk, clocks, randomness, and the bounds of one ledger."""

    io: Io
    now_us: Callable[[], int]
    monotonic_s: Callable[[], float]
    random_bytes: Callable[[int], bytes]
    segment_bytes_max: int = SEGMENT_BYTES_MAX
    checkpoint_every_s: float = CHECKPOINT_EVERY_S


class _Outage(msgspec.Struct):
    """Since when writes are refused, why at first, and how many were."""

    since: str
    cause: str
    refused: int = 0


class Committer:
    """The one writer of a ledger."""

    def __init__(
        self, folder: Path, folder_fd: int, who: Identity, folds: Sequence[Fold], outside: Outside
    ) -> None:
        self._io = outside.io
        self._outside = outside
        self._folder = folder
        self._folder_fd = folder_fd
        self._who = who
        self._folds = folds
        whole = recovery.recover(self._io, folder, who, folds)
        self._tree = whole.tree
        self._segment = whole.segment
        self._news: list[News] = whole.news
        self._outage: _Outage | None = None
        self._signed_size = -1
        self._signed_s = 0.0
        self._sign()

    @property
    def size(self) -> int:
        """Return how many records are durable."""
        return self._tree.size

    @property
    def has_news(self) -> bool:
        """Return whether the ledger has something to record of its own."""
        return bool(self._news)

    @property
    def is_refusing(self) -> bool:
        """Return whether the last write failed."""
        return self._outage is not None

    def commit(self, batch: Sequence[Halves]) -> None:
        """Make `batch` durable, all of it or none.

        Raises:
            RecordError: None of it is durable as far as the ledger says.
        """
        try:
            self._commit(batch)
        except OSError as error:
            self.refused(len(batch), _cause(error))
            raise RecordError(f"the record cannot be made durable: {_cause(error)}") from error
        self._outage = None

    def refused(self, count: int, cause: str) -> None:
        """Count writes that were refused; the next record that can be written tells of them."""
        if self._outage is None:
            self._outage = _Outage(rfc3339(self._outside.now_us()), cause)
        self._outage.refused += count

    def sign_when_due(self) -> None:
        """Sign a checkpoint if there is something new and the last one is old enough."""
        due_s = self.due_s()
        if due_s is not None and due_s <= 0:
            self._try_to_sign()

    def due_s(self) -> float | None:
        """Return in how many seconds a checkpoint is due, None when there is nothing new."""
        if self._tree.size == self._signed_size or self._outage is not None:
            return None
        return self._signed_s + self._outside.checkpoint_every_s - self._outside.monotonic_s()

    def close(self) -> None:
        """Sign what is there and let go of the ledger."""
        if self._tree.size != self._signed_size:
            self._try_to_sign()
        self._segment.close()
        disk.let_go(self._io, self._folder_fd)

    # --- writing ---

    def _commit(self, batch: Sequence[Halves]) -> None:
        try:
            self._make_ready()
            self._append(batch)
        except Unsynced as error:
            # Why once more: the disk may be well again, and what it was given before is forgotten.
            self.refused(0, _cause(error))
            self._make_ready()
            self._append(batch)

    def _make_ready(self) -> None:
        if self._outage is not None:
            self._recover()
        elif self._segment.size >= self._outside.segment_bytes_max:
            self._sign()
            self._begin_segment()

    def _append(self, batch: Sequence[Halves]) -> None:
        records = self._placed([*self._told(), *batch])
        try:
            self._segment.append(b"".join(map(framed, records)))
        except OSError:
            self._segment.cut()
            raise
        self._news.clear()
        for record in records:
            self._tree.append(record)
            recovery.feed(self._folds, record)

    def _placed(self, batch: Sequence[Halves]) -> list[bytes]:
        """Return each record with its place: its number is the index of its leaf."""
        first, name, epoch = self._tree.size, self._who.name, self._who.epoch
        return [halves.at(place_of(name, epoch, first + n)) for n, halves in enumerate(batch)]

    def _told(self) -> list[Halves]:
        """Return the ledger's own records, which go before all others."""
        news = list(self._news)
        if self._outage is not None:
            news.append(("ledger.recovered", msgspec.to_builtins(self._outage)))
        return [split(self._ops(event, detail)) for event, detail in news]

    def _ops(self, event: str, detail: dict[str, Any]) -> OpsRecord:
        now_us = self._outside.now_us()
        id = uuid7(now_us // 1000, self._outside.random_bytes(10))
        return OpsRecord(SCHEMA, id, rfc3339(now_us), event, detail)

    def _begin_segment(self) -> None:
        new = Segment.create(self._io, self._folder, self._tree.size, self._who.origin)
        self._segment.close()
        self._segment = new

    def _sign(self) -> None:
        recovery.sign(self._io, self._folder, self._who, self._tree)
        self._signed_size = self._tree.size
        self._signed_s = self._outside.monotonic_s()

    def _try_to_sign(self) -> None:
        try:
            self._sign()
        except OSError as error:
            # What cannot be signed can be cut off unseen: nothing more is taken until it can be.
            self.refused(0, _cause(error))

    # --- recovery ---

    def _recover(self) -> None:
        """Return when all that was acknowledged is in place and more can be written."""
        self._hold_folder()
        if self._segment.is_in_place():
            self._cut_old()
        else:
            self._restore_old()
        self._begin_segment()
        self._sign()

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
        self._news.append(("ledger.folder_replaced", self._lost_with_folder()))

    def _lost_with_folder(self) -> dict[str, Any]:
        there = segment_names(self._io.names(self._folder))
        known = len([name for name in there if name < self._segment.path.name])
        return {"segments_before": known, "first_seq": self._segment.first_seq}

    def _cut_old(self) -> None:
        """Cut off what was not acknowledged, through a descriptor that has not failed."""
        old = self._segment
        new = Segment.reopen(self._io, old.path, old.first_seq, old.size)
        old.close()
        self._segment = new

    def _restore_old(self) -> None:
        """Put the segment that was unlinked back from its open descriptor, or say what is lost."""
        old = self._segment
        kept = old.kept_bytes()
        detail = {"file": old.path.name, "first_seq": old.first_seq, "next_seq": self._tree.size}
        with suppress(FileNotFoundError):
            # What stands there instead is evidence as well.
            self._io.stat(old.path)
            self._io.rename(
                old.path, old.path.with_name(f"{old.path.name}.{self._tree.size}.foreign")
            )
        if kept is not None:
            disk.replace(self._io, old.path, kept)
            self._segment = Segment.reopen(self._io, old.path, old.first_seq, old.size)
            old.close()
        self._news.append(("ledger.unlinked", {**detail, "restored": kept is not None}))


def _cause(error: OSError) -> str:
    """Return why, without paths: the text may reach a caller."""
    return os.strerror(error.errno) if error.errno else str(error)
