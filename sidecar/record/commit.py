"""Make batches of records durable, and keep the ledger honest while the disk is not.

One thread calls this, and waits for nothing but the disk; in `group` seldom for that.
```
            ┌─────────── any OSError: the batch is refused ───────────┐
  writing ──┤                                                         ├─▶ refusing
     ▲      └─ fdatasync failed: once more, in a new segment, else ───┘      │
     └────────── the next write finds the disk well: recovery ◀──────────────┘
```
Recovery happens inside the next write: the folder is ours, the old segment is in place and cut to
what was acknowledged, a new one is begun, a checkpoint is signed; its first record tells of it. A
segment that was unlinked is restored from the open descriptor; where it cannot be, the records are
lost and the log says which.

`commit` returns when its records are durable (`strict`); `accept` when they are written (`group`),
of which there is a bounded window: `size` counts the durable ones, `accepted` all. Half a window is
synced beside (`segments/aside.py`). What could not be synced is kept and written again.

INVARIANT: the tree, the folds and checkpoints know only records that fdatasync has returned for.
"""

import logging
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from sidecar.record import disk, recovery
from sidecar.record.canonical import place_of
from sidecar.record.fold import Fold
from sidecar.record.keeping.feed import Feeder
from sidecar.record.keeping.grounds import Reserve, is_full
from sidecar.record.keeping.history import CLOSED, PRUNED, History
from sidecar.record.keeping.obeyed import Unsigned, is_obeyed
from sidecar.record.keeping.outside import Outside
from sidecar.record.keeping.stops import watch
from sidecar.record.keeping.told import News, Outage, Teller, lives
from sidecar.record.keeping.upkeep import Upkeep
from sidecar.record.limits import GROUNDS_EVERY_S, GROUP_S_MAX
from sidecar.record.proof.identity import Identity
from sidecar.record.proof.marks import Placeable
from sidecar.record.recovery import Log
from sidecar.record.segments.aside import Aside
from sidecar.record.segments.current import Begun, Unsynced
from sidecar.record.writing import behind, standing
from sidecar.record.writing.grown import Grown
from sidecar.record.writing.in_hand import InHand
from sidecar.record.writing.signing import Signing
from sidecar.record.writing.window import Window
from sidecar.terms.errors import RecordError
from sidecar.terms.ids import rfc3339

_log = logging.getLogger("sidecar.ledger")


