"""What is done with segments that are full: their tiles, their sealing, and their end.

In steps, on the committer's thread, between batches. Nothing here is waited for and nothing depends
on it: what fails is told in the log and tried again with the next segment, or at the next start.

| job | when | why it is safe |
|---|---|---|
| tiles | a segment is full | derived, never believed |
| seal | a segment is full | the open form goes after the sealed one was read back |
| prune | a segment is full, and at a start | below |

Pruning removes whole segments from the front, by age or by size, and never the one that is written;
none while a hold stands (`stops/holds.py`), and none by an age that is not known (`stops/ages.py`).
Before: their tiles are compared with their records, written where they differ, and synced; a record
says which records go and what the root was. The tree stays as it is, and so does every proof.
"""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from sidecar.record import disk
from sidecar.record.disk import Io
from sidecar.record.keeping import snapshot
from sidecar.record.limits import UPKEEP_JOBS_MAX
from sidecar.record.proof.merkle import HASH_BYTES, leaf_hashes
from sidecar.record.proof.tiles import TILE_BYTES, TILE_WIDTH, Tiles
from sidecar.record.segments.aside import Aside, Hire
from sidecar.record.segments.sealed import NotSealed, opened, sealed_path, sealing
from sidecar.record.segments.segment import (
    HEADER_BYTES,
    SEALED,
    first_seq_of,
    read_header,
    segment_names,
)
from sidecar.record.segments.walk import Damage, batches

_DAY_US = 24 * 3600 * 1_000_000


class Retention(msgspec.Struct, frozen=True):
    """How much of the log is kept; what is older or more is pruned, segment by segment.

    Args:
        days: Segments whose last record is older may go.
        bytes: Segments may go until the rest, as it stands on the disk, is no more than this.
    """

    days: int | None = None
    bytes: int | None = None


class Keeps(NamedTuple):
    """What decides how much is kept.

    Args:
        retention: What may go.
        are_held: Says whether nothing may.
        are_ages_known: Says whether ages are known.
    """

    retention: Retention
    are_held: Callable[[], bool]
    are_ages_known: Callable[[], bool]


class _Job(NamedTuple):
    """What is done in steps, and to which segment where it must be there."""

    what: str
    steps: Iterator[None]
    path: Path | None = None


