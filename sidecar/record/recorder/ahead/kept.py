"""The spool of one connection, as its recorder keeps it."""

import heapq
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from sidecar.record.limits import REFUSED_MAX, SPOOL_BYTES_MAX, SPOOL_ROOM_MAX
from sidecar.record.recorder.ahead import spool

# Of which st_blocks counts, on every system.
_BLOCK_BYTES: Final = 512


class Kept:
    """The spool of one connection, and which of its frames were refused and will come again.

    Args:
        path: Where it stands, None where there is none.
        fd: The file.
        lent: Another descriptor of it, for the worker.
    """

    def __init__(self, path: Path | None, fd: int | None, lent: int | None = None) -> None:
        self.path = path
        self.fd = fd
        self.lent = lent
        # Those of recorders before: what stands there is its worker's still.
        self.before: Sequence[Path] = ()
        # The least of them first, each once.
        self._refused: list[int] = []
        self._in_refused: set[int] = set()
        self._floor = self._top = 0

    @property
    def name(self) -> str:
        """Return what it is called; empty where there is none."""
        return "" if self.path is None else self.path.name

    @property
    def names(self) -> set[str]:
        """Return what all are called that are its worker's."""
        return {self.name, *(path.name for path in self.before)}

    def takes(self, number: int) -> bool:
        """Return whether a frame may be written: nothing of before it was refused, or it is that.

        So no outcome stands before its decision, when the disk takes the one and not the other.
        """
        if not self._refused:
            return True
        if number > self._refused[0]:
            return False
        if number == self._refused[0]:
            self._in_refused.discard(heapq.heappop(self._refused))
        return True

    def refuse(self, number: int) -> None:
        """Take note that a frame was refused, and comes again."""
        # No worker of ours has more on its way: what is beyond is refused by the least of them.
        is_new = number not in self._in_refused and len(self._refused) < REFUSED_MAX
        if self.fd is not None and is_new:
            self._in_refused.add(number)
            heapq.heappush(self._refused, number)

    def written(self, number: int) -> int:
        """Take note that all up to this frame is durable, but for what was refused.

        Return up to which frame nothing comes again.
        """
        if self.fd is None:
            return number
        self._top = max(self._top, number)
        floor = self._refused[0] - 1 if self._refused else self._top
        if floor > self._floor:
            self._floor = floor
            # What cannot be said is found in the log.
            with suppress(OSError):
                spool.raise_floor(self.fd, floor)
        return floor

    @property
    def is_outgrown(self) -> bool:
        """Return whether there is more in the file than a worker of ours puts there."""
        if self.fd is None:
            return False
        found = os.fstat(self.fd)
        # Room may be taken behind its end as well.
        room = found.st_blocks * _BLOCK_BYTES
        return found.st_size > SPOOL_BYTES_MAX or room > SPOOL_ROOM_MAX

    def hand_over(self) -> None:
        """Take note that the worker has its descriptor."""
        if self.lent is not None:
            os.close(self.lent)
            self.lent = None

    def left(self) -> list[Path]:
        """Let go of the file; return where it stands, if there is one, and those of before."""
        self.hand_over()
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None
        return [*self.before, *([] if self.path is None else [self.path])]
