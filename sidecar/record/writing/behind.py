"""What stands before the segment that is written: nothing is written behind a hole.

A folder can be replaced, by another or by an older copy of itself, and segments removed, while the
descriptor that is written stays good. What would be written then could never be verified, nor be
opened again: nothing is acknowledged until what is gone is back.

Each sync looks at the folder's ctime, which every name that comes or goes moves and nobody can set
back; the names are read when it has moved. What changes no name, as a segment that is emptied, is
looked for each second, in a few segments at a time.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence

from sidecar.record import recovery
from sidecar.record.keeping import snapshot
from sidecar.record.keeping.grounds import check_access
from sidecar.record.limits import CTIME_S, LOOKED_AT_MAX
from sidecar.record.proof.tiles import TILE_WIDTH, Tiles
from sidecar.record.recovery import Known, Log
from sidecar.record.segments.current import Segment
from sidecar.record.segments.sealed import sealed_path
from sidecar.record.segments.segment import SEALED, name_of
from sidecar.record.writing.grown import Grown


class Seen:
    """The folder as its names were last seen to be whole.

    Args:
        log: The ledger.
        grown: What there is of it.
        monotonic_s: The clock.
    """

    def __init__(self, log: Log, grown: Grown, monotonic_s: Callable[[], float]) -> None:
        self._log = log
        self._grown = grown
        self._monotonic_s = monotonic_s
        self._changed_ns = 0
        self._since_s = 0.0
        self._is_sure = False

    def check(self, fd: int) -> None:
        """Look at the names of the folder that is held as `fd`, where they may have changed.

        Raises:
            OSError: One that must be there is not.
        """
        # INVARIANT: before the names are read, so what changes meanwhile is found the next time.
        changed_ns = self._log.io.fstat(fd).st_ctime_ns
        if changed_ns == self._changed_ns and self._is_sure:
            return
        now_s = self._monotonic_s()
        if changed_ns != self._changed_ns:
            self._changed_ns, self._since_s, self._is_sure = changed_ns, now_s, False
        _names(self._log, self._grown.known)
        # Two changes within one tick of the system's clock have one time.
        self._is_sure = now_s - self._since_s > CTIME_S


def look(log: Log, known: Known, current: Segment, fd: int, at_s: float) -> None:
    """Look at the folder and a few segments, others at another second. OSError as `check`."""
    _check_folder(log, current, fd)
    segments = _kept(log, known)
    if not segments:
        return
    begin = int(at_s) * LOOKED_AT_MAX
    for nth in range(begin, begin + min(LOOKED_AT_MAX, len(segments))):
        _check_stands(log, segments[nth % len(segments)])


def check(log: Log, known: Known, current: Segment, fd: int) -> None:
    """Refuse to go on where something of the log is not there.

    Args:
        log: The ledger.
        known: What there is of it.
        current: The segment that is written.
        fd: The folder that is held.

    Raises:
        OSError: Something is not there.
    """
    _check_folder(log, current, fd)
    names = _names(log, known)
    for name in map(name_of, _kept(log, known)):
        # A sealed one had its end when it was sealed.
        if f"{name}{SEALED}" not in names and recovery.end_of(log, name) is None:
            raise _gone(name)
    if pruned := log.history.pruned_to:
        tiles = Tiles(log.io, log.folder)
        if not all(tiles.stands(0, number) for number in (0, (pruned - 1) // TILE_WIDTH)):
            raise _gone("tiles")


def _names(log: Log, known: Known) -> set[str]:
    """Return the names in the folder, with those of all segments and of what stands for pruned."""
    names = set(log.io.names(log.folder))
    for name in map(name_of, _kept(log, known)):
        if name not in names and f"{name}{SEALED}" not in names:
            raise _gone(name)
    if (pruned := log.history.pruned_to) and (name := snapshot.name_of(pruned)) not in names:
        raise _gone(name)
    return names


def _check_folder(log: Log, current: Segment, fd: int) -> None:
    check_access(log.io, log.folder, current.path)
    seen, held = log.io.stat(log.folder), log.io.fstat(fd)
    if (seen.st_dev, seen.st_ino) != (held.st_dev, held.st_ino):
        raise OSError(None, "the ledger's folder was replaced")


def _kept(log: Log, known: Known) -> Sequence[int]:
    """Return where the segments begin that are not to be pruned, before the one that is written."""
    return known.segments[bisect_left(known.segments, log.history.pruned_to) :]


def _check_stands(log: Log, first_seq: int) -> None:
    path = log.folder / name_of(first_seq)
    for form in (sealed_path(path), path):
        try:
            if log.io.stat(form).st_size > 0:
                return
        except FileNotFoundError:
            continue
    raise _gone(path.name)


def _gone(name: str) -> OSError:
    return OSError(None, f"{name} of the ledger is gone")
