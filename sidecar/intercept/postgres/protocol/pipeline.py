"""What was sent and is not answered: reads the server's answers in the order of the questions.

The server answers each message in turn; after an error in the extended protocol it discards all up
to the next Sync, queries included. Keeping the same queue here tells which answer belongs to which
decision, which error is ours to reword, and when a transaction is open. An answer that does not fit
the queue means that the two ends see different things, and ends the connection.

Source: PostgreSQL documentation, "Message Flow" (Extended Query, Pipelining).
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from sidecar.intercept.postgres.protocol.counted import told
from sidecar.intercept.postgres.protocol.counted.runs import Runs
from sidecar.intercept.postgres.protocol.expected import Expected, Sent
from sidecar.intercept.postgres.protocol.guard import due, worded
from sidecar.intercept.postgres.protocol.parameters.values import described_types
from sidecar.intercept.postgres.protocol.prepared import Lease, Names, Statements, rows_left
from sidecar.intercept.postgres.protocol.session_names import EVERY, SessionNames
from sidecar.intercept.postgres.protocol.wire import ProtocolError, fields, tag_of

# Answers by the message that they may answer; what stands first answers it fully.
_DONE: Final = {ord("1"): b"P", ord("2"): b"B", ord("3"): b"C", ord("s"): b"E"}
# What runs a statement.
_RUNS: Final = (b"E", b"Q")
_PARSE: Final = ord("P")
_QUERY: Final = ord("Q")
_COPIES: Final = {ord("G"): "in", ord("H"): "out", ord("c"): "done"}


@dataclass(slots=True)
class Pipeline:
    """The queue of what is not answered, and what the answers say.

    `status` is the last ReadyForQuery's (`I` idle, `T` in a transaction, `E` in a failed one) and
    `readies` counts them. `segment` counts the Syncs that were sent; `syncs` are the Syncs and
    Queries that are not answered: each ends with a ReadyForQuery of its own.
    `is_doomed` is a segment in which something was denied: the server will discard the rest of it.
    `touched` are the decisions of which there is something to tell.
    `fence` is a message on whose answer it depends what may follow, as long as it is not answered.
    `copying` is `in` while the server takes data of COPY, `out` while it sends it.
    `is_quiet` is a transaction in which an obligation was due: the server's words do not pass.
    `overrun` is a run that came to its bound of rows; none of them passes any more.
    `owes_sync` is a Query that was sent in parts, whose last one is to follow.
    `is_midway` is a Query whose statements go one by one, more to follow if none of them fails.
    """

    status: str = "I"
    syncs: int = 0
    readies: int = 0
    segment: int = 0
    is_fatal: bool = False
    is_doomed: bool = False
    is_quiet: bool = False
    owes_sync: bool = False
    is_midway: bool = False
    is_skipping: bool = False
    copying: str = ""
    fence: Expected | None = None
    overrun: Expected | None = None
    names: SessionNames = field(default_factory=SessionNames)
    statements: Names = field(default_factory=Names)
    portals: Names = field(default_factory=Names)
    touched: told.Touched = field(default_factory=dict)
    runs: Runs = field(default_factory=Runs)
    _queue: deque[Expected] = field(default_factory=deque)
    _bytes: int = 0
    _rows: int = 0

    def __len__(self) -> int:
        """Return how many messages are not answered."""
        return len(self._queue)

    def sent(self, expected: Expected) -> None:
        """Note a message that goes upstream, unless the server will discard it unanswered."""
        if expected.kind == b"S":
            self.is_skipping = self.is_doomed = False
            self.segment += 1
        self.is_doomed |= expected.kind == b"P" and expected.denial is not None
        if self.is_skipping:
            self._discard(expected)
            return
        if expected.kind in (b"S", b"Q"):
            self.syncs += 1
        if expected.is_fence or self.names.takes(expected.kind, expected.closes, expected.sql_name):
            self.fence = expected
        self._propose(expected)
        expected.sent_s = expected.sent_s or self.runs.clock_s()
        self._queue.append(expected)
        for one in expected.statements:
            if one.lease is not None:
                self._guard(expected, one.lease)

    @property
    def is_busy(self) -> bool:
        """Return whether anything is unanswered, or the server skips or is quiet."""
        is_other = self.is_skipping or self.is_doomed or self.is_quiet
        return is_other or bool(self._queue) or self.fence is not None

    def plain(self, name: bytes) -> Statements:
        """Return the one statement of a name whose use is nothing but that (`uses`), or nothing."""
        # As `is_busy`, which costs as much as all that is asked here, of every use.
        is_other = self.is_skipping or self.is_doomed or self.is_quiet
        if is_other or self._queue or self.fence is not None:
            return ()
        return self.statements.plain(name)

    def ran(self, sent: Sent, tag: bytes, size: int, status: str) -> None:
        """Note that one piece was sent and answered (`uses`)."""
        kinds, of, self.status = sent.form.kinds, sent.of, status
        self.readies += 1
        if kinds[0] != _QUERY:
            self.segment += 1
            if kinds[0] == _PARSE:
                told.touch(self.touched, self.statements.hold(b"", of))
            if status != "I":
                self.portals.hold(b"", of)
                self.runs.bound(b"", sent.bind)
        if status == "I" and self.portals.held:
            self._forget_portals()
        lease = of[0].lease
        assert lease is not None
        word, rows = tag_of(tag)
        self.runs.count(lease, rows, size, sent.sent_s, sent.bind)
        if lease.is_counted and lease.result == "forwarded":
            # Told of soon, with those before it.
            lease.status = word
        else:
            told.note(self.touched, lease, "forwarded", word)

    def _guard(self, expected: Expected, lease: Lease) -> None:
        self.is_quiet |= lease.is_quiet
        expected.is_bounded |= lease.rows_max is not None
        if expected.kind in _RUNS and lease.is_fenced:
            self.fence = expected

    @property
    def rows_pass(self) -> bool:
        """Return whether rows are what is awaited, and none of them is one too many."""
        head = self._queue[0] if self._queue else None
        return head is not None and head.kind in _RUNS and not (head.is_bounded or head.denial)

    def rows_passed(self, count: int, size: int) -> None:
        """Count DataRows that pass unread."""
        self._rows += count
        self._bytes += size

    def row_passes(self, kind: int, size: int) -> bool:
        """Count a DataRow or CopyData; return whether it may pass. Raises ProtocolError."""
        self._bytes += size
        self._rows += 1
        head = self._head()
        if head.kind not in _RUNS or head.denial is not None:
            raise ProtocolError("a row that nobody asked for")
        if kind == ord("d") and self.copying != "out":
            raise ProtocolError("data of COPY that nobody asked for")
        left = rows_left(head.statements) if head.is_bounded else None
        if left is None:
            return True
        if left > 0:
            for one in head.statements:
                if one.passed is not None:
                    one.passed.rows += 1
            return True
        if kind == ord("d"):
            # COPY cannot be stopped between two rows but by ending the connection.
            raise ProtocolError("more rows than the row limit of a policy lets through", "42501")
        self.overrun = head
        return False

    def copied_in(self, size: int) -> None:
        """Count the bytes of a client's CopyData."""
        self._bytes += size

    def described(self, kind: int) -> bool:
        """Take a RowDescription or NoData, whose body passes unread; return whether it passes."""
        head = self._head()
        if head.kind == b"D":
            self._queue.popleft()
            self._passed_fence(head)
            # In place of a Query: there, rows are described and their absence is not told.
            return not (head.is_muted and (head.closes == b"S" or kind == ord("n")))
        if head.kind != b"Q" or kind != ord("T"):
            raise ProtocolError("a description that nobody asked for")
        return True

    def _typed(self, head: Expected, body: bytes) -> None:
        """Take a ParameterDescription: the types that the server has for a statement."""
        if head.kind != b"D" or head.closes != b"S":
            raise ProtocolError("a description that nobody asked for")
        types = described_types(body)
        for one in head.statements:
            one.types = types

    def answered(self, kind: int, body: bytes) -> bytes | None:
        """Take an answer; return what the client is told in its place, None for the answer itself.

        Raises ProtocolError where it does not answer what was asked.
        """
        if kind == ord("E"):
            return self._failed(body)
        head = self._head()
        if head.denial is not None and kind != ord("Z"):
            raise ProtocolError("the server did not refuse what was denied")
        if kind == ord("Z"):
            self._ready(head, body)
        elif kind == ord("t"):
            self._typed(head, body)
        elif kind in _COPIES:
            self._copied(head, _COPIES[kind])
        elif kind in (ord("C"), ord("I")):
            self._completed(head, body if kind == ord("C") else b"")
        elif _DONE.get(kind) == head.kind:
            self._queue.popleft()
            self._confirmed(head)
        else:
            raise ProtocolError("an answer to nothing that was asked")
        is_dropped = self.is_midway if kind == ord("Z") else head is self.overrun
        return b"" if is_dropped or (head.is_muted and head.kind != b"E") else None

    def _copied(self, head: Expected, what: str) -> None:
        """Take CopyInResponse, CopyOutResponse or the server's CopyDone."""
        lease = head.lease
        if what == "done":
            if self.copying != "out":
                raise ProtocolError("an end of data that nobody asked for")
            self.copying = ""
            return
        if lease is None or lease.copies != what or head.kind not in (b"E", b"Q"):
            raise ProtocolError("COPY that nobody asked for")
        self.copying = what
        self._passed_fence(head)

    def _passed_fence(self, head: Expected) -> None:
        if head is self.fence:
            self.fence = None

    def kept(self) -> Statements:
        """Return what stands behind names, or is not answered; some of it more than once."""
        unanswered = tuple(one for head in self._queue for one in head.statements)
        return self.statements.all() + self.portals.all() + unanswered

    def abandon(self) -> None:
        """Note, at the end of the connection, that nobody knows what became of the rest."""
        while self._queue:
            head = self._queue.popleft()
            if head.kind in (b"P", b"Q", b"E"):
                self._note(head, "unknown", head.status)
            elif head.kind == b"B":
                self.runs.bound(head.name, head.bind)
        told.touch(self.touched, self.statements.all() + self.portals.all())

    def _head(self) -> Expected:
        if not self._queue:
            raise ProtocolError("an answer although nothing was asked")
        return self._queue[0]

    def _propose(self, expected: Expected) -> None:
        if expected.kind == b"P" and expected.statements:
            self.statements.propose(expected.name, expected.statements, self.segment)
        elif expected.kind == b"B":
            self.portals.propose(expected.name, expected.statements, self.segment)
        elif expected.kind == b"E" and not self.portals.is_proposed(expected.name, self.segment):
            expected.know_of(self.portals.held.get(expected.name, ()))

    def _confirmed(self, head: Expected) -> None:
        if head.kind == b"P":
            told.touch(self.touched, self.statements.settle(head.name, confirmed=True))
            self.names.prepared.pop(head.sql_name, None)
        elif head.kind == b"B":
            its = head.know(self.statements.held.get(head.of, ()), self._queue)
            told.touch(self.touched, its[:-1])
            told.touch_bound(self.touched, self.portals.settle(head.name, confirmed=True, its=its))
            self.runs.bound(head.name, head.bind)
            self.names.cursors.pop(head.sql_name, None)
        elif head.kind == b"C":
            names = self.statements if head.closes == b"S" else self.portals
            told.touch(self.touched, names.close(head.name))
            self.names.given(head.kind, head.closes).pop(head.sql_name, None)
        elif head.kind == b"E":
            head.rows = self._rows
            head.settle_turn(took=True)
            self._note(head, "forwarded", "suspended")
        if head.is_part and head.kind in (b"P", b"B"):
            # Behind a Query nothing has the empty name.
            (self.statements if head.kind == b"P" else self.portals).close(b"")
        self._passed_fence(head)

    def _completed(self, head: Expected, tag: bytes) -> None:
        head.status, rows = tag_of(tag)
        head.rows += rows
        self.copying = ""
        self._named(head)
        if head.kind == b"E":
            self._queue.popleft()
            head.settle_turn(took=True)
            self._note(head, head.result, head.status)
            self._passed_fence(head)
        elif head.kind != b"Q":
            raise ProtocolError("a completion of nothing that was executed")

    def _named(self, head: Expected) -> None:
        """Note what a run has done to names of the session."""
        lease = head.lease
        if lease is None or not lease.names:
            return
        self.names.take(lease.names, due(lease.forward.decision.obligations))
        for one in lease.names:
            # The server has one list of statements, and one of portals, whoever names them.
            if one.does == "discard" or (one.does == "deallocate" and one.name == EVERY):
                told.touch(self.touched, self.statements.forget())
            elif one.does in ("prepare", "deallocate"):
                told.touch(self.touched, self.statements.close(one.name.encode()))
            if one.does == "discard" or (one.does == "close" and one.name == EVERY):
                self._forget_portals()
            elif one.does in ("declare", "close"):
                told.touch_bound(self.touched, self.portals.close(one.name.encode()))

    def _ready(self, head: Expected, body: bytes) -> None:
        if head.kind not in (b"S", b"Q") or body not in (b"I", b"T", b"E"):
            raise ProtocolError("ready although something is not answered")
        self._queue.popleft()
        self.syncs -= 1
        self.status = body.decode("ascii")
        self.readies += 1
        if head.kind == b"Q":
            head.settle_turn(took=head.result != "failed")
            self._note(head, head.result, head.status)
            self._passed_fence(head)
        if self.status == "I":
            self._forget_portals()
            leases = (one.lease for waiting in self._queue for one in waiting.statements)
            self.is_quiet = any(one is not None and one.is_quiet for one in leases)

    def _forget_portals(self) -> None:
        self.runs.forget()
        told.touch_bound(self.touched, self.portals.forget())

    def _failed(self, body: bytes) -> bytes | None:
        said = fields(body)
        if said.get("V") in ("FATAL", "PANIC"):
            self.is_fatal = True
            return worded(body, is_quiet=self.is_quiet)
        if not self._queue:
            raise ProtocolError("an error although nothing was asked")
        head = self._queue[0]
        head.result, head.status = "failed", said.get("C")
        self.copying, self.is_midway = "", False
        if head.kind not in (b"S", b"Q"):
            self._queue.popleft()
            self._settle_failed(head)
            head.settle_turn(took=False)
            if head.kind in (b"P", b"E"):
                self._note(head, "failed", head.status)
            told.note_unused(self.touched, head.statements, head.status)
            self._skip(head)
        self._passed_fence(head)
        if head.denial is not None and head.nonce in said.get("M", ""):
            return head.denial.error
        return worded(body, is_quiet=self.is_quiet)

    def _skip(self, failed: Expected) -> None:
        """Drop what the server discards: everything before the next Sync."""
        while self._queue and self._queue[0].kind != b"S":
            head = self._queue.popleft()
            self.syncs -= head.kind == b"Q"
            # A Query behind what failed is skipped to its end, but one that failed itself is over.
            self.owes_sync &= failed.is_part or not head.is_part
            self._settle_failed(head)
            self._discard(head)
            self._passed_fence(head)
        self.is_skipping = not self._queue

    def _settle_failed(self, head: Expected) -> None:
        if head.kind == b"P" and head.statements:
            self.statements.settle(head.name, confirmed=False)
        elif head.kind == b"B":
            self.portals.settle(head.name, confirmed=False)

    def _discard(self, expected: Expected) -> None:
        if expected.kind in (b"P", b"Q"):
            self._note(expected, "failed", told.SKIPPED)
        told.note_unused(self.touched, expected.statements, told.SKIPPED)
        expected.settle_turn(took=False)

    def _note(self, head: Expected, result: str, status: str | None) -> None:
        """Count a use to its decision: the newest of what the name may stand for."""
        lease = head.lease
        if lease is None:
            return
        bind = None
        if head.kind != b"P" and status != told.SKIPPED:
            bind = self.runs.bind_of(head.name) if head.kind == b"E" else b""
        self.runs.count(lease, head.rows, self._bytes, head.sent_s, bind)
        self._bytes = self._rows = 0
        told.note(self.touched, lease, result, status)
        # What else it might have been was decided as well.
        told.touch(self.touched, head.statements[:-1])
