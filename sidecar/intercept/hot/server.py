"""Connections on sockets that somebody else has bound, and the one timer that all of them share."""

import asyncio
import socket
from collections.abc import Sequence

from sidecar.intercept.hot.limits import EXCESS_MAX, SWEEP_S_MAX, SWEEP_S_MIN
from sidecar.intercept.hot.peer.connection import Connection
from sidecar.intercept.hot.seam import Service
from sidecar.intercept.hot.shared import Bounds, Shared
from sidecar.intercept.hot.spread.accepting import Accepting
from sidecar.intercept.hot.spread.counts import Spread


class Server:
    """Serves a service over HTTP/1.1.

    Args:
        service: What is served.
        bounds: What the configuration says of connections.
        spread: What every worker holds, None where there is one alone.
    """

    def __init__(self, service: Service, bounds: Bounds, spread: Spread | None = None) -> None:
        self._service = service
        self._bounds = bounds
        self._spread = spread or Spread()
        self._shared: Shared | None = None
        self._listening: list[Accepting] = []
        self._sweeping: asyncio.TimerHandle | None = None

    async def serve(self, sockets: Sequence[socket.socket]) -> None:
        """Start to serve on bound sockets and return."""
        loop = asyncio.get_running_loop()
        shared = self._shared = Shared(self._service, self._bounds, loop.time, self._spread)
        self._spread.begin()
        for one in sockets:
            self._listening.append(Accepting(one, lambda: Connection(shared), self._spread))
        self._sweep()

    async def drain(self, timeout_s: float) -> None:
        """Take no more connections, end what was begun, close the rest after `timeout_s`."""
        self._spread.end()
        for listening in self._listening:
            listening.close()
        self._listening.clear()
        shared = self._shared
        if shared is None:
            return
        shared.is_draining = True
        for connection in list(shared.open):
            connection.drain()
        await shared.is_empty(timeout_s)
        for connection in list(shared.open):
            connection.abort()
        for task in list(shared.tasks):
            task.cancel()
        if self._sweeping is not None:
            self._sweeping.cancel()

    def _sweep(self) -> None:
        """End what has overstayed its deadline, again and again."""
        assert self._shared is not None
        now_s = self._shared.now_s()
        # First: a mistake of ours with one of them is not the end of it, the others are next.
        shortest_s = min(self._bounds.idle_s_max, self._bounds.body_s_max)
        every_s = max(min(shortest_s / 4, SWEEP_S_MAX), SWEEP_S_MIN)
        self._sweeping = asyncio.get_running_loop().call_later(every_s, self._sweep)
        for connection in [one for one in self._shared.open if one.deadline_s <= now_s]:
            connection.expire()
        if (excess := self._spread.excess()) > EXCESS_MAX:
            self._shared.send_away(excess)
