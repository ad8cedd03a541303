"""Replay a whole log: segment by segment, on as many processes as are asked for.

Each process compiles the bundle itself and keeps what it has decided. A small log is replayed in
this one: to start another takes longer.
"""

import multiprocessing
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Final

import msgspec

from sidecar.domains import by_protocol
from sidecar.policy.bundle import Bundle, compile_bundle, uncollected
from sidecar.review.replay.catalogues import Catalogues
from sidecar.review.replay.counts import Counts
from sidecar.review.replay.lines import Share, lines, shares
from sidecar.review.replay.recorded import Recorded, beside_of, recorded
from sidecar.review.replay.redecide import Again, Replayed
from sidecar.terms.domain import Domain

# Below this another process costs more than it takes over.
PARALLEL_BYTES_MIN: Final = 256 * 1024 * 1024
_PROGRESS_EVERY: Final = 4096

Progress = Callable[[int], None]


class Asked(msgspec.Struct, frozen=True):
    """What is to be replayed.

    Args:
        path: Where the records are.
        state: Where names and keys are, if not beside them.
        as_read: Decide what was understood then, also where the catalogues differ.
        since: Records of this time or later.
        until: Of this time or before.
        processes: At most so many.
    """

    path: Path
    state: Path | None = None
    as_read: bool = False
    since: str | None = None
    until: str | None = None
    processes: int = 1

    def is_in_time(self, time: str) -> bool:
        """Return whether a record of `time` is one of those asked for."""
        return (self.since or time) <= time <= (self.until or time)


class _Job(msgspec.Struct, frozen=True):
    asked: Asked
    files: dict[str, bytes]
    base: dict[str, bytes] | None


def replay(asked: Asked, bundle: Bundle, base: Bundle | None, progress: Progress) -> Counts:
    """Return what the decisions of a log come to under `bundle`.

    Args:
        asked: Which records.
        bundle: That decides now.
        base: The bundle that decided then, where it is not kept beside the records.
        progress: Is told how many records were replayed.

    Raises:
        LedgerBroken: A record cannot be read.
    """
    found = shares(asked.path)
    size = sum(share.size for share in found)
    if asked.processes < 2 or len(found) < 2 or size < PARALLEL_BYTES_MIN:
        again = _again(asked, bundle, base)
        counts = Counts()
        for share in found:
            _count(share, asked, again, counts, progress)
        return counts
    return _in_parallel(asked, found, _Job(asked, dict(bundle.files), _files(base)), progress)


def _again(asked: Asked, bundle: Bundle, base: Bundle | None) -> Again:
    beside = beside_of(asked.path, asked.state)
    catalogues = Catalogues(bundle, beside)
    if base is not None:
        catalogues.add(base)
    return Again(bundle, beside, catalogues, as_read=asked.as_read)


def _replayed(share: Share, asked: Asked, again: Again) -> Iterator[tuple[Recorded, Replayed]]:
    for line in lines(share):
        found = recorded(line, again.beside, share)
        if found is not None and asked.is_in_time(found.record.time):
            yield found, again(found)


def _count(share: Share, asked: Asked, again: Again, counts: Counts, progress: Progress) -> None:
    # There are no cycles here, and what is remembered makes a look for them long.
    with uncollected():
        for found, replayed in _replayed(share, asked, again):
            counts.add(found, replayed)
            if not counts.records % _PROGRESS_EVERY:
                progress(counts.records)


# --- many processes ---

_mine: list[tuple[_Job, Again]] = []


def _in_parallel(asked: Asked, found: list[Share], job: _Job, progress: Progress) -> Counts:
    # The largest first, so that no process is left with one at the end.
    ordered = sorted(found, key=lambda share: -share.size)
    counts = Counts()
    # Not forked: a process that has threads cannot be copied safely.
    with ProcessPoolExecutor(
        min(asked.processes, len(found)), multiprocessing.get_context("spawn"), _begin, (job,)
    ) as pool:
        for part in pool.map(_share, ordered):
            counts.take(part)
            progress(counts.records)
    return counts


def _begin(job: _Job) -> None:
    domains: Mapping[str, Domain] = by_protocol()
    bundle = compile_bundle(job.files, domains)
    base = None if job.base is None else compile_bundle(job.base, domains)
    _mine.append((job, _again(job.asked, bundle, base)))


def _share(share: Share) -> Counts:
    job, again = _mine[0]
    counts = Counts()
    _count(share, job.asked, again, counts, lambda _: None)
    return counts


def _files(bundle: Bundle | None) -> dict[str, bytes] | None:
    return None if bundle is None else dict(bundle.files)
