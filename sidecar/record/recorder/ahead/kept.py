"""The spool of one connection, as its recorder keeps it."""

import os
from contextlib import suppress
from pathlib import Path

from sidecar.record.recorder.ahead import spool


class Kept:
    """The spool of one connection, and which of its frames were refused and will come again."""

    def __init__(self, path: Path | None, fd: int | None) -> None:
        self.path = path
        self.fd = fd
        self._refused: set[int] = set()
        self._floor = 0

    @property
    def name(self) -> str:
        """Return what it is called; empty where there is none."""
        return "" if self.path is None else self.path.name

    def takes(self, number: int) -> bool:
        """Return whether a frame may be written: nothing of before it was refused, or it is that.

        So no outcome stands before its decision, when the disk takes the one and not the other.
        """
        if self._refused and number > min(self._refused):
            return False
        self._refused.discard(number)
        return True

    def refuse(self, number: int) -> None:
        """Take note that a frame was refused, and comes again."""
        if self.fd is not None:
            self._refused.add(number)

    def written(self, number: int) -> None:
        """Take note that all up to this frame was written, but for what was refused."""
        if self.fd is None:
            return
        floor = min(self._refused) - 1 if self._refused else number
        if floor > self._floor:
            self._floor = floor
            # What cannot be said is found in the log.
            with suppress(OSError):
                spool.raise_floor(self.fd, floor)

    def left(self) -> list[Path]:
        """Let go of the file; return where it stands, if there is one."""
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None
        return [] if self.path is None else [self.path]
