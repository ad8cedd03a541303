"""The recorder: takes what workers have decided, makes it durable, and owns what follows from it.

- A record is there once: ids of the last records are known, also after a restart; what is sent
  again is acknowledged and not written.
- What nobody waits for is not written: a frame says until when it is wanted, and the committer asks
  just before the write.
- A revocation that is acknowledged is in force: every worker has taken the new list, or is gone.
- A permitted call has an outcome: a decision whose worker is gone is closed as `unknown`; at a
  start, once every living worker has said which are its own.

One loop reads and answers, one thread (the ledger's) waits for the disk; a disk that hangs stops
acknowledgements and nothing else.
"""

import asyncio
import logging
import socket
import time
from collections import deque
from collections.abc import Callable, Coroutine
from typing import cast

import msgspec

from sidecar.record.fold import OpenDecisions, RecentIds
from sidecar.record.ledger import Ledger
from sidecar.record.limits import GROUP_S_MAX, OWED_EVERY_S, TOOK_S_MAX
from sidecar.record.recorder import wire
from sidecar.record.recorder.owed import Owed
from sidecar.record.recorder.people import Asker, People
from sidecar.record.recorder.sent import Sent
from sidecar.record.recorder.wire import Ack, Revoked, State, Welcome, Write, frame
from sidecar.terms.errors import RecordError
from sidecar.terms.record import SCHEMA, OutcomeRecord
from sidecar.terms.words import CallId

_log = logging.getLogger("sidecar.recorder")


class Outside(msgspec.Struct, frozen=True):
    """What is not the recorder's own.

    Args:
        new_id: Returns ids of records.
        now: Returns times of records.
        stuck: Is told of a worker that does not take a revocation; it has to be ended.
        committed: Is told of each batch: how many records, how long it took in seconds.
    """

    new_id: Callable[[], CallId]
    now: Callable[[], str]
    stuck: Callable[[str], None]
    committed: Callable[[int, float], None]


class Connection(asyncio.Protocol):
    """One life of one worker."""

    def __init__(self, recorder: "Recorder", name: str) -> None:
        self.recorder = recorder
        self.name = name
        self.has_greeted = False
        self.took_epoch = 0
        self.open: dict[str, None] = {}
        self._frames = wire.Frames()
        self._transport: asyncio.Transport | None = None

    @property
    def is_alive(self) -> bool:
        """Return whether anybody reads what is sent."""
        return self._transport is not None and not self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet."""
        # Why cast: uvloop's transports are of no class of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self.recorder.joined(self)

    def data_received(self, data: bytes) -> None:
        """Take what the worker sends; one that does not speak the language is ended."""
        try:
            for body in self._frames.feed(data):
                self.recorder.heard(self, wire.read_worker(body))
        except (wire.Garbled, msgspec.DecodeError) as error:
            _log.error("%s is not understood: %s", self.name, error)
            self.recorder.end(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Close what the worker has left open."""
        self._transport = None
        self.recorder.left(self)

    def say(self, said: wire.FromRecorder) -> None:
        """Send one frame."""
        if self._transport is not None:
            self._transport.write(frame(said))

    def cut(self) -> None:
        """End the connection at once."""
        if self._transport is not None:
            self._transport.abort()


