"""A logged-in connection: client's messages are decided and sent on, the server's are passed back.

Messages are taken in order. One that needs a decision stops the line until the decision is durable;
what arrives meanwhile waits, and beyond a bound the client is asked to stop. Uses of a prepared
statement whose lease still covers them pass without a task between. What each message is, and what
is decided, stands in `desk.py`.
"""

import asyncio
import functools
import logging
from typing import Final

from sidecar.intercept.postgres.desk import FOR_SOMEBODY, Desk, NotRecorded, Work
from sidecar.intercept.postgres.ends.channel import Channel, Receiver
from sidecar.intercept.postgres.ends.pinned import check_parameter
from sidecar.intercept.postgres.judge import Judge
from sidecar.intercept.postgres.limits import (
    DECISION_S_MAX,
    MESSAGES_A_TURN_MAX,
    UNANSWERED_MAX,
    WAITING_BYTES_MAX,
)
from sidecar.intercept.postgres.outcomes import Outcomes
from sidecar.intercept.postgres.protocol import wire
from sidecar.intercept.postgres.protocol.answers import Answers
from sidecar.intercept.postgres.protocol.denial import NOT_RECORDABLE
from sidecar.intercept.postgres.protocol.uses import Asked
from sidecar.intercept.postgres.settings import Keeper, PostgresSettings
from sidecar.intercept.postgres.subject import Speaker
from sidecar.terms.record import Written

