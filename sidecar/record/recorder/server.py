"""The recorder: takes what workers have decided, makes it durable, and owns what follows from it.

- A record is there once: ids of the last records are known, also after a restart; what is sent
  again is acknowledged and not written.
- What nobody waits for is not written: a frame says until when it is wanted.
- A revocation that is acknowledged is in force: every worker has taken the new list, or is gone.
- A permitted call has an outcome: a decision whose worker is gone is closed as `unknown`; at a
  start, once every living worker has said which are its own.

One thread, the ledger's, reads what workers send, writes it, waits for the disk, and answers: a
batch is handed to nobody. It takes whatever is there, lets the workers run once more, and takes
what they have sent meanwhile, so batches are as large as the machine is busy and none waits for a
timer. A disk that hangs holds this thread: workers then hear nothing, and refuse by themselves. The
loop beside it answers the supervisor whatever the disk does, and asks this thread by `_post`.
"""

import asyncio
import logging
import queue
import socket
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial

import msgspec

from sidecar.record.fold import OpenDecisions, RecentIds
from sidecar.record.keeping.obeyed import Unsigned
from sidecar.record.ledger import Ledger
from sidecar.record.limits import (
    FORSAKEN_S,
    GATHERED_ROUNDS_MAX,
    LEAVING_S_MAX,
    OWED_EVERY_S,
)
from sidecar.record.recorder import wire
from sidecar.record.recorder.ahead.spools import Left, Spools
from sidecar.record.recorder.lines import Connection, Lines, give_way
from sidecar.record.recorder.outside import Outside
from sidecar.record.recorder.owed import Owed
from sidecar.record.recorder.people import Asker, People
from sidecar.record.recorder.sent import TOO_EARLY, UNWANTED, Brought, Sent, Turn, brought
from sidecar.record.recorder.taken import Taken
from sidecar.record.recorder.wire import Ack, State, Welcome, Write
from sidecar.terms.errors import RecordError

_log = logging.getLogger("sidecar.recorder")


