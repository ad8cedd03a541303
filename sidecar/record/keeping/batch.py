"""What is handed to the ledger's thread: records that become durable together, and who waits."""

import asyncio
from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from sidecar.record.canonical import Halves
from sidecar.record.proof.marks import Placeable
from sidecar.terms.errors import RecordError
from sidecar.terms.record import SideObject


class Batch(Protocol):
    """Records that become durable together, and who waits for them."""

    @property
    def halves(self) -> Sequence[Placeable]:
        """Return the records."""
        ...

    @property
    def size(self) -> int:
        """Return how many bytes they have, about."""
        ...

    @property
    def side(self) -> Sequence[SideObject]:
        """Return the objects that must be durable before them."""
        ...

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """Return the loop on which it is settled, None for the committer's thread."""
        ...

    @property
    def is_strict(self) -> bool:
        """Return whether it has to be durable even where others only have to be written."""
        ...

    def is_wanted(self) -> bool:
        """Return whether anybody waits; asked by the committer's thread, just before the write."""
        ...

    def settle(self, error: RecordError | None) -> None:
        """Take what came of it, on the loop; called once."""
        ...


class Source(Protocol):
    """Where the committer's thread finds batches, beside those that are submitted."""

    def gather(self, seconds: float) -> Sequence[Batch]:
        """Return what has come and is wanted, after so long at most, or once woken."""
        ...

    def wake(self) -> None:
        """Let `gather` return; from any thread."""
        ...

    def told(self) -> None:
        """Take note that all batches of this turn are settled, or that some are durable now."""
        ...


class Nudge:
    """Nothing: wakes the thread."""

    halves: Sequence[Placeable] = ()
    side: Sequence[SideObject] = ()
    size: Final = 0
    loop: Final = None
    is_strict: Final = False

    def is_wanted(self) -> bool:
        """Return that nobody waits for it."""
        return False

    def settle(self, error: RecordError | None) -> None:
        """Tell nobody."""


class One(NamedTuple):
    """One record of this process."""

    halves: tuple[Halves]
    side: tuple[SideObject, ...]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[None]
    # What others act upon, a revocation for one, is in force once it is durable.
    is_strict: bool

    @property
    def size(self) -> int:
        """Return how many bytes it has."""
        return self.halves[0].size

    def is_wanted(self) -> bool:
        """Return whether the writer has not given up: who has was refused, and leaves no record."""
        return not self.future.done()

    def settle(self, error: RecordError | None) -> None:
        """Wake the writer."""
        if self.future.done():
            return
        if error is None:
            self.future.set_result(None)
        else:
            self.future.set_exception(RecordError(str(error)))
