"""The side store: objects that records name by digest, made durable before the record is.

Append-only files of frames `length u32 | SHA-256 32 | data` in `<state>/inputs/`, each writer's
life and every 64 MiB a new one: one write and one sync carry all objects of a batch. A frame that a
crash has cut ends its file, and nothing is ever appended behind it. Unlike the ledger the store may
lose objects on purpose: erasing one writes its file again without it. The record then still
verifies, and `replay` says that the input is gone. Behind a damaged frame nobody knows what stands:
then nothing is erased, and the error says where.
"""

import hmac
import os
import struct
import threading
from collections.abc import Collection, Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

from sidecar.record import disk
from sidecar.record.disk import DISK, FOLDER_MODE, NEW_ONLY, READ, Io
from sidecar.record.limits import OBJECT_BYTES_MAX, OBJECTS_FILE_BYTES_MAX, READ_BYTES
from sidecar.terms.errors import RecordError
from sidecar.terms.record import SideObject

_FRAME: Final = struct.Struct(">I32s")
_SUFFIX: Final = ".objects"
_PREFIX: Final = "sha256:"


class Place(NamedTuple):
    """Where an object stands: its file, its first byte there, and how long it is."""

    file: str
    at: int
    length: int


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

    def places(self) -> Iterator[tuple[str, Place]]:
        """Yield where each object stands that is there in full length, by its digest."""
        for name in self._names():
            at = 0
            for address, length in self._lengths(name):
                place = Place(name, at + _FRAME.size, length)
                yield f"{_PREFIX}{address.hex()}", place
                at += _FRAME.size + length

    def at(self, digest: str, place: Place) -> bytes | None:
        """Return the object at `place`, None where it is not that of `digest`. Raises OSError."""
        try:
            fd = self._io.open(self._folder / place.file, READ)
        except FileNotFoundError:
            return None
        try:
            data = self._io.read(fd, place.length, place.at)
        finally:
            disk.let_go(self._io, fd)
        return data if hmac.compare_digest(sha256(data).digest(), _address(digest)) else None

    def examined(self) -> dict[str, bool]:
        """Return the digest of every object, and whether the object is what it says."""
        found: dict[str, bool] = {}
        for name in self._names():
            for address, is_whole in self._heads(name):
                digest = f"{_PREFIX}{address.hex()}"
                found[digest] = found.get(digest, False) or is_whole
        return found

    def erase(
        self, digests: Collection[str], orphans: bytes = b"", named: Collection[str] = ()
    ) -> int:
        """Take objects out of the store for good; return how many there were.

        Args:
            digests: Of what is erased.
            orphans: Objects that hold this are erased too, unless `named`; empty for none.
            named: Digests that records name.

        Raises:
            RecordError: It could not be done, and may be tried again. Where a file is damaged,
            none was touched.
        """
        wanted = _Wanted(frozenset(map(_address, digests)), orphans, frozenset(named))
        if not (wanted.addresses or orphans):
            return 0
        try:
            with self._lock:
                # What is being written must not be appended to a file that is replaced.
                self._let_go()
                names = self._names()
            # INVARIANT: nothing is rewritten before every file was read to its end.
            found = {name: gone for name in names if (gone := self._wanted_in(name, wanted))}
            for name in found:
                self._erase(name, wanted)
            for name in found:
                self._check_gone(name, wanted)
        except OSError as error:
            raise RecordError(f"the side store: {os.strerror(error.errno or 0)}") from error
        return sum(found.values())

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

    def _lengths(self, name: str) -> Iterator[tuple[bytes, int]]:
        """Yield address and length of each frame of full length; what it holds is not read."""
        fd = self._io.open(self._folder / name, READ)
        at, size = 0, self._io.fstat(fd).st_size
        try:
            while len(head := self._io.read(fd, _FRAME.size, at)) == _FRAME.size:
                length, address = _FRAME.unpack(head)
                at += _FRAME.size + length
                if length > 2 * OBJECT_BYTES_MAX or at > size:
                    return
                yield address, length
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
                if len(data) < length or not any(address):
                    return
                yield address, hmac.compare_digest(sha256(data).digest(), address)
                at += _FRAME.size + length
        finally:
            disk.let_go(self._io, fd)

    def _wanted_in(self, name: str, wanted: "_Wanted") -> int:
        """Return how many objects of a file are wanted. Raises RecordError where it is damaged."""
        end = count = 0
        for address, data in self._frames(name):
            count += wanted.is_(address, data)
            end += _FRAME.size + len(data)
        self._check_rest(name, end, self._rest(name, end), wanted)
        return count

    def _check_rest(self, name: str, end: int, rest: bytes, wanted: "_Wanted") -> None:
        """Take what stands behind the last whole object for one that a crash has cut, or raise."""
        if len(rest) >= _FRAME.size:
            length, _ = _FRAME.unpack_from(rest)
            if length > 2 * OBJECT_BYTES_MAX or len(rest) - _FRAME.size >= length:
                raise RecordError(f"{self._at(name, end)}: a damaged object")
        if wanted.may_be_in(rest):
            text = "what is to be erased stands in or behind an object that is cut"
            raise RecordError(f"{self._at(name, end)}: {text}")

    def _check_gone(self, name: str, wanted: "_Wanted") -> None:
        with suppress(FileNotFoundError):
            if left := self._wanted_in(name, wanted):
                raise RecordError(f"{self._at(name, 0)}: {left} objects are still there")

    def _at(self, name: str, offset: int) -> str:
        return f"the side store: {self._folder.name}/{name} at byte {offset}"

    def _rest(self, name: str, at: int) -> bytes:
        """Return what stands from `at` on to the end of the file."""
        fd = self._io.open(self._folder / name, READ)
        try:
            if self._io.fstat(fd).st_size - at > 2 * OBJECTS_FILE_BYTES_MAX:
                raise RecordError(f"{self._at(name, at)}: a file that is larger than any")
            parts: list[bytes] = []
            while part := self._io.read(fd, READ_BYTES, at):
                parts.append(part)
                at += len(part)
        finally:
            disk.let_go(self._io, fd)
        return b"".join(parts)

    def _erase(self, name: str, wanted: "_Wanted") -> None:
        kept: list[bytes] = []
        end = 0
        for address, data in self._frames(name):
            end += _FRAME.size + len(data)
            if not wanted.is_(address, data):
                kept.append(_FRAME.pack(len(data), address) + data)
        # It may have changed since; and what a crash has cut stays, for it may be damage.
        rest = self._rest(name, end)
        self._check_rest(name, end, rest, wanted)
        path = self._folder / name
        if kept or rest:
            disk.replace(self._io, path, b"".join((*kept, rest)))
        else:
            self._io.unlink(path)
            disk.sync_folder(self._io, self._folder)


class _Wanted(NamedTuple):
    """What is to be erased: objects by their address, and those of no record that hold a text."""

    addresses: frozenset[bytes]
    orphans: bytes
    named: frozenset[str]

    def is_(self, address: bytes, data: bytes) -> bool:
        """Return whether this object is to be erased."""
        if address in self.addresses:
            return True
        is_hers = bool(self.orphans) and self.orphans in data
        return is_hers and f"{_PREFIX}{address.hex()}" not in self.named

    def may_be_in(self, rest: bytes) -> bool:
        """Return whether something wanted may stand in bytes that are no whole objects."""
        if self.orphans and self.orphans in rest:
            return True
        return any(address in rest for address in self.addresses) if rest else False


def _frame(one: SideObject) -> bytes:
    return _FRAME.pack(len(one.data), _address(one.digest)) + one.data


def _address(digest: str) -> bytes:
    return bytes.fromhex(digest.removeprefix(_PREFIX))
