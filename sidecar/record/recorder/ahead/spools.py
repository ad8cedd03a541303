"""The recorder's side: a spool for each connection, and what workers that are gone left in theirs.

```
 its connection ended, or none is left that calls it its own
   └▶ read ─▶ what does not stand in the log ─▶ written ─▶ the decisions closed as `unknown`
```
All of it happens on the ledger's thread.
"""

import logging
import os
import shutil
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Final

import msgspec

from sidecar.record.canonical import split
from sidecar.record.disk import FILE_MODE, FOLDER_MODE
from sidecar.record.fold import RecentIds
from sidecar.record.ledger import Ledger
from sidecar.record.limits import (
    OWED_EVERY_S,
    SPOOL_LOOK_S,
    SPOOL_RECORDS_MAX,
    SPOOLS_OF_BEFORE_MAX,
)
from sidecar.record.proof.marks import Placeable
from sidecar.record.recorder import wire
from sidecar.record.recorder.ahead import spool
from sidecar.record.recorder.ahead.kept import Kept
from sidecar.record.recorder.sent import Brought, brought
from sidecar.record.recorder.stencils.outlines import Outlines
from sidecar.terms.errors import RecordError
from sidecar.terms.record import GapRecord, SideObject

_log = logging.getLogger("sidecar.recorder")
_NEW: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
_OLD: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK


