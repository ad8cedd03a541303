"""What a worker's client is made of: frames on their way, and the connection they go by."""

import asyncio
import logging
from collections.abc import Callable
from typing import cast

import msgspec

from sidecar.record.recorder import wire
from sidecar.record.recorder.wire import Item, SideItem
from sidecar.terms.errors import RecordError
from sidecar.terms.record import AnyRecord

_log = logging.getLogger("sidecar.recorder")


class Frame:
    """Records that were sent together, and who waits for them."""

    __slots__ = (
        "began_s",
        "futures",
        "is_late",
        "is_outcome",
        "items",
        "number",
        "records",
        "side",
        "size",
    )

    def __init__(self, *, is_outcome: bool) -> None:
        self.number = 0
        self.is_outcome = is_outcome
        self.is_late = False
        self.items: list[Item] = []
        self.side: list[SideItem] = []
        self.futures: list[asyncio.Future[None]] = []
        self.records: list[AnyRecord] = []
        self.size = 0
        self.began_s = 0.0

    def tell(self, error: str | None) -> None:
        """Wake who waits; nobody is left then."""
        futures, self.futures = self.futures, []
        for future in futures:
            if future.done():
                continue
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(RecordError(error))
                # Who has gone meanwhile has been refused as well.
                future.exception()


class Link(asyncio.Protocol):
    """One connection to one life of the recorder.

    Args:
        made: Is called once it can be spoken over, before anything is heard.
        heard: Is handed each frame.
        lost: Is told once that the recorder is gone.
    """

    def __init__(
        self,
        made: Callable[["Link"], None],
        heard: Callable[[wire.FromRecorder], None],
        lost: Callable[["Link"], None],
    ) -> None:
        self._made = made
        self._heard = heard
        self._lost = lost
        self._frames = wire.Frames()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport, and greet."""
        # Why cast: uvloop's transports are of no class of asyncio's.
        self.transport = cast("asyncio.Transport", transport)
        self._made(self)

    def data_received(self, data: bytes) -> None:
        """Hand each frame on; whoever is not understood is no recorder of ours."""
        try:
            for body in self._frames.feed(data):
                self._heard(wire.read_recorder(body))
        except (wire.Garbled, msgspec.DecodeError) as error:
            _log.error("the recorder is not understood: %s", error)
            self.end()

    def connection_lost(self, exc: Exception | None) -> None:
        """Say that the recorder is gone."""
        self.transport = None
        self._lost(self)

    def say(self, data: bytearray) -> None:
        """Send one frame."""
        if self.transport is not None:
            self.transport.write(data)

    def end(self) -> None:
        """Let go."""
        if self.transport is not None:
            self.transport.close()
