"""A worker's side: which frames are answered for before they are acknowledged."""

import asyncio
import math
import socket
from collections.abc import Callable

from sidecar.record.limits import AHEAD_RECORDS_MAX
from sidecar.record.recorder import wire
from sidecar.record.recorder.ahead import spool
from sidecar.record.recorder.ahead.spool import Spool
from sidecar.record.recorder.stencils.numbers import Numbers
from sidecar.record.recorder.worker.link import Frame


class Leading:
    """How far a worker is ahead of the recorder, and where that stands.

    Args:
        ahead_s: The recorder must have written something so lately.
        say: Says something to the recorder.
    """

    def __init__(self, ahead_s: float, say: Callable[[wire.FromWorker], None]) -> None:
        self._ahead_s = ahead_s
        self._say = say
        self._spool: Spool | None = None
        self._records = 0
        self._numbers: set[int] = set()
        # Of these, what a spool of before holds, and the one that there is does not.
        self._behind: set[int] = set()
        # Spools of before that a recorder may keep for us.
        self._was: list[str] = []
        # When the recorder has said last that it has written something.
        self._heard_s = -math.inf

    def begin(self, found: Spool | None) -> tuple[str, ...]:
        """Go on with another recorder's spool; return the names of those that it follows."""
        before, self._spool, self._heard_s = self._spool, found, -math.inf
        self._behind = set(self._numbers)
        if before is not None:
            before.close()
            self._was.append(before.name)
        return tuple(self._was)

    def begun(self) -> None:
        """Let go of the spools of before, once all that is ahead stands in this one."""
        if self._was and not self._behind:
            self._say(wire.Spent())

    def heard(self, at_s: float) -> None:
        """Take note that the recorder has written something, so also heard what we have had."""
        self._heard_s = at_s
        if not self._behind:
            self._was.clear()

    def refused(self) -> None:
        """Take note that it has not: the next frame waits for it."""
        self._heard_s = -math.inf

    def admits(self, sent: Frame) -> bool:
        """Return whether this frame may be answered for once it is sent."""
        return (
            self._spool is not None
            and sent.began_s - self._heard_s <= self._ahead_s
            and self._records + len(sent.records) <= AHEAD_RECORDS_MAX
            and not (sent.is_outcome or sent.side)
            and not any(item.strict for item in sent.items)
        )

    def put(self, sent: Frame, said: bytes | bytearray, numbers: Numbers) -> bool:
        """Keep what is said of a frame; return whether it is kept."""
        if self._spool is None:
            return False
        # Whole by itself: also the stencils that have gone over before.
        outlines = [one for one in numbers.framed_all(sent.runs) if one not in said]
        if not self._spool.put(sent.number, b"".join((*outlines, said))):
            return False
        self._numbers.add(sent.number)
        self._records += len(sent.records)
        return True

    def put_again(
        self, sent: Frame, said: bytes | bytearray, numbers: Numbers
    ) -> bytes | bytearray:
        """Keep in a new spool what the one before it held; return what is said."""
        if sent.number in self._behind:
            self._records -= len(sent.records)
            if self.put(sent, said, numbers):
                self._behind.discard(sent.number)
            else:
                self._records += len(sent.records)
        return said

    def settled(self, sent: Frame) -> None:
        """Take note that the recorder has a frame."""
        if sent.number not in self._numbers:
            return
        self._numbers.discard(sent.number)
        self._records -= len(sent.records)
        if sent.number in self._behind:
            self._behind.discard(sent.number)
            self.begun()
        if not self._numbers and self._spool is not None:
            self._spool.begin_anew()

    def close(self) -> None:
        """Let go of the spool."""
        self.begin(None)


async def met(connected: socket.socket) -> Spool | None:
    """Return the spool that a recorder hands over first, None where it has none."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    connected.setblocking(False)  # noqa: FBT003 - the standard library's own signature
    loop.add_reader(connected, _told, ready)
    try:
        await ready
        return spool.received(connected)
    finally:
        loop.remove_reader(connected)


def _told(ready: "asyncio.Future[None]") -> None:
    if not ready.done():
        ready.set_result(None)
