"""A worker's side of the recorder: `write(record)` can be awaited, or called back by, when durable.

What is written in one turn of the loop goes as one frame, and one timer watches all deadlines: a
record costs a `Pending` and a place in a list. What was not acknowledged is kept and sent again to
a recorder that was started anew, under the same ids, so that it is written once.

```
 write ─▶ gathered ─turn▶ frame ─▶ recorder ─▶ Ack ─▶ pending told
                           └─ deadline: refused, and new calls are refused at once until it answers
```
An outcome, or what was answered for already (`ahead/`), is never given up: its writer is told that
it is late, the frame is kept and sent until it is durable, and while one is late nothing new is
permitted. An outcome that is lost with this process the recorder closes as `unknown`.
"""

import asyncio
import logging
import socket
import time
from collections.abc import Collection, Mapping
from typing import Final

from sidecar.record import limits
from sidecar.record.fold import Revocations
from sidecar.record.inputs.beside import anonymous, persons_named
from sidecar.record.recorder import wire
from sidecar.record.recorder.ahead.spool import Spool
from sidecar.record.recorder.stencils.numbers import Numbers
from sidecar.record.recorder.stencils.values import ID_BYTES, MADE_BYTES, TIME_BYTES
from sidecar.record.recorder.wire import Ack, Item, Revoked, SideItem, Took, Welcome, frame
from sidecar.record.recorder.worker.handles import KnownHandles
from sidecar.record.recorder.worker.late import Late, Watch
from sidecar.record.recorder.worker.leading import Leading, met
from sidecar.record.recorder.worker.link import Frame, Link, Meter, Pending, are_formed, item_of
from sidecar.terms.errors import RecordError
from sidecar.terms.record import AnyRecord, MadeRecord, SideObject, Written

_log = logging.getLogger("sidecar.recorder")
_BYTES_MAX: Final = limits.UNACKED_BYTES_MAX


