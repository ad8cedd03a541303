"""A request that has come whole: it waits for a place, is answered, and waits for its record.

A request that waits for its record alone waits as a callback of that record; one that is known
again waits for the end of the turn of the loop, and goes on with those that equal it (`turn.py`).
"""

import asyncio
import logging
from abc import abstractmethod
from collections.abc import Callable, Generator
from functools import partial

from sidecar.intercept.hot import limits, refusals
from sidecar.intercept.hot.answers import Reply
from sidecar.intercept.hot.body import Sized
from sidecar.intercept.hot.peer.giving import BODY, BUSY, GONE, HEAD, NEVER, WAIT, Giving
from sidecar.intercept.hot.seam import Alike, Answer, Held, Steps, Waited, next_step
from sidecar.intercept.hot.shared import Same, Shared
from sidecar.terms.errors import RecordError
from sidecar.terms.record import Written

_log = logging.getLogger("sidecar.intercept.ask")


class Answering(Giving):
    """The part of a connection between what it reads and what it gives."""

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self._held: Held | None = None
        # Of a request that is new, as long as there are any.
        self._steps: Steps | None = None
        # Of a request that waits for a place.
        self._whole = b""
        self.last = Same()

    @abstractmethod
    def _again(self) -> None:
        """Go on with what came in the meantime."""

    # --- its end ---

    def expire(self) -> None:
        """End what has overstayed its deadline."""
        if self._is_stalled or self._mode not in {BODY, HEAD, WAIT}:
            self._transport.abort()
        elif self._mode == BODY:
            self._refuse(refusals.LATE)
        elif self._mode == WAIT:
            self._guarded(self._wait_no_more)
        else:
            self._transport.close()

    def drain(self) -> None:
        """Close now where nothing was begun, else after the answer."""
        if self._mode == HEAD:
            self._mode = GONE
            self._transport.close()

    def abort(self) -> None:
        """Close whatever is going on."""
        self._transport.abort()

    # --- a request that has come whole ---

    def _enter(self, body: bytes) -> None:
        """Answer the request, of which all has come, once there is a place for it."""
        if not self._is_known:
            self._shown()
        if self._room.try_enter(self._met.share):
            self._answer(body)
        else:
            self._wait_for_place(body)

    def _wait_for_place(self, body: bytes) -> None:
        self._mode = WAIT
        self.deadline_s = self._shared.now_s() + limits.WAIT_S_MAX
        if len(body) > limits.SHORT_BODY_BYTES_MAX:
            # Its last bytes are not counted yet; none are where all came at once.
            held = Sized(len(body))
            held.feed(body)
            if self._body is not None:
                held.counted = self._body.counted
            self._body = held
            if not self._room.has_room(self._met.share, held):
                self._wait_no_more()
                return
        self._whole = body
        self._room.wait(self._met.share, self, partial(self._guarded, self._let_in))

    def _let_in(self) -> None:
        """Begin the request that waited; its place is counted."""
        body, self._whole = self._whole, b""
        alike = self.last.alike
        if alike is not None and self.last.body is body:
            self._mode = BUSY
            self.deadline_s = NEVER
            self._shared.turn.add(alike, self)
        else:
            self._answer(body)
            self._again()

    def _wait_no_more(self) -> None:
        """Say that there are too many; what came of the request is all of it."""
        self._leave()
        self._whole = b""
        self._give(self._met.admission.refuse(refusals.BUSY, self.peer))
        self._again()

    def _answer(self, body: bytes) -> None:
        self._mode = BUSY
        self.deadline_s = NEVER
        self._wait(self._met.admission.answer(body, self.peer))

    def _wait(self, answer: Answer) -> None:
        if isinstance(answer, Held):
            self._held = answer
            answer.written.add_done_callback(self._recorded)
        elif isinstance(answer, Reply):
            self._finish(answer)
        elif isinstance(answer, Generator):
            self._steps = answer
            self._shared.turn.put(self)
        else:
            task = asyncio.get_running_loop().create_task(answer)
            self._shared.tasks.add(task)
            task.add_done_callback(self._ended)

    # --- what the turn says ---

    def begin(self, alike: Alike) -> None:
        """Have the request answered by itself."""
        self._asked(partial(alike.one, self.peer))

    def step(self) -> bool:
        """Go one step on with a request that is new; return whether there is another."""
        return self._asked(self._next_step) is None

    def _asked(self, ask: Callable[[], Answer | None]) -> Answer | None:
        """Return what the request is answered, which is waited for, None where it is not yet."""
        is_asked = is_well = False
        try:
            answer = ask()
            is_asked = True
            if answer is not None:
                self._wait(answer)
                if self._ahead or self._is_ended or self._is_paused:
                    self._again()
            is_well = True
        finally:
            if not is_asked:
                self.fail(None)
            elif not is_well:
                self._mistake()
        return answer

    def _next_step(self) -> Waited | None:
        steps, self._steps = self._steps, None
        assert steps is not None
        try:
            answer = next_step(steps)
        except RecordError as error:
            answer = self._met.admission.failed(error, self.peer)
        if answer is None:
            self._steps = steps
        return answer

    def give(self, plain: bytes, body: bytes, until_s: float) -> None:
        """Give the answer: `plain` where nothing more is to be said, and wait until then."""
        is_well, met, room = False, self._met, self._room
        try:
            is_in_order = self._mode == BUSY and not (self._is_stalled or self._ahead)
            is_last = self._is_ended or self.is_sent_away or self._shared.is_draining
            if is_in_order and met.is_plain and not (is_last or self._is_paused):
                self._mode = HEAD
                self.deadline_s = until_s
                if room.waiting:
                    room.leave(met.share)
                else:
                    room.in_flight -= 1
                    met.share.count -= 1
                self._transport.write(plain)
            else:
                self._finish(Reply(200, body))
                self._again()
            is_well = True
        finally:
            if not is_well:
                self._mistake()

    def fail(self, failed: BaseException | None) -> None:
        """Refuse what could not be recorded; None for a mistake of ours that was told."""
        if failed is None:
            self._mistake()
        else:
            self._guarded(partial(self._failed, failed))

    # --- what comes of it ---

    def _recorded(self, written_: Written) -> None:
        is_well = False
        try:
            held, self._held = self._held, None
            assert held is not None
            failed = written_.exception()
            if failed is None:
                held.given()
                self._finish(held.reply)
                if self._ahead or self._is_ended or self._is_paused:
                    self._again()
            else:
                self._failed(failed)
            is_well = True
        finally:
            if not is_well:
                self._mistake()

    def _ended(self, task: "asyncio.Task[Reply]") -> None:
        self._shared.tasks.discard(task)
        self._guarded(partial(self._give_made, task))

    def _give_made(self, task: "asyncio.Task[Reply]") -> None:
        if task.cancelled():
            self._leave()
            self._transport.abort()
        elif (failed := task.exception()) is not None:
            self._failed(failed)
        else:
            self._finish(task.result())
            self._again()

    def _failed(self, failed: BaseException) -> None:
        reply = self._met.admission.failed(failed, self.peer)
        if reply is None:
            _log.error("a request failed inside the sidecar", exc_info=failed)
            self._mistake()
        else:
            self._finish(reply)
            self._again()

    def _shown(self) -> None:
        self._is_known = True
        self._shared.is_known(self)

    def _guarded(self, doing: Callable[[], None]) -> None:
        """Do what a callback has to; a mistake of ours ends the request under way."""
        is_well = False
        try:
            doing()
            is_well = True
        finally:
            if not is_well:
                self._mistake()
