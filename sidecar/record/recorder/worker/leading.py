"""A worker's side: which frames are answered for before they are acknowledged."""

import asyncio
import math
import socket

from sidecar.record.limits import AHEAD_RECORDS_MAX
from sidecar.record.recorder.ahead import spool
from sidecar.record.recorder.ahead.spool import Spool
from sidecar.record.recorder.stencils.numbers import Numbers
from sidecar.record.recorder.worker.link import Frame


class Leading:
    """How far a worker is ahead of the recorder, and where that stands.

    Args:
        ahead_s: The recorder must have written something so lately.
    """

    def __init__(self, ahead_s: float) -> None:
        self._ahead_s = ahead_s
        self._spool: Spool | None = None
        self._records = 0
        self._numbers: set[int] = set()
        # When the recorder has said last that it has written something.
        self._heard_s = -math.inf

    def begin(self, found: Spool | None) -> str:
        """Go on with another recorder's spool; return the name of the one that it follows."""
        before, self._spool, self._heard_s = self._spool, found, -math.inf
        if before is not None:
            before.close()
        return "" if before is None else before.name

    def heard(self, now_s: float) -> None:
        """Take note that the recorder has written something."""
        self._heard_s = now_s

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
        outlines = [numbers.framed(run.stencil) for run in sent.runs]
        if not self._spool.put(sent.number, b"".join((*outlines, said))):
            return False
        self._numbers.add(sent.number)
        self._records += len(sent.records)
        return True

    def put_again(self, sent: Frame, said: bytes | bytearray, numbers: Numbers) -> None:
        """Keep in a new spool what the one before it held."""
        if sent.number in self._numbers:
            self.settled(sent)
            self.put(sent, said, numbers)

    def settled(self, sent: Frame) -> None:
        """Take note that the recorder has a frame."""
        if sent.number in self._numbers:
            self._numbers.discard(sent.number)
            self._records -= len(sent.records)
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
