"""A sign beside the key that accepted records are in memory alone.

`group`: what was accepted stands in a file before it is synced. A disk that fails may take it from
there, and the next segment is given it again; should the process end in between, nothing else says
that there was anything. The next start finds the sign, and records a `gap`.
"""

from collections.abc import Sized
from contextlib import suppress
from pathlib import Path

from sidecar.record import disk
from sidecar.record.disk import Io


class InHand:
    """The sign of one ledger: `<state>/keys/ledger.in_hand`."""

    def __init__(self, io: Io, key_file: Path) -> None:
        self._io = io
        self._path = key_file.with_suffix(".in_hand")
        self.stands = self._path.exists()

    def keep(self, accepted: Sized) -> None:
        """Put the sign up, durable, if it is not, and something was accepted."""
        if len(accepted) and not self.stands:
            disk.replace(self._io, self._path, b"")
            self.stands = True

    def end(self) -> None:
        """Take the sign down: all stands in a file, or is told to be missing."""
        if self.stands:
            with suppress(OSError):
                self._io.unlink(self._path)
                self.stands = False
