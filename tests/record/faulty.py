"""A disk with behaviour: it fails where it is told to, and hangs until it is let go."""

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sidecar.record.disk import Disk


class FaultyDisk(Disk):
    """Counts the calls that touch the disk and fails those that `fails` names.

    `fails(number, name)` returns an errno, or 0 to let the call through. A failing write takes half
    of the bytes before it fails, as real ones do.
    """

    def __init__(self, fails: Callable[[int, str], int] = lambda _number, _name: 0) -> None:
        self.fails = fails
        self.calls: list[str] = []

    def _call(self, name: str) -> None:
        self.calls.append(name)
        number = self.fails(len(self.calls), name)
        if number:
            raise OSError(number, os.strerror(number))

    def open(self, path: Path, flags: int) -> int:
        self._call("open")
        return super().open(path, flags)

    def write(self, fd: int, data: bytes) -> int:
        try:
            self._call("write")
        except OSError as error:
            if error.errno == errno.EAGAIN:
                # A short write is no error: the rest is to be written again.
                return super().write(fd, data[: len(data) // 2 or 1])
            super().write(fd, data[: len(data) // 2])
            raise
        return super().write(fd, data)

    def fdatasync(self, fd: int) -> None:
        self._call("fdatasync")
        super().fdatasync(fd)

    def fsync(self, fd: int) -> None:
        self._call("fsync")
        super().fsync(fd)

    def ftruncate(self, fd: int, size: int) -> None:
        self._call("ftruncate")
        super().ftruncate(fd, size)

    def read(self, fd: int, size: int, offset: int) -> bytes:
        self._call("read")
        return super().read(fd, size, offset)

    def chmod(self, fd: int, mode: int) -> None:
        self._call("chmod")
        super().chmod(fd, mode)

    def mkdir(self, folder: Path) -> None:
        self._call("mkdir")
        super().mkdir(folder)

    def access(self, path: Path) -> bool:
        self._call("access")
        return super().access(path)

    def names(self, folder: Path) -> list[str]:
        self._call("names")
        return super().names(folder)

    def fstat(self, fd: int) -> Any:
        self._call("fstat")
        return super().fstat(fd)

    def stat(self, path: Path) -> Any:
        self._call("stat")
        return super().stat(path)

    def rename(self, old: Path, new: Path) -> None:
        self._call("rename")
        super().rename(old, new)

    def unlink(self, path: Path) -> None:
        self._call("unlink")
        super().unlink(path)

    def close(self, fd: int) -> None:
        # A close that fails has closed all the same.
        super().close(fd)
        self._call("close")


class HangingDisk(Disk):
    """Holds every fdatasync while `hangs` is set."""

    def __init__(self) -> None:
        self.free = threading.Event()
        self.free.set()
        self.held = threading.Event()
        self.syncs = 0

    def fdatasync(self, fd: int) -> None:
        if not self.free.is_set():
            self.held.set()
        self.free.wait()
        self.syncs += 1
        super().fdatasync(fd)
