"""One connection: requests in, one at a time; answers out, in order; nothing unbounded.

```
 HEAD ─head─▶ (BODY) ─body─▶ (WAIT) ─place─▶ BUSY ─answer─▶ HEAD ─many in a row─▶ REST ─▶ HEAD
   └─ malformed, refused with a body to come, too late ─▶ GONE: answered, closed, read away
```
Who sends requests ahead of their answers has them answered in order: what is ahead waits in a
bounded buffer and then in the kernel's. No request has a task or a timer of its own: a request
that waits for its record alone waits as a callback of that record, and one sweep over all
connections looks at their deadlines (`server.py`). A request that is known again waits for the end
of the turn of the loop, and goes on with those that equal it (`turn.py`).
"""

import asyncio
from typing import cast

from sidecar.intercept.hot import limits, refusals
from sidecar.intercept.hot.answers import CONTINUE
from sidecar.intercept.hot.body import TooLarge, body_of
from sidecar.intercept.hot.head import Malformed, behind_empty_line, head_end
from sidecar.intercept.hot.peer.answering import Answering
from sidecar.intercept.hot.peer.giving import BODY, BUSY, GONE, HEAD, NEVER, REST, WAIT
from sidecar.intercept.hot.seam import peer_of
from sidecar.intercept.hot.shared import Shared


class Connection(Answering):
    """Speaks HTTP/1.1 to one peer."""

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self._is_begun = self._is_behind_line = False

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
        is_awaited = self._mode in {WAIT, BUSY, REST}
        return is_awaited or (self._is_stalled and bool(self._ahead))

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget; what was begun goes on to its record."""
        mode = self._mode
        if mode in {BODY, WAIT}:
            self._leave()
        if mode == BODY:
            # Counted as any other body that is not framed as its headers say.
            self._met.admission.refuse(refusals.MISFRAMED, self.peer)
        self._is_forsaken = mode == BUSY
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
        elif self._mode == WAIT:
            self.deadline_s = self._shared.now_s() + limits.WAIT_S_MAX
        elif self._mode == HEAD:
            self.deadline_s = self._shared.until_idle_s(is_known=self._is_known)
            self._guarded(self._again)

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
        if self._is_stalled:
            return False
        self._met = last.met
        self._is_begun = self._is_behind_line = False
        if not self._is_known:
            self._shown()
        if not self._room.try_enter(last.met.share):
            self._wait_for_place(last.body)
        elif last.alike is None:
            self._answer(last.body)
        else:
            self._mode = BUSY
            self.deadline_s = NEVER
            self._shared.turn.add(last.alike, self)
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
        admission, bounds = self._met.admission, self._shared.bounds
        length = admission.head.length
        whole = None if admission.head.is_chunked or length > len(self._ahead) else length
        if admission.at_once is not None:
            self._pass_over(admission.at_once, whole)
        elif length > bounds.body_bytes_max:
            self._refuse(refusals.too_large(bounds.body_bytes_max))
        elif whole is not None:
            body, self._ahead = self._ahead[:length], self._ahead[length:]
            self._enter(body)
        else:
            self._wait_for_body()

    def _wait_for_body(self) -> None:
        head, shared = self._met.admission.head, self._shared
        self._mode = BODY
        if not self._is_known:
            self._shown()
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
                self._enter(self._body.whole())
            elif not self._room.has_room(self._met.share, self._body):
                self._refuse(refusals.BUSY)

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