class Spools:
    """The files of one recorder.

    Args:
        folder: Where they stand, beside the key: who can write there can sign.
        boot: Names the machine's life: what another has left there is incomplete. There are none
            where it is empty.
        new_name: Returns twice so many characters as it is told, which nobody guesses.
        makes: Whether workers are given any; what was left is taken all the same.
    """

    def __init__(
        self, folder: Path, boot: str, new_name: Callable[[int], str], *, makes: bool
    ) -> None:
        self._folder = folder / boot if boot else None
        self._new_name = new_name
        self._makes = makes
        _clear(folder, boot)

    def make(self) -> Kept:
        """Return a new one; without a file where the disk takes none: nobody goes ahead then."""
        if self._folder is None or not self._makes:
            return Kept(None, None)
        path = self._folder / self._new_name(spool.NAME_BYTES // 2)
        try:
            self._folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
            fd = os.open(path, _NEW, FILE_MODE)
            try:
                return Kept(path, fd, spool.lent(path))
            except OSError:
                os.close(fd)
                _remove(path)
                raise
        except OSError as error:
            _log.warning("no record is answered for ahead: %s: %s", path, error.strerror)
            return Kept(None, None)

    def others(self, living: Collection[str]) -> list[Path]:
        """Return those that are not of these names."""
        if self._folder is None or not self._folder.is_dir():
            return []
        return [path for path in sorted(self._folder.iterdir()) if path.name not in living]

    def named(self, names: Sequence[str], living: Collection[str]) -> list[Path]:
        """Return those of these names that are no other worker's."""
        if self._folder is None:
            return []
        told = {name for name in names[-SPOOLS_OF_BEFORE_MAX:] if name not in living}
        return [path for path in self.others(living) if path.name in told]

    def forget(self, kept: Kept) -> None:
        """Remove what a worker has in another file by now."""
        paths, kept.before = kept.before, ()
        for path in paths:
            _remove(path)


def _clear(folder: Path, boot: str) -> None:
    """Remove what is of another life of the machine: its loss is told when the ledger is opened."""
    if not folder.is_dir():
        return
    for life in folder.iterdir():
        if life.name != boot:
            shutil.rmtree(life, ignore_errors=True)


def _remove(path: Path) -> bool:
    """Remove a file; return whether it is gone."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        _log.warning("%s is not needed and cannot be removed: %s", path, error.strerror)
        return False
    return True


class _Found(msgspec.Struct):
    """What stands in one file: records that are not in the log yet.

    Whether that is all, and whether the file has no more to say.
    """

    ids: list[str] = []
    records: list[Placeable] = []
    opens: list[str] = []
    size: int = 0
    is_whole: bool = True
    is_read: bool = True

    def take(self, came: Brought, recent: RecentIds) -> None:
        """Take what one frame brought. Raises Garbled."""
        if came.closes or came.side or came.is_strict:
            raise wire.Garbled("what nobody is ahead by")
        seen = frozenset(self.ids)
        came.without(lambda id: id in seen or id in recent, lambda _: False)
        if len(self.ids) + len(came.ids) > SPOOL_RECORDS_MAX:
            raise wire.Garbled("more than anybody is ahead by")
        self.ids += came.ids
        self.records += came.records
        self.opens += came.opens
        self.size += came.size


def _found(path: Path, recent: RecentIds) -> _Found | None:
    """Return what stands there, None while its worker has it still."""
    found = _Found()
    try:
        fd = os.open(path, _OLD)
        try:
            spool.check_free(fd)
            for said in spool.entries(fd):
                _take(said, found, recent)
        finally:
            os.close(fd)
    except FileNotFoundError:
        # Its worker has it elsewhere, and it was removed.
        return found
    except BlockingIOError:
        return None
    except (OSError, wire.Garbled, msgspec.DecodeError, RecursionError, ValueError) as error:
        _log.error("%s: what was answered for cannot be read: %s", path, error)
        found.is_whole, found.is_read = False, not isinstance(error, OSError)
    return found


def _take(said: bytes, found: _Found, recent: RecentIds) -> None:
    outlines = Outlines()
    for body in wire.Frames().feed(said):
        match wire.read_worker(body):
            case wire.Outline() as outline:
                outlines.take(outline)
            case wire.Write() as write:
                found.take(brought(write, outlines), recent)
            case _:
                raise wire.Garbled("what is no record")


class _Batch:
    """What one file had, on its way to the disk."""

    # Why: when it is settled the file goes.
    is_strict: Final = True
    loop: Final = None
    side: Sequence[SideObject] = ()

    def __init__(
        self, left: "Left", path: Path, found: _Found, halves: Sequence[Placeable]
    ) -> None:
        self._left = left
        self.path = path
        self.found = found
        self.halves = halves
        self.size = found.size

    def is_wanted(self) -> bool:
        """Return that it must be written whenever it can be."""
        return True

    def settle(self, error: RecordError | None) -> None:
        """Tell what came of it."""
        self._left.settled(self, error)


class Left:
    """What workers that are gone have answered for, one file after the other.

    Args:
        ledger: Is written to.
        recent: What stands in the log.
        gap: Returns the record that says that some may be missing.
        opened: Is told of decisions that nobody will tell the outcome of.
        later: Calls what it is handed after so many seconds, on the ledger's thread.
    """

    def __init__(
        self,
        ledger: Ledger,
        recent: RecentIds,
        gap: Callable[[], GapRecord],
        opened: Callable[[Sequence[str]], None],
        later: Callable[[float, Callable[[], None]], None],
    ) -> None:
        self._ledger = ledger
        self._recent = recent
        self._gap = gap
        self._opened = opened
        self._later = later
        self._due: dict[Path, None] = {}
        # What stays where it is: it was looked at, and cannot be removed, or read.
        self._over: set[Path] = set()
        self._is_busy = self._is_stopped = self._is_waiting = False
        self._when_idle: Callable[[], None] | None = None

    def take(self, paths: Sequence[Path]) -> None:
        """Write what stands in these and not in the log."""
        self._due.update((path, None) for path in paths if path not in self._over)
        self._go_on()

    def when_idle(self, call: Callable[[], None]) -> None:
        """Call `call` once all that was left is written."""
        if self._due:
            self._when_idle = call
        else:
            call()

    def stop(self) -> None:
        """Try no more: the next recorder finds the files."""
        self._is_stopped = True

    def _go_on(self) -> None:
        for path in tuple(self._due):
            if self._is_busy or self._is_stopped:
                return
            self._look(path)
        if self._due and not self._is_busy:
            self._wait(SPOOL_LOOK_S)
        if self._when_idle is not None and not self._due:
            self._when_idle()

    def _look(self, path: Path) -> None:
        found = _found(path, self._recent)
        if found is None:
            return
        halves = list(found.records)
        if not found.is_whole:
            halves.append(split(self._gap()))
        if not halves:
            self._done(path, found)
            return
        self._is_busy = True
        batch = _Batch(self, path, found, halves)
        try:
            self._ledger.submit(batch)
        except RecordError as error:
            self.settled(batch, error)

    def _wait(self, seconds: float) -> None:
        if not self._is_waiting:
            self._is_waiting = True
            self._later(seconds, self._wake)

    def _wake(self) -> None:
        self._is_waiting = False
        self._go_on()

    def settled(self, batch: _Batch, error: RecordError | None) -> None:
        """Take note of what came of a file."""
        self._is_busy = False
        if error is not None:
            self._wait(OWED_EVERY_S)
            return
        _log.warning("%d records of a worker that is gone were not lost", len(batch.found.ids))
        self._recent.extend(batch.found.ids)
        self._done(batch.path, batch.found)
        self._opened(batch.found.opens)
        self._go_on()

    def _done(self, path: Path, found: _Found) -> None:
        del self._due[path]
        if not (found.is_read and _remove(path)):
            self._over.add(path)