class Recorder:
    """Serves the connections that the supervisor hands in; made, and ended, on a loop."""

    def __init__(
        self,
        ledger: Ledger,
        opened: OpenDecisions,
        recent: RecentIds,
        spools: Spools,
        outside: Outside,
    ) -> None:
        self._ledger = ledger
        self._recent = recent
        self._spools = spools
        self._outside = outside
        self._loop = asyncio.get_running_loop()
        self._lines = Lines()
        self._posted: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._owed = Owed(ledger, opened, outside.unknown, self._later)
        self._ahead = Left(ledger, recent, outside.gap, self._owed.give_up, self._later)
        self._is_complete = False
        self._turn = Turn[Connection]()
        # Whether the last that came was one record.
        self._was_lone = False
        # Counted before anybody is told, so whoever was answered finds it counted.
        self.durable = self._measured = 0
        # What has to wait for what comes of this turn.
        self._parked: list[tuple[Connection, Brought]] = []
        self._lost: dict[Connection, None] = {}
        self._taken = Taken(ledger.revocations, self._lines, self._later, self.end)
        # Frames that are acknowledged and not durable: the size at which they are.
        self._unsynced: deque[tuple[int, Connection, int]] = deque()
        self._was_refusing = False
        self._is_leaving = False
        self._gone = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._people = People(ledger, lambda: tuple(self._lines), self.end)
        ledger.listen(self)

    # --- what the supervisor asks, on the loop ---

    def connect(self, name: str, connected: socket.socket) -> None:
        """Serve a worker's connection; from now on it is counted among the living."""
        self._post(lambda: self._joined(Connection(name, connected)))

    def complete(self) -> None:
        """Take note that every living worker was handed in: what none claims is nobody's."""
        self._post(self._completed)

    async def nobody_is_left(self) -> None:
        """Return when no worker is connected."""
        while tuple(self._lines):
            self._gone.clear()
            await self._gone.wait()

    async def close(self) -> None:
        """End every connection, close what is open, and let go of the ledger."""
        self._is_leaving, idle = True, asyncio.Event()
        is_idle = partial(self._call, idle.set)
        for connection in self._lines:
            connection.cut()
        with suppress(TimeoutError):
            async with asyncio.timeout(LEAVING_S_MAX):
                await self.nobody_is_left()
        self.complete()
        self._post(lambda: self._ahead.when_idle(partial(self._owed.when_idle, is_idle)))
        with suppress(TimeoutError):
            async with asyncio.timeout(OWED_EVERY_S):
                await idle.wait()
        self._post(self._owed.stop)
        self._post(self._ahead.stop)
        await self._ledger.close()
        if not self._ledger.is_running:
            self._lines.close()

    def tell_state(self) -> None:
        """Tell every worker how the ledger is, if that is another than it was; on any thread."""
        refusing = self._ledger.is_refusing
        if refusing != self._was_refusing:
            self._was_refusing = refusing
            self._say_all(State(self._ledger.size, refusing))

    @property
    def waiting(self) -> int:
        """Return how many records wait for the disk."""
        return self._ledger.waiting

    @property
    def connections(self) -> tuple[Connection, ...]:
        """Return who is connected."""
        return tuple(self._lines)

    @property
    def open_decisions(self) -> int:
        """Return how many decisions have no outcome yet."""
        return len(self._owed) + sum(len(one.open) for one in self._lines)

    # --- between the two ---

    def _post(self, call: Callable[[], None]) -> None:
        """Have `call` called on the ledger's thread."""
        self._posted.put(call)
        self._lines.wake()

    def _call(self, call: Callable[..., object], *args: object) -> None:
        """Have `call` called on the loop, if there is one still."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(call, *args)

    def _later(self, seconds: float, call: Callable[[], None]) -> None:
        self._call(self._loop.call_later, seconds, self._post, call)

    def _spawn(self, doing: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(doing)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- what the ledger's thread asks: all that follows happens there ---

    def gather(self, seconds: float) -> Sequence[Sent[Connection]]:
        """Return what workers have sent, after so long at most, or once woken."""
        self._turn = turn = Turn[Connection]()
        parked, self._parked = self._parked, []
        for connection, waiting in parked:
            self._write(connection, waiting)
        if self._lost and not parked:
            # All that they have sent is settled.
            self._left()
        wait_s = 0.0 if parked else seconds
        for _ in range(GATHERED_ROUNDS_MAX):
            was = turn.records
            self._listen(wait_s)
            if turn.records == was or turn.is_full or self._parked:
                break
            if turn.records == 1 and self._was_lone:
                # One caller, who waits for what it has sent: nobody is about to send more.
                break
            # Whoever is about to send more may do so: this write is for them as well.
            give_way()
            wait_s = 0.0
        if turn.records:
            self._was_lone = turn.records == 1
        return turn.sent

    def wake(self) -> None:
        """Let `gather` return."""
        self._lines.wake()

    def told(self) -> None:
        """Send what there is to say to workers."""
        if self._unsynced:
            self._tell_synced()
        self.tell_state()
        took_s = time.monotonic() - self._turn.began_s
        self._lines.flush()
        if self.durable != self._measured:
            self._outside.committed(self.durable - self._measured, took_s)
            self._measured = self.durable

    def _listen(self, seconds: float) -> None:
        for connection in self._lines.wait(0.0 if self._lost else seconds):
            try:
                self._read(connection)
            except (wire.Garbled, msgspec.DecodeError, RecursionError) as error:
                _log.error("%s is not understood: %s", connection.name, error)
                self.end(connection)
        while not self._posted.empty():
            self._posted.get_nowait()()

    def _read(self, connection: Connection) -> None:
        if connection in self._lost:
            return
        bodies = connection.read()
        if bodies is None:
            connection.cut()
            self._lost[connection] = None
            return
        for body in bodies:
            self._heard(connection, wire.read_worker(body))

    def _completed(self) -> None:
        self._is_complete = True
        self._close_unclaimed()

    # --- what connections say ---

    def _joined(self, connection: Connection) -> None:
        """Tell a worker what is so."""
        connection.hand_over(self._spools.make())
        self._lines.add(connection)
        revocations = self._ledger.revocations
        connection.took_epoch = revocations.epoch
        connection.tell(
            Welcome(
                self._ledger.size,
                self._ledger.is_refusing,
                revocations.epoch,
                tuple(sorted(revocations.parties)),
                str(self._ledger.verifier),
                self._ledger.is_group,
            )
        )

    def _heard(self, connection: Connection, said: wire.FromWorker) -> None:
        """Take one frame."""
        match said:
            case Write():
                self._write(connection, brought(said, connection.outlines, connection.says))
            case wire.Outline():
                connection.outlines.take(said)
            case wire.Refused(decisions):
                self._refused(connection, decisions)
            case wire.Took(epoch):
                connection.took_epoch = max(connection.took_epoch, epoch)
                self._taken.release()
            case wire.Hello(claimed, was):
                connection.has_greeted = True
                connection.kept.before = self._spools.named(was, self._lines.spools)
                connection.open.update(dict.fromkeys(self._owed.claimed(claimed)))
                self._close_unclaimed()
            case wire.Spent():
                self._spools.forget(connection.kept)
            case _:
                self._heard_of_persons(connection, said)

    def _heard_of_persons(
        self, connection: Connection, said: wire.AskHandles | wire.Erase | wire.Dropped
    ) -> None:
        match said:
            case wire.AskHandles(number, persons):
                self._call(lambda: self._spawn(self._people.answer(connection, number, persons)))
            case wire.Erase(number, person):
                self._call(lambda: self._spawn(self._people.forget(connection, number, person)))
            case wire.Dropped():
                connection.outlines.forget()
                self._call(self._people.dropped, connection)

    def _left(self) -> None:
        """Close what workers that are gone have left open."""
        lost, self._lost = self._lost, {}
        for connection in lost:
            self._lines.remove(connection)
            self._call(self._people.dropped, connection)
            self._owed.give_up(connection.open)
            self._ahead.take(connection.kept.left())
            # Whoever lets go of the recorder and lives on can record nothing.
            self._later(FORSAKEN_S, partial(self._forsaken, connection.name))
        self._close_unclaimed()
        self._taken.release()
        self._call(self._gone.set)

    def _forsaken(self, name: str) -> None:
        if not self._is_leaving:
            self._call(self._outside.stuck, name)

    # --- records ---

    def _write(self, connection: Connection, came: Brought) -> None:
        if self._parked or not self._turn.ids.isdisjoint(came.ids):
            # Sent again while it is about to be written: it waits for what comes of that.
            self._parked.append((connection, came))
            return
        all_ids = came.ids
        if came.closes or not self._recent.holds_none(all_ids):
            came.without(self._recent.__contains__, self._owed.is_closed)
        sent = Sent(connection, came, self._settled)
        if not sent.is_wanted():
            self._settled(sent, RecordError(UNWANTED))
            return
        if sent.is_owed and not connection.kept.takes(sent.number):
            self._settled(sent, RecordError(TOO_EARLY))
            return
        if came.closes and self._lines.is_strange(came.closing(), connection, self._turn):
            self.end(connection)
            return
        self._turn.add(sent, all_ids)

    def _settled(self, sent: Sent[Connection], error: RecordError | None) -> None:
        """Acknowledge a frame, after everybody knows what follows from it."""
        connection = sent.connection
        if error is not None and not isinstance(error, Unsigned):
            if sent.is_owed:
                connection.kept.refuse(sent.number)
            if sent.closes and not connection.is_alive:
                # INVARIANT: none that does not stand in the log: an outcome never comes first.
                self._owed.give_up([id for id in sent.closes if id in connection.open])
            connection.refused.difference_update(sent.ids)
            connection.answer(Ack(sent.number, str(error)))
            return
        self.durable += len(sent.halves)
        self._note(connection, sent)
        self._taken.push()
        if error is not None:
            # It stands in the log, and is in force; but it could be cut off unseen.
            connection.answer(Ack(sent.number, str(error)))
            return
        self._taken.acknowledge(connection, sent.number)
        if self._ledger.is_group:
            self._unsynced.append((self._ledger.accepted, connection, sent.number))

    def _tell_synced(self) -> None:
        """Tell who wrote what is durable by now."""
        size, last = self._ledger.size, dict[Connection, int]()
        while self._unsynced and self._unsynced[0][0] <= size:
            _, connection, number = self._unsynced.popleft()
            last[connection] = number
        for connection, number in last.items():
            connection.answer(wire.Synced(connection.kept.written(number)))

    def _refused(self, connection: Connection, decisions: Sequence[str]) -> None:
        """Close decisions whose callers were refused meanwhile: nothing was forwarded."""
        owed, coming = connection.open, set(self._turn.ids)
        coming.update(id for _, waiting in self._parked for id in waiting.ids)
        connection.refused.update(id for id in decisions if id in coming)
        self._owed.give_up([id for id in decisions if owed.pop(id, False) is None])

    def _note(self, connection: Connection, sent: Sent[Connection]) -> None:
        owed = connection.open
        self._recent.extend(sent.ids)
        if sent.opens:
            owed.update(dict.fromkeys(sent.opens))
        if connection.refused:
            refused = connection.refused.intersection(sent.ids)
            connection.refused -= refused
            self._owed.give_up([id for id in refused if owed.pop(id, False) is None])
        if sent.closes:
            self._owed.told(sent.closes)
            for decision in sent.closes:
                owed.pop(decision, None)

    # --- what follows from them ---

    def end(self, connection: Asker) -> None:
        """End a worker that is of no use any more; the supervisor starts another."""
        assert isinstance(connection, Connection)
        _log.error("%s does not do what it must; it is ended", connection.name)
        self._call(self._outside.stuck, connection.name)
        connection.cut()

    def _say_all(self, said: wire.FromRecorder) -> None:
        for connection in self._lines:
            connection.tell(said)

    # --- outcomes that never came ---

    def _close_unclaimed(self) -> None:
        if self._is_complete and all(one.has_greeted for one in self._lines):
            self._owed.nobody_is_left()
            self._ahead.take(self._spools.others(self._lines.spools))
