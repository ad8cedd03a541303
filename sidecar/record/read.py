"""Read a ledger that is at rest or being written, for people: filter and follow.

Unlike `walk` it proves nothing and needs no origin. It reads on behind a segment that is not whole,
and says so: what is left out must not look like what was never there.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

from sidecar.record.disk import DISK, READ, Io, let_go, read_all, why
from sidecar.record.fold import RecentIds
from sidecar.record.limits import NOTE_BYTES_MAX
from sidecar.record.segments.sealed import NotSealed, opened
from sidecar.record.segments.segment import (
    FRAME_HEADER_BYTES,
    HEADER_BYTES,
    SEALED,
    BadFrame,
    Chunk,
    Unsearched,
    chunks,
    first_seq_of,
    name_of,
    salvaged,
    segment_names,
)
from sidecar.record.segments.walk import Damage, damage_of
from sidecar.syntax.glob import compiled

_CHECKPOINT: Final = "checkpoint"


class Wanted(NamedTuple):
    """What a reader asks for; None for all.

    Args:
        outcome: Globs, as the next five: a decision's, or what an outcome record says.
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
    if what == "kind":
        return [record["kind"]]
    if what == "outcome":
        return [record[word] for word in ("outcome", "result") if word in record]
    if what in ("subject", "actor"):
        parties = [record[what]] if what in record else record.get("actors", [])
        return [f"{party['type']}:{party['id']}" for party in parties]
    if what == "resource":
        return [target["resource"] for target in record.get("targets", [])]
    named = [(rule["policy"], rule["id"]) for rule in record.get("rules", [])]
    return [text for policy, rule in named for text in (rule, f"{policy}/{rule}")]


class Reader:
    """Reads what is in a ledger's folder without judging it, from the start and then what is new.

    It stops quietly before a record that is not whole yet; `damage` is where the log was seen not
    to be whole first, other than by being written.
    """

    def __init__(self, folder: Path, io: Io = DISK) -> None:
        self.damage: Damage | None = None
        self._folder = folder
        self._io = io
        self._first_seq = -1
        self._offset = HEADER_BYTES
        self._next_seq = 0

    def new(self) -> Iterator[bytes]:
        """Yield every record that was not seen before."""
        signed = _signed(self._io, self._folder)
        for name, following in followed(segment_names(self._io.names(self._folder))):
            if first_seq_of(name) < self._first_seq:
                continue
            if first_seq_of(name) > self._first_seq:
                self._begin(name)
            for offset, record in self._records(name, following, self._offset):
                self._saw(offset, record)
                yield record
        self._check_end(signed)

    def last(self, count: int, fits: Callable[[bytes], bool]) -> list[bytes]:
        """Return the last `count` records that fit, and stand at the end.

        No more segments are read than hold them.
        """
        signed = _signed(self._io, self._folder)
        names = segment_names(self._io.names(self._folder))
        found: list[bytes] = []
        if names:
            self._begin(names[-1])
        for name, following in reversed(followed(names)):
            its = deque[bytes](maxlen=max(count - len(found), 0))
            for offset, record in self._records(name, following):
                if name == names[-1]:
                    self._saw(offset, record)
                if fits(record):
                    its.append(record)
            found[:0] = its
            if len(found) >= count:
                break
        self._check_end(signed)
        return found

    def _begin(self, name: str) -> None:
        self._first_seq = self._next_seq = first_seq_of(name)
        self._offset = HEADER_BYTES

    def _saw(self, offset: int, record: bytes) -> None:
        self._offset = offset + FRAME_HEADER_BYTES + len(record)
        self._next_seq += 1

    def _check_end(self, signed: int) -> None:
        if self.damage is None and self._next_seq < signed:
            text = f"{signed} records were signed and {self._next_seq} are there"
            self.damage = Damage(_CHECKPOINT, None, None, text)

    def _records(
        self, name: str, following: str | None, offset: int = HEADER_BYTES
    ) -> Iterator[tuple[int, bytes]]:
        """Yield each whole record from `offset` and where its frame begins."""
        try:
            for chunk in parts(self._io, self._folder / name, following, offset):
                yield from zip(chunk.offsets, chunk.records, strict=True)
        except Damage as damage:
            self.damage = self.damage or damage


