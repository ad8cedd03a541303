"""Sealed segments: a segment that is full, compressed, read-only, byte for byte the same inside.

It is made aside, synced, read back and compared with the open form, and only then takes its place;
a crash leaves the one, the other, or both, and readers prefer the open form. Sealing is done in
small steps on the committer's thread, between batches: nothing runs beside the writer, and no batch
waits for long.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import RawIOBase
from pathlib import Path
from typing import IO, Final, cast

import zstandard

from sidecar.record import disk
from sidecar.record.disk import NEW, READ, READ_ONLY, Io
from sidecar.record.limits import SEAL_STEP_BYTES, SEAL_SYNC_BYTES, WINDOW_BYTES_MAX
from sidecar.record.segments.segment import SEALED, Reader

# Enough for what a frame says of itself (RFC 8878 §3.1.1.1).
_FRAME_HEADER_BYTES: Final = 18
_CHECKSUM_BYTES: Final = 4
_BLOCK_HEADER_BYTES: Final = 3
_RLE: Final = 1


class NotSealed(Exception):
    """A sealed segment cannot be read back."""


class _Compressed(RawIOBase):
    """The bytes of a file as zstandard asks for them: one after the other."""

    def __init__(self, io: Io, fd: int) -> None:
        super().__init__()
        self._io, self._fd, self._offset = io, fd, 0

    def read(self, size: int = -1) -> bytes:
        """Return what comes next."""
        found = self._io.read(self._fd, size, self._offset)
        self._offset += len(found)
        return found


class _Inside:
    """What a sealed segment holds, read forwards."""

    def __init__(self, io: Io, fd: int) -> None:
        decompressor = zstandard.ZstdDecompressor(max_window_size=WINDOW_BYTES_MAX)
        self._at, self._last = 0, b""
        try:
            self.size = zstandard.frame_content_size(io.read(fd, _FRAME_HEADER_BYTES, 0))
            # The library says nothing of a frame that ends too early, nor of what stands behind.
            if _end_of_frame(io, fd) != io.fstat(fd).st_size:
                raise NotSealed("it is not one frame to its end")
            self._stream = decompressor.stream_reader(
                cast(IO[bytes], _Compressed(io, fd)), closefd=False
            )
        except zstandard.ZstdError as error:
            raise NotSealed(str(error)) from None
        if self.size < 0:
            raise NotSealed("it does not say how long it is")

    def read(self, size: int, offset: int) -> bytes:
        """Return up to `size` bytes from `offset`: from within what was read last, or behind it."""
        if offset < self._at - len(self._last):
            # The index is anybody's: it may name a place before the file.
            raise NotSealed("it is read forwards")
        again = self._last[offset - self._at :] if offset < self._at else b""
        assert len(again) < size
        try:
            while self._at < offset:
                skipped = self._stream.read(min(offset - self._at, SEAL_STEP_BYTES))
                self._at, self._last = self._at + len(skipped), skipped
                if not skipped:
                    return b""
            found = self._stream.read(size - len(again))
            self._at += len(found)
            if self._at >= self.size and self._stream.read(1):
                raise NotSealed("it is longer than it says")
        except zstandard.ZstdError as error:
            raise NotSealed(str(error)) from None
        self._last = again + found
        return self._last


def _end_of_frame(io: Io, fd: int) -> int:
    """Return where the frame ends that the file begins with (RFC 8878 §3.1.1), -1 for nowhere."""
    begin = io.read(fd, _FRAME_HEADER_BYTES, 0)
    at, is_last = zstandard.frame_header_size(begin), False
    while not is_last:
        header = int.from_bytes(found := io.read(fd, _BLOCK_HEADER_BYTES, at), "little")
        if len(found) < _BLOCK_HEADER_BYTES:
            return -1
        is_last, kind, size = bool(header & 1), header >> 1 & 3, header >> 3
        at += _BLOCK_HEADER_BYTES + (1 if kind == _RLE else size)
    has_checksum = zstandard.get_frame_parameters(begin).has_checksum
    return at + (_CHECKSUM_BYTES if has_checksum else 0)


@contextmanager
def opened(io: Io, path: Path) -> Iterator[tuple[Reader, int]]:
    """Open a segment in either form: how its bytes are read, forwards, and how many there are.

    Raises:
        NotSealed: It is sealed and cannot be read back.
    """
    fd, is_sealed = _open(io, path)
    try:
        if is_sealed:
            inside = _Inside(io, fd)
            yield inside.read, inside.size
        else:
            yield lambda size, offset: io.read(fd, size, offset), io.fstat(fd).st_size
    finally:
        disk.let_go(io, fd)


def _open(io: Io, path: Path) -> tuple[int, bool]:
    if path.name.endswith(SEALED):
        return io.open(path, READ), True
    try:
        return io.open(path, READ), False
    except FileNotFoundError:
        # It may have been sealed since its name was read.
        with suppress(FileNotFoundError):
            return io.open(sealed_path(path), READ), True
        raise


def sealed_path(path: Path) -> Path:
    """Return where the sealed form of the segment at `path` stands."""
    return path.with_name(f"{path.name}{SEALED}")


def sealing(io: Io, path: Path, let_go: Callable[[Io, int], None] = disk.let_go) -> Iterator[None]:
    """Seal the full segment at `path`, a step at a time.

    Args:
        io: The disk.
        path: The open form, which is removed at the end.
        let_go: Closes it: whoever has it open last waits until the disk has freed what it held.

    Raises:
        OSError: The disk did not take it, or did not give it back; the open form still stands.
    """
    temporary = sealed_path(path).with_name(f"{path.name}{SEALED}.tmp")
    source = io.open(path, READ)
    try:
        yield from _made(io, source, temporary, sealed_path(path))
        yield
        io.unlink(path)
        disk.sync_folder(io, path.parent)
    finally:
        let_go(io, source)


def _made(io: Io, source: int, temporary: Path, path: Path) -> Iterator[None]:
    """Make the sealed form aside, and give it its name, durable."""
    try:
        yield from _compress(io, source, temporary)
        # Through one descriptor: where its name goes meanwhile, what was made takes its place.
        yield from _compare(io, source, temporary)
        io.rename(temporary, path)
        disk.sync_folder(io, path.parent)
    except OSError:
        with suppress(OSError):
            io.unlink(temporary)
        raise


def _compress(io: Io, source: int, temporary: Path) -> Iterator[None]:
    """Write the sealed form aside, durable and read-only."""
    fd = io.open(temporary, NEW)
    try:
        yield from _copy(io, source, fd)
        io.chmod(fd, READ_ONLY)
        io.fsync(fd)
    finally:
        disk.let_go(io, fd)


def _copy(io: Io, source: int, fd: int) -> Iterator[None]:
    unsynced, offset, size = 0, 0, io.fstat(source).st_size
    made = zstandard.ZstdCompressor(write_checksum=True).compressobj(size=size)
    while offset < size:
        # What is added meanwhile is not ours: `_compare` finds it.
        data = io.read(source, min(SEAL_STEP_BYTES, size - offset), offset)
        if not data:
            raise OSError(None, "a segment became shorter")
        offset += len(data)
        unsynced += _write(io, fd, made.compress(data))
        if unsynced >= SEAL_SYNC_BYTES:
            # A little at a time: what is synced at the end would hold up the next batch.
            io.fdatasync(fd)
            unsynced = 0
        yield
    _write(io, fd, made.flush())


def _write(io: Io, fd: int, data: bytes) -> int:
    if data:
        disk.write_all(io, fd, data)
    return len(data)


def _compare(io: Io, source: int, temporary: Path) -> Iterator[None]:
    """Compare what is inside with the segment as it stands: two digests would cost ten times it."""
    fd = io.open(temporary, READ)
    try:
        yield from _compared(io, source, _Inside(io, fd))
    except NotSealed as error:
        raise OSError(None, f"a sealed segment cannot be read back: {error}") from None
    finally:
        disk.let_go(io, fd)


def _compared(io: Io, source: int, inside: _Inside) -> Iterator[None]:
    offset, is_same = 0, True
    while is_same and (data := inside.read(SEAL_STEP_BYTES, offset)):
        is_same = io.read(source, len(data), offset) == data
        offset += len(data)
        yield
    if not is_same or io.read(source, 1, offset):
        raise OSError(None, "a sealed segment does not hold what went in")
