"""What all connections of a listener share: bounds, places, what was admitted and asked before."""

import asyncio
from collections.abc import Callable
from itertools import islice
from typing import Final, Protocol

import msgspec

from sidecar.intercept.hot.answers import Reply
from sidecar.intercept.hot.head import read_head
from sidecar.intercept.hot.limits import (
    BODIES_BYTES_MAX,
    KNOWN_HEAD_BYTES_MAX,
    KNOWN_HEADS_MAX,
    SAME_BYTES_MAX,
    STRANGER_S_MAX,
)
from sidecar.intercept.hot.places.room import Room, Share
from sidecar.intercept.hot.seam import Admission, Alike, Peer, Service
from sidecar.intercept.hot.spread.counts import Spread
from sidecar.intercept.hot.turn import Turn
from sidecar.terms.call import remembers

_PLACES_MAX: Final = 64


class Closing(Protocol):
    """A connection, as the server sees it."""

    deadline_s: float
    peer: Peer
    last: "Same"
    # Whether it ends with its next answer.
    is_sent_away: bool

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
    bodies_bytes_max: int = BODIES_BYTES_MAX


class Met(msgspec.Struct, frozen=True):
    """A head that was admitted.

    Args:
        admission: What the service said of it.
        share: Of the workload that it is of.
        length: Of the body that is read whole at once; -1 where there is more to be looked at.
        is_plain: Whether its answer is one that repeats nothing, and ends nothing.
    """

    admission: Admission
    share: Share
    length: int
    is_plain: bool


class Same:
    """The request that came last on a connection, known again by its bytes.

    Who asks again sends them. What is remembered is what they come to by themselves; what is
    answered is found each time.

    Attributes:
        raw: It; None where there is none yet.
        met: Its head.
        body: Its body.
        alike: What answers it each time anew, once that is known.
    """

    __slots__ = ("alike", "body", "met", "raw")

    met: Met
    body: bytes

    def __init__(self) -> None:
        self.raw: bytes | None = None
        self.alike: Alike | None = None

    def forget(self) -> None:
        """Forget it."""
        self.raw, self.body, self.alike = None, b"", None

    def becomes(self, data: bytes, known: dict[bytes, Met]) -> bool:
        """Remember the request that `data` is, where it is one whole with a head that is known."""
        end = data.find(b"\r\n\r\n") + 4
        met = known.get(data[:end])
        if met is None or met.length != len(data) - end or len(data) > SAME_BYTES_MAX:
            return False
        self.raw, self.met, self.body, self.alike = data, met, data[end:], None
        return True


class Shared:
    """What all connections of a listener share."""

    def __init__(
        self,
        service: Service,
        bounds: Bounds,
        now_s: Callable[[], float],
        spread: Spread | None = None,
    ) -> None:
        self._spread = spread or Spread()
        self.service = service
        self.bounds = bounds
        self.now_s = now_s
        self.stranger_s = min(bounds.idle_s_max, STRANGER_S_MAX)
        self.open: set[Closing] = set()
        # Of these, who has shown no credential: the oldest first, and the first to go.
        self._strangers: dict[Closing, None] = {}
        self.tasks: set[asyncio.Task[Reply]] = set()
        self.turn = Turn(service, self.until_idle_s)
        # Of the largest body there is always room for one, of each workload.
        bytes_max = max(bounds.bodies_bytes_max, 2 * bounds.body_bytes_max)
        self.room = Room(bounds.in_flight_max, bytes_max, _soon)
        self.is_draining = False
        self._emptied: asyncio.Future[None] | None = None
        self._of_peer: dict[tuple[str, str | int | None], int] = {}
        # What a head comes to also depends on the place it came to and on the user who sent it.
        self._known: dict[tuple[str, str, int | None], dict[bytes, Met]] = {}
        remembers(self.forget)

    def forget(self) -> None:
        """Forget the heads that were admitted, and what connections remember."""
        for known in self._known.values():
            known.clear()
        for connection in self.open:
            connection.last.forget()

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

    def until_idle_s(self, *, is_known: bool) -> float:
        """Return until when it may say nothing; who has shown no credential not for long."""
        return self.now_s() + (self.bounds.idle_s_max if is_known else self.stranger_s)

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

    def send_away(self, count: int) -> None:
        """Let so many connections end with their next answers, counting those that will anyway."""
        leaving = sum(one.is_sent_away for one in self.open)
        staying = (one for one in self.open if not one.is_sent_away)
        for one in islice(staying, max(count - leaving, 0)):
            one.is_sent_away = True

    def ended(self, connection: Closing) -> None:
        """Take note that a connection is no more."""
        self._spread.add(-1)
        self.let_go(connection)

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

    def met(self, raw: bytes, peer: Peer, known: dict[bytes, Met]) -> Met:
        """Return the head that `raw` is and what the service says of it; often it is known.

        Raises:
            Malformed: It is none.
        """
        found = known.get(raw)
        if found is not None:
            return found
        head = read_head(raw)
        admission = self.service.admit(head, peer)
        is_short = not head.is_chunked and head.length <= self.bounds.body_bytes_max
        found = Met(
            admission,
            self.room.share_of(admission.who),
            head.length if is_short and admission.at_once is None else -1,
            head.keeps_alive and head.method != "HEAD" and admission.request_id is None,
        )
        if admission.at_once is None and len(raw) <= KNOWN_HEAD_BYTES_MAX:
            if len(known) >= KNOWN_HEADS_MAX:
                known.clear()
            known[raw] = found
        return found

    async def is_empty(self, timeout_s: float) -> bool:
        """Return whether all connections have ended by themselves within `timeout_s`."""
        if self.open:
            self._emptied = asyncio.get_running_loop().create_future()
            await asyncio.wait((self._emptied,), timeout=timeout_s)
        return not self.open

    def known(self, peer: Peer) -> dict[bytes, Met]:
        """Return the heads that were admitted from where `peer` is."""
        key = (peer.source, peer.here, peer.uid)
        if key not in self._known and len(self._known) >= _PLACES_MAX:
            self._known.clear()
        return self._known.setdefault(key, {})


def _soon(doing: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_soon(doing)
