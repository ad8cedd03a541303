"""The segment that is written and where it stands: ended, cut, put back, its folder found again.

Each returns what is to be written from now on; whoever writes lets go of what was before.
"""

from pathlib import Path
from typing import Any

from sidecar.record import recovery
from sidecar.record.disk import Io
from sidecar.record.keeping.grounds import held
from sidecar.record.keeping.outside import Outside
from sidecar.record.keeping.told import News
from sidecar.record.recovery import Known, Log
from sidecar.record.segments.current import Segment
from sidecar.record.segments.segment import first_seq_of, segment_names


def is_full(segment: Segment, outside: Outside) -> bool:
    """Return whether a segment has come to its bounds."""
    return segment.size >= outside.segment_bytes_max or is_aged(segment, outside)


def is_aged(segment: Segment, outside: Outside) -> bool:
    """Return whether a segment was begun too long ago, by a clock that may have been set since."""
    age_us = abs(outside.now_us() - segment.said.created_us)
    return bool(segment.offsets) and age_us > outside.segment_age_s_max * 1e6


def following(log: Log, known: Known, old: Segment) -> Segment:
    """End `old`, if it has records, and return the segment behind it."""
    is_full, leaves = bool(old.offsets), bytes(known.leaves)
    if is_full:
        old.end(known.tree.size, known.tree.root())
    segments = [*known.segments, old.first_seq] if is_full else known.segments
    try:
        new = recovery.begin_segment(log, known._replace(segments=segments))
    except OSError:
        known.leaves[:] = leaves
        raise
    if is_full:
        known.segments.append(old.first_seq)
        old.make_read_only()
    return new


def cut(log: Log, old: Segment) -> Segment:
    """Cut off what was not acknowledged, through a descriptor that has not failed."""
    recovery.remove_begun(log, old.first_seq)
    return old.reopened()


def put_back(log: Log, old: Segment, size: int) -> tuple[Segment | None, News]:
    """Put a segment that was unlinked back from its open descriptor, and say what is lost.

    Args:
        log: The ledger.
        old: The segment.
        size: How many records were durable.
    """
    recovery.remove_begun(log, old.first_seq)
    new = old.restored(f"{old.path.name}.{size}.foreign")
    detail: dict[str, Any] = {"file": old.path.name, "first_seq": old.first_seq, "next_seq": size}
    return new, ("ledger.unlinked", {**detail, "restored": new is not None})


def folder_at(io: Io, folder: Path, fd: int, first_seq: int) -> tuple[int, list[News]]:
    """Take the folder that stands at the path now, if it is not the one that is held as `fd`.

    Args:
        io: The disk.
        folder: The path.
        fd: What is held.
        first_seq: Where the segment begins that is written.
    """
    found = held(io, folder, fd)
    if found == fd:
        return fd, []
    before = sum(first_seq_of(name) < first_seq for name in segment_names(io.names(folder)))
    return found, [("ledger.folder_replaced", {"segments_before": before, "first_seq": first_seq})]
