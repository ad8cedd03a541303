"""Segments: append-only files of frames, and the one that is being written.

```
segment  <first_seq, 20 digits>.seg
header   64 bytes: magic 8 | version u32 | zero u32 | first_seq u64 | SHA-256(origin) 32
         | zero u32 | crc32c u32
frame    length u32 | crc32c u32 | record, all integers little-endian
```
A record's bytes are made once; they are framed, hashed, exported and verified as they stand. No
frame is empty: a page of zeros, which file systems leave behind after a loss of power, is thus
never a frame.

INVARIANT: `Segment.size` only grows after fdatasync has returned and the file was seen to stand at
its path. Whatever lies beyond it was never acknowledged, and is cut off.
"""

import os
import re
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

import google_crc32c

from sidecar.record import disk
from sidecar.record.disk import NEW, OLD, Io
from sidecar.record.limits import FRAME_BYTES_MAX, READ_BYTES

HEADER_BYTES: Final = 64
FRAME_HEADER_BYTES: Final = 8
_MAGIC: Final = b"DOORWLOG"
_VERSION: Final = 1
_HEADER: Final = struct.Struct("<8sIIQ32sI")
_FRAME: Final = struct.Struct("<II")
_CRC: Final = struct.Struct("<I")
_NAME = re.compile(r"\d{20}\.seg\Z")
# Where a record may begin, for looking behind a damaged frame.
_RECORD_START = re.compile(rb'\{"')

Reader = Callable[[int, int], bytes]


class Unsynced(OSError):
    """The disk did not take what was written: nothing of this descriptor may be trusted any more.

    Linux may report a failed fsync once and then claim success, with the pages dropped
    (Rebello et al., ATC 2020); so it is never asked again.
    """


class Displaced(OSError):
    """The file that is written is not the file that stands at its path."""


class BadFrame(Exception):
    """What stands at `offset` is not a whole frame."""

    def __init__(self, offset: int, text: str) -> None:
        super().__init__(text)
        self.offset = offset


class Frame(NamedTuple):
    """One record and where its frame begins."""

    offset: int
    record: bytes


def name_of(first_seq: int) -> str:
    """Return the file name of the segment that begins with `first_seq`."""
    return f"{first_seq:020d}.seg"


def segment_names(names: list[str]) -> list[str]:
    """Return those of `names` that are segments, in the order of the log."""
    return sorted(name for name in names if _NAME.match(name))


def crc32c(data: bytes) -> int:
    """Return the Castagnoli CRC of `data`."""
    value: int = google_crc32c.value(data)
    return value


def framed(record: bytes) -> bytes:
    """Return `record` as a frame."""
    assert 2 <= len(record) <= FRAME_BYTES_MAX
    return _FRAME.pack(len(record), crc32c(record)) + record


def header(first_seq: int, origin: str) -> bytes:
    """Return the header of a segment."""
    said = _HEADER.pack(_MAGIC, _VERSION, 0, first_seq, sha256(origin.encode()).digest(), 0)
    return said + _CRC.pack(crc32c(said))


def frames(read: Reader, size: int, offset: int = HEADER_BYTES) -> Iterator[Frame]:
    """Yield the frames between `offset` and `size` of a segment, reading ahead by the megabyte.

    Raises:
        BadFrame: What follows is not a whole frame.
    """
    buffer, start = b"", offset
    while offset < size:
        at = offset - start
        if len(buffer) - at < FRAME_HEADER_BYTES + FRAME_BYTES_MAX and start + len(buffer) < size:
            buffer, start, at = read(min(READ_BYTES, size - offset), offset), offset, 0
        record = _frame(buffer, at)
        if record is None:
            raise BadFrame(offset, "not a whole frame")
        yield Frame(offset, record)
        offset += FRAME_HEADER_BYTES + len(record)


def _frame(buffer: bytes, at: int) -> bytes | None:
    """Return the record framed at `at`, None when there is none."""
    if at < 0 or len(buffer) - at < FRAME_HEADER_BYTES:
        return None
    length, crc = _FRAME.unpack_from(buffer, at)
    if not 2 <= length <= FRAME_BYTES_MAX or len(buffer) - at - FRAME_HEADER_BYTES < length:
        return None
    record = buffer[at + FRAME_HEADER_BYTES : at + FRAME_HEADER_BYTES + length]
    return record if crc32c(record) == crc else None


