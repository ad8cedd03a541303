"""Take connections from a listening socket, one each turn of the loop, and of a burst not all.

Several workers listen on one socket. A loop that takes whatever waits, as servers of the standard
library and of uvloop do, takes all connections of a burst before another worker has woken up, and
they stay where they are for as long as they are kept alive: one worker works and the others wait.
So in a burst each stands back for a moment after each that it took.
"""

import asyncio
import socket
import time
from collections.abc import Callable

from sidecar.intercept.hot.limits import ACCEPT_REST_S, BURST_S, STAND_BACK_S


class Accepting:
    """Takes connections of one socket that somebody else has bound.

    Args:
        listening: Stays open; it is the caller's.
        made: Makes the protocol of a connection.
    """

    def __init__(self, listening: socket.socket, made: Callable[[], asyncio.Protocol]) -> None:
        self._listening = listening
        self._made = made
        self._loop = asyncio.get_running_loop()
        self._resting: asyncio.TimerHandle | None = None
        self._took_s = 0.0
        self._tasks: set[asyncio.Task[object]] = set()
        listening.setblocking(False)  # noqa: FBT003 - the standard library's own signature
        self._loop.add_reader(listening, self._take)

    def close(self) -> None:
        """Take no more."""
        self._loop.remove_reader(self._listening)
        if self._resting is not None:
            self._resting.cancel()
        self._listening.close()

    def _take(self) -> None:
        try:
            one, _ = self._listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            # Another worker has it, or it has gone.
            return
        except OSError:
            # No descriptor is free: whoever waits is asked again in a moment.
            self._loop.remove_reader(self._listening)
            self._resting = self._loop.call_later(ACCEPT_REST_S, self._again)
            return
        if one.family != socket.AF_UNIX:
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        one.setblocking(False)  # noqa: FBT003 - as above
        task = self._loop.create_task(self._connected(one))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        now_s, before_s = time.monotonic(), self._took_s
        self._took_s = now_s
        if now_s - before_s < BURST_S:
            # Why the loop waits as well: shorter than its timers can be, longer than a wake-up.
            time.sleep(STAND_BACK_S)

    async def _connected(self, one: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._made, one)
        except OSError:
            # It has gone before it was spoken to.
            one.close()

    def _again(self) -> None:
        self._resting = None
        self._loop.add_reader(self._listening, self._take)
