"""What each message of a client is: sent on, sent after a decision, or refused in its place.

What is decided: Query and Parse; Bind and Execute when the lease is over; FunctionCall, which names
a function by number and is refused. Everything else is forwarded or ends the connection.

Where the rows of a run are bounded, the server itself is made to stop: Execute asks for one more
than may pass, a Query runs as a portal. If that one comes the client has it not: in its place the
server is made to raise an error, so the transaction is as after any error.
"""

import functools
from collections.abc import Awaitable, Callable, Coroutine
from typing import Final

from sidecar.intercept.postgres.judge import Judge
from sidecar.intercept.postgres.limits import CANDIDATES_MAX
from sidecar.intercept.postgres.protocol import wire
from sidecar.intercept.postgres.protocol.counted.room import Room
from sidecar.intercept.postgres.protocol.counted.runs import Runs
from sidecar.intercept.postgres.protocol.counted.told import note_unsent, touch
from sidecar.intercept.postgres.protocol.denial import (
    CROWDED,
    NO_PORTAL,
    NO_ROOM,
    NO_STATEMENT,
    NOT_RECORDABLE,
    OTHER_TYPES,
    TOO_MANY_ROWS,
    Denial,
    nonce,
)
from sidecar.intercept.postgres.protocol.expected import Expected, Form
from sidecar.intercept.postgres.protocol.pipeline import Pipeline
from sidecar.intercept.postgres.protocol.prepared import Reads, Statement, Statements
from sidecar.intercept.postgres.protocol.uses import Asked, Uses
from sidecar.intercept.postgres.reader import Reader
from sidecar.intercept.postgres.subject import Speaker
from sidecar.terms.errors import RecordError

# Statements and their uses: for whom they run must be settled before they are looked at.
FOR_SOMEBODY: Final = frozenset(b"QPBEF")
_ABOUT_STATEMENTS: Final = FOR_SOMEBODY | frozenset(b"DC")

Work = Coroutine[None, None, None]


class NotRecorded(Exception):
    """Something was refused since it cannot be recorded."""