_TERMINATE: Final = ord("X")
_log = logging.getLogger("sidecar.intercept.postgres")


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
        self._keeper = keeper
        self._clock_s = judge.clock_s
        self._desk = Desk(judge, speaker, keeper.random, self._all_answered, self._client_lost)
        self._pipeline = self._desk.pipeline
        self._uses = self._desk.uses
        agree = functools.partial(check_parameter, search_path=judge.settings.search_path)
        self._answers = Answers(self._pipeline, agree)
        self._outcomes = Outcomes(judge.path, keeper, self._not_recordable, self._drive)
        self._buffer = bytearray()
        # What is decided in one piece.
        self._asked: Asked | None = None
        # Since when something is decided while the server owes nothing.
        self._deciding_s: float | None = None
        self._is_full = self._is_held = False
        # Whether others have their turn before more is taken.
        self._is_behind = False
        # Since when the client takes no more.
        self._full_s: float | None = None
        self._ready: asyncio.Future[None] | None = None
        # There is one where it ended while something was decided.
        self._last_decided: asyncio.Event | None = None
        self.last_s = judge.clock_s()

    @property
    def is_over(self) -> bool:
        """Return whether the connection has ended."""
        return self._desk.is_over

    @property
    def is_idle(self) -> bool:
        """Return whether nothing is under way, not even a transaction."""
        return (
            not (self._pipeline or self._uses or self._is_deciding or self._buffer)
            and self._pipeline.status == "I"
        )

    def end_if_idle(self, now_s: float, bounds: PostgresSettings) -> None:
        """End a connection whose client has said nothing for too long and waits for nothing.

        One that stops in the middle of a message or of data for COPY says nothing either, nor one
        that does not read what it asked for, nor one whose decision does not come.
        """
        if self._full_s is not None and now_s - self._full_s > bounds.idle_in_transaction_s:
            self.end("57P05", "the connection has not read its answers for too long")
            return
        if self._is_deciding and self._has_decided_for(now_s) > DECISION_S_MAX:
            self.end("58000", "a decision took too long")
            return
        waits = self._uses or (self._pipeline.syncs and self._pipeline.copying != "in")
        if waits or self._desk.is_over or self._is_deciding:
            return
        # Since either side has spoken: a statement may take long.
        silent_s = now_s - self.last_s
        is_busy = self._pipeline.status != "I" or self._pipeline.copying == "in"
        if is_busy and silent_s > bounds.idle_in_transaction_s:
            self.end("25P03", "the connection was idle in a transaction for too long")
        elif silent_s > bounds.idle_s:
            self.end("57P05", "the connection was idle for too long")

    @property
    def _is_deciding(self) -> bool:
        return self._deciding_s is not None

    def _has_decided_for(self, now_s: float) -> float:
        """Return how long a decision has been waited for, not counting a statement that runs."""
        if self._deciding_s is None or self._pipeline.syncs or self._uses:
            return 0
        return now_s - self._deciding_s

    def start(self) -> None:
        """Take over both ends."""
        theirs = Receiver(self._server_sent, self._server_lost, self._upstream_writable)
        self._upstream.hand_over(theirs)
        ours = Receiver(self._client_sent, self._client_lost, self._client_writable)
        self._client.hand_over(ours)

    def end(self, code: str, text: str) -> None:
        """Tell the client why, and end both connections."""
        self._close(wire.error(code, text, fatal=True))

    # The client's side

    def _client_sent(self, data: bytes) -> None:
        """Take bytes of the client."""
        if self._desk.is_over:
            return
        self.last_s = now_s = self._clock_s()
        # Whether nothing stands between it and the upstream.
        if not (
            self._buffer
            or self._deciding_s is not None
            or self._is_full
            or self._speaker.is_unsettled
            or self._outcomes.is_full(len(self._uses.waiting))
        ):
            if self._desk.take_use(data, now_s):
                self._upstream.write(data)
                self._uses.went(data)
                return
            if self._take_asked(data, now_s):
                return
        self._buffer += data
        self._drive()

    def _take_asked(self, data: bytes, now_s: float) -> bool:
        """Decide what comes in one piece, without a task; return whether it was that."""
        try:
            asked = self._desk.take_asked(data, now_s)
        except NotRecorded:
            self._send_out()
            return True
        if asked is None:
            return False
        self._deciding_s = now_s
        # One at a time: what comes meanwhile waits.
        self._asked = asked
        asked.written.add_done_callback(self._asked_decided)
        return True

    def _asked_decided(self, _: Written) -> None:
        """Send it on, or what is refused in its place."""
        asked, self._asked = self._asked, None
        assert asked is not None
        is_done = False
        try:
            self._upstream.write(self._desk.decided(asked))
            self._uses.went(asked.data)
            is_done = True
        finally:
            if not is_done:
                self.end("XX000", "the sidecar failed")
            self._was_decided()
        # Behind it, while the server is at work: with it, the client would wait for them too.
        self._keeper.gathered.go_with(self.last_s)
        if self.is_over or not self._buffer:
            self._send_out()
        else:
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
        self._full_s = None if ready else self._judge.clock_s()
        if self._upstream.closed:
            return
        if ready:
            self._upstream.transport.resume_reading()
        else:
            self._upstream.transport.pause_reading()

    def _drive(self) -> None:
        """Take messages from the buffer as far as they can be taken now."""
        if self._is_behind:
            return
        if self._buffer:
            self._uses.unfold()
        is_done = False
        try:
            self._take_turn()
            is_done = True
        except wire.ProtocolError as error:
            self.end(error.code, str(error))
        finally:
            if not is_done:
                # INVARIANT: nothing that was taken stands in the buffer, to be taken again.
                self.end("XX000", "the sidecar failed")
        self._send_out()
        self._hold_client()

    def _take_turn(self) -> None:
        """Take so many messages; others have their turn before the rest. Raises ProtocolError."""
        at = 0
        for _ in range(MESSAGES_A_TURN_MAX):
            if self.is_over or self._is_deciding or self._is_full:
                break
            end = wire.frame_at(self._buffer, at)
            if end is None or self._must_wait(self._buffer[at]):
                break
            frame, at = bytes(self._buffer[at:end]), end
            work = self._desk.take(frame)
            if work is not None:
                self._decide(work)
        else:
            self._is_behind = True
            asyncio.get_running_loop().call_soon(self._go_on)
        del self._buffer[:at]

    def _go_on(self) -> None:
        self._is_behind = False
        self._drive()

    def _must_wait(self, kind: int) -> bool:
        """Return whether the message must wait for an answer of the server or for the ledger."""
        if self._pipeline.fence is not None and kind != _TERMINATE:
            return True
        if self._outcomes.is_full(self._pipeline.syncs):
            return True
        if len(self._pipeline) >= UNANSWERED_MAX:
            # The server answers a Flush although the client has not asked for one.
            self._desk.out.append(wire.FLUSH)
            return True
        if kind not in FOR_SOMEBODY or not self._pipeline.syncs:
            return False
        return self._speaker.is_unsettled

    def _hold_client(self) -> None:
        """Let the client send only as much as can be kept."""
        if self._client.closed or self.is_over:
            return
        is_stopped = self._is_deciding or self._is_full or len(self._pipeline) >= UNANSWERED_MAX
        is_stopped = is_stopped or self._is_behind or self._pipeline.fence is not None
        is_stopped = is_stopped or self._outcomes.is_full(self._pipeline.syncs)
        hold = len(self._buffer) > WAITING_BYTES_MAX and (is_stopped or self._speaker.is_unsettled)
        if hold and not self._is_held:
            self._client.transport.pause_reading()
        elif self._is_held and not hold:
            self._client.transport.resume_reading()
        self._is_held = hold

    def _send_out(self) -> None:
        if self._desk.out:
            self._upstream.write(b"".join(self._desk.out))
            self._desk.out.clear()

    def _decide(self, work: Work) -> None:
        """Let `work` be done before anything else of the client is looked at."""
        self._deciding_s = now_s = self._clock_s()
        self._keeper.gathered.go_with(now_s)
        self._send_out()
        task = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(self._decided)
        self._keeper.spawned(task)

    def _decided(self, task: asyncio.Task[None]) -> None:
        self._was_decided()
        if task.cancelled() or task.exception() is not None:
            # INVARIANT: our own mistake forwards nothing; the connection ends here.
            error = None if task.cancelled() else task.exception()
            _log.error("a connection failed inside the sidecar", exc_info=error)
            self.end("XX000", "the sidecar failed")
            return
        self._drive()

    def _was_decided(self) -> None:
        self._deciding_s = None
        if self._last_decided is not None:
            self._last_decided.set()
        if self.is_over:
            # What was decided meanwhile did not go out.
            self._outcomes.tell(self._pipeline.touched)
            self._outcomes.end()

    # The server's side

    def _server_sent(self, data: bytes) -> None:
        """Take bytes of the server."""
        if self._desk.is_over:
            return
        before = self._pipeline.readies
        # Within a message any bytes may look like an answer.
        passed = self._uses.answered(data) if self._answers.is_between else 0
        if passed == len(data):
            self._client.write(data)
            self._became_ready()
            return
        self._uses.unfold()
        try:
            out = data[:passed] + self._answers.feed(data[passed:])
        except wire.ProtocolError as error:
            self.end(error.code, str(error))
            return
        self._client.write(out)
        self._speaker.settle()
        if self._pipeline.fence is None:
            self._desk.answered()
            self._send_out()
        if self._pipeline.readies != before:
            self._became_ready()
        elif not self._pipeline.syncs:
            # A Query behind an error is skipped, of which the server says nothing.
            self._wake()
        if self._buffer:
            self._drive()

    def _became_ready(self) -> None:
        pipeline = self._pipeline
        self.last_s = now_s = self._clock_s()
        if self._deciding_s is not None:
            # It may have waited for this very answer.
            self._deciding_s = now_s
        if pipeline.status == "I" and self._speaker.is_bound:
            self._speaker.transaction_ended(is_quiet=not pipeline)
        if self._ready is not None:
            self._wake()
        if pipeline.touched:
            self._outcomes.tell(pipeline.touched)
        if self._keeper.is_draining:
            self._keeper.became_idle(self)

    def _server_lost(self) -> None:
        """Know that the server is gone; the client is told unless the server did so itself."""
        lost = wire.error("08006", "the upstream ended the connection", fatal=True)
        self._close(b"" if self._pipeline.is_fatal else lost)

    def _not_recordable(self) -> None:
        self.end(NOT_RECORDABLE.code, "the outcome could not be recorded")

    async def _all_answered(self) -> None:
        """Return when no Sync and no Query is without its answer, and all that is said is sent."""
        self._send_out()
        while (self._pipeline.syncs or self._pipeline.owes_sync) and not self.is_over:
            self._ready = asyncio.get_running_loop().create_future()
            await self._ready

    def _wake(self) -> None:
        if self._ready is not None and not self._ready.done():
            self._ready.set_result(None)

    def _close(self, last_words: bytes) -> None:
        if self.is_over:
            return
        self._send_out()
        self._desk.is_over = True
        self._upstream.close(wire.TERMINATE)
        self._client.close(last_words)
        self._wake()
        self._uses.unfold()
        self._pipeline.abandon()
        self._outcomes.tell(self._pipeline.touched)
        self._outcomes.end()
        if self._is_deciding:
            # What is decided in one piece has no task of its own to be waited for.
            self._last_decided = asyncio.Event()
            rest = self._wait_for(self._last_decided)
            self._keeper.spawned(asyncio.get_running_loop().create_task(rest))
        self._keeper.ended(self)

    async def _wait_for(self, decided: asyncio.Event) -> None:
        await decided.wait()
