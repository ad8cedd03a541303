"""What stands before the segment that is written: nothing is written behind a hole.

A folder can be replaced, by another or by an older copy of itself, and segments removed, while the
descriptor that is written stays good. What would be written then could never be verified, nor be
opened again: nothing is acknowledged until what is gone is back.
"""

from bisect import bisect_left
from collections.abc import Sequence

from sidecar.record import recovery
from sidecar.record.keeping import snapshot
from sidecar.record.keeping.grounds import check_access
from sidecar.record.limits import LOOKED_AT_MAX
from sidecar.record.proof.tiles import TILE_WIDTH, Tiles
from sidecar.record.recovery import Known, Log
from sidecar.record.segments.current import Segment
from sidecar.record.segments.sealed import sealed_path
from sidecar.record.segments.segment import SEALED, name_of


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
    names = set(log.io.names(log.folder))
    for name in map(name_of, _kept(log, known)):
        # A sealed one had its end when it was sealed.
        if f"{name}{SEALED}" not in names and (
            name not in names or recovery.end_of(log, name) is None
        ):
            raise _gone(name)
    if pruned := log.history.pruned_to:
        if (name := snapshot.name_of(pruned)) not in names:
            raise _gone(name)
        tiles = Tiles(log.io, log.folder)
        if not all(tiles.stands(0, number) for number in (0, (pruned - 1) // TILE_WIDTH)):
            raise _gone("tiles")


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
