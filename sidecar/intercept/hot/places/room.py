"""Room for requests: how many are answered at a time, of all and of one workload, and who waits.

Who finds no place waits for one, with its request read whole: callers that each wait for one answer
are served later, not refused. Places that are given back go to who waits, a workload at a time, in
turns, and within one in the order in which they came. INVARIANT: while somebody waits who may have
a place none is free, so nobody who comes later goes first. How many wait is bounded by connections,
each of which has one request at a time, and how long by `WAIT_S_MAX`.
"""

import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, TypeAlias

from sidecar.intercept.hot.body import Body
from sidecar.intercept.hot.limits import IN_FLIGHT_SHARE, SHORT_BODY_BYTES_MAX

# Nobody is asked to say who sends what is of nobody.
_WHOLE: Final = 1.0
# Who waits, and what begins its request.
_Waiting: TypeAlias = OrderedDict[object, Callable[[], None]]


class Share:
    """How many requests of one workload are under way, and bytes of bodies, and may be."""

    __slots__ = ("bytes", "bytes_max", "count", "count_max", "waiting")

    def __init__(self, count_max: int, bytes_max: int) -> None:
        self.count = self.bytes = 0
        self.count_max = count_max
        self.bytes_max = bytes_max
        self.waiting: _Waiting = OrderedDict()


class Room:
    """Places of requests, and the bytes of their bodies.

    Args:
        in_flight_max: Requests that are answered at a time.
        bytes_max: Of bodies from their first bytes to their answers; short ones are not counted.
        soon: Has something done in the next turn of the loop.
    """

    def __init__(
        self, in_flight_max: int, bytes_max: int, soon: Callable[[Callable[[], None]], object]
    ) -> None:
        self.in_flight = self.bytes = 0
        # Workloads of which somebody waits; whose turn it is comes first.
        self.waiting: OrderedDict[Share, None] = OrderedDict()
        self._in_flight_max = in_flight_max
        self._bytes_max = bytes_max
        self._soon = soon
        # Of workloads, which the configuration lists.
        self._shares: dict[str | None, Share] = {}
        # Who has a place and begins in the next turn of the loop.
        self._let_in: _Waiting = OrderedDict()

    def share_of(self, who: str | None) -> Share:
        """Return the share of a workload; what nobody is asked to say has all of it."""
        found = self._shares.get(who)
        if found is None:
            part = _WHOLE if who is None else IN_FLIGHT_SHARE
            count_max = math.ceil(self._in_flight_max * part)
            found = self._shares[who] = Share(count_max, math.ceil(self._bytes_max * part))
        return found

    def try_enter(self, share: Share) -> bool:
        """Count a request that is begun, unless there are too many; return whether it is."""
        if self.in_flight >= self._in_flight_max or share.count >= share.count_max:
            return False
        self.in_flight += 1
        share.count += 1
        return True

    def leave(self, share: Share) -> None:
        """Count a request that is over; its place is who waits'."""
        self.in_flight -= 1
        share.count -= 1
        if self.waiting:
            self._hand_on()

    def wait(self, share: Share, one: object, begin: Callable[[], None]) -> None:
        """Have `one` wait, for which there was no place just now, to begin when it has one."""
        share.waiting[one] = begin
        self.waiting.setdefault(share)

    def withdraw(self, share: Share, one: object) -> None:
        """Have it wait no more."""
        if one in share.waiting:
            del share.waiting[one]
            if not share.waiting:
                del self.waiting[share]
        elif self._let_in.pop(one, None) is not None:
            self.leave(share)

    def has_room(self, share: Share, body: Body) -> bool:
        """Count what has come of a body and return True, False where there is no room for it."""
        if body.size <= SHORT_BODY_BYTES_MAX:
            return True
        more = body.size - body.counted
        if self.bytes + more > self._bytes_max or share.bytes + more > share.bytes_max:
            return False
        self.bytes += more
        share.bytes += more
        body.counted += more
        return True

    def give_back(self, share: Share, body: Body) -> None:
        """Take note that a body is held no more."""
        self.bytes -= body.counted
        share.bytes -= body.counted

    def _hand_on(self) -> None:
        """Give a place that is free to whose turn it is, of who may have it."""
        for share in self.waiting:
            if share.count < share.count_max:
                break
        else:
            return
        one, begin = share.waiting.popitem(last=False)
        if share.waiting:
            self.waiting.move_to_end(share)
        else:
            del self.waiting[share]
        self.in_flight += 1
        share.count += 1
        if not self._let_in:
            # Why later: a mistake of ours in the one is not the other's, whose answer this follows.
            self._soon(self._begin)
        self._let_in[one] = begin

    def _begin(self) -> None:
        try:
            while self._let_in:
                self._let_in.popitem(last=False)[1]()
        finally:
            if self._let_in:
                self._soon(self._begin)
