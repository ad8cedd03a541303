"""What a connection gives: answers, in order, and the end that some of them are.

INVARIANT: a place is held in BUSY, also once the caller has gone, waited for in WAIT, and given
back when the request leaves.
"""

import asyncio
from typing import Final

from sidecar.intercept.hot import limits, refusals
from sidecar.intercept.hot.answers import Reply, written
from sidecar.intercept.hot.body import Body
from sidecar.intercept.hot.seam import Peer, Refused
from sidecar.intercept.hot.shared import Met, Shared

NEVER: Final = float("inf")
HEAD, BODY, WAIT, BUSY, REST, GONE = range(6)


class Giving(asyncio.Protocol):
    """The half of a connection that answers; the other half reads."""

    peer: Peer
    _met: Met
    _transport: asyncio.Transport

    def __init__(self, shared: Shared) -> None:
        self.deadline_s = NEVER
        self._shared = shared
        self._room = shared.room
        self._mode = HEAD
        self._ahead = b""
        self._body: Body | None = None
        self.is_sent_away = False
        # Whether it is GONE and its request is not over, which goes on to its record.
        self._is_forsaken = False
        self._is_paused = self._is_stalled = self._is_ended = self._is_known = False

    def _finish(self, reply: Reply) -> None:
        """Give the answer to the request under way, and be ready for the next."""
        is_there = self._mode != GONE
        # Nothing where a mistake of ours has given the place back before the record came.
        self._leave()
        if is_there:
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

    def _refuse(self, refused: Refused) -> None:
        """Refuse the request under way, whose body is not read to its end."""
        self._leave()
        self._part(self._met.admission.refuse(refused, self.peer), self._met.admission.request_id)

    def _mistake(self) -> None:
        """Say that we have failed, and no more; how is in the log."""
        self._leave()
        if self._mode != GONE:
            self._part(self._shared.service.refuse(refusals.FAILED, self.peer))

    def _leave(self) -> None:
        mode, is_forsaken, self._is_forsaken = self._mode, self._is_forsaken, False
        if mode == BUSY or is_forsaken:
            self._room.leave(self._met.share)
        elif mode == WAIT:
            self._room.withdraw(self._met.share, self)
        if is_forsaken:
            self._give_back()
        elif mode in {BODY, WAIT, BUSY}:
            self._give_back()
            self._mode = HEAD

    def _give_back(self) -> None:
        if self._body is not None:
            self._room.give_back(self._met.share, self._body)
            self._body = None

    def _part(self, reply: Reply, request_id: str | None = None, *, bodiless: bool = False) -> None:
        """Give a last answer, and read away for a moment what is still sent."""
        self._mode = GONE
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
        self._mode = GONE
        self._ahead = b""
        self.deadline_s = self._shared.now_s() + limits.WRITE_S_MAX
        self._transport.close()
