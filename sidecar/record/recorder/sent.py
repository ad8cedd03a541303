"""What one frame of a worker brought, on its way to the disk."""

import time
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

from sidecar.record.limits import BATCH_BYTES_MAX, BATCH_RECORDS_MAX
from sidecar.record.recorder.wire import Item, Write
from sidecar.terms.errors import RecordError
from sidecar.terms.record import SideObject

C = TypeVar("C")


class Sent(Generic[C]):
    """A batch of the ledger's.

    Args:
        connection: Brought it.
        write: The frame.
        items: What of it does not stand in the log yet.
        size: How many bytes it came in.
        settled: Is told what came of it.
    """

    # It is settled on the thread that has read it.
    loop: Final = None

    __slots__ = (
        "_settled",
        "_until_us",
        "closes",
        "connection",
        "halves",
        "ids",
        "is_strict",
        "number",
        "opens",
        "side",
        "size",
    )

    def __init__(
        self,
        connection: C,
        write: Write,
        items: list[Item],
        size: int,
        settled: "Callable[[Sent[C], RecordError | None], None]",
    ) -> None:
        self.connection = connection
        self.number = write.number
        self.halves: Sequence[Item] = items
        self.ids = [item.id for item in items]
        self.opens = [item.id for item in items if item.opens]
        # Of all that was sent, also of what stands in the log already.
        self.closes = [item.closes for item in write.items if item.closes is not None]
        self.side: Sequence[SideObject] = ()
        if write.side:
            self.side = [SideObject(one.digest, one.data) for one in write.side]
        self.is_strict = True in [item.strict for item in items]
        self.size = size
        self._until_us = write.until_us
        self._settled = settled

    def is_wanted(self) -> bool:
        """Return whether its worker still waits."""
        return not self._until_us or time.monotonic_ns() // 1000 < self._until_us

    def settle(self, error: RecordError | None) -> None:
        """Tell the recorder."""
        self._settled(self, error)


class Turn(Generic[C]):
    """What is written together."""

    def __init__(self) -> None:
        self.sent: list[Sent[C]] = []
        self.ids: set[str] = set()
        self.records = 0
        self.began_s = 0.0
        self._size = 0

    @property
    def is_full(self) -> bool:
        """Return whether it takes nothing more."""
        return self.records >= BATCH_RECORDS_MAX or self._size >= BATCH_BYTES_MAX

    def add(self, sent: Sent[C], ids: list[str]) -> None:
        """Take a frame, with the ids of all that it carries."""
        self.began_s = self.began_s or time.monotonic()
        self.sent.append(sent)
        self.ids.update(ids)
        self.records += len(ids)
        self._size += sent.size
