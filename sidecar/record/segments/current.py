"""The segment that is being written.

INVARIANT: `size` only grows after fdatasync has returned and the file was seen to stand at its
path. Whatever lies beyond it was never acknowledged as durable, and is cut off.
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from sidecar.record import disk
from sidecar.record.disk import NEW, OLD, READ_ONLY, Io
from sidecar.record.segments.segment import (
    FRAME_HEADER_BYTES,
    HEADER_BYTES,
    BadFrame,
    Footer,
    Header,
    chunks,
    footer,
    framed,
    header,
    name_of,
    offsets_digest,
)


class Unsynced(OSError):
    """The disk did not take what was written: nothing of this descriptor may be trusted any more.

    Linux may report a failed fsync once and then claim success, with the pages dropped
    (Rebello et al., ATC 2020); so it is never asked again.
    """


class Displaced(OSError):
    """The file that is written is not the file that stands at its path."""


class Begun(NamedTuple):
    """How far a segment was written when a sync began: bytes, and frames."""

    size: int
    frames: int


class Segment:
    """The segment that is being written; `offsets` are those of its frames, synced or not."""

    def __init__(self, io: Io, path: Path, fd: int, said: Header) -> None:
        self._io = io
        self._fd = fd
        self.path = path
        self.said = said
        self.size = HEADER_BYTES
        self.offsets: list[int] = []
        self._synced = 0
        self._has_end = False
        self._written = HEADER_BYTES
        self._inode = _inode(io.fstat(fd))

    @classmethod
    def create(cls, io: Io, folder: Path, said: Header, origin: str) -> "Segment":
        """Return a new, empty segment: it appears at its path whole and durable, or not at all."""
        path = folder / name_of(said.first_seq)
        temporary = path.with_name(f"{path.name}.tmp")
        fd = io.open(temporary, NEW)
        try:
            disk.write_all(io, fd, header(said, origin))
            io.fsync(fd)
            io.rename(temporary, path)
            disk.sync_folder(io, folder)
            return cls(io, path, fd, said)
        except OSError:
            disk.let_go(io, fd)
            raise

    @classmethod
    def reopen(
        cls, io: Io, path: Path, said: Header, size: int, offsets: Sequence[int]
    ) -> "Segment":
        """Return the segment at `path`, cut to its first `size` bytes and durable."""
        fd = io.open(path, OLD)
        try:
            _cut(io, fd, size)
            io.fsync(fd)
            found = cls(io, path, fd, said)
        except OSError:
            disk.let_go(io, fd)
            raise
        found.size = found._written = size
        found.offsets = list(offsets)
        found._synced = len(offsets)
        return found

    @property
    def first_seq(self) -> int:
        """Return which record it begins with."""
        return self.said.first_seq

    def write(self, records: Sequence[bytes]) -> None:
        """Write `records` at the end, durable with the next `flush`.

        Raises:
            OSError: The disk did not take the bytes; none of them counts.
        """
        # What stands before the first record after a sync is durable, and the frame says so.
        data = framed(records, begins_batch=self._written == self.size)
        try:
            disk.write_all(self._io, self._fd, data)
        except OSError:
            self._cut_to(self._written)
            raise
        at = self._written
        for record in records:
            self.offsets.append(at)
            at += FRAME_HEADER_BYTES + len(record)
        self._written = at

    def begun(self) -> Begun:
        """Return what a `flush` that begins now makes durable."""
        return Begun(self._written, len(self.offsets))

    def flush(self) -> None:
        """Ask the disk for all that is written, from any thread; it counts once it is `synced`.

        Raises:
            Unsynced: fdatasync failed; this segment takes nothing more.
        """
        try:
            self._io.fdatasync(self._fd)
        except OSError as error:
            raise Unsynced(error.errno, os.strerror(error.errno or 0)) from error

    def synced(self, begun: Begun) -> None:
        """Take note that what had been written when a `flush` began is durable.

        Raises:
            Displaced: The file was unlinked, replaced, or changed by somebody else.
        """
        self._check_place(self._written)
        self.size, self._synced = begun

    def end(self, size: int, root: bytes) -> None:
        """Write the footer, durable: the segment takes nothing more.

        Args:
            size: The size of the tree with all records of the segment.
            root: Its root.

        Raises:
            OSError: It is not there; the segment is as it was.
        """
        said = Footer(len(self.offsets), size, root, offsets_digest(self.offsets))
        data = footer(said)
        try:
            disk.write_all(self._io, self._fd, data)
            self.flush()
            self._check_place(self.size + len(data))
        except OSError:
            self.cut()
            raise
        self._has_end = True

    def cut(self, keep: int = 0) -> None:
        """Take back what was written and not synced, as far as the disk lets us.

        Args:
            keep: So many records that were not synced stay, if they are there.
        """
        if self._has_end:
            # INVARIANT: an end stays while the next segment may be there after a loss of power.
            return
        frames, size = self._synced, self.size
        if keep and frames + keep <= len(self.offsets):
            frames += keep
            size = [*self.offsets, self._written][frames]
        self._cut_to(size)
        del self.offsets[frames:]
        self._written = size

    def make_read_only(self) -> None:
        """Take the permission to write from a segment that has an end."""
        with suppress(OSError):
            self._io.chmod(self._fd, READ_ONLY)

    def reopened(self) -> "Segment":
        """Return this segment through a new descriptor, cut to what is synced."""
        return Segment.reopen(
            self._io, self.path, self.said, self.size, self.offsets[: self._synced]
        )

    def is_in_place(self) -> bool:
        """Return whether the file that is open is the one that stands at its path."""
        try:
            return _inode(self._io.stat(self.path)) == self._inode
        except FileNotFoundError:
            return False

    def restored(self, foreign: str) -> "Segment | None":
        """Put this segment back at its path from the open file, None when that is not whole.

        Args:
            foreign: The name under which whatever stands there is kept: it is evidence as well.
        """
        kept = self._kept_bytes()
        with suppress(FileNotFoundError):
            self._io.stat(self.path)
            self._io.rename(self.path, self.path.with_name(foreign))
        if kept is None:
            return None
        disk.replace(self._io, self.path, kept)
        return self.reopened()

    def _kept_bytes(self) -> bytes | None:
        """Return what was synced, read back from the open file, None when it is not whole."""
        found = b""
        with suppress(OSError):
            found = self._io.read(self._fd, self.size, 0)
        if len(found) != self.size:
            return None
        try:
            for _ in chunks(lambda size, offset: found[offset : offset + size], self.size):
                pass
        except BadFrame:
            return None
        return found

    def close(self) -> None:
        """Let go of the file; whatever was acknowledged is durable already."""
        disk.let_go(self._io, self._fd)

    def _cut_to(self, size: int) -> None:
        with suppress(OSError):
            _cut(self._io, self._fd, size)

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
