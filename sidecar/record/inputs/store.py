"""The side store: objects that records name by digest, made durable before the record is.

Append-only files of frames `length u32 | SHA-256 32 | data` in `<state>/inputs/`, each writer's
life and every 64 MiB a new one: one write and one sync carry all objects of a batch. A frame that a
crash has cut ends its file, and nothing is ever appended behind it. Unlike the ledger the store may
lose objects on purpose: erasing one writes its file again without it. The record then still
verifies, and `replay` says that the input is gone.
"""

import hmac
import os
import struct
import threading
from collections.abc import Collection, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Final

from sidecar.record import disk
from sidecar.record.disk import DISK, FOLDER_MODE, NEW_ONLY, READ, Io
from sidecar.record.limits import OBJECT_BYTES_MAX, OBJECTS_FILE_BYTES_MAX
from sidecar.terms.errors import RecordError
from sidecar.terms.record import SideObject

_FRAME: Final = struct.Struct(">I32s")
_SUFFIX: Final = ".objects"
_PREFIX: Final = "sha256:"


def inputs_path(state: Path) -> Path:
    """Return the side store below the state folder."""
    return state / "inputs"


class Inputs:
    """The store in one folder. One process writes; anybody with the folder may read."""

    def __init__(self, folder: Path, io: Io = DISK) -> None:
        self._folder = folder
        self._io = io
        self._fd = -1
        self._size = 0
        # The ledger's thread puts, another one erases.
        self._lock = threading.Lock()

    def put(self, objects: Collection[SideObject]) -> None:
        """Return when `objects` are durable.

        Raises:
            RecordError: They are not; a record that names them must not be written.
        """
        data = b"".join(_frame(one) for one in objects)
        if not data:
            return
        try:
            with self._lock:
                self._append(data)
        except OSError as error:
            # The rest of this file is not known; what comes next begins another.
            self.close()
            raise RecordError(f"the side store: {os.strerror(error.errno or 0)}") from error

    def get(self, digest: str) -> bytes | None:
        """Return the object of this digest, None where it is gone. Raises OSError."""
        wanted = _address(digest)
        for name in self._names():
            for address, data in self._frames(name):
                if address == wanted:
                    return data
        return None

    def examined(self) -> dict[str, bool]:
        """Return the digest of every object, and whether the object is what it says."""
        found: dict[str, bool] = {}
        for name in self._names():
            for address, is_whole in self._heads(name):
                digest = f"{_PREFIX}{address.hex()}"
                found[digest] = found.get(digest, False) or is_whole
        return found

    def erase(self, digests: Collection[str]) -> int:
        """Take objects out of the store for good; return how many there were.

        Raises:
            RecordError: It could not be done; it may be tried again.
        """
        wanted = {_address(digest) for digest in digests}
        if not wanted:
            return 0
        try:
            with self._lock:
                # What is being written must not be appended to a file that is replaced.
                self._let_go()
                names = self._names()
            return sum(self._erase(name, wanted) for name in names)
        except OSError as error:
            raise RecordError(f"the side store: {os.strerror(error.errno or 0)}") from error

    def close(self) -> None:
        """Let go of the file that is being written."""
        with self._lock:
            self._let_go()

    def _let_go(self) -> None:
        if self._fd >= 0:
            disk.let_go(self._io, self._fd)
        self._fd, self._size = -1, 0

    def _append(self, data: bytes) -> None:
        if self._fd >= 0 and self._size + len(data) > OBJECTS_FILE_BYTES_MAX:
            self._let_go()
        if self._fd < 0:
            self._begin()
        disk.write_all(self._io, self._fd, data)
        self._io.fdatasync(self._fd)
        self._size += len(data)

    def _begin(self) -> None:
        self._folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        names = self._names()
        number = int(names[-1].removesuffix(_SUFFIX)) + 1 if names else 0
        self._fd = self._io.open(self._folder / f"{number:012d}{_SUFFIX}", NEW_ONLY)
        disk.sync_folder(self._io, self._folder)

    def _names(self) -> list[str]:
        try:
            names = self._io.names(self._folder)
        except FileNotFoundError:
            return []
        return [name for name in names if name.endswith(_SUFFIX) and name[:12].isdigit()]

    def _frames(self, name: str) -> Iterator[tuple[bytes, bytes]]:
        """Yield address and data of each object of a file, up to one that is not whole."""
        fd = self._io.open(self._folder / name, READ)
        at = 0
        try:
            while len(head := self._io.read(fd, _FRAME.size, at)) == _FRAME.size:
                length, address = _FRAME.unpack(head)
                if length > 2 * OBJECT_BYTES_MAX:
                    return
                data = self._io.read(fd, length, at + _FRAME.size)
                if len(data) < length or sha256(data).digest() != address:
                    return
                yield address, data
                at += _FRAME.size + length
        finally:
            disk.let_go(self._io, fd)

    def _heads(self, name: str) -> Iterator[tuple[bytes, bool]]:
        """Yield address of each frame of full length, and whether its data is what it says."""
        fd = self._io.open(self._folder / name, READ)
        at = 0
        try:
            while len(head := self._io.read(fd, _FRAME.size, at)) == _FRAME.size:
                length, address = _FRAME.unpack(head)
                if length > 2 * OBJECT_BYTES_MAX:
                    return
                data = self._io.read(fd, length, at + _FRAME.size)
                if len(data) < length:
                    return
                yield address, hmac.compare_digest(sha256(data).digest(), address)
                at += _FRAME.size + length
        finally:
            disk.let_go(self._io, fd)

    def _erase(self, name: str, wanted: set[bytes]) -> int:
        frames = list(self._frames(name))
        kept = [(address, data) for address, data in frames if address not in wanted]
        if len(kept) == len(frames):
            return 0
        path = self._folder / name
        if kept:
            packed = (_FRAME.pack(len(data), address) + data for address, data in kept)
            disk.replace(self._io, path, b"".join(packed))
        else:
            self._io.unlink(path)
            disk.sync_folder(self._io, self._folder)
        return len(frames) - len(kept)


def _frame(one: SideObject) -> bytes:
    return _FRAME.pack(len(one.data), _address(one.digest)) + one.data


def _address(digest: str) -> bytes:
    return bytes.fromhex(digest.removeprefix(_PREFIX))
