"""What a worker's client is made of: frames on their way, and the connection they go by."""

import asyncio
import logging
from collections.abc import Callable, Generator, Sequence
from typing import Any, Protocol, cast

import msgspec

from sidecar.record.canonical import split
from sidecar.record.limits import FRAME_RECORDS_MAX, FRAME_WHOLE_MAX, GATHERED_BYTES_MAX
from sidecar.record.recorder import wire
from sidecar.record.recorder.stencils.numbers import Numbers, Run
from sidecar.record.recorder.stencils.values import ID_BYTES, TIME_BYTES
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


class Pending(msgspec.Struct, eq=False):
    """One record on its way, `terms.record.Written`: as a future is, and lighter.

    What waits is called in the turn of the loop in which it is told, in order, and who awaits in
    the next.
    """

    _is_done: bool = False
    _error: RecordError | None = None
    _told: "Callable[[Pending], object] | list[Callable[[Pending], object]] | None" = None

    def done(self) -> bool:
        """Return whether it is known what came of it."""
        return self._is_done

    def exception(self) -> RecordError | None:
        """Return why it is not durable, None where it is."""
        assert self._is_done
        return self._error

    def add_done_callback(self, told: "Callable[[Pending], object]") -> None:
        """Call `told` once it is known what came of it."""
        if self._is_done:
            asyncio.get_running_loop().call_soon(told, self)
        elif self._told is None:
            self._told = told
        else:
            before = self._told if isinstance(self._told, list) else [self._told]
            self._told = [*before, told]

    def __await__(self) -> Generator[Any, None, None]:
        """Wait until it is durable. Raises RecordError."""
        if not self._is_done:
            waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self.add_done_callback(lambda _: _wake(waiting))
            yield from waiting
        if self._error is not None:
            # Another each time: who raises one writes its own way into it.
            raise RecordError(str(self._error))

    def settle(self, error: RecordError | None) -> None:
        """Say what came of it."""
        self._is_done, self._error = True, error
        told, self._told = self._told, None
        if isinstance(told, list):
            for one in told:
                asyncio.get_running_loop().call_soon(one, self)
        elif told is not None:
            told(self)


class Frame(msgspec.Struct, eq=False, kw_only=True):
    """Records that were sent together, and who waits for them.

    Args:
        is_outcome: Whether they are outcomes: decisions go by themselves.
        number: The frame's, once it is sent.
        is_late: Whether its writers were told that it is.
        is_ahead: Whether its writers were told before it was acknowledged.
        items: Those that go over whole; the others stand between them.
        runs: The others.
        run: That of them to which more may be added.
        side: Objects that must be durable before.
        pending: Who waits.
        records: All of them.
        opened: Of these, who awaits an outcome.
        size: How many bytes they have, about.
        began_s: When it was sent first.
    """

    is_outcome: bool
    number: int = 0
    is_late: bool = False
    is_ahead: bool = False
    items: list[Item] = []
    runs: list[Run] = []
    run: Run | None = None
    side: list[SideItem] = []
    pending: list[Pending] = []
    records: list[AnyRecord] = []
    opened: list[str] = []
    size: int = 0
    began_s: float = 0.0

    @property
    def is_owed(self) -> bool:
        """Return whether somebody counts on it already: it is kept until it is written."""
        return self.is_outcome or self.is_ahead

    @property
    def closes(self) -> list[str]:
        """Return the decisions whose outcomes are here."""
        return [item.closes for item in self.items if item.closes is not None]

    @property
    def is_full(self) -> bool:
        """Return whether it is sent before the turn ends."""
        is_many = len(self.records) >= FRAME_RECORDS_MAX or len(self.items) >= FRAME_WHOLE_MAX
        return is_many or self.size >= GATHERED_BYTES_MAX

    def take(self, item: Item, record: AnyRecord) -> None:
        """Take a record that goes over whole."""
        self.items.append(item)
        self.records.append(record)
        self.run = None
        if item.opens:
            self.opened.append(item.id)

    def take_made(self, record: MadeRecord) -> bool:
        """Take a record that goes over as its values; return whether it awaits an outcome."""
        run, stencil = self.run, record.stencil
        if run is None or run.stencil is not stencil:
            run = self.run = Run(len(self.items), stencil, [])
            self.runs.append(run)
        run.records.append(record)
        self.records.append(record)
        if stencil.listener_forwarded:
            self.opened.append(record.id)
            return True
        return False

    def take_all(self, records: list[MadeRecord]) -> dict[str, None]:
        """Take records of one stencil, which go over as values; return who awaits an outcome."""
        stencil = records[0].stencil
        run = self.run
        if run is None or run.stencil is not stencil:
            run = self.run = Run(len(self.items), stencil, [])
            self.runs.append(run)
        run.records += records
        self.records += records
        opened = [one.id for one in records] if stencil.listener_forwarded else []
        self.opened += opened
        return dict.fromkeys(opened)

    def encoded(self, until_us: int, numbers: Numbers) -> bytes | bytearray:
        """Return what is said over a connection where stencils have these numbers."""
        outlines, made = numbers.made(self.runs) if self.runs else ([], [])
        said = wire.frame(wire.Write(self.number, until_us, self.items, self.side, made))
        return b"".join([*map(wire.frame, outlines), said]) if outlines else said

    def tell(self, loop: asyncio.AbstractEventLoop, error: str | None) -> None:
        """Wake who waits, in the next turn of the loop; nobody is left then."""
        pending, self.pending = self.pending, []
        if pending:
            pending.reverse()
            failed = None if error is None else RecordError(error)
            loop.call_soon(_tell, pending, failed)


def _wake(waiting: "asyncio.Future[None]") -> None:
    if not waiting.done():
        waiting.set_result(None)


def _tell(pending: list[Pending], failed: RecordError | None) -> None:
    """Tell all of them, from the last; whoever fails at it does not keep the others waiting."""
    try:
        while pending:
            pending.pop().settle(failed)
    finally:
        if pending:
            asyncio.get_running_loop().call_soon(_tell, pending, failed)


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
        self.numbers = Numbers()
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

    def say(self, data: bytes | bytearray) -> None:
        """Send one frame."""
        if self.transport is not None:
            self.transport.write(data)

    def end(self) -> None:
        """Let go."""
        if self.transport is not None:
            self.transport.close()


def are_formed(records: Sequence[MadeRecord]) -> bool:
    """Return whether ids and times have the one form that goes over as a value."""
    return {(len(one.id), len(one.time)) for one in records} == {(ID_BYTES, TIME_BYTES)}


def item_of(record: AnyRecord) -> Item:
    """Return a record as it goes over the wire."""
    head, tail = split(record)
    if isinstance(record, DecisionRecord):
        return Item(record.id, head, tail, record.listener_forwarded)
    if isinstance(record, MadeRecord):
        return Item(record.id, head, tail, record.stencil.listener_forwarded)
    if isinstance(record, OutcomeRecord):
        return Item(record.id, head, tail, closes=record.parent)
    return Item(record.id, head, tail, strict=True)
