"""One connection: requests in, one at a time; answers out, in order; nothing unbounded.

```
 HEAD ──head──▶ (BODY) ──body──▶ BUSY ──answer──▶ HEAD ──many in a row──▶ REST ──▶ HEAD
   └─ malformed, refused with a body to come, too late ─▶ GONE: answered, closed, read away
```
Who sends requests ahead of their answers has them answered in order: what is ahead waits in a
bounded buffer and then in the kernel's. No request has a task or a timer of its own: a request
that waits for its record alone waits as a callback of that record, and one sweep over all
connections looks at their deadlines (`server.py`).

INVARIANT: `in_flight` counts the requests in BODY and BUSY; it is given back when they leave.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Final, cast

from sidecar.intercept.hot import limits, refusals
from sidecar.intercept.hot.answers import CONTINUE, Reply, written
from sidecar.intercept.hot.body import Body, TooLarge, body_of
from sidecar.intercept.hot.head import Malformed, behind_empty_line, head_end
from sidecar.intercept.hot.same import Same
from sidecar.intercept.hot.seam import Answer, Held, Refused, peer_of
from sidecar.intercept.hot.shared import Share, Shared
from sidecar.terms.record import Written

_log = logging.getLogger("sidecar.intercept.ask")
_NEVER: Final = float("inf")
_HEAD, _BODY, _BUSY, _REST, _GONE = range(5)


class Connection(asyncio.Protocol):
    """Speaks HTTP/1.1 to one peer."""

    def __init__(self, shared: Shared) -> None:
        self.deadline_s = _NEVER
        self._shared = shared
        self._mode = _HEAD
        self._ahead = b""
        self._body: Body | None = None
        self._held: Held | None = None
        self._is_begun = self._is_behind_line = self.is_sent_away = False
        self._is_paused = self._is_stalled = self._is_ended = self._is_known = False
        self.last = Same()

    # --- what the loop says ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, or close at once what is beyond the bounds, before a byte of it is read."""
        # uvloop's transports are none of the standard library's classes.
        self._transport = cast("asyncio.Transport", transport)
        self.peer = peer_of(transport)
        if not self._shared.take(self):
            self._mode = _GONE
            transport.close()
            return
        self._transport.set_write_buffer_limits(high=limits.WRITE_BUFFER_BYTES_MAX)
        self._known = self._shared.known(self.peer)
        self.deadline_s = self._shared.until_idle_s(is_known=self._is_known)

    def data_received(self, data: bytes) -> None:
        """Take what has come."""
        is_well = False
        try:
            if self._ahead or self._mode != _HEAD or not self._takes_whole(data):
                self._take(data)
            is_well = True
        finally:
            if not is_well:
                self._mistake()

    def eof_received(self) -> bool:
        """Answer all that has come, though nothing more will; return whether to stay open."""
        if self._mode == _BODY:
            self._refuse(refusals.MISFRAMED)
        self._is_ended = True
        return self._mode in {_BUSY, _REST} or (self._is_stalled and bool(self._ahead))

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget; what was begun goes on to its record."""
        if self._mode == _BODY:
            self._leave()
            # Counted as any other body that is not framed as its headers say.
            self._met.admission.refuse(refusals.MISFRAMED, self.peer)
        self._mode = _GONE
        self._ahead = b""
        self._shared.ended(self)

    def pause_writing(self) -> None:
        """Wait for a peer that does not take its answers, but not for long, and take no more."""
        self._is_stalled = True
        self.deadline_s = min(self.deadline_s, self._shared.now_s() + limits.WRITE_S_MAX)

    def resume_writing(self) -> None:
        """Go on."""
        self._is_stalled = False
        if self._mode == _BUSY:
            self.deadline_s = _NEVER
        elif self._mode == _HEAD:
            self.deadline_s = self._shared.until_idle_s(is_known=self._is_known)
            self._guarded(self._again)

    def expire(self) -> None:
        """End what has overstayed its deadline."""
        if self._is_stalled or self._mode not in {_BODY, _HEAD}:
            self._transport.abort()
        elif self._mode == _BODY:
            self._refuse(refusals.LATE)
        else:
            self._transport.close()

    def drain(self) -> None:
        """Close now where nothing was begun, else after the answer."""
        if self._mode == _HEAD:
            self._mode = _GONE
            self._transport.close()

    def abort(self) -> None:
        """Close whatever is going on."""
        self._transport.abort()

    def _take(self, data: bytes) -> None:
        mode = self._mode
        if mode == _HEAD and not self._is_stalled:
            self._ahead = self._ahead + data if self._ahead else data
            self._next()
        elif mode == _BODY:
            self._feed(data)
            self._again()
        elif mode != _GONE:
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
        elif last.again is None:
            last.again = last.met.admission.again(last.body, self.peer)
        if self._is_stalled or not self._shared.try_enter(last.met.share):
            return False
        self._met = last.met
        self._is_begun = self._is_behind_line = False
        if not self._is_known:
            self._shown()
        self._answer(last.body, last.again)
        return True

    def _next(self) -> None:
        """Begin what is ahead, one request after the other, until one has to wait.

        Who sends many that are answered at once lets the others be served in between.
        """
        turns = limits.TURNS_MAX
        while self._ahead and self._mode == _HEAD and not self._is_stalled:
            if not turns:
                self._mode = _REST
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
        if self._mode == _REST:
            self._mode = _HEAD
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
        self._mode = _BODY
        self._enter(self._met.share)
        self.deadline_s = shared.now_s() + shared.bounds.body_s_max
        self._body = body_of(head, shared.bounds.body_bytes_max)
        if head.expects and not self._ahead:
            # Source: RFC 9110 §10.1.1.
            self._transport.write(CONTINUE)
        ahead, self._ahead = self._ahead, b""
        self._feed(ahead)
        if self._is_ended and self._mode == _BODY:
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

    def _answer(self, body: bytes, again: Callable[[], Answer] | None = None) -> None:
        self._mode = _BUSY
        self.deadline_s = _NEVER
        answer = again() if again is not None else self._met.admission.answer(body, self.peer)
        if isinstance(answer, Held):
            self._held = answer
            answer.written.add_done_callback(self._recorded)
        elif isinstance(answer, Reply):
            self._finish(answer)
        else:
            task = asyncio.get_running_loop().create_task(answer)
            self._shared.tasks.add(task)
            task.add_done_callback(self._ended)

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

    def _finish(self, reply: Reply) -> None:
        """Give the answer to the request under way, and be ready for the next."""
        self._shared.leave(self._met.share, self._body)
        self._body = None
        if self._mode != _GONE:
            self._mode = _HEAD
            self._give(reply)

    def _give(self, reply: Reply) -> None:
        met, shared = self._met, self._shared
        is_last = shared.is_draining or (not self._ahead and (self._is_ended or self.is_sent_away))
        patience_s = shared.bounds.idle_s_max if self._is_known else shared.stranger_s
        self.deadline_s = shared.now_s() + (limits.WRITE_S_MAX if self._is_stalled else patience_s)
        if met.is_plain and not is_last:
            self._transport.write(written(reply))
            return
        head, id = met.admission.head, met.admission.request_id
        closes, bodiless = is_last or not head.keeps_alive, head.method == "HEAD"
        self._transport.write(written(reply, id, closes=closes, bodiless=bodiless))
        if closes:
            self._close()

    def _pass_over(self, reply: Reply, length: int | None) -> None:
        """Give an answer that needs no body: over it where it has come, else instead of it."""
        if length is None:
            head = self._met.admission.head
            self._part(reply, self._met.admission.request_id, bodiless=head.method == "HEAD")
        else:
            self._ahead = self._ahead[length:]
            self._give(reply)

    def _again(self) -> None:
        """Go on with what came in the meantime."""
        if self._mode != _HEAD:
            return
        if self._is_paused:
            self._is_paused = False
            self._transport.resume_reading()
        if self._ahead:
            self._next()
        if self._is_ended and self._mode == _HEAD and not (self._is_stalled and self._ahead):
            # Half a request, of which the rest will not come.
            self._close()

    # --- ends ---

    def _refuse(self, refused: Refused) -> None:
        """Refuse the request under way, whose body is not read to its end."""
        self._leave()
        self._part(self._met.admission.refuse(refused, self.peer), self._met.admission.request_id)

    def _mistake(self) -> None:
        """Say that we have failed, and no more; how is in the log."""
        self._leave()
        if self._mode != _GONE:
            self._part(self._shared.service.refuse(refusals.FAILED, self.peer))

    def _leave(self) -> None:
        if self._mode in {_BODY, _BUSY}:
            self._shared.leave(self._met.share, self._body)
            self._body = None
            self._mode = _HEAD

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

    def _part(self, reply: Reply, request_id: str | None = None, *, bodiless: bool = False) -> None:
        """Give a last answer, and read away for a moment what is still sent."""
        self._mode = _GONE
        self._ahead = b""
        self.deadline_s = self._shared.now_s() + limits.LINGER_S_MAX
        self._transport.write(written(reply, request_id, closes=True, bodiless=bodiless))
        if self._is_paused:
            self._transport.resume_reading()
        if self._is_ended:
            self._transport.close()
        elif self._transport.can_write_eof():
            self._transport.write_eof()

    def _close(self) -> None:
        self._mode = _GONE
        self._ahead = b""
        self.deadline_s = self._shared.now_s() + limits.WRITE_S_MAX
        self._transport.close()
