"""What one frame of a worker brought, on its way to the disk."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from sidecar.record.canonical import Halves
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
        settled: Is told what came of it, on the loop.
    """

    __slots__ = (
        "_settled",
        "_until_us",
        "began_s",
        "closes",
        "connection",
        "halves",
        "ids",
        "is_strict",
        "items",
        "loop",
        "number",
        "side",
    )

    def __init__(
        self,
        connection: C,
        write: Write,
        items: list[Item],
        settled: "Callable[[Sent[C], RecordError | None], None]",
    ) -> None:
        self.connection = connection
        self.number = write.number
        self.items = items
        # Of all that was sent, also of what stands in the log already.
        self.ids = [item.id for item in write.items]
        self.closes = [item.closes for item in write.items if item.closes is not None]
        self.halves: Sequence[Halves] = [Halves(item.head, item.tail) for item in items]
        self.side = [SideObject(one.digest, one.data) for one in write.side]
        self.loop = asyncio.get_running_loop()
        self.is_strict = any(item.strict for item in items)
        self.began_s = time.monotonic()
        self._until_us = write.until_us
        self._settled = settled

    def is_wanted(self) -> bool:
        """Return whether its worker still waits."""
        return not self._until_us or time.monotonic_ns() // 1000 < self._until_us

    def settle(self, error: RecordError | None) -> None:
        """Tell the recorder, on the loop."""
        self._settled(self, error)
