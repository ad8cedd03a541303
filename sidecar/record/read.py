"""Read a ledger that is at rest or being written: walk its records in order, filter, follow.

`walk` is the one reader: recovery, verification and `log tail` all see a damaged ledger the same
way.
"""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from sidecar.record import disk
from sidecar.record.canonical import place_of
from sidecar.record.disk import DISK, READ, Io
from sidecar.record.segment import (
    FRAME_HEADER_BYTES,
    HEADER_BYTES,
    BadFrame,
    frames,
    header,
    holds_frame,
    name_of,
    segment_names,
)
from sidecar.syntax.glob import compiled


class Damage(Exception):
    """Where a ledger stops being intact, and how.

    Args:
        file: Name of the file in the ledger's folder.
        offset: Where in it, None when the file as a whole is meant.
        seq: The record that should stand there, None when that cannot be said.
        text: What was expected and what was found.
        torn: Whether this is what a write leaves behind that never ended: nothing valid follows.
    """

    def __init__(
        self, file: str, offset: int | None, seq: int | None, text: str, *, torn: bool = False
    ) -> None:
        super().__init__(text)
        self.file, self.offset, self.seq, self.text, self.torn = file, offset, seq, text, torn

    def __str__(self) -> str:
        """Return `file:offset: text`."""
        at = self.file if self.offset is None else f"{self.file}:{self.offset}"
        return f"{at}: {self.text}"


class Entry(NamedTuple):
    """One record in its place."""

    file: str
    end: int
    seq: int
    record: bytes


def walk(io: Io, folder: Path, origin: str) -> Iterator[Entry]:
    """Yield every record of the ledger of `origin`, in order.

    Raises:
        Damage: From here on the ledger is not intact.
    """
    name, _, epoch = origin.rpartition("/")
    seq = 0
    for file, is_last in _segments(io, folder):
        if file != name_of(seq):
            raise Damage(file, None, seq, f"expected {name_of(seq)}: a segment is missing")
        for entry in _entries(io, folder / file, seq, origin, is_last=is_last):
            if b"%b," % place_of(name, epoch, entry.seq) not in entry.record:
                text = f"the record does not say that it is number {entry.seq} of this log"
                raise Damage(file, entry.end - len(entry.record), entry.seq, text)
            seq = entry.seq + 1
            yield entry


def _segments(io: Io, folder: Path) -> list[tuple[str, bool]]:
    names = segment_names(io.names(folder))
    return [(name, name == names[-1]) for name in names]


def _entries(io: Io, path: Path, first_seq: int, origin: str, *, is_last: bool) -> Iterator[Entry]:
    """Yield the records of one segment."""
    with _opened(io, path) as (fd, size):
        if io.read(fd, HEADER_BYTES, 0) != header(first_seq, origin):
            raise Damage(path.name, 0, first_seq, "not the header of a segment of this log")
        seq = first_seq
        try:
            for offset, record in frames(lambda length, at: io.read(fd, length, at), size):
                yield Entry(path.name, offset + FRAME_HEADER_BYTES + len(record), seq, record)
                seq += 1
        except BadFrame as bad:
            tail = io.read(fd, size - bad.offset, bad.offset)
            torn = is_last and not holds_frame(tail[1:])
            text = "a record was not written to its end" if torn else "a record is damaged"
            raise Damage(path.name, bad.offset, seq, text, torn=torn) from None


@contextmanager
def _opened(io: Io, path: Path) -> Iterator[tuple[int, int]]:
    fd = io.open(path, READ)
    try:
        yield fd, io.fstat(fd).st_size
    finally:
        disk.let_go(io, fd)


# --- for people ---


class Wanted(NamedTuple):
    """What a reader asks for; each is a glob over what stands in the record, None for all."""

    outcome: str | None = None
    subject: str | None = None
    actor: str | None = None
    resource: str | None = None
    rule: str | None = None

    def fits(self, record: dict[str, Any]) -> bool:
        """Return whether `record` is one of those asked for."""
        return all(
            pattern is None or any(map(compiled(pattern), _said(record, what)))
            for what, pattern in zip(self._fields, self, strict=True)
        )


def _said(record: dict[str, Any], what: str) -> list[str]:
    """Return the words of `record` that a filter `what` is compared with."""
    if what == "outcome":
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

    Unlike `walk` it proves nothing, needs no origin, and stops quietly before a record that is not
    whole yet.
    """

    def __init__(self, folder: Path, io: Io = DISK) -> None:
        self._folder = folder
        self._io = io
        self._file = ""
        self._offset = HEADER_BYTES

    def new(self) -> Iterator[bytes]:
        """Yield every record that was not seen before."""
        for file, _ in _segments(self._io, self._folder):
            if file < self._file:
                continue
            if file > self._file:
                self._file, self._offset = file, HEADER_BYTES
            yield from self._rest()

    def skip_to_last(self, count: int, wanted: Wanted) -> list[bytes]:
        """Return the last `count` records that are wanted, and stand at the end."""
        last: deque[bytes] = deque(maxlen=count)
        for record in self.new():
            if wanted == Wanted() or wanted.fits(orjson.loads(record)):
                last.append(record)
        return list(last)

    def _rest(self) -> Iterator[bytes]:
        with _opened(self._io, self._folder / self._file) as (fd, size):
            try:
                found = frames(lambda length, at: self._io.read(fd, length, at), size, self._offset)
                for offset, record in found:
                    self._offset = offset + FRAME_HEADER_BYTES + len(record)
                    yield record
            except BadFrame:
                return


def about(folder: Path, id: str) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """Return the record `id` and the records that name it as their parent."""
    found: dict[str, Any] | None = None
    linked: list[dict[str, Any]] = []
    needle = id.encode()
    for line in Reader(folder).new():
        if needle not in line:
            continue
        record = orjson.loads(line)
        if record["id"] == id:
            found = record
        elif record.get("parent") == id:
            linked.append(record)
    return found, linked
