"""What a worker's client is made of: frames on their way, and the connection they go by."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol, cast

import msgspec

from sidecar.record.canonical import split
from sidecar.record.limits import FRAME_RECORDS_MAX, GATHERED_BYTES_MAX
from sidecar.record.recorder import wire
from sidecar.record.recorder.wire import Item, SideItem
from sidecar.terms.errors import RecordError
from sidecar.terms.record import AnyRecord, DecisionRecord, MadeRecord, OutcomeRecord

_log = logging.getLogger("sidecar.recorder")


class Meter(Protocol):
    """Counts what comes of records."""

    def written(self, records: Sequence[AnyRecord], seconds: float) -> None:
        """Take note of records that are durable, and of how long they took."""
        ...

    def lost(self, count: int, error: RecordError) -> None:
        """Take note of records that were refused."""
        ...


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

    @property
    def is_full(self) -> bool:
        """Return whether it is sent before the turn of the loop is over."""
        return len(self.items) >= FRAME_RECORDS_MAX or self.size >= GATHERED_BYTES_MAX

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


def item_of(record: AnyRecord) -> Item:
    """Return a record as it goes over the wire."""
    if isinstance(record, MadeRecord):
        return Item(record.id, record.head, record.tail, record.listener_forwarded)
    head, tail = split(record)
    if isinstance(record, DecisionRecord):
        return Item(record.id, head, tail, record.listener_forwarded)
    if isinstance(record, OutcomeRecord):
        return Item(record.id, head, tail, closes=record.parent)
    return Item(record.id, head, tail, strict=True)
