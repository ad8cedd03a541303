"""What all connections of a listener share: bounds, room, the heads that were admitted before."""

import asyncio
import math
from collections.abc import Callable
from typing import Final, Protocol

import msgspec

from sidecar.intercept.hot.answers import Reply
from sidecar.intercept.hot.limits import IN_FLIGHT_SHARE
from sidecar.intercept.hot.seam import Admission, Peer, Service

_PLACES_MAX: Final = 64


class Closing(Protocol):
    """A connection, as the server sees it."""

    deadline_s: float
    peer: Peer

    def expire(self) -> None:
        """End what has overstayed its deadline."""
        ...

    def drain(self) -> None:
        """Close now where nothing was begun, else after the answer."""
        ...

    def abort(self) -> None:
        """Close whatever is going on."""
        ...


class Bounds(msgspec.Struct, frozen=True):
    """What the configuration says of all connections."""

    connections_max: int
    peer_connections_max: int
    in_flight_max: int
    body_bytes_max: int
    body_s_max: float
    idle_s_max: float


class Shared:
    """What all connections of a listener share."""

    def __init__(self, service: Service, bounds: Bounds, now_s: Callable[[], float]) -> None:
        self.service = service
        self.bounds = bounds
        self.now_s = now_s
        self.open: set[Closing] = set()
        # Of these, who has shown no credential: the oldest first, and the first to go.
        self._strangers: dict[Closing, None] = {}
        self.tasks: set[asyncio.Task[Reply]] = set()
        self.in_flight = 0
        self._in_flight_of: dict[str | None, int] = {}
        self._share_max = math.ceil(bounds.in_flight_max * IN_FLIGHT_SHARE)
        self.is_draining = False
        self._emptied: asyncio.Future[None] | None = None
        self._of_peer: dict[tuple[str, str | int | None], int] = {}
        # What a head comes to also depends on the place it came to and on the user who sent it.
        self._known: dict[tuple[str, str, int | None], dict[bytes, Admission]] = {}

    def take(self, connection: Closing) -> bool:
        """Return whether there is room for one more connection; a stranger's is given to it."""
        key, bounds = connection.peer.key, self.bounds
        if self.is_draining:
            return False
        if self._of_peer.get(key, 0) >= bounds.peer_connections_max:
            self._end_stranger(key)
        elif len(self.open) >= bounds.connections_max:
            self._end_stranger(None)
        held = self._of_peer.get(key, 0)
        if held >= bounds.peer_connections_max or len(self.open) >= bounds.connections_max:
            return False
        self._of_peer[key] = held + 1
        self.open.add(connection)
        self._strangers[connection] = None
        return True

    def is_known(self, connection: Closing) -> None:
        """Take note that a credential was shown: the place is kept."""
        self._strangers.pop(connection, None)

    def _end_stranger(self, key: tuple[str, str | int | None] | None) -> None:
        """End the oldest connection, of this peer or of anybody, that has shown no credential."""
        for one in self._strangers:
            if key is None or one.peer.key == key:
                self.let_go(one)
                one.abort()
                return

    def let_go(self, connection: Closing) -> None:
        """Give a connection's room back."""
        if connection in self.open:
            self.open.discard(connection)
            self._strangers.pop(connection, None)
            key = connection.peer.key
            left = self._of_peer[key] - 1
            if left:
                self._of_peer[key] = left
            else:
                del self._of_peer[key]
        if not self.open and self._emptied is not None and not self._emptied.done():
            self._emptied.set_result(None)

    def is_busy(self, who: str | None) -> bool:
        """Return whether there are too many requests at a time, of all or of this workload."""
        if self.in_flight >= self.bounds.in_flight_max:
            return True
        return who is not None and self._in_flight_of.get(who, 0) >= self._share_max

    def enter(self, who: str | None) -> None:
        """Count a request that is begun."""
        self.in_flight += 1
        self._in_flight_of[who] = self._in_flight_of.get(who, 0) + 1

    def leave(self, who: str | None) -> None:
        """Count a request that is over."""
        self.in_flight -= 1
        left = self._in_flight_of[who] - 1
        if left:
            self._in_flight_of[who] = left
        else:
            del self._in_flight_of[who]

    async def is_empty(self, timeout_s: float) -> bool:
        """Return whether all connections have ended by themselves within `timeout_s`."""
        if self.open:
            self._emptied = asyncio.get_running_loop().create_future()
            await asyncio.wait((self._emptied,), timeout=timeout_s)
        return not self.open

    def known(self, peer: Peer) -> dict[bytes, Admission]:
        """Return the heads that were admitted from where `peer` is."""
        key = (peer.source, peer.here, peer.uid)
        if key not in self._known and len(self._known) >= _PLACES_MAX:
            self._known.clear()
        return self._known.setdefault(key, {})