class Upkeep:
    """The jobs that wait, of which `step` does a little."""

    def __init__(
        self,
        io: Io,
        folder: Path,
        origin: str,
        keeps: Keeps,
        now_us: Callable[[], int],
        hire: Hire | None = None,
    ) -> None:
        self._io, self._folder, self._origin = io, folder, origin
        # Frees what sealed segments held in their open form: a long one holds the disk for 15 ms.
        self._freeing = Aside(hire)
        self._retention, self._are_held, self._are_ages_known = keeps
        self._now_us = now_us
        self._tiles = Tiles(io, folder)
        self._jobs: deque[_Job] = deque()

    @property
    def is_waiting(self) -> bool:
        """Return whether there is something to do."""
        return bool(self._jobs)

    @property
    def is_pressing(self) -> bool:
        """Return whether so much waits that it is done whoever writes meanwhile."""
        return len(self._jobs) > UPKEEP_JOBS_MAX

    def segment_is_full(self, path: Path, leaves: bytes, *, seals: bool) -> None:
        """Take on the segment at `path`; `leaves` begin with the tile of its first record."""
        first_tile = first_seq_of(path.name) // TILE_WIDTH
        self._jobs.append(_Job("tiles", self._tiles.tiling(first_tile, leaves)))
        if seals:
            self._seal(path)

    def seal_the_rest(self) -> None:
        """Take on what an earlier life has not sealed."""
        for name in segment_names(self._io.names(self._folder))[:-1]:
            if not name.endswith(SEALED):
                self._seal(self._folder / name)

    def _seal(self, path: Path) -> None:
        self._jobs.append(_Job("seal", sealing(self._io, path, self._free), path))

    def _free(self, io: Io, fd: int) -> None:
        # Of the one before nothing is left to be done long ago.
        self._freeing.forget()
        if self._freeing.is_free:
            self._freeing.begin(partial(disk.let_go, io, fd), _noted)
        else:
            disk.let_go(io, fd)

    def leave(self) -> None:
        """Do nothing more."""
        self._freeing.leave()

    def step(self) -> dict[str, Any] | None:
        """Do a little; return what failed, if something did."""
        if not self._jobs:
            return None
        job = self._jobs[0]
        try:
            next(job.steps)
        except StopIteration:
            self._jobs.popleft()
        except (OSError, Damage, LookupError, NotSealed) as error:
            self._jobs.popleft()
            return {"job": job.what, "cause": _cause(error)}
        return None

    # --- retention ---

    def prune(self, told: Callable[[dict[str, Any]], None]) -> None:
        """Take on what retention lets go; `told` makes the record durable, or raises OSError."""
        size = first_seq_of(segment_names(self._io.names(self._folder))[-1])
        if size >= TILE_WIDTH:
            self._jobs.append(_Job("tiles", self._tiles.mending(size)))
        if self._retention != Retention():
            self._jobs.append(_Job("prune", self._pruning(told)))

    def _pruning(self, told: Callable[[dict[str, Any]], None]) -> Iterator[None]:
        names = segment_names(self._io.names(self._folder))
        count = 0 if self._are_held() else self._old(names)
        if not count:
            return
        last = first_seq_of(names[count])
        for first, following in pairwise(names[: count + 1]):
            yield from self._keep_tiles(first_seq_of(first), first_seq_of(following))
        kept = snapshot.unproven(self._io, self._folder, last)
        if kept is None:
            raise OSError(None, "the snapshot of what is to be pruned is absent")
        root = kept.tree().root().hex()
        if self._are_held():
            return
        told({"first": first_seq_of(names[0]), "last": last - 1, "root": root})
        for name in names[:count]:
            yield
            self._remove(self._folder / name)

    def _old(self, names: list[str]) -> int:
        """Return how many segments may go: never the last, nor one whose tiles are not full."""
        days, bytes_max = self._retention.days, self._retention.bytes
        if days is not None and not self._are_ages_known():
            days = None
        sizes = [self._io.stat(self._folder / name).st_size for name in names]
        total, count = sum(sizes), 0
        full = first_seq_of(names[-1]) // TILE_WIDTH * TILE_WIDTH
        for nth, (size, following) in enumerate(zip(sizes, names[1:], strict=False), 1):
            is_old = days is not None and self._age_us(names[nth - 1 :]) > days * _DAY_US
            is_more = bytes_max is not None and total > bytes_max
            is_tiled = -(-first_seq_of(following) // TILE_WIDTH) * TILE_WIDTH <= full
            if not (is_old or is_more) or not is_tiled:
                break
            total -= size
            count += 1
        return count

    def _age_us(self, names: list[str]) -> int:
        """Return since when the first of these is full: since the next began, by a right clock.

        One that was behind cannot have ended it before it began.
        """
        began, *following = names
        for name in following:
            if (age_us := self._now_us() - self._created_us(name)) >= 0:
                of_it_us = self._now_us() - self._created_us(began)
                return min(age_us, of_it_us) if of_it_us >= 0 else age_us
        return 0

    def _created_us(self, name: str) -> int:
        with opened(self._io, self._folder / name) as (read, _):
            said = read_header(read(HEADER_BYTES, 0), self._origin)
        if said is None:
            raise Damage(name, 0, None, "not the header of a segment of this log")
        return said.created_us

    def _keep_tiles(self, first: int, following: int) -> Iterator[None]:
        """Make the tiles over records `first` to `following` right and durable."""
        begin, end = first // TILE_WIDTH, -(-following // TILE_WIDTH)
        known = self._tiles.get(0, begin) or b""
        # What stands in the first tile for records that are gone was checked when they went.
        leaves = bytearray(known[: first % TILE_WIDTH * HASH_BYTES])
        if len(leaves) < first % TILE_WIDTH * HASH_BYTES:
            raise OSError(None, "a tile of what was pruned before cannot be read")
        for batch in batches(self._io, self._folder, self._origin, first):
            leaves += b"".join(leaf_hashes(batch.records))
            yield
            if len(leaves) >= (end - begin) * TILE_BYTES:
                break
        for number in range(begin, end):
            at = (number - begin) * TILE_BYTES
            tile = bytes(leaves[at : at + TILE_BYTES])
            if tile == self._tiles.get(0, number):
                self._tiles.sync(0, number)
            else:
                self._tiles.put(0, number, tile, durable=True)
            yield

    def _remove(self, path: Path) -> None:
        """Remove a segment, and then what says what was before it; the front goes first."""
        for one in (path, sealed_path(path)):
            with suppress(FileNotFoundError):
                self._io.unlink(one)
        # What waits behind us to be sealed is not there any more.
        self._jobs = deque(job for job in self._jobs if job.path != path)
        # INVARIANT: no later segment goes before this one has gone for good, or a loss of power
        # could leave a hole.
        disk.sync_folder(self._io, self._folder)
        with suppress(FileNotFoundError):
            self._io.unlink(self._folder / snapshot.name_of(first_seq_of(path.name)))


def _noted() -> None:
    """Note nothing: what was freed nobody asks for."""


def _cause(error: Exception) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


def rebuilt_tiles(io: Io, folder: Path, origin: str) -> Iterator[None]:
    """Write all tiles anew from the records, a step at a time; those of pruned records stay.

    Raises:
        Damage: The records are not intact.
    """
    tiles, leaves, begin = Tiles(io, folder), bytearray(), -1
    for batch in batches(io, folder, origin, None):
        if begin < 0:
            begin = -(-batch.first_seq // TILE_WIDTH) * TILE_WIDTH
        skipped = max(begin - batch.first_seq, 0) if not leaves else 0
        leaves += b"".join(leaf_hashes(batch.records[skipped:]))
        yield
        whole = len(leaves) // TILE_BYTES * TILE_BYTES
        yield from tiles.tiling(begin // TILE_WIDTH, bytes(leaves[:whole]))
        del leaves[:whole]
        begin += whole // HASH_BYTES
