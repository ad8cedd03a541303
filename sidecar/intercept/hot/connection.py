"""One connection: requests in, one at a time; answers out, in order; nothing unbounded.

```
 HEAD ──head──▶ (BODY) ──body──▶ BUSY ──answer──▶ HEAD ──many in a row──▶ REST ──▶ HEAD
   └─ malformed, refused with a body to come, too late ─▶ GONE: answered, closed, read away
```
Who sends requests ahead of their answers has them answered in order: what is ahead waits in a
bounded buffer and then in the kernel's. No request has a task or a timer of its own: a request
that waits for its record alone waits as a callback of that record, and one sweep over all
connections looks at their deadlines (`server.py`). A request that is known again waits for the end
of the turn of the loop, and goes on with those that equal it (`turn.py`).
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import cast

from sidecar.intercept.hot import limits, refusals
from sidecar.intercept.hot.answers import CONTINUE, Reply
from sidecar.intercept.hot.body import TooLarge, body_of
from sidecar.intercept.hot.giving import BODY, BUSY, GONE, HEAD, NEVER, REST, Giving
from sidecar.intercept.hot.head import Malformed, behind_empty_line, head_end
from sidecar.intercept.hot.seam import Alike, Answer, Held, peer_of
from sidecar.intercept.hot.shared import Same, Share, Shared
from sidecar.terms.record import Written

_log = logging.getLogger("sidecar.intercept.ask")


class Connection(Giving):
    """Speaks HTTP/1.1 to one peer."""

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self._held: Held | None = None
        self._is_begun = self._is_behind_line = False
        self.last = Same()

    # --- what the loop says ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, or close at once what is beyond the bounds, before a byte of it is read."""
        # uvloop's transports are none of the standard library's classes.
        self._transport = cast("asyncio.Transport", transport)
        self.peer = peer_of(transport)
        if not self._shared.take(self):
            self._mode = GONE
            transport.close()
            return
        self._transport.set_write_buffer_limits(high=limits.WRITE_BUFFER_BYTES_MAX)
        self._known = self._shared.known(self.peer)
        self.deadline_s = self._shared.until_idle_s(is_known=self._is_known)

    def data_received(self, data: bytes) -> None:
        """Take what has come."""
        is_well = False
        try:
            if self._ahead or self._mode != HEAD or not self._takes_whole(data):
                self._take(data)
            is_well = True
        finally:
            if not is_well:
                self._mistake()

    def eof_received(self) -> bool:
        """Answer all that has come, though nothing more will; return whether to stay open."""
        if self._mode == BODY:
            self._refuse(refusals.MISFRAMED)
        self._is_ended = True
        return self._mode in {BUSY, REST} or (self._is_stalled and bool(self._ahead))

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget; what was begun goes on to its record."""
        if self._mode == BODY:
            self._leave()
            # Counted as any other body that is not framed as its headers say.
            self._met.admission.refuse(refusals.MISFRAMED, self.peer)
        self._mode = GONE
        self._ahead = b""
        self._shared.ended(self)

    def pause_writing(self) -> None:
        """Wait for a peer that does not take its answers, but not for long, and take no more."""
        self._is_stalled = True
        self.deadline_s = min(self.deadline_s, self._shared.now_s() + limits.WRITE_S_MAX)

    def resume_writing(self) -> None:
        """Go on."""
        self._is_stalled = False
        if self._mode == BUSY:
            self.deadline_s = NEVER
        elif self._mode == HEAD:
            self.deadline_s = self._shared.until_idle_s(is_known=self._is_known)
            self._guarded(self._again)

    def expire(self) -> None:
        """End what has overstayed its deadline."""
        if self._is_stalled or self._mode not in {BODY, HEAD}:
            self._transport.abort()
        elif self._mode == BODY:
            self._refuse(refusals.LATE)
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

    def _take(self, data: bytes) -> None:
        mode = self._mode
        if mode == HEAD and not self._is_stalled:
            self._ahead = self._ahead + data if self._ahead else data
            self._next()
        elif mode == BODY:
            self._feed(data)
            self._again()
        elif mode != GONE:
            self._ahead += data
            if len(self._ahead) > limits.AHEAD_BYTES_MAX and not self._is_paused:
                self._is_paused = True
                self._transport.pause_reading()

    def _takes_whole(self, data: bytes) -> bool:
        """Begin the request that `data` is, where that is one with a head that is known."""
        last = self.last
        if data != last.raw:
            if not last.becomes(data, self._known):
                return False
        elif last.alike is None:
            last.alike = last.met.admission.alike(last.body, self.peer)
        if self._is_stalled or not self._shared.try_enter(last.met.share):
            return False
        self._met = last.met
        self._is_begun = self._is_behind_line = False
        if not self._is_known:
            self._shown()
        alike = last.alike
        if alike is None:
            self._answer(last.body)
        else:
            self._mode = BUSY
            self.deadline_s = NEVER
            self._shared.turn.add(alike, self)
        return True

    def _next(self) -> None:
        """Begin what is ahead, one request after the other, until one has to wait.

        Who sends many that are answered at once lets the others be served in between.
        """
        turns = limits.TURNS_MAX
        while self._ahead and self._mode == HEAD and not self._is_stalled:
            if not turns:
                self._mode = REST
                asyncio.get_running_loop().call_soon(self._guarded, self._rested)
                return
            turns -= 1
            try:
                end = head_end(self._ahead)
                if not end:
                    self._wait_for_head()
                    return
                self._met = self._shared.met(self._ahead[:end], self.peer, self._known)
            except Malformed as error:
                behind = behind_empty_line(self._ahead)
                if behind is not None and not self._is_behind_line:
                    self._ahead, self._is_behind_line = behind, True
                    continue
                self._part(self._shared.service.refuse(refusals.of(error), self.peer))
                return
            self._ahead = self._ahead[end:]
            self._is_begun = self._is_behind_line = False
            self._begin()

    def _rested(self) -> None:
        if self._mode == REST:
            self._mode = HEAD
            if self._shared.is_draining:
                self._close()
            self._again()

    def _wait_for_head(self) -> None:
        if not self._is_begun:
            self._is_begun = True
            bound_s = min(limits.HEAD_S_MAX, self._shared.bounds.idle_s_max)
            self.deadline_s = self._shared.now_s() + bound_s

    def _begin(self) -> None:
        admission, share, bounds = self._met.admission, self._met.share, self._shared.bounds
        length = admission.head.length
        whole = None if admission.head.is_chunked or length > len(self._ahead) else length
        if admission.at_once is not None:
            self._pass_over(admission.at_once, whole)
        elif self._shared.is_busy(share):
            self._pass_over(admission.refuse(refusals.BUSY, self.peer), whole)
        elif length > bounds.body_bytes_max:
            self._refuse(refusals.too_large(bounds.body_bytes_max))
        elif whole is not None:
            body, self._ahead = self._ahead[:length], self._ahead[length:]
            self._enter(share)
            self._answer(body)
        else:
            self._wait_for_body()

    def _wait_for_body(self) -> None:
        head, shared = self._met.admission.head, self._shared
        self._mode = BODY
        self._enter(self._met.share)
        self.deadline_s = shared.now_s() + shared.bounds.body_s_max
        self._body = body_of(head, shared.bounds.body_bytes_max)
        if head.expects and not self._ahead:
            # Source: RFC 9110 §10.1.1.
            self._transport.write(CONTINUE)
        ahead, self._ahead = self._ahead, b""
        self._feed(ahead)
        if self._is_ended and self._mode == BODY:
            self._refuse(refusals.MISFRAMED)

    def _feed(self, data: bytes) -> None:
        """Take a piece of the body, and answer once it is whole."""
        assert self._body is not None
        try:
            rest = self._body.feed(data)
        except Malformed:
            self._refuse(refusals.MISFRAMED)
        except TooLarge:
            self._refuse(refusals.too_large(self._shared.bounds.body_bytes_max))
        else:
            if rest is not None:
                self._ahead = rest
                self._answer(self._body.whole())
            elif not self._shared.has_room(self._met.share, self._body):
                self._refuse(refusals.BUSY)

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
        else:
            task = asyncio.get_running_loop().create_task(answer)
            self._shared.tasks.add(task)
            task.add_done_callback(self._ended)

    # --- what the turn says, of a request that is known again ---

    def begin(self, alike: Alike) -> None:
        """Have the request answered by itself."""
        is_asked = is_well = False
        try:
            answer = alike.one(self.peer)
            is_asked = True
            self._wait(answer)
            if self._ahead or self._is_ended or self._is_paused:
                self._again()
            is_well = True
        finally:
            if not is_asked:
                self.fail(None)
            elif not is_well:
                # Its room may have been given back.
                self._mistake()

    def give(self, plain: bytes, body: bytes, until_s: float) -> None:
        """Give the answer: `plain` where nothing more is to be said, and wait until then."""
        is_well, met, shared = False, self._met, self._shared
        try:
            is_in_order = self._mode == BUSY and not (self._is_stalled or self._ahead)
            is_last = self._is_ended or self.is_sent_away or shared.is_draining
            if is_in_order and met.is_plain and not (is_last or self._is_paused):
                self._mode = HEAD
                self.deadline_s = until_s
                shared.in_flight -= 1
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
        if failed is None and self._mode == GONE:
            # Who asked went away meanwhile, and nothing else gives its room back.
            self._shared.leave(self._met.share, None)
        elif failed is None:
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

    def _again(self) -> None:
        """Go on with what came in the meantime."""
        if self._mode != HEAD:
            return
        if self._is_paused:
            self._is_paused = False
            self._transport.resume_reading()
        if self._ahead:
            self._next()
        if self._is_ended and self._mode == HEAD and not (self._is_stalled and self._ahead):
            # Half a request, of which the rest will not come.
            self._close()

    def _enter(self, share: Share) -> None:
        self._shared.enter(share)
        if not self._is_known:
            self._shown()

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