class RecorderClient:
    """The ledger as the path sees it, in a process that does not have it.

    Args:
        meter: Counts.
        timeout_s: How long a call waits for its record before it is refused.
        ahead_s: While the recorder has written so lately, `group` answers ahead of it.
    """

    def __init__(
        self,
        meter: Meter,
        timeout_s: float = limits.DURABLE_TIMEOUT_S,
        ahead_s: float = limits.AHEAD_S_MAX,
    ) -> None:
        self.revocations = Revocations()
        self.size, self.verifier = 0, ""
        self._meter = meter
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        self._link: Link | None = None
        self._welcomed = asyncio.Event()
        self._is_closed = self._is_refusing = self._is_overdue = self._is_group = False
        self._number = self._count = self._bytes = 0
        self._decisions = Frame(is_outcome=False)
        self._outcomes = Frame(is_outcome=True)
        self._has_gathered = False
        self._unacked: dict[int, Frame] = {}
        # Acknowledged, and to be sent again to the next recorder until they are durable.
        self._unsynced: dict[int, Frame] = {}
        self._late = Late(self._send_late)
        self._watch = Watch(self._unacked, self._overdue)
        self._ahead = Leading(ahead_s, self._say)
        self._open: dict[str, None] = {}
        self._handles = KnownHandles(self._say, self._forgotten, self._welcomed, timeout_s)
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def is_refusing(self) -> bool:
        """Return whether calls are refused because records cannot be made durable."""
        return self._is_refusing or self._is_overdue or bool(self._late) or not self.is_attached

    @property
    def is_attached(self) -> bool:
        """Return whether there is a recorder that has said what is so."""
        return self._welcomed.is_set()

    @property
    def waiting(self) -> int:
        """Return how many records are not acknowledged."""
        return self._count

    async def attach(self, connected: socket.socket) -> None:
        """Go on with the recorder at the other end; returns when it has said what is so."""
        if self._link is not None:
            self._link.end()
        self._link = None
        self._welcomed.clear()
        found = await met(connected)
        link = Link(lambda link: self.greet(link, found), self.heard, self.lost)
        await self._loop.create_unix_connection(lambda: link, sock=connected)
        await self._welcomed.wait()

    def greet(self, link: Link, found: Spool | None) -> None:
        """Say who is there, and everything that no recorder has answered for."""
        # INVARIANT: in one step, so what is gathered from now on goes behind it, and nothing twice.
        self._link, was = link, self._ahead.begin(found)
        self._late.begin_anew()
        owed, again = dict(self._open), b""
        # INVARIANT: in their order: what is durable up to a number is so for all before it.
        for _, sent in sorted((self._unsynced | self._unacked).items()):
            owed.update(dict.fromkeys(sent.closes))
            again += self._ahead.put_again(sent, self._encoded(sent, link.numbers), link.numbers)
        link.say(frame(wire.Hello(tuple(owed), was)) + again)
        self._ahead.begun()

    async def attached(self) -> None:
        """Return when there is a recorder that has said what is so."""
        await self._welcomed.wait()

    def write(self, record: AnyRecord, side: tuple[SideObject, ...] = ()) -> Written:
        """Return what is done when `record` and the objects it names are durable, else fails.

        Raises:
            RecordError: At once, where there is no hope.
        """
        if isinstance(record, MadeRecord):
            if len(record.id) == ID_BYTES and len(record.time) == TIME_BYTES:
                return self._put_made(record)
        elif found := persons_named(record):
            return asyncio.ensure_future(self._write_without_names(record, found))
        return self._put(item_of(record), record, side)

    def _put_made(self, record: MadeRecord) -> Written:
        # Looked at for the usual before it is looked at for why: there are most of these.
        is_full = self._count >= limits.UNACKED_MAX or self._bytes > _BYTES_MAX - MADE_BYTES
        if is_full or self._is_overdue or self._late or self._is_closed:
            self._check(None, MADE_BYTES, MADE_BYTES)
        if self._decisions.take_made(record):
            self._open[record.id] = None
        return self._gathered(self._decisions, MADE_BYTES)

    def write_all(self, records: list[MadeRecord]) -> Written | None:
        """Return what is done when `records`, of one stencil, are durable; None: one by one."""
        count, size = len(records), len(records) * MADE_BYTES
        is_full = self._count + count > limits.UNACKED_MAX or self._bytes + size > _BYTES_MAX
        if is_full or self._is_overdue or self._late or self._is_closed or not are_formed(records):
            return None
        if len(self._decisions.records) + count > limits.FRAME_RECORDS_MAX:
            self.flush()
        self._open.update(self._decisions.take_all(records))
        return self._gathered(self._decisions, size, count)

    def _put(self, item: Item, record: AnyRecord, side: tuple[SideObject, ...]) -> Written:
        its_size = len(item.head) + len(item.tail) + 1
        size = its_size + sum(len(one.data) for one in side)
        self._check(item, its_size, size)
        gathered = self._decisions if item.closes is None else self._outcomes
        if item.opens:
            self._open[record.id] = None
        gathered.take(item, record)
        gathered.side += [SideItem(one.digest, one.data) for one in side]
        return self._gathered(gathered, size)

    def _gathered(self, gathered: Frame, size: int, count: int = 1) -> Written:
        """Count what was taken, and have it sent at the end of this turn."""
        pending = Pending()
        gathered.pending.append(pending)
        gathered.size += size
        self._count += count
        self._bytes += size
        if not self._has_gathered:
            self._has_gathered = True
            self._loop.call_soon(self.flush)
        elif gathered.is_full:
            self.flush()
        return pending

    async def close(self) -> None:
        """Wait until all is durable, no longer than a call would, and let go."""
        if self._is_closed:
            return
        self._is_closed = True
        self.flush()
        if self._unacked or self._unsynced:
            self._idle.clear()
            await asyncio.wait([asyncio.ensure_future(self._idle.wait())], timeout=self._timeout_s)
        if self._unsynced:
            count = sum(len(sent.records) for sent in self._unsynced.values())
            _log.error("%d records were acknowledged and are not known to be durable", count)
        self._late.stop()
        self._watch.stop()
        if self._link is not None:
            self._link.end()
        self._ahead.close()
        for sent in self._unacked.values():
            sent.tell(self._loop, "the ledger is closed")

    # --- sending ---

    def hold(self) -> None:
        """Gather what is written from here on, until `flush`, which has to follow in this turn."""
        self._has_gathered = True

    def _check(self, item: Item | None, its_size: int, size: int) -> None:
        why = None
        if its_size > limits.RECORD_BYTES_MAX:
            why = f"a record of {its_size} bytes; at most {limits.RECORD_BYTES_MAX} are kept"
        elif self._is_closed:
            why = "the ledger is closed"
        elif self._count >= limits.UNACKED_MAX or self._bytes + size > _BYTES_MAX:
            why = "too many records are waiting for the recorder"
        elif item is not None and item.closes is not None:
            why = "the outcome is still on its way" if item.id in self._late else None
        elif self._is_overdue:
            why = "the recorder does not answer"
        elif self._late:
            why = "outcomes of earlier calls are not recorded yet"
        if why is not None:
            error = RecordError(why)
            self._meter.lost(1, error)
            raise error

    def flush(self) -> None:
        """Send what this turn of the loop has gathered."""
        self._has_gathered = False
        said, decisions = b"", self._decisions
        if self._outcomes.records:
            said += self._sent(self._outcomes)
            self._outcomes = Frame(is_outcome=True)
        if decisions.records:
            said += self._sent(decisions)
            self._decisions = Frame(is_outcome=False)
        if said and self._link is not None:
            self._link.say(said)
            if decisions.is_ahead:
                decisions.tell(self._loop, None)

    def _sent(self, sent: Frame) -> bytes | bytearray:
        """Return what is to be said, to the recorder that there is."""
        self._number = sent.number = self._number + 1
        sent.began_s = time.monotonic()
        self._unacked[sent.number] = sent
        self._watch.begin(self._timeout_s)
        if (link := self._link) is None:
            return b""
        sent.is_ahead = self.is_attached and self._ahead.admits(sent)
        said = self._encoded(sent, link.numbers)
        if sent.is_ahead and not self._ahead.put(sent, said, link.numbers):
            sent.is_ahead = False  # Wanted for as long as somebody waits, like any other.
            said = b"".join(link.numbers.framed_all(sent.runs)) + self._encoded(sent, link.numbers)
        return said

    def _encoded(self, sent: Frame, numbers: Numbers) -> bytes | bytearray:
        # What was acknowledged, or answered for, is owed, like an outcome.
        is_owed = sent.is_owed or sent.number in self._unsynced
        until_us = 0 if is_owed else int((sent.began_s + self._timeout_s) * 1e6)
        return sent.encoded(until_us, numbers)

    # --- what comes of it ---

    def heard(self, said: wire.FromRecorder) -> None:
        """Take one frame of the recorder."""
        match said:
            case Ack(number, error, at_s):
                self._acknowledged(number, error, at_s)
            case wire.Synced(number):
                self._synced(number)
            case Revoked(epoch, parties):
                # INVARIANT: what was judged by the old list goes before the word that it is gone.
                self.flush()
                self.revocations.replace(parties)
                self._say(Took(epoch))
            case wire.State(size, is_refusing):
                self.size, self._is_refusing = size, is_refusing
                self._ahead.refused()
            case Welcome():
                self._welcome(said)
            case _:
                self._handles.heard(said)

    def _forgotten(self) -> None:
        """Send what was made with handles that are remembered no more."""
        self.flush()
        if self._link is not None:
            self._link.numbers.forget()

    def _welcome(self, said: Welcome) -> None:
        self.size, self.verifier, self._is_group = said.size, said.verifier, said.is_group
        self._is_refusing, self._is_overdue = said.is_refusing, False
        self.revocations.replace(said.revoked)
        self._say(Took(said.epoch))
        self._welcomed.set()

    def lost(self, link: Link) -> None:
        """Take note that the recorder is gone; what is not acknowledged waits for the next."""
        if link is self._link:
            self._link = None
            self._welcomed.clear()
            self._handles.lost()

    def _say(self, said: wire.FromWorker) -> None:
        if self._link is not None:
            self._link.say(frame(said))

    def _acknowledged(self, number: int, error: str | None, at_s: float) -> None:
        self._is_overdue = False
        sent = self._unacked.get(number)
        if sent is None:
            # Without an error it came too late: its writers were refused.
            if error is not None and number in self._unsynced:
                self._late.send_again(number)
            return
        if error is not None and sent.is_owed:
            self._ahead.refused()
            self._keep(sent, error)
            self._late.send_again(number)
            return
        self._drop(sent)
        if error is None:
            self._ahead.heard(at_s)
            self.size += len(sent.records)
            if self._is_group:
                self._unsynced[number] = sent
            self._meter.written(sent.records, time.monotonic() - sent.began_s)
        else:
            self._ahead.refused()
            self._refuse(sent, error)
        self._late.came(sent)
        for id in sent.closes if sent.is_outcome else ():
            self._open.pop(id, None)
        sent.tell(self._loop, error)
        self._rest()

    def _drop(self, sent: Frame) -> None:
        del self._unacked[sent.number]
        self._ahead.settled(sent)
        self._count -= len(sent.records)
        self._bytes -= sent.size

    def _synced(self, number: int) -> None:
        self._unsynced = {at: sent for at, sent in self._unsynced.items() if at > number}
        self._rest()

    def _rest(self) -> None:
        if not self._unacked and not self._unsynced:
            self._idle.set()

    def _refuse(self, sent: Frame, error: str) -> None:
        for id in sent.opened:
            self._open.pop(id, None)
        if sent.opened:
            # It may be written all the same, and then nobody else would tell what came of it.
            self._say(wire.Refused(sent.opened))
        self._meter.lost(len(sent.records), RecordError(error))

    def _keep(self, sent: Frame, error: str) -> None:
        """Tell the writers of what is owed that it is late, and keep it."""
        if self._late.keep(sent):
            self._meter.lost(len(sent.records), RecordError(error))
            sent.tell(self._loop, error)

    def _send_late(self, refused: list[int]) -> None:
        if self._link is None or not self.is_attached:
            return  # The next recorder is sent everything.
        for number in refused:
            sent = self._unsynced.get(number) or self._unacked.get(number)
            if sent is not None:
                self._link.say(self._encoded(sent, self._link.numbers))

    def _overdue(self, sent: Frame) -> None:
        """Refuse what has waited for too long, or say that it is late."""
        self._is_overdue = True
        text = "the record was not durable in time"
        if sent.is_owed:
            self._keep(sent, text)
            return
        self._drop(sent)
        self._refuse(sent, text)
        sent.tell(self._loop, text)
        self._rest()

    # --- persons ---

    def known_handles(self) -> Mapping[str, str]:
        """Return the handles that this process has been told, live."""
        return self._handles.known

    async def handles(self, persons: Collection[str]) -> Mapping[str, str]:
        """Return the durable handles of `persons`. Raises RecordError."""
        return await self._handles.of(persons)

    async def forget(self, person: str) -> bool:
        """Erase a person; return whether there was one. Raises RecordError."""
        return await self._handles.erase(person)

    async def _write_without_names(self, record: AnyRecord, persons: Collection[str]) -> None:
        await self.write(anonymous(record, await self.handles(persons)))