class Committer:
    """The one writer of a ledger."""

    def __init__(
        self, folder: Path, folder_fd: int, who: Identity, folds: Sequence[Fold], outside: Outside
    ) -> None:
        self.history = history = History()
        self._io = io = outside.io
        self._outside = outside
        self._folder, self._folder_fd = folder, folder_fd
        self._log = Log(io, folder, who, Feeder([history, *folds]), history, outside.now_us)
        self._place = b",%b" % place_of(who.name, who.epoch, 0).removesuffix(b"0}")
        self._reserve = Reserve(io, folder, outside.reserve_bytes)
        self._unsynced = Window()
        self._aside = Aside(outside.aside)
        self._say = Teller(outside.now_us, outside.random_bytes)
        newest_us = watch.newest_us(io, folder, who.origin, outside.now_us())
        whole = recovery.recover(self._log)
        self._watch = watch.Watch(who, history, outside, newest_us)
        keeps, now_us = self._watch.keeps, outside.now_us
        self._upkeep = Upkeep(io, folder, who.origin, keeps, now_us, outside.aside)
        self._grown, self._segment = Grown(whole.known, self._log.feeder), whole.segment
        self._seen = behind.Seen(self._log, self._grown, outside.monotonic_s)
        self._in_hand = InHand(io, who.key_file)
        told = lives(history, outside, was_in_hand=self._in_hand.stands)
        self._news: list[News] = [*whole.news, *told, *self._watch.news()]
        self.signing = Signing(self._log, self._grown, self._aside, outside)
        self._outage: Outage | None = None
        self._is_full_told = False
        self._looked_s = self._wrote_s = self._due_s = outside.monotonic_s()
        self._reserve.keep()
        self.signing.sign()
        self._marks = self.signing.new_marks()
        if outside.seals:
            self._upkeep.seal_the_rest()
        self._upkeep.prune(self._tell_pruned)

    @property
    def size(self) -> int:
        """Return how many records are durable."""
        return self._grown.size

    @property
    def accepted(self) -> int:
        """Return how many records are written; those beyond `size` are not yet synced."""
        return self._grown.size + len(self._unsynced)

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

    def commit(self, batch: Sequence[Placeable]) -> None:
        """Make `batch` durable, all of it or none, and all that was accepted before.

        Raises:
            Unsigned: It is, and what of it is obeyed could not be signed.
            RecordError: None of it is durable as far as the ledger says.
        """
        self._take(batch, is_durable=True)

    def accept(self, batch: Sequence[Placeable]) -> None:
        """Write `batch`; it is durable when `size` has come to what `accepted` is now.

        Raises:
            RecordError: None of it is written as far as the ledger says.
        """
        self._take(batch, is_durable=False)

    def note(self, event: str, detail: dict[str, Any]) -> None:
        """Have `event` recorded before whatever is written next."""
        self._news.append((event, detail))

    def refused(self, count: int, cause: str) -> None:
        """Count writes that were refused; the next record that can be written tells of them."""
        if self._outage is None:
            self._outage = Outage(rfc3339(self._outside.now_us()), cause)
        self._outage.refused += count

    def tend(self) -> None:
        """Do what is due: sync what was accepted, sign, look around, and a little upkeep."""
        self._news += self._grown.news()
        is_on = self._outage is not None or self._in_hand.stands or self._aside.is_over
        if not is_on and self._outside.monotonic_s() < self._due_s:
            return
        try:
            self._look_around()
            if self._outage is not None and self._unsynced:
                self._recover()
                self._news.append(self._outage.news())
                self._outage, self._is_full_told = None, False
            if self._outage is None:
                self._aside.settle(waits=False)
                self._sync_or_sign()
                self._put_down()
        except OSError as error:
            # What cannot be signed can be cut off unseen: nothing more is taken until it can be.
            self._fail(0, error)
        if self._outage is None and self._quiet_in_s() <= 0 and (failed := self._upkeep.step()):
            self._news.append(("ledger.upkeep_failed", failed))

    def due_s(self) -> float:
        """Return in how many seconds `tend` has something to do."""
        now_s, due_s = self._outside.monotonic_s(), self._looked_s + GROUNDS_EVERY_S
        if self._outage is None:
            if self._upkeep.is_waiting:
                due_s = min(due_s, now_s + self._quiet_in_s())
            due_s = min(due_s, self._unsynced.due_s(may_begin=self._aside.is_free))
            due_s = min(due_s, self.signing.due_s)
        self._due_s = due_s
        return max(due_s - now_s, 0.0)

    def _quiet_in_s(self) -> float:
        """Return in how many seconds upkeep may go on: nobody who writes is to wait for it."""
        quiet_s = self._outside.monotonic_s() - self._wrote_s
        return 0.0 if self._upkeep.is_pressing else self._outside.upkeep_quiet_s - quiet_s

    def close(self) -> None:
        """Sign what is there and let go of the ledger."""
        try:
            if self._outside.durability == "group" or self._unsynced:
                self.commit([self._say.halves(CLOSED, {})])
        except RecordError as error:
            _log.error("the ledger ends, %d records not synced: %s", len(self._unsynced), error)
        with suppress(OSError):
            if self.signing.is_behind and self._outage is None:
                self.signing.sign()
        self._put_down()
        self._aside.leave()
        self._upkeep.leave()
        self._segment.close()
        disk.let_go(self._io, self._folder_fd)

    # --- writing ---

    def _take(self, batch: Sequence[Placeable], *, is_durable: bool) -> None:
        before = self.accepted
        try:
            try:
                self._write(batch, is_durable=is_durable)
            except Unsynced as error:
                # Why once more: the disk may be well again, and what it was given before is
                # forgotten.
                self._drop(before)
                with suppress(OSError):
                    self._in_hand.keep(self._unsynced)
                self.refused(0, disk.why(error))
                self._write(batch, is_durable=is_durable)
        except OSError as error:
            self._drop(before)
            self._fail(len(batch), error)
            raise RecordError(f"the record cannot be made durable: {disk.why(error)}") from error
        self._outage, self._is_full_told = None, False
        self._wrote_s = self._outside.monotonic_s()
        if heads := [one.head for one in batch if not one.is_plain]:
            # In force before anybody is told.
            self._news += self._grown.news()
            if any(map(is_obeyed, heads)):
                self._sign_obeyed()

    def _sign_obeyed(self) -> None:
        try:
            self.signing.sign()
        except OSError as error:
            # All of it stands in the log; nothing follows it before it is signed.
            self._fail(0, error)
            raise Unsigned(f"the record cannot be signed: {disk.why(error)}") from error

    def _write(self, batch: Sequence[Placeable], *, is_durable: bool) -> None:
        self._make_ready()
        told = self._told()
        self._append([*told, *batch] if told else batch)
        if is_durable:
            self._sync()
        elif self._unsynced.is_full(self._outside.monotonic_s()):
            self._aside.settle(waits=True)
            if self._unsynced.is_full(self._outside.monotonic_s()):
                self._sync()
        # What was told is in the segment, or kept to be written again.
        del self._news[: len(told)]

    def _append(self, batch: Sequence[Placeable]) -> None:
        """Write records, each with its place: its number is the index of its leaf."""
        records, leaves = self._marks.placed(batch, self._place, self.accepted)
        self._segment.write(records)
        now_s, heads = self._outside.monotonic_s(), [one.head_size for one in batch]
        self._unsynced.add(records, heads, leaves, now_s)

    def _sync(self) -> None:
        """Make durable what is written."""
        self._aside.settle(waits=True)
        self._segment.flush()
        self._synced(self._segment.begun(), len(self._unsynced), 0.0)

    def _sync_aside(self, now_s: float) -> None:
        """Begin to make durable what is written, while more is accepted."""
        synced = partial(self._synced, self._segment.begun(), len(self._unsynced), now_s)
        self._aside.begin(self._segment.flush, synced)

    def _synced(self, begun: Begun, count: int, since_s: float) -> None:
        """Let the tree and the folds know what is durable; they know nothing else."""
        self._seen.check(self._folder_fd)
        self._segment.synced(begun)
        self._grown.take(self._unsynced.take(count, since_s))

    def _drop(self, before: int) -> None:
        """Forget what was written after there were `before` records, and was refused."""
        self._aside.forget()
        accepted, was_written = max(before - self.size, 0), self.accepted > before
        self._unsynced.keep(accepted)
        # Why not all: what was accepted stands there if this process ends before it is elsewhere.
        self._segment.cut(accepted)
        if was_written:  # It may not be cut, and somebody may put it back.
            self._marks = self.signing.marks_from(before, self._marks)

    def _fail(self, count: int, error: OSError) -> None:
        """Take note of a failure; a full disk is told in the log while it is full."""
        self._aside.forget()
        self.refused(count, disk.why(error))
        if not is_full(error) or self._is_full_told:
            return
        with suppress(OSError):
            self._reserve.release()
            self._in_hand.keep(self._unsynced)
            self._cut_old()
            self._rewrite([self._say.halves("ledger.disk_full", {"cause": disk.why(error)})])
            self._is_full_told = True
            self.signing.sign()

    def _make_ready(self) -> None:
        if self._outage is not None:
            self._recover()
        elif standing.is_full(self._segment, self._outside):
            self._rotate()

    def _rotate(self) -> None:
        if self._unsynced:
            self._sync()
        self.signing.sign()
        self._begin_segment()
        self._upkeep.prune(self._tell_pruned)

    def _begin_segment(self) -> None:
        """End the segment that is written, if it has records, and begin the next."""
        known = self._grown.known
        old, leaves = self._segment, bytes(known.leaves)
        self._segment = standing.following(self._log, known, old)
        if old.offsets:
            self._upkeep.segment_is_full(old.path, leaves, seals=self._outside.seals)
        old.close()

    # --- what the ledger records of itself ---

    def _told(self) -> list[Placeable]:
        """Return the ledger's own records, which go before all others."""
        halves: list[Placeable] = [self._say.halves(*news) for news in self._news]
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
        self._news += self._watch.news()
        if self._outage is None:
            behind.look(self._log, self._grown.known, self._segment, self._folder_fd, now_s)

    def _sync_or_sign(self) -> None:
        now_s = self._outside.monotonic_s()
        if self._unsynced and now_s - self._unsynced.since_s >= GROUP_S_MAX:
            self._sync()
        if standing.is_aged(self._segment, self._outside):
            self._rotate()
        self.signing.sign_if_due(now_s)
        if self._aside.is_free and self._unsynced.is_half_full(now_s):
            self._sync_aside(now_s)

    def _put_down(self) -> None:
        """Take the sign down once all that was in hand stands in the log, or its gap does."""
        if not (self._news or self._unsynced):
            self._in_hand.end()

    # --- recovery ---

    def _recover(self) -> None:
        """Return when all that was acknowledged is in place and more can be written."""
        self._aside.forget()
        io, folder, first_seq = self._io, self._folder, self._segment.first_seq
        self._folder_fd, news = standing.folder_at(io, folder, self._folder_fd, first_seq)
        self._news += news
        behind.check(self._log, self._grown.known, self._segment, self._folder_fd)
        self._reserve.keep()
        self._in_hand.keep(self._unsynced)
        if self._segment.is_in_place():
            self._cut_old()
        else:
            self._put_back()
        self.signing.sign()
        self._begin_segment()
        self._rewrite([])
        self.signing.sign()
        self._marks = self.signing.new_marks()
        self._put_down()

    def _rewrite(self, told: Sequence[Placeable]) -> None:
        """Write again what was accepted and not synced, then what is told, durable."""
        if self._unsynced:
            self._segment.write(self._unsynced.records)
        if told:
            self._append(told)
        if self._unsynced:
            self._sync()

    def _cut_old(self) -> None:
        old, self._segment = self._segment, standing.cut(self._log, self._segment)
        old.close()

    def _put_back(self) -> None:
        old = self._segment
        new, news = standing.put_back(self._log, old, self.size)
        if new is not None:
            self._segment = new
            old.close()
        self._news.append(news)