def holds_frame(tail: bytes) -> bool:
    """Return whether a whole frame stands anywhere in `tail`.

    After a torn write there is none; behind a damaged frame there are those that were written
    later.
    """
    return any(
        _frame(tail, found.start() - FRAME_HEADER_BYTES) is not None
        for found in _RECORD_START.finditer(tail)
    )


class Segment:
    """The segment that is being written."""

    def __init__(self, io: Io, path: Path, fd: int, first_seq: int, size: int) -> None:
        self._io = io
        self._fd = fd
        self.path = path
        self.first_seq = first_seq
        self.size = size
        self._inode = _inode(io.fstat(fd))

    @classmethod
    def create(cls, io: Io, folder: Path, first_seq: int, origin: str) -> "Segment":
        """Return a new, empty segment: it appears at its path whole and durable, or not at all."""
        path = folder / name_of(first_seq)
        temporary = path.with_name(f"{path.name}.tmp")
        said = header(first_seq, origin)
        fd = io.open(temporary, NEW)
        try:
            disk.write_all(io, fd, said)
            io.fsync(fd)
            io.rename(temporary, path)
            disk.sync_folder(io, folder)
            return cls(io, path, fd, first_seq, len(said))
        except OSError:
            disk.let_go(io, fd)
            raise

    @classmethod
    def reopen(cls, io: Io, path: Path, first_seq: int, size: int) -> "Segment":
        """Return the segment at `path`, cut to its first `size` bytes and durable."""
        fd = io.open(path, OLD)
        try:
            _cut(io, fd, size)
            io.fsync(fd)
            return cls(io, path, fd, first_seq, size)
        except OSError:
            disk.let_go(io, fd)
            raise

    def append(self, data: bytes) -> None:
        """Make `data` durable at the end.

        Raises:
            Unsynced: fdatasync failed; this segment takes nothing more.
            Displaced: The file was unlinked, replaced, or changed by somebody else.
            OSError: The disk did not take the bytes.
        """
        disk.write_all(self._io, self._fd, data)
        try:
            self._io.fdatasync(self._fd)
        except OSError as error:
            raise Unsynced(error.errno, os.strerror(error.errno or 0)) from error
        self._check_place(self.size + len(data))
        self.size += len(data)

    def cut(self) -> None:
        """Take back what was written and not acknowledged, as far as the disk lets us."""
        with suppress(OSError):
            _cut(self._io, self._fd, self.size)

    def is_in_place(self) -> bool:
        """Return whether the file that is open is the one that stands at its path."""
        try:
            return _inode(self._io.stat(self.path)) == self._inode
        except FileNotFoundError:
            return False

    def kept_bytes(self) -> bytes | None:
        """Return what was acknowledged, read back from the open file, None when it is not whole."""
        found = b""
        with suppress(OSError):
            found = self._io.read(self._fd, self.size, 0)
        if len(found) != self.size:
            return None
        try:
            for _ in frames(lambda size, offset: found[offset : offset + size], self.size):
                pass
        except BadFrame:
            return None
        return found

    def close(self) -> None:
        """Let go of the file; whatever was acknowledged is durable already."""
        disk.let_go(self._io, self._fd)

    def _check_place(self, size: int) -> None:
        try:
            seen = self._io.stat(self.path)
        except FileNotFoundError:
            raise Displaced("the segment that is written was unlinked") from None
        if _inode(seen) != self._inode:
            raise Displaced("the segment that is written was replaced")
        if seen.st_size != size:
            raise Displaced("the segment that is written was changed by somebody else")


def _cut(io: Io, fd: int, size: int) -> None:
    """Cut the file to `size`, and never lengthen one that somebody else has cut."""
    found = io.fstat(fd).st_size
    if found < size:
        raise Displaced("the segment was cut by somebody else")
    if found > size:
        io.ftruncate(fd, size)


def _inode(seen: os.stat_result) -> tuple[int, int]:
    return seen.st_dev, seen.st_ino
