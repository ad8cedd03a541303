"""What the ledger stands on, looked at every second: its folder, its permissions, its clock, space.

A file that is open can be written although its name, its permissions or its folder are gone, and a
clock can be set while we write: none of this is an error of any call, so it is looked for.
"""

import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from sidecar.record import disk
from sidecar.record.disk import FOLDER, FOLDER_MODE, NEW, Io
from sidecar.record.limits import CLOCK_STEP_S, RESERVE_BYTES
from sidecar.terms.errors import LedgerBroken

RESERVE: Final = "reserve"
# Linux, random(4): it is another after each start of the machine.
_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


def boot_id() -> str:
    """Return what names the machine's life, empty where it does not say."""
    try:
        return _BOOT.read_bytes().decode().strip()
    except (OSError, ValueError):
        return ""


def lock(io: Io, folder: Path) -> int:
    """Take the ledger's folder for this process alone, making it when it is not there.

    The lock is on the folder itself: a lock file could be removed and made again.

    Raises:
        LedgerBroken: Another process has it, or others may write to it.
    """
    folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    fd = io.open(folder, FOLDER)
    try:
        _check_owner(io, folder, fd)
        io.lock(fd)
    except BlockingIOError:
        disk.let_go(io, fd)
        raise LedgerBroken(f"{folder}: another process writes this ledger") from None
    except (OSError, LedgerBroken):
        disk.let_go(io, fd)
        raise
    return fd


def _check_owner(io: Io, folder: Path, fd: int) -> None:
    seen = io.fstat(fd)
    if seen.st_uid != os.geteuid() or seen.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise LedgerBroken(f"{folder}: others may write to the ledger's folder")


def held(io: Io, folder: Path, fd: int) -> int:
    """Return a lock on the folder that stands there now: `fd`, when it is on that.

    Raises:
        OSError: Another one stands there, and it cannot be had.
    """
    seen, held = io.stat(folder), io.fstat(fd)
    if (seen.st_dev, seen.st_ino) == (held.st_dev, held.st_ino):
        return fd
    try:
        other = lock(io, folder)
    except LedgerBroken as error:
        raise OSError(None, str(error)) from None
    disk.let_go(io, fd)
    return other


class ClockWatch:
    """Sees the wall clock being set: it then parts from the monotonic one."""

    def __init__(self, now_us: Callable[[], int], monotonic_s: Callable[[], float]) -> None:
        self._now_us, self._monotonic_s = now_us, monotonic_s
        self._apart_us = self._apart()

    def step_ms(self) -> int | None:
        """Return by how much the clock was set since the last look, None for less than matters."""
        apart_us = self._apart()
        step_us, self._apart_us = apart_us - self._apart_us, apart_us
        return step_us // 1000 if abs(step_us) > CLOCK_STEP_S * 1e6 else None

    def _apart(self) -> int:
        return self._now_us() - int(self._monotonic_s() * 1e6)


class Reserve:
    """Space that is kept back, so that a full disk can still be told to be full."""

    def __init__(self, io: Io, folder: Path, size: int = RESERVE_BYTES) -> None:
        self._io, self._path, self._size = io, folder / RESERVE, size

    def keep(self) -> None:
        """Take the space, unless it is taken; OSError when there is none."""
        with suppress(FileNotFoundError):
            if self._io.stat(self._path).st_size >= self._size:
                return
        fd = self._io.open(self._path, NEW)
        try:
            disk.write_all(self._io, fd, bytes(self._size))
            self._io.fsync(fd)
        finally:
            disk.let_go(self._io, fd)

    def release(self) -> None:
        """Give the space back."""
        with suppress(FileNotFoundError):
            self._io.unlink(self._path)


def is_full(error: OSError) -> bool:
    """Return whether there is no space, on the disk or in the quota."""
    return error.errno in _FULL


def check_access(io: Io, folder: Path, segment: Path) -> None:
    """Raise OSError when the folder or the segment may not be written any more."""
    if not io.access(folder):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    try:
        if io.access(segment):
            return
    except FileNotFoundError:
        # That it is gone is seen, and mended, at the next write.
        return
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
