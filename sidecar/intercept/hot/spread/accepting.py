"""Take connections from a listening socket, some each turn of the loop, no more than its share.

Several workers listen on one socket. A loop that takes whatever waits, as servers of the standard
library and of uvloop do, takes all connections of a burst before another worker has woken up, and
they stay where they are for as long as they are kept alive: one worker works and the others wait.
So who holds more than another stands back (`counts.py`): for a moment where that is one more, else
until the other has taken it, which may be at work just now. One that does not take it in time is
waited for no more until it takes one. Who holds no more than any other takes the next in the same
turn, a few at most: a turn is long where many ask what is dear.
"""

import asyncio
import select
import socket
import time
from collections.abc import Callable

from sidecar.intercept.descriptors import is_spare_left, is_to_spare
from sidecar.intercept.hot.limits import (
    ACCEPT_REST_S,
    AHEAD_MAX,
    STAND_BACK_S,
    STANDS_BACK_S_MAX,
    STOOD_BACK_S,
    TAKES_MAX,
)
from sidecar.intercept.hot.spread.counts import Spread


class Accepting:
    """Takes connections of one socket that somebody else has bound.

    Args:
        listening: Stays open; it is the caller's.
        made: Makes the protocol of a connection, which tells `spread` of its end.
        spread: What every worker holds.
    """

    def __init__(
        self, listening: socket.socket, made: Callable[[], asyncio.Protocol], spread: Spread
    ) -> None:
        self._listening = listening
        self._made = made
        self._spread = spread
        self._loop = asyncio.get_running_loop()
        self._resting: asyncio.TimerHandle | None = None
        # Since when it stands back from the one that waits, and whom it has waited for in vain.
        self._since_s: float | None = None
        self._vain: tuple[int, ...] = ()
        # Whether the last one has taken a descriptor of those that are kept back.
        self._is_scarce = False
        self._tasks: set[asyncio.Task[object]] = set()
        self._poll = select.poll()
        self._poll.register(listening, select.POLLIN)
        listening.setblocking(False)  # noqa: FBT003 - the standard library's own signature
        self._loop.add_reader(listening, self._take)

    def close(self) -> None:
        """Take no more."""
        self._loop.remove_reader(self._listening)
        if self._resting is not None:
            self._resting.cancel()
        self._listening.close()

    def _take(self) -> None:
        if (ahead := self._spread.ahead()) > 0 and self._stands_back(ahead):
            self._rest(STAND_BACK_S)
            return
        self._since_s = None
        for _ in range(TAKES_MAX):
            if not self._takes_one() or self._spread.ahead() > 0:
                return

    def _takes_one(self) -> bool:
        """Return whether there was one, and it was taken."""
        if self._is_scarce and not is_spare_left():
            self._rest(ACCEPT_REST_S)
            return False
        try:
            one, _ = self._listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            # Another worker has it, or it has gone.
            return False
        except OSError:
            # No descriptor is free: whoever waits is asked again in a moment.
            self._rest(ACCEPT_REST_S)
            return False
        self._spread.add(1)
        self._is_scarce = not is_to_spare(one.fileno())
        if one.family != socket.AF_UNIX:
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        one.setblocking(False)  # noqa: FBT003 - as above
        task = self._loop.create_task(self._connected(one))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    def _stands_back(self, ahead: int) -> bool:
        """Return whether who holds fewer is to take it; where it is one fewer it may by now."""
        others, now_s = self._spread.others(), self._loop.time()
        if others == self._vain:
            return False
        if ahead < AHEAD_MAX:
            # Why the loop waits as well: shorter than its timers can be, longer than a wake-up.
            time.sleep(STOOD_BACK_S)
            return False
        if self._since_s is None:
            self._since_s = now_s
        if now_s - self._since_s > STANDS_BACK_S_MAX:
            self._vain = others
            return False
        return True

    async def _connected(self, one: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._made, one)
        except OSError:
            # It has gone before it was spoken to.
            one.close()
            self._spread.add(-1)

    def _rest(self, seconds: float) -> None:
        self._loop.remove_reader(self._listening)
        self._resting = self._loop.call_later(seconds, self._again)

    def _again(self) -> None:
        self._resting = None
        if not self._poll.poll(0):
            # Another worker has it.
            self._since_s = None
        self._loop.add_reader(self._listening, self._take)
