"""What the ledger stands on, looked at every second: its folder, its permissions, its clock, space.

A file that is open can be written although its name, its permissions or its folder are gone, and a
clock can be set while we write: none of this is an error of any call, so it is looked for.
"""

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from sidecar.record import disk
from sidecar.record.disk import NEW, Io
from sidecar.record.limits import CLOCK_STEP_S, RESERVE_BYTES

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
