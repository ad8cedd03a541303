"""A logged-in connection: client's messages are decided and sent on, the server's are passed back.

Messages are taken in order. One that needs a decision stops the line until the decision is durable;
what arrives meanwhile waits, and beyond a bound the client is asked to stop. Uses of a prepared
statement whose lease still covers them pass without a task between.

What is decided: Query and Parse; Bind and Execute when the lease is over; FunctionCall, which names
a function by number and is refused. Everything else is forwarded or ends the connection.
"""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Final

from sidecar.intercept.postgres.channel import Channel, Receiver
from sidecar.intercept.postgres.judge import Judge
from sidecar.intercept.postgres.limits import CANDIDATES_MAX, UNANSWERED_MAX, WAITING_BYTES_MAX
from sidecar.intercept.postgres.outcomes import Outcomes
from sidecar.intercept.postgres.protocol import wire
from sidecar.intercept.postgres.protocol.answers import Answers
from sidecar.intercept.postgres.protocol.denial import (
    CROWDED,
    NO_PORTAL,
    NO_STATEMENT,
    NOT_RECORDABLE,
    Denial,
    nonce,
)
from sidecar.intercept.postgres.protocol.pipeline import Expected, Pipeline
from sidecar.intercept.postgres.protocol.prepared import Statements
from sidecar.intercept.postgres.reader import Reader
from sidecar.intercept.postgres.settings import Keeper
from sidecar.intercept.postgres.subject import Speaker

# Statements and their uses: for whom they run must be settled before they are looked at.
_FOR_SOMEBODY: Final = frozenset(b"QPBEF")
_ABOUT_STATEMENTS: Final = _FOR_SOMEBODY | frozenset(b"DC")

_log = logging.getLogger("sidecar.intercept.postgres")
Work = Coroutine[None, None, None]