def _signed(io: Io, folder: Path) -> int:
    """Return how many records there are as the checkpoint says, whoever signed it; 0 for none.

    It is read before the records, which a writer only adds to.
    """
    with suppress(OSError, ValueError, IndexError):
        return int(read_all(io, folder / _CHECKPOINT, NOTE_BYTES_MAX).split(b"\n", 2)[1])
    return 0


def followed(names: list[str]) -> list[tuple[str, str | None]]:
    """Return each segment with the one behind it, None behind the last."""
    return list(zip_longest(names, names[1:]))


def parts(io: Io, path: Path, following: str | None, offset: int = HEADER_BYTES) -> Iterator[Chunk]:
    """Yield what can be read of a segment from `offset`.

    Raises:
        Damage: That is not all of it; not where it may still be written.
    """
    last: Chunk | None = None
    try:
        with opened(io, path) as (read, size):
            for last in chunks(read, size, offset):
                yield last
    except FileNotFoundError:
        # Pruned since its name was read.
        return
    except NotSealed as error:
        text = f"the sealed segment cannot be read: {error}"
        raise Damage(path.name, None, first_seq_of(path.name), text) from None
    except BadFrame as bad:
        damage = damage_of(path, io, bad, first_seq_of(path.name), is_last=following is None)
        if damage.torn or (following is None and _is_whole_now(io, path, bad.offset)):
            return
        raise damage from None
    except OSError as error:
        text = f"cannot be read: {why(error)}"
        raise Damage(path.name, None, first_seq_of(path.name), text) from None
    if following is not None and (last is not None or offset == HEADER_BYTES):
        _check_end(path.name, last, following)


def _check_end(name: str, last: Chunk | None, following: str) -> None:
    if last is None or last.footer is None:
        raise Damage(name, None, first_seq_of(name), "the segment has no end")
    if last.footer.size != first_seq_of(following):
        text = f"expected {name_of(last.footer.size)}: a segment is missing"
        raise Damage(following, None, last.footer.size, text)


def _is_whole_now(io: Io, path: Path, offset: int) -> bool:
    """Return whether a record stands at `offset` that was on its way a moment ago."""
    with suppress(BadFrame, NotSealed, OSError), opened(io, path) as (read, size):
        return any(chunk.records for chunk in chunks(read, size, offset))
    return False


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
        except FileNotFoundError:
            # Pruned since its name was read.
            continue
        except (NotSealed, OSError):
            damaged.append(name)
        except BadFrame:
            is_more = yield from _behind(io, folder / name, ends[-1])
            # Whoever writes may be in the middle of the last.
            if is_more or name != names[-1]:
                damaged.append(name)


def _whole(io: Io, path: Path, ends: list[int]) -> Iterator[bytes]:
    """Yield the records of a segment; `ends` is added where those end that were yielded."""
    with opened(io, path) as (read, size):
        for chunk in chunks(read, size):
            yield from chunk.records
            ends.append(chunk.end)


def _behind(io: Io, path: Path, offset: int) -> Generator[bytes, None, bool]:
    """Yield what stands behind a damaged record; return whether there is something, or may be."""
    is_more = False
    try:
        for record in salvaged(b"" if path.name.endswith(SEALED) else _tail(io, path, offset)):
            is_more = True
            yield record
    except Unsearched:
        return True
    return is_more


def _tail(io: Io, path: Path, offset: int) -> bytes:
    fd = io.open(path, READ)
    try:
        return io.read(fd, max(io.fstat(fd).st_size - offset, 0), offset)
    finally:
        let_go(io, fd)


def last_records(io: Io, folder: Path, count: int) -> list[bytes]:
    """Return the last `count` records, reading no more segments than hold them."""
    return Reader(folder, io).last(count, lambda _record: True)


def recent_ids(io: Io, folder: Path, count_max: int) -> RecentIds:
    """Return the ids of the last `count_max` records; what is torn at the end is none."""
    recent = RecentIds(count_max)
    for line in last_records(io, folder, count_max):
        # One that cannot be understood is sent by nobody again.
        with suppress(LookupError, TypeError, ValueError):
            recent.add(orjson.loads(line)["id"])
    return recent
