"""Where records are: a table beside the log by which `log show` and `log prove` find them.

`index.db` is derived: made by whoever asks, from the records that are new since it was asked last;
when it is deleted, damaged, of another log or of another form it is made anew. It is never
believed: what is found is read at its place in the log and compared with what was asked for, and
what is not found is looked for in the log.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final

import orjson

from sidecar.record import disk
from sidecar.record.disk import DISK, FILE_MODE
from sidecar.record.limits import NOTE_BYTES_MAX
from sidecar.record.read import followed, parts
from sidecar.record.segments.sealed import NotSealed, opened
from sidecar.record.segments.segment import (
    HEADER_BYTES,
    BadFrame,
    Chunk,
    chunks,
    first_seq_of,
    name_of,
    segment_names,
)
from sidecar.record.segments.walk import Damage

INDEX: Final = "index.db"
CHECKPOINT: Final = "checkpoint"
# Anything else under our name is made anew.
_FORM: Final = 2
_TABLE: Final = """
create table records (
    seq integer primary key, segment integer not null, offset integer not null,
    id text not null, parent text
) strict;
create index by_id on records (id);
create index by_parent on records (parent) where parent is not null;
create table about (origin text not null, segment integer not null, offset integer not null) strict;
"""
_BY_ID: Final = "select segment, offset from records where id = ? order by seq"
_BY_PARENT: Final = "select segment, offset from records where parent = ? order by seq"
_INSERT: Final = "insert or replace into records values (?, ?, ?, ?, ?)"


class Index:
    """The index of the ledger in `folder`; made by `Index.open`."""

    def __init__(self, table: sqlite3.Connection, folder: Path) -> None:
        self._table, self._folder = table, folder
        # Where the log was seen not to be whole; what stands behind is not taken in.
        self.damage: Damage | None = None

    @classmethod
    def open(cls, folder: Path) -> "Index":
        """Return the index of `folder`, in memory when it cannot be written there."""
        path = folder / INDEX
        origin = _origin(folder)
        for attempt in (path, path, ":memory:"):
            try:
                return cls(_table(attempt, origin), folder)
            except sqlite3.Error:
                # Damaged, of another form, or not ours to write.
                with suppress(OSError):
                    path.unlink()
        msg = "no table can be made in memory"
        raise AssertionError(msg)

    def close(self) -> None:
        """Let go of the table."""
        self._table.close()

    def catch_up(self, progress: Callable[[int], None] = lambda _count: None) -> int:
        """Take in what is new in the log, and return how many records that were.

        Args:
            progress: Is told now and then how many there have been.
        """
        count = 0
        for rows, segment, offset in self._new():
            with self._table:
                self._table.executemany(_INSERT, rows)
                self._table.execute("update about set segment = ?, offset = ?", (segment, offset))
            count += len(rows)
            progress(count)
        return count

    def find(self, id: str) -> bytes | None:
        """Return the record `id`."""
        return next(self._read(_BY_ID, id, lambda record: record["id"] == id), None)

    def linked(self, id: str) -> list[bytes] | None:
        """Return the records that name `id` as their parent, in order.

        None where the index names some that are not there.
        """
        found = list(self._read(_BY_PARENT, id, lambda record: record.get("parent") == id))
        rows = self._table.execute(_BY_PARENT, (id,)).fetchall()
        return found if len(found) == len(rows) else None

    def _read(self, query: str, id: str, fits: Callable[[dict[str, Any]], bool]) -> Iterator[bytes]:
        for segment, offset in self._table.execute(query, (id,)).fetchall():
            record = self._at(segment, offset)
            if record is not None and fits(orjson.loads(record)):
                yield record

    def _at(self, segment: int, offset: int) -> bytes | None:
        """Return the record that stands at a place of the log, None when none does."""
        path = self._folder / name_of(segment)
        with suppress(OSError, BadFrame, NotSealed), opened(DISK, path) as (read, size):
            for chunk in chunks(read, size, offset):
                return chunk.records[0] if chunk.records else None
        return None

    def _new(self) -> Iterator[tuple[list[tuple[Any, ...]], int, int]]:
        """Yield rows of the table by the chunk, and up to where the log is then known."""
        segment, offset = self._table.execute("select segment, offset from about").fetchone()
        try:
            for name, following in followed(segment_names(DISK.names(self._folder))):
                first = first_seq_of(name)
                if first < segment:
                    continue
                begin = offset if first == segment and offset else HEADER_BYTES
                for chunk in parts(DISK, self._folder / name, following, begin):
                    yield _rows(first, chunk), first, chunk.end
        except Damage as damage:
            # INVARIANT: the place in `about` stays before it, so whoever asks next sees it as well.
            self.damage = damage


def _origin(folder: Path) -> str:
    """Return the log's name as its checkpoint says it: the index of another log is of no use."""
    try:
        note = disk.read_all(DISK, folder / CHECKPOINT, NOTE_BYTES_MAX)
    except OSError:
        return ""
    return note.partition(b"\n")[0].decode(errors="replace")


def _table(path: Path | str, origin: str) -> sqlite3.Connection:
    """Return the table at `path`, empty when it is not there; sqlite3.Error when it is not ours."""
    if isinstance(path, Path) and path.exists() and not path.is_file():
        # A pipe would be waited for.
        msg = "the index is not a file"
        raise sqlite3.DatabaseError(msg)
    if isinstance(path, Path) and not path.exists():
        with suppress(OSError):
            path.touch(FILE_MODE, exist_ok=False)
    table = sqlite3.connect(path)
    try:
        # What is lost with the power is made again.
        table.execute("pragma synchronous = off")
        (form,) = table.execute("pragma user_version").fetchone()
        with closing(table.execute("select count(*) from sqlite_schema")) as found:
            is_empty = found.fetchone() == (0,)
        if is_empty:
            table.executescript(_TABLE)
            table.execute("insert into about values (?, 0, 0)", (origin,))
            table.execute(f"pragma user_version = {_FORM}")
            table.commit()
        elif form != _FORM or table.execute("select origin from about").fetchall() != [(origin,)]:
            msg = "the index is of another form or of another log"
            raise sqlite3.DatabaseError(msg)
    except sqlite3.Error:
        table.close()
        raise
    return table


def _rows(segment: int, chunk: Chunk) -> list[tuple[Any, ...]]:
    rows = []
    for offset, record in zip(chunk.offsets, chunk.records, strict=True):
        # What cannot be read is no record of ours, and for `log verify` to judge.
        with suppress(KeyError, TypeError, ValueError):
            rows.append(_row(segment, offset, orjson.loads(record)))
    return rows


def _row(segment: int, offset: int, record: dict[str, Any]) -> tuple[Any, ...]:
    return record["log"]["seq"], segment, offset, record["id"], record.get("parent")
