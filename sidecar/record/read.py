"""Read a ledger that is at rest or being written, for people: filter and follow.

Unlike `walk` it proves nothing and needs no origin.
"""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from sidecar.record.disk import DISK, READ, Io, let_go
from sidecar.record.fold import RecentIds
from sidecar.record.segments.sealed import NotSealed, opened
from sidecar.record.segments.segment import (
    FRAME_HEADER_BYTES,
    HEADER_BYTES,
    SEALED,
    BadFrame,
    chunks,
    first_seq_of,
    salvaged,
    segment_names,
)
from sidecar.syntax.glob import compiled


class Wanted(NamedTuple):
    """What a reader asks for; None for all.

    Args:
        outcome: Globs, as the next five, over what stands in the record.
        subject: `type:id`.
        actor: `type:id` of one of them.
        resource: `type:id` of a target.
        rule: Its id, or policy/rule.
        kind: decision, outcome, admin, …
        since: RFC 3339 in UTC, as records have it: of this time or later.
        until: Of this time or before.
    """

    outcome: str | None = None
    subject: str | None = None
    actor: str | None = None
    resource: str | None = None
    rule: str | None = None
    kind: str | None = None
    since: str | None = None
    until: str | None = None

    def fits(self, record: dict[str, Any]) -> bool:
        """Return whether `record` is one of those asked for."""
        globs = zip(self._fields[:-2], self[:-2], strict=True)
        return self._is_in_time(record["time"]) and all(
            pattern is None or any(map(compiled(pattern), _said(record, what)))
            for what, pattern in globs
        )

    def _is_in_time(self, time: str) -> bool:
        return (self.since or time) <= time <= (self.until or time)


def _said(record: dict[str, Any], what: str) -> list[str]:
    """Return the words of `record` that a filter `what` is compared with."""
    if what in ("outcome", "kind"):
        return [record[what]] if what in record else []
    if what in ("subject", "actor"):
        parties = [record[what]] if what in record else record.get("actors", [])
        return [f"{party['type']}:{party['id']}" for party in parties]
    if what == "resource":
        return [target["resource"] for target in record.get("targets", [])]
    named = [(rule["policy"], rule["id"]) for rule in record.get("rules", [])]
    return [text for policy, rule in named for text in (rule, f"{policy}/{rule}")]


class Reader:
    """Reads what is in a ledger's folder without judging it, from the start and then what is new.

    It stops quietly before a record that is not whole yet.
    """

    def __init__(self, folder: Path, io: Io = DISK) -> None:
        self._folder = folder
        self._io = io
        self._first_seq = -1
        self._offset = HEADER_BYTES

    def new(self) -> Iterator[bytes]:
        """Yield every record that was not seen before."""
        for name in segment_names(self._io.names(self._folder)):
            first_seq = first_seq_of(name)
            if first_seq < self._first_seq:
                continue
            if first_seq > self._first_seq:
                self._first_seq, self._offset = first_seq, HEADER_BYTES
            yield from self._rest(name)

    def last(self, count: int, fits: Callable[[bytes], bool]) -> list[bytes]:
        """Return the last `count` records that fit, and stand at the end.

        No more segments are read than hold them.
        """
        names = segment_names(self._io.names(self._folder))
        found: list[bytes] = []
        if names:
            self._first_seq, self._offset = first_seq_of(names[-1]), HEADER_BYTES
        for name in reversed(names):
            its = deque[bytes](maxlen=max(count - len(found), 0))
            for offset, record in _records(self._io, self._folder / name):
                if name == names[-1]:
                    self._offset = offset + FRAME_HEADER_BYTES + len(record)
                if fits(record):
                    its.append(record)
            found[:0] = its
            if len(found) >= count:
                break
        return found

    def _rest(self, name: str) -> Iterator[bytes]:
        for offset, record in _records(self._io, self._folder / name, self._offset):
            self._offset = offset + FRAME_HEADER_BYTES + len(record)
            yield record


def _records(io: Io, path: Path, offset: int = HEADER_BYTES) -> Iterator[tuple[int, bytes]]:
    """Yield each whole record from `offset` and where its frame begins; stop before what is not."""
    with suppress(BadFrame, NotSealed), opened(io, path) as (read, size):
        for chunk in chunks(read, size, offset):
            yield from zip(chunk.offsets, chunk.records, strict=True)


def everything(io: Io, folder: Path, damaged: list[str]) -> Iterator[bytes]:
    """Yield every whole record, also what stands behind a damaged one.

    Args:
        io: The disk.
        folder: The ledger's.
        damaged: Is added the names of segments that hold more than can be read.
    """
    names = segment_names(io.names(folder))
    for name in names:
        ends = [HEADER_BYTES]
        try:
            yield from _whole(io, folder / name, ends)
        except NotSealed:
            damaged.append(name)
        except BadFrame:
            tail = b"" if name.endswith(SEALED) else _tail(io, folder / name, ends[-1])
            behind = list(salvaged(tail))
            yield from behind
            # Whoever writes may be in the middle of the last.
            if behind or name != names[-1]:
                damaged.append(name)


def _whole(io: Io, path: Path, ends: list[int]) -> Iterator[bytes]:
    """Yield the records of a segment; `ends` is added where those end that were yielded."""
    with opened(io, path) as (read, size):
        for chunk in chunks(read, size):
            yield from chunk.records
            ends.append(chunk.end)


def _tail(io: Io, path: Path, offset: int) -> bytes:
    fd = io.open(path, READ)
    try:
        return io.read(fd, max(io.fstat(fd).st_size - offset, 0), offset)
    finally:
        let_go(io, fd)


def last_records(io: Io, folder: Path, count: int) -> list[bytes]:
    """Return the last `count` records, reading no more segments than hold them."""
    found: list[bytes] = []
    for name in reversed(segment_names(io.names(folder))):
        its = (record for _, record in _records(io, folder / name))
        found[:0] = deque(its, maxlen=count - len(found))
        if len(found) >= count:
            break
    return found


def recent_ids(io: Io, folder: Path, count_max: int) -> RecentIds:
    """Return the ids of the last `count_max` records; what is torn at the end is none."""
    recent = RecentIds(count_max)
    for line in last_records(io, folder, count_max):
        # One that cannot be understood is sent by nobody again.
        with suppress(LookupError, TypeError, ValueError):
            recent.add(orjson.loads(line)["id"])
    return recent
