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

from sidecar.intercept.postgres.protocol.denial import Denial
from sidecar.intercept.postgres.protocol.naming import Turn
from sidecar.intercept.postgres.protocol.prepared import Lease, Names, Statements
from sidecar.intercept.postgres.protocol.wire import ProtocolError, fields

# Answers by the message that they may answer; what stands first answers it fully.
_DONE: Final = {
    ord("1"): b"P",
    ord("2"): b"B",
    ord("3"): b"C",
    ord("s"): b"E",
}
_SKIPPED: Final = "skipped"


@dataclass(slots=True, eq=False)
class Expected:
    """One message whose answer is awaited.

    Args:
        kind: Its type; `Q` also for what was turned into a Query.
        name: Statement (P), portal (B) or what is closed (C).
        closes: `S` or `P`, for a Close.
        statements: What it proposes (P), binds (B), or runs (E, Q).
        denial: What the client is told in place of the error that `nonce` provokes.
        turn: What it does to the subject (E, Q); told here whether the server took it.
    """

    kind: bytes
    name: bytes = b""
    closes: bytes = b""
    statements: Statements = ()
    denial: Denial | None = None
    turn: Turn | None = None
    nonce: str = ""
    rows: int = 0
    status: str | None = None
    result: str = "forwarded"


@dataclass(slots=True)
class Pipeline:
    """The queue of what is not answered, and what the answers say.

    `status` is the last ReadyForQuery's (`I` idle, `T` in a transaction, `E` in a failed one) and
    `readies` counts them. `segment` counts the Syncs that were sent; `syncs` are the Syncs and
    Queries that are not answered: each ends with a ReadyForQuery of its own.
    `is_doomed` is a segment in which something was denied: the server will discard the rest of it.
    `touched` are the decisions of which there is something to tell.
    """

    status: str = "I"
    syncs: int = 0
    readies: int = 0
    segment: int = 0
    is_fatal: bool = False
    is_doomed: bool = False
    statements: Names = field(default_factory=Names)
    portals: Names = field(default_factory=Names)
    touched: dict[Lease, None] = field(default_factory=dict)
    _queue: deque[Expected] = field(default_factory=deque)
    _skipping: bool = False
    _bytes: int = 0

    def __len__(self) -> int:
        """Return how many messages are not answered."""
        return len(self._queue)

    def sent(self, expected: Expected) -> None:
        """Note a message that goes upstream, unless the server will discard it unanswered."""
        if expected.kind == b"S":
            self._skipping = self.is_doomed = False
            self.segment += 1
        self.is_doomed |= expected.kind == b"P" and expected.denial is not None
        if self._skipping:
            self._discard(expected)
            return
        if expected.kind in (b"S", b"Q"):
            self.syncs += 1
        self._propose(expected)
        self._queue.append(expected)

    def rows_passed(self, size: int) -> None:
        """Count the bytes of a DataRow that passes unread."""
        self._bytes += size

    def described(self, kind: int) -> None:
        """Take a RowDescription, NoData or ParameterDescription, whose body passes unread."""
        head = self._head()
        if head.kind == b"D":
            if kind != ord("t"):
                self._queue.popleft()
        elif head.kind != b"Q" or kind != ord("T"):
            raise ProtocolError("a description that nobody asked for")

    def answered(self, kind: int, body: bytes) -> bytes | None:
        """Take an answer; return what the client is told in its place, None for the answer itself.

        Raises:
            ProtocolError: It does not answer what was asked.
        """
        if kind == ord("E"):
            return self._failed(body)
        head = self._head()
        if head.denial is not None and kind != ord("Z"):
            raise ProtocolError("the server did not refuse what was denied")
        if kind == ord("Z"):
            self._ready(head, body)
        elif kind in (ord("C"), ord("I")):
            self._completed(head, body if kind == ord("C") else b"")
        elif _DONE.get(kind) == head.kind:
            self._queue.popleft()
            self._confirmed(head)
        else:
            raise ProtocolError("an answer to nothing that was asked")
        return None

    def abandon(self) -> None:
        """Note, at the end of the connection, that nobody knows what became of the rest."""
        while self._queue:
            head = self._queue.popleft()
            if head.kind in (b"P", b"Q", b"E"):
                self._note(head, "unknown", head.status)
        self._touch(self.statements.all())

    def _head(self) -> Expected:
        if not self._queue:
            raise ProtocolError("an answer although nothing was asked")
        return self._queue[0]

    def _propose(self, expected: Expected) -> None:
        if expected.kind == b"P" and expected.statements:
            self.statements.propose(expected.name, expected.statements, self.segment)
        elif expected.kind == b"B":
            self.portals.propose(expected.name, expected.statements, self.segment)

    def _confirmed(self, head: Expected) -> None:
        if head.kind == b"P":
            self._touch(self.statements.settle(head.name, confirmed=True))
        elif head.kind == b"B":
            self.portals.settle(head.name, confirmed=True)
        elif head.kind == b"C":
            names = self.statements if head.closes == b"S" else self.portals
            self._touch(names.close(head.name))
        elif head.kind == b"E":
            _settle_turn(head, took=True)
            self._note(head, "forwarded", "suspended")

    def _touch(self, statements: Statements) -> None:
        """See to it that a decision that no name leads to any more is told of, used or not."""
        leases = (one.lease for one in statements)
        self.touched.update({one: None for one in leases if one is not None and not one.told})

    def _completed(self, head: Expected, tag: bytes) -> None:
        words = tag.rstrip(b"\0").decode("ascii", "replace").split(" ")
        if words[-1].isdigit():
            head.rows += int(words[-1])
        head.status = words[0] or "EMPTY"
        if head.kind == b"E":
            self._queue.popleft()
            _settle_turn(head, took=True)
            self._note(head, head.result, head.status)
        elif head.kind != b"Q":
            raise ProtocolError("a completion of nothing that was executed")

    def _ready(self, head: Expected, body: bytes) -> None:
        if head.kind not in (b"S", b"Q") or body not in (b"I", b"T", b"E"):
            raise ProtocolError("ready although something is not answered")
        self._queue.popleft()
        self.syncs -= 1
        self.status = body.decode("ascii")
        self.readies += 1
        if head.kind == b"Q":
            _settle_turn(head, took=head.result != "failed")
            self._note(head, head.result, head.status)

    def _failed(self, body: bytes) -> bytes | None:
        said = fields(body)
        if not self._queue or said.get("V") in ("FATAL", "PANIC"):
            if said.get("V") in ("FATAL", "PANIC"):
                self.is_fatal = True
                return None
            raise ProtocolError("an error although nothing was asked")
        head = self._queue[0]
        head.result, head.status = "failed", said.get("C")
        if head.kind not in (b"S", b"Q"):
            self._queue.popleft()
            self._settle_failed(head)
            _settle_turn(head, took=False)
            if head.kind in (b"P", b"E"):
                self._note(head, "failed", head.status)
            self._skip()
        if head.denial is not None and head.nonce in said.get("M", ""):
            return head.denial.error
        return None

    def _skip(self) -> None:
        """Drop what the server discards: everything before the next Sync."""
        while self._queue and self._queue[0].kind != b"S":
            head = self._queue.popleft()
            if head.kind == b"Q":
                self.syncs -= 1
            self._settle_failed(head)
            self._discard(head)
        self._skipping = not self._queue

    def _settle_failed(self, head: Expected) -> None:
        if head.kind == b"P" and head.statements:
            self.statements.settle(head.name, confirmed=False)
        elif head.kind == b"B":
            self.portals.settle(head.name, confirmed=False)

    def _discard(self, expected: Expected) -> None:
        if expected.kind in (b"P", b"Q"):
            self._note(expected, "failed", _SKIPPED)
        _settle_turn(expected, took=False)

    def _note(self, head: Expected, result: str, status: str | None) -> None:
        """Count a use to its decision: the newest of what the name may stand for."""
        lease = head.statements[-1].lease if head.statements else None
        if lease is None:
            return
        lease.uses += head.kind != b"P" and status != _SKIPPED
        lease.rows += head.rows
        lease.size += self._bytes
        self._bytes = 0
        # The worst that happened since the last outcome record is what it tells.
        if lease.result == "forwarded" or lease not in self.touched:
            lease.result, lease.status = result, status
        self.touched[lease] = None


def _settle_turn(expected: Expected, *, took: bool) -> None:
    if expected.turn is not None:
        expected.turn.took = took