class Recorder:
    """Serves the connections that the supervisor hands in."""

    def __init__(
        self, ledger: Ledger, opened: OpenDecisions, recent: RecentIds, outside: Outside
    ) -> None:
        self._ledger = ledger
        self._recent = recent
        self._outside = outside
        self._owed = Owed(ledger, opened, self._unknown)
        self._is_complete = False
        self._connections: dict[Connection, None] = {}
        # Handed in, and not yet connected: they are heard before anything is nobody's.
        self._arriving = 0
        # On their way to the disk: what is sent again meanwhile waits for what comes of it.
        self._queued: set[str] = set()
        self._parked: dict[tuple[Connection, int], Write] = {}
        self._pushed_epoch = ledger.revocations.epoch
        self._held: list[tuple[int, Connection, int]] = []
        # Frames that are acknowledged and not durable: the size at which they are.
        self._unsynced: deque[tuple[int, Connection, int]] = deque()
        self._looking: asyncio.TimerHandle | None = None
        self._was_refusing = False
        self._gone = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._people = People(ledger, lambda: tuple(self._connections), self.end)

    # --- what the supervisor asks ---

    def connect(self, name: str, connected: socket.socket) -> asyncio.Task[None]:
        """Serve a worker's connection; from now on it is counted among the living."""
        self._arriving += 1
        task = asyncio.get_running_loop().create_task(self._connect(name, connected))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _connect(self, name: str, connected: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.create_unix_connection(lambda: Connection(self, name), sock=connected)
        finally:
            self._arriving -= 1
            self._close_unclaimed()

    def complete(self) -> None:
        """Take note that every living worker was handed in: what none claims is nobody's."""
        self._is_complete = True
        self._close_unclaimed()

    async def nobody_is_left(self) -> None:
        """Return when no worker is connected."""
        while self._connections:
            self._gone.clear()
            await self._gone.wait()

    async def close(self) -> None:
        """End every connection, close what is open, and let go of the ledger."""
        if self._looking is not None:
            self._looking.cancel()
        for connection in tuple(self._connections):
            connection.cut()
        await self.nobody_is_left()
        self.complete()
        await self._owed.stop(OWED_EVERY_S)
        await self._ledger.close()

    def tell_state(self) -> None:
        """Tell every worker how the ledger is, if that is another than it was."""
        refusing = self._ledger.is_refusing
        if refusing != self._was_refusing:
            self._was_refusing = refusing
            self._say_all(State(self._ledger.size, refusing))

    @property
    def waiting(self) -> int:
        """Return how many records wait for the disk."""
        return self._ledger.waiting

    @property
    def open_decisions(self) -> int:
        """Return how many decisions have no outcome yet."""
        return len(self._owed) + sum(len(one.open) for one in self._connections)

    # --- what connections say ---

    def joined(self, connection: Connection) -> None:
        """Tell a worker what is so."""
        self._connections[connection] = None
        revocations = self._ledger.revocations
        connection.took_epoch = revocations.epoch
        connection.say(
            Welcome(
                self._ledger.size,
                self._ledger.is_refusing,
                revocations.epoch,
                tuple(sorted(revocations.parties)),
                str(self._ledger.verifier),
                self._ledger.is_group,
            )
        )

    def heard(self, connection: Connection, said: wire.FromWorker) -> None:
        """Take one frame."""
        match said:
            case Write():
                self._write(connection, said)
            case wire.Took(epoch):
                connection.took_epoch = max(connection.took_epoch, epoch)
                self._release()
            case wire.Hello(claimed):
                connection.has_greeted = True
                connection.open.update(dict.fromkeys(self._owed.claimed(claimed)))
                self._close_unclaimed()
            case wire.AskHandles(number, persons):
                self._spawn(self._people.answer(connection, number, persons))
            case wire.Erase(number, person):
                self._spawn(self._people.forget(connection, number, person))
            case wire.Dropped():
                self._people.dropped(connection)

    def _spawn(self, doing: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(doing)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def left(self, connection: Connection) -> None:
        """Close what a worker that is gone has left open."""
        self._connections.pop(connection, None)
        self._people.dropped(connection)
        self._owed.give_up(connection.open)
        self._close_unclaimed()
        self._release()
        self._gone.set()

    # --- records ---

    def _write(self, connection: Connection, write: Write) -> None:
        recent, is_closed = self._recent, self._owed.is_closed
        items = [
            item
            for item in write.items
            if item.id not in recent and (item.closes is None or not is_closed(item.closes))
        ]
        sent = Sent(connection, write, items, self.settled)
        if not self._queued.isdisjoint(sent.ids):
            self._parked[connection, write.number] = write
            return
        try:
            self._ledger.submit(sent)
        except RecordError as error:
            self._failed(sent, error)
        else:
            self._queued.update(sent.ids)
            self._owed.telling(sent.closes)

    def _failed(self, sent: Sent[Connection], error: RecordError) -> None:
        if sent.closes:
            self._owed.failed(sent.closes, is_kept=sent.connection.is_alive)
        sent.connection.say(Ack(sent.number, str(error)))

    def settled(self, sent: Sent[Connection], error: RecordError | None) -> None:
        """Acknowledge a frame, after everybody knows what follows from it."""
        self._queued.difference_update(sent.ids)
        if error is None:
            self._taken(sent)
        else:
            self._failed(sent, error)
        parked, self._parked = self._parked, {}
        for (connection, _), write in parked.items():
            self._write(connection, write)
        self.tell_state()

    def _taken(self, sent: Sent[Connection]) -> None:
        connection = sent.connection
        self._outside.committed(len(sent.items), time.monotonic() - sent.began_s)
        self._note(connection, sent)
        epoch = self._ledger.revocations.epoch
        if epoch != self._pushed_epoch:
            self._push(epoch)
        if self._is_behind(epoch):
            self._held.append((epoch, connection, sent.number))
        else:
            connection.say(Ack(sent.number))
        if self._ledger.is_group:
            self._unsynced.append((self._ledger.accepted, connection, sent.number))
            self.tell_synced()

    def tell_synced(self) -> None:
        """Tell who wrote what is durable by now."""
        size, last = self._ledger.size, dict[Connection, int]()
        while self._unsynced and self._unsynced[0][0] <= size:
            _, connection, number = self._unsynced.popleft()
            last[connection] = number
        for connection, number in last.items():
            connection.say(wire.Synced(number))
        if self._unsynced and self._looking is None:
            self._looking = asyncio.get_running_loop().call_later(GROUP_S_MAX, self._look_again)

    def _look_again(self) -> None:
        self._looking = None
        self.tell_synced()

    def _note(self, connection: Connection, sent: Sent[Connection]) -> None:
        add, owed = self._recent.add, connection.open
        for item in sent.items:
            add(item.id)
            if item.opens:
                owed[item.id] = None
        if sent.closes:
            self._owed.told(sent.closes)
            for decision in sent.closes:
                owed.pop(decision, None)
        if owed and not connection.is_alive:
            # It was gone before its record was durable.
            self._owed.give_up(owed)
            owed.clear()

    # --- revocations ---

    def _push(self, epoch: int) -> None:
        self._pushed_epoch = epoch
        self._say_all(Revoked(epoch, tuple(sorted(self._ledger.revocations.parties))))
        asyncio.get_running_loop().call_later(TOOK_S_MAX, self._give_up, epoch)

    def _is_behind(self, epoch: int) -> bool:
        return any(one.took_epoch < epoch for one in self._connections)

    def _release(self) -> None:
        """Acknowledge what was held until everybody had taken a revocation."""
        held, self._held = self._held, []
        for epoch, connection, number in held:
            if self._is_behind(epoch):
                self._held.append((epoch, connection, number))
            else:
                connection.say(Ack(number))

    def _give_up(self, epoch: int) -> None:
        """Let go of workers that did not take a revocation: without records they permit nothing."""
        for connection in tuple(self._connections):
            if connection.took_epoch < epoch:
                self.end(connection)

    def end(self, connection: Asker) -> None:
        """End a worker that is of no use any more; the supervisor starts another."""
        assert isinstance(connection, Connection)
        _log.error("%s does not do what it must; it is ended", connection.name)
        self._outside.stuck(connection.name)
        connection.cut()

    def _say_all(self, said: wire.FromRecorder) -> None:
        for connection in self._connections:
            connection.say(said)

    # --- outcomes that never came ---

    def _close_unclaimed(self) -> None:
        has_everybody_greeted = all(one.has_greeted for one in self._connections)
        if self._is_complete and not self._arriving and has_everybody_greeted:
            self._owed.nobody_is_left()

    def _unknown(self, decision: str) -> OutcomeRecord:
        id, time = self._outside.new_id(), self._outside.now()
        return OutcomeRecord(SCHEMA, id, CallId(decision), time, "unknown")
