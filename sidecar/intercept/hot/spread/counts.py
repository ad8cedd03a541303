"""How many connections each worker holds, in memory that all of them share.

Several workers listen on one socket, and a connection stays where it was taken for as long as it is
kept alive: so who holds fewer takes the next (`accepting.py`), and who was left with many more,
since another worker was away, sends some away with their next answers (`server.py`).

What stands there is a hint. Who writes it wrongly takes more than its share, as it could anyway, or
less; nobody waits for it for long.
"""

import math
import mmap
import os
import tempfile
from typing import Final

# Of a worker that takes none: it has not begun, drains, or has ended.
ABSENT: Final = -1
_EACH: Final = 4


def new_counts(workers: int) -> int:
    """Return the descriptor of such a memory, in which nobody is there."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("connections")
    else:
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    os.write(fd, ABSENT.to_bytes(_EACH, signed=True) * workers)
    return fd


def counts_in(fd: int) -> "memoryview[int]":
    """Return the counts that stand in such a memory, one for each worker."""
    return memoryview(mmap.mmap(fd, 0)).cast("i")


class Spread:
    """The counts of all workers, as one of them sees them.

    Args:
        counts: They; its own alone where it shares them with nobody.
        mine: Which is its own; nobody else writes it while it lives.
    """

    def __init__(self, counts: "memoryview[int] | None" = None, mine: int = 0) -> None:
        self._counts = memoryview(bytearray(_EACH)).cast("i") if counts is None else counts
        self._mine = mine

    def begin(self) -> None:
        """Be there."""
        self._counts[self._mine] = max(self._counts[self._mine], 0)

    def end(self) -> None:
        """Take no more."""
        self._counts[self._mine] = ABSENT

    def add(self, count: int) -> None:
        """Count connections that were taken, or have ended."""
        if self._counts[self._mine] != ABSENT:
            self._counts[self._mine] = max(self._counts[self._mine] + count, 0)

    def others(self) -> tuple[int, ...]:
        """Return what the others hold that are there."""
        return tuple(
            count for at, count in enumerate(self._counts) if at != self._mine and count >= 0
        )

    def ahead(self) -> int:
        """Return how many more it holds than who holds the fewest."""
        others = self.others()
        return self._counts[self._mine] - min(others) if others else 0

    def excess(self) -> int:
        """Return how many more it holds than its share."""
        others, mine = self.others(), self._counts[self._mine]
        return mine - math.ceil((mine + sum(others)) / (1 + len(others)))