class Session:
    """Both ends of one connection after the login."""

    def __init__(
        self,
        client: Channel,
        upstream: Channel,
        judge: Judge,
        speaker: Speaker,
        keeper: Keeper["Session"],
    ) -> None:
        """Take both ends, the path, who speaks, and who keeps what outlives a message."""
        self._client = client
        self._upstream = upstream
        self._judge = judge
        self._speaker = speaker
        self._reader = Reader(judge, speaker, self._all_answered)
        self._keeper = keeper
        self._pipeline = Pipeline()
        self._answers = Answers(self._pipeline)
        self._outcomes = Outcomes(judge.path, keeper.spawned, self._not_recordable, self._drive)
        self._buffer = bytearray()
        self._out: list[bytes] = []
        self._is_deciding = False
        self._is_full = False
        self._is_held = False
        self._ready: asyncio.Future[None] | None = None
        self.is_over = False
        self.last_s = judge.clock_s()

    @property
    def is_idle(self) -> bool:
        """Return whether nothing is under way, not even a transaction."""
        return (
            not (self._pipeline or self._is_deciding or self._buffer)
            and self._pipeline.status == "I"
        )

    def is_silent_since(self, moment_s: float) -> bool:
        """Return whether the client has said nothing since then and waits for nothing."""
        return self.last_s < moment_s and not (self._pipeline or self._is_deciding)

    def start(self) -> None:
        """Take over both ends."""
        self._upstream.hand_over(
            Receiver(self._server_sent, self._server_lost, self._upstream_writable)
        )
        self._client.hand_over(
            Receiver(self._client_sent, self._client_lost, self._client_writable)
        )

    def end(self, code: str, text: str) -> None:
        """Tell the client why, and end both connections."""
        self._close(wire.error(code, text, fatal=True))

    # The client's side

    def _client_sent(self, data: bytes) -> None:
        """Take bytes of the client."""
        if self.is_over:
            return
        self.last_s = self._judge.clock_s()
        self._buffer += data
        self._drive()

    def _client_lost(self) -> None:
        """Know that the client is gone."""
        self._close(b"")

    def _upstream_writable(self, *, ready: bool) -> None:
        """Hold the client's messages while the upstream takes no more."""
        self._is_full = not ready
        if ready:
            self._drive()

    def _client_writable(self, *, ready: bool) -> None:
        """Read no more answers while the client takes none."""
        if self._upstream.closed:
            return
        if ready:
            self._upstream.transport.resume_reading()
        else:
            self._upstream.transport.pause_reading()

    def _drive(self) -> None:
        """Take messages from the buffer as far as they can be taken now."""
        at = 0
        try:
            while not (self.is_over or self._is_deciding or self._is_full):
                end = wire.frame_at(self._buffer, at)
                if end is None or self._must_wait(self._buffer[at]):
                    break
                frame = bytes(self._buffer[at:end])
                at = end
                work = self._take(frame)
                if work is not None:
                    self._decide(work)
        except wire.ProtocolError as error:
            self.end(error.code, str(error))
            return
        del self._buffer[:at]
        self._send_out()
        self._hold_client()

    def _must_wait(self, kind: int) -> bool:
        """Return whether the message must wait for an answer of the server or for the ledger."""
        if self._outcomes.is_full(self._pipeline.syncs):
            return True
        if len(self._pipeline) >= UNANSWERED_MAX:
            # The server answers a Flush although the client has not asked for one.
            self._out.append(wire.FLUSH)
            return True
        if kind not in _FOR_SOMEBODY or not self._pipeline.syncs:
            return False
        return self._speaker.is_unsettled

    def _hold_client(self) -> None:
        """Let the client send only as much as can be kept."""
        if self._client.closed or self.is_over:
            return
        is_stopped = self._is_deciding or self._is_full or len(self._pipeline) >= UNANSWERED_MAX
        is_stopped = is_stopped or self._outcomes.is_full(self._pipeline.syncs)
        hold = len(self._buffer) > WAITING_BYTES_MAX and (is_stopped or self._speaker.is_unsettled)
        if hold and not self._is_held:
            self._client.transport.pause_reading()
        elif self._is_held and not hold:
            self._client.transport.resume_reading()
        self._is_held = hold

    def _send_out(self) -> None:
        if self._out:
            self._upstream.write(b"".join(self._out))
            self._out.clear()

    def _decide(self, work: Work) -> None:
        """Let `work` be done before anything else of the client is looked at."""
        self._is_deciding = True
        self._send_out()
        task = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(self._decided)
        self._keeper.spawned(task)

    def _decided(self, task: asyncio.Task[None]) -> None:
        self._is_deciding = False
        if task.cancelled() or task.exception() is not None:
            # INVARIANT: our own mistake forwards nothing; the connection ends here.
            error = None if task.cancelled() else task.exception()
            _log.error("a connection failed inside the sidecar", exc_info=error)
            self.end("XX000", "the sidecar failed")
            return
        self._drive()

    # What each message is

    def _take(self, frame: bytes) -> Work | None:
        """Forward a message, or return the work that must be done first."""
        kind, body = frame[:1], frame[wire.HEADER_BYTES :]
        if self._pipeline.is_doomed and frame[0] in _ABOUT_STATEMENTS:
            # Not to be decided, for it is not going to be looked at, and not to be sent undecided.
            return None
        match kind:
            case b"Q":
                return self._query(wire.statement_text(body))
            case b"P":
                return self._parse(*wire.parse_parts(body))
            case b"B":
                portal, name = wire.bind_parts(body)
                found = self._pipeline.statements.candidates(name, self._pipeline.segment)
                return self._use(frame, Expected(b"B", portal, statements=found), NO_STATEMENT)
            case b"E":
                found = self._pipeline.portals.candidates(
                    wire.execute_portal(body), self._pipeline.segment
                )
                return self._use(frame, Expected(b"E", statements=found), NO_PORTAL)
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
                self._out.append(frame)
            case b"X":
                self._close(b"")
            case _:
                # COPY is refused, so its data follows an error; the server ignores it then.
                assert kind in (b"d", b"c", b"f"), kind

    def _use(self, frame: bytes, expected: Expected, absent: Denial) -> Work | None:
        """Forward a Bind or an Execute if a decision covers it, else return what must be asked."""
        found = expected.statements
        is_turn = any(one.asked is not None for one in found)
        if is_turn and len(found) > 1 and self._pipeline.syncs:
            return self._use_later(frame)
        if not found or len(found) > (1 if is_turn else CANDIDATES_MAX):
            self._refuse(CROWDED if found else absent)
            return None
        identity = self._speaker.identity
        over = tuple(one for one in found if not self._judge.covers(one, identity))
        if over or (is_turn and expected.kind == b"E"):
            return self._use_again(frame, expected, over)
        self._forward(frame, expected)
        return None

    async def _query(self, raw: bytes) -> None:
        found = await self._reader.read(raw)
        if self.is_over:
            return
        if isinstance(found, Denial):
            self._refuse(found, as_query=True)
        else:
            await self._run(wire.query(found.sent), Expected(b"Q", statements=(found,)))

    async def _parse(self, name: bytes, raw: bytes, types: bytes) -> None:
        found = await self._reader.read(raw)
        if self.is_over:
            return
        if isinstance(found, Denial):
            # Under the same name, so that an unnamed statement is gone afterwards as it would be.
            self._refuse(found, name=name)
        else:
            expected = Expected(b"P", name, statements=(found,))
            self._forward(wire.parse(name, found.sent, types), expected)

    async def _function_call(self) -> None:
        denial = await self._reader.unreadable("FunctionCall", "0A000")
        if not self.is_over:
            self._refuse(denial, as_query=True)

    async def _use_again(self, frame: bytes, expected: Expected, over: Statements) -> None:
        """Decide statements anew whose lease is over, then forward or refuse their use."""
        for statement in over:
            before = statement.lease
            denial = await self._reader.again(statement)
            if before is not None and before is not statement.lease and not before.told:
                self._pipeline.touched[before] = None
            if self.is_over:
                return
            if denial is not None:
                self._refuse(denial)
                return
        await self._run(frame, expected)

    async def _use_later(self, frame: bytes) -> None:
        """Take a message once it is clear which statement it means."""
        await self._all_answered()
        work = None if self.is_over else self._take(frame)
        if work is not None:
            await work

    async def _run(self, frame: bytes, expected: Expected) -> None:
        """Forward what is decided, with the subject turned if it runs what asks for that."""
        if expected.kind != b"B" and expected.statements[0].asked is not None:
            found = await self._reader.turn(expected.statements[0])
            if self.is_over:
                return
            if isinstance(found, Denial):
                self._refuse(found, as_query=expected.kind == b"Q")
                return
            expected.turn = found
        self._forward(frame, expected)

    def _forward(self, frame: bytes, expected: Expected) -> None:
        self._out.append(frame)
        self._pipeline.sent(expected)
        if expected.turn is not None:
            # The server may be known to discard it.
            self._speaker.settle()

    def _refuse(self, denial: Denial, *, name: bytes = b"", as_query: bool = False) -> None:
        """Send what the server will refuse in the place of what is denied."""
        if denial.blocked is not None:
            self._pipeline.touched[denial.blocked] = None
        word = nonce(self._keeper.random(16))
        kind, frame = (b"Q", wire.query(word)) if as_query else (b"P", wire.parse(name, word))
        self._forward(frame, Expected(kind, name, denial=denial, nonce=word.decode("ascii")))

    # The server's side

    def _server_sent(self, data: bytes) -> None:
        """Take bytes of the server."""
        if self.is_over:
            return
        before = self._pipeline.readies
        try:
            out = self._answers.feed(data)
        except wire.ProtocolError as error:
            self.end(error.code, str(error))
            return
        self._client.write(out)
        self._speaker.settle()
        if self._pipeline.readies != before:
            self._became_ready()
        if self._buffer:
            self._drive()

    def _became_ready(self) -> None:
        if self._pipeline.status == "I":
            self._speaker.transaction_ended()
        self._wake()
        self._outcomes.tell(self._pipeline.touched)
        if self.is_idle:
            self._keeper.became_idle(self)

    def _server_lost(self) -> None:
        """Know that the server is gone; the client is told unless the server did so itself."""
        lost = wire.error("08006", "the upstream ended the connection", fatal=True)
        self._close(b"" if self._pipeline.is_fatal else lost)

    def _not_recordable(self) -> None:
        self.end(NOT_RECORDABLE.code, "the outcome could not be recorded")

    async def _all_answered(self) -> None:
        """Return when no Sync and no Query is without its answer."""
        while self._pipeline.syncs and not self.is_over:
            self._ready = asyncio.get_running_loop().create_future()
            await self._ready

    def _wake(self) -> None:
        if self._ready is not None and not self._ready.done():
            self._ready.set_result(None)

    def _close(self, last_words: bytes) -> None:
        if self.is_over:
            return
        self._send_out()
        self.is_over = True
        self._upstream.close(wire.TERMINATE)
        self._client.close(last_words)
        self._wake()
        self._pipeline.abandon()
        self._outcomes.tell(self._pipeline.touched)
        self._keeper.ended(self)