class Desk:
    """Takes one connection's messages in order; `out` is what goes upstream next.

    Args:
        judge: Asks the path.
        speaker: Who speaks.
        random: Returns that many bytes fit for cryptography.
        settled: Sends what is to go; returns when no Sync and no Query is without its answer.
        leave: Ends the connection as the client asks.
    """

    def __init__(
        self,
        judge: Judge,
        speaker: Speaker,
        random: Callable[[int], bytes],
        settled: Callable[[], Awaitable[None]],
        leave: Callable[[], None],
    ) -> None:
        self.pipeline = Pipeline(runs=Runs(judge.path.clock_s, judge.path.secrets.begun))
        self.uses = Uses(self.pipeline)
        self._room = Room(self.pipeline.kept)
        self.out: list[bytes] = []
        self.is_over = False
        self._judge = judge
        self._speaker = speaker
        self._random = random
        self._settled = settled
        self._leave = leave
        self._reader = Reader(judge, speaker, self.pipeline.names, settled)
        self._reads = Reads(judge.path.bundle)

    def take_use(self, data: bytes, now_s: float) -> bool:
        """Note what is nothing but one use under a lease, and return whether it is to be sent."""
        found = self.uses.used_by(data)
        if found is None or self.out:
            return False
        judge, lease = self._judge, found[0][0].lease
        assert lease is not None, "what is plain has a lease"
        bundle, epoch = self._reads.bundle(), judge.revocations.epoch
        identity = self._speaker.identity
        if self._reads.params or not lease.covers(identity, bundle.digest, epoch, now_s):
            return False
        self.uses.sent(*found)
        return True

    def take_asked(self, data: bytes, now_s: float) -> Asked | None:
        """Decide what does nothing but run a text that was asked before; None for what is more.

        Raises:
            NotRecorded: It is refused in its place.
        """
        piece = self.uses.asked_by(data)
        if piece is None or self.out or self._reads.has_params():
            return None
        names = self.pipeline.names
        if names.prepared or names.cursors:
            # What is said beside a text is looked at with the text.
            return None
        try:
            found = self._judge.repeat(
                piece.text, self._speaker.identity, now_s, by_form=self._reads.goes_by_form
            )
        except RecordError:
            self._refuse_piece(piece.form)
            raise NotRecorded from None
        if found is None:
            return None
        handed_s = self.pipeline.runs.clock_s()
        return Asked(data, piece.form, (found.statement,), found.written, handed_s)

    def decided(self, asked: Asked) -> bytes:
        """Return what is to be sent of it, now that it is known what came of its record."""
        if asked.written.exception() is not None:
            if not self.is_over:
                self._refuse_piece(asked.form)
            return b""
        lease = asked.of[0].lease
        assert lease is not None
        if self.is_over:
            note_unsent(self.pipeline.touched, lease)
            return b""
        lease.durable_s = self.uses.sent(asked.of, asked.form) - asked.handed_s
        return asked.data

    def _refuse_piece(self, form: Form) -> None:
        """Refuse what cannot be recorded, in its place and up to its Sync."""
        is_query = form.kinds == b"Q"
        self._refuse(NOT_RECORDABLE, name=b"", as_query=is_query)
        if not is_query:
            self._say(wire.SYNC, Expected(b"S"))

    def take(self, frame: bytes) -> Work | None:
        """Forward a message, or return the work that must be done first."""
        kind, body = frame[:1], frame[wire.HEADER_BYTES :]
        if self.pipeline.copying == "in":
            self._copy_in(frame, kind)
            return None
        if self.pipeline.is_doomed and frame[0] in _ABOUT_STATEMENTS:
            # Not to be decided, for it is not going to be looked at, and not to be sent undecided.
            return None
        match kind:
            case b"Q":
                return self._query(wire.statement_text(body))
            case b"P":
                return self._parse(*wire.parse_parts(body))
            case b"B":
                return self._bind(frame, body)
            case b"E":
                return self._execute(frame, wire.execute_portal(body))
            case b"F":
                return self._function_call()
            case _:
                self._pass(frame, kind, body)
        return None

    def _pass(self, frame: bytes, kind: bytes, body: bytes) -> None:
        """Take a message on which there is nothing to decide."""
        match kind:
            case b"D" | b"C":
                of, name = wire.kind_and_name(body)
                self._forward(frame, Expected(kind, name, closes=of))
            case b"S":
                self._forward(frame, Expected(kind))
            case b"H":
                self.out.append(frame)
            case b"X":
                self._leave()
            case _:
                # Data of a COPY that has failed or was denied; the server ignores it then.
                assert kind in (b"d", b"c", b"f"), kind

    def _copy_in(self, frame: bytes, kind: bytes) -> None:
        """Take a message while the server takes data of COPY: there, all else is a mistake."""
        match kind:
            case b"d":
                self.pipeline.copied_in(len(frame))
                self.out.append(frame)
            case b"c" | b"f":
                self.pipeline.copying = ""
                self.out.append(frame)
            case b"X":
                self._leave()
            case b"S" | b"H":
                # The server ignores them there: drivers send them before they know that it copies.
                pass
            case _:
                raise wire.ProtocolError("a message that cannot stand in data of COPY")

    def _execute(self, frame: bytes, name: bytes) -> Work | None:
        portals, segment = self.pipeline.portals, self.pipeline.segment
        if self.pipeline.syncs and not portals.is_proposed(name, segment):
            # A Bind that is not answered may have failed, and a cursor of SQL have the name.
            return self._use_later(frame)
        found = portals.candidates(name, segment)
        return self._use(frame, Expected(b"E", name, statements=found), NO_PORTAL)

    def _bind(self, frame: bytes, body: bytes) -> Work | None:
        portal, name = wire.bind_parts(body)
        statements, segment = self.pipeline.statements, self.pipeline.segment
        has_lost = statements.has_lost or self.pipeline.names.has_lost
        if has_lost and self.pipeline.syncs and not statements.is_proposed(name, segment):
            # A Parse that is not answered may have failed on a name that nobody knows here.
            return self._use_later(frame)
        found = candidates = statements.candidates(name, segment)
        for one in found:
            if one.is_untyped and not one.is_as_given():
                self._refuse(OTHER_TYPES if one.lease is None else OTHER_TYPES.blocking(one.lease))
                return None
        if self._reads.has_params():
            # Of one that was prepared before anybody asked for values the types are not known.
            found = candidates = tuple([one for one in found if one.types is not None])
            found = tuple([one.with_values(body) for one in candidates])
        expected = Expected(b"B", portal, statements=found, of=name, candidates=candidates)
        return self._use(frame, expected, NO_STATEMENT)

    def _use(self, frame: bytes, expected: Expected, absent: Denial) -> Work | None:
        """Forward a Bind or an Execute if a decision covers it, else return what must be asked."""
        found = expected.statements
        is_turn = any(one.asked is not None for one in found)
        is_sole = is_turn or any(one.lease is not None and one.lease.names for one in found)
        if is_sole and len(found) > 1 and self.pipeline.syncs:
            return self._use_later(frame)
        if not found or len(found) > (1 if is_sole else CANDIDATES_MAX):
            self._refuse(CROWDED if found else absent)
            return None
        identity = self._speaker.identity
        now_s = self._judge.clock_s()
        over = tuple([one for one in found if not self._judge.covers(one, identity, now_s)])
        if over or (is_turn and expected.kind == b"E"):
            return self._use_again(frame, expected, over)
        self._forward(frame, expected)
        return None

    async def _query(self, raw: bytes) -> None:
        """Take a Query, the statements in it one after another where that comes to the same."""
        *before, last = await self._reader.apart(raw, self.pipeline)
        for part in before:
            self.pipeline.is_midway = True
            await self._query_alone(part)
            await self._settled()
            if self.is_over or not self.pipeline.is_midway:
                return  # PostgreSQL looks at no more of a text in which something failed.
        self.pipeline.is_midway = False
        await self._query_alone(last)

    async def _query_alone(self, raw: bytes) -> None:
        found = self._placed(await self._reader.read(raw))
        if self.is_over:
            self._left(found)
        elif isinstance(found, Denial):
            self._refuse(found, as_query=True)
        else:
            await self._run(wire.query(found.sent), Expected(b"Q", statements=(found.bound(),)))

    async def _parse(self, name: bytes, raw: bytes, types: bytes) -> None:
        found = await self._reader.read(raw)
        types = found.take_types(types) if isinstance(found, Statement) else types
        found = self._placed(found)
        if self.is_over:
            self._left(found)
        elif isinstance(found, Denial):
            # Under the same name, so that an unnamed statement is gone afterwards as it would be.
            self._refuse(found, name=name)
        else:
            expected = Expected(b"P", name, statements=(found,))
            self._forward(wire.parse(name, found.sent, types), expected)
            if found.is_untyped or self._reads.has_params():
                asks = Expected(b"D", name, b"S", statements=(found,), is_muted=True, is_fence=True)
                self._say(wire.describe_statement(name), asks)
                self.out.append(wire.FLUSH)

    def _placed(self, found: Statement | Denial) -> Statement | Denial:
        """Return a statement for which there is room, else a denial."""
        if isinstance(found, Denial) or found.lease is None or self._room.has_for(found):
            return found
        return NO_ROOM.blocking(found.lease)

    async def _function_call(self) -> None:
        denial = await self._reader.unreadable("FunctionCall", "0A000")
        if not self.is_over:
            self._refuse(denial, as_query=True)

    async def _use_again(self, frame: bytes, expected: Expected, over: Statements) -> None:
        """Decide statements anew whose lease is over, then forward or refuse their use."""
        for statement in over:
            denial = await self._again(statement, expected.kind)
            if self.is_over:
                self._left(denial or statement)
            elif denial is not None:
                self._refuse(denial)
            if self.is_over or denial is not None:
                touch(self.pipeline.touched, over)  # Nothing comes of the others either.
                return
        await self._run(frame, expected)

    async def _again(self, statement: Statement, kind: bytes) -> Denial | None:
        before = statement.lease
        denial = await self._reader.again(statement)
        if before is not None and before is not statement.lease and not before.told:
            self.pipeline.touched[before] = None
        if self.is_over or denial is not None:
            return denial
        if kind == b"E" and statement.is_uncounted:
            # Its rows were not bounded when it was bound, and nobody has counted them.
            return NO_PORTAL
        placed = self._placed(statement) if statement.said and kind == b"B" else statement
        return placed if isinstance(placed, Denial) else None

    async def _use_later(self, frame: bytes) -> None:
        """Take a message once it is clear which statement it means."""
        await self._settled()
        work = None if self.is_over else self.take(frame)
        if work is not None:
            await work

    async def _run(self, frame: bytes, expected: Expected) -> None:
        """Forward what is decided, with the subject turned if it runs what asks for that."""
        if expected.kind != b"B" and expected.statements[0].asked is not None:
            found = await self._reader.turn(expected.statements[0])
            if self.is_over:
                self._left(found if isinstance(found, Denial) else expected.statements[0])
                return
            if isinstance(found, Denial):
                self._refuse(found, as_query=expected.kind == b"Q")
                return
            expected.turn = found
        self._forward(frame, expected)

    def _forward(self, frame: bytes, expected: Expected) -> None:
        left = expected.rows_left
        if left is not None:
            if expected.kind == b"Q" and not self.pipeline.is_skipping:
                self._forward_as_portal(expected, left)
                return
            if expected.kind == b"E":
                frame = wire.execute_at_most(frame, left + 1)
        elif expected.kind == b"B":
            expected.take_bind(frame)
        self.out.append(frame)
        self.pipeline.sent(expected)
        if self.pipeline.fence is expected and expected.kind != b"Q":
            self.out.append(wire.FLUSH)
        if expected.turn is not None:
            # The server may be known to discard it.
            self._speaker.settle()

    def _forward_as_portal(self, expected: Expected, left: int) -> None:
        """Run a Query whose rows are bounded as a portal, which the server stops by itself."""
        of = expected.statements
        part = functools.partial(Expected, statements=of, is_part=True)
        self._say(wire.parse(b"", of[0].sent), part(b"P", is_muted=True))
        self._say(wire.BIND, part(b"B", is_muted=True))
        self._say(wire.DESCRIBE_PORTAL, Expected(b"D", is_muted=True, is_part=True))
        self._say(wire.execute(left + 1), part(b"E", turn=expected.turn))
        self.out.append(wire.FLUSH)
        self.pipeline.owes_sync = True

    def _say(self, frame: bytes, expected: Expected) -> None:
        self.out.append(frame)
        self.pipeline.sent(expected)

    def answered(self) -> None:
        """Say what depends on an answer that has come."""
        overrun, self.pipeline.overrun = self.pipeline.overrun, None
        if overrun is not None and overrun.lease is not None:
            # The error comes where the server stopped, and undoes what it undoes for any error.
            self._refuse(TOO_MANY_ROWS.blocking(overrun.lease))
        if self.pipeline.owes_sync:
            self.pipeline.owes_sync = False
            self._say(wire.SYNC, Expected(b"S"))

    def _left(self, found: Statement | Denial) -> None:
        """Tell of what was permitted only when the client had gone."""
        lease = found.blocked if isinstance(found, Denial) else found.lease
        if lease is not None:
            note_unsent(self.pipeline.touched, lease)

    def _refuse(self, denial: Denial, *, name: bytes | None = None, as_query: bool = False) -> None:
        """Send what the server will refuse in the place of what is denied.

        Under a name that nothing has, unless it takes the place of a Parse of `name`: the server
        drops an unnamed statement before it reads the next one.
        """
        if denial.blocked is not None:
            self.pipeline.touched[denial.blocked] = None
        word = nonce(self._random(16))
        name = word if name is None else name
        kind, frame = (b"Q", wire.query(word)) if as_query else (b"P", wire.parse(name, word))
        self._forward(frame, Expected(kind, name, denial=denial, nonce=word.decode("ascii")))
