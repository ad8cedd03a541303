"""What all connections of a listener share: bounds, room, the heads that were admitted before."""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

import msgspec

from sidecar.intercept.hot.answers import Reply
from sidecar.intercept.hot.seam import Admission, Peer, Service

_PLACES_MAX: Final = 64


class Closing(Protocol):
    """A connection, as the server sees it."""

    deadline_s: float

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
        self.tasks: set[asyncio.Task[Reply]] = set()
        self.in_flight = 0
        self.is_draining = False
        self._emptied: asyncio.Future[None] | None = None
        self._of_peer: dict[tuple[str, str | int | None], int] = {}
        # What a head comes to also depends on the place it came to and on the user who sent it.
        self._known: dict[tuple[str, str, int | None], dict[bytes, Admission]] = {}

    def take(self, connection: Closing, peer: Peer) -> bool:
        """Return whether there is room for one more connection of this peer."""
        held = self._of_peer.get(peer.key, 0)
        if self.is_draining or len(self.open) >= self.bounds.connections_max:
            return False
        if held >= self.bounds.peer_connections_max:
            return False
        self._of_peer[peer.key] = held + 1
        self.open.add(connection)
        return True

    def let_go(self, connection: Closing, peer: Peer) -> None:
        """Give a connection's room back."""
        if connection in self.open:
            self.open.discard(connection)
            left = self._of_peer[peer.key] - 1
            if left:
                self._of_peer[peer.key] = left
            else:
                del self._of_peer[peer.key]
        if not self.open and self._emptied is not None and not self._emptied.done():
            self._emptied.set_result(None)

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
