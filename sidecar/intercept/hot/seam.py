"""What a connection and the service behind it say to each other; neither knows more of the other.

A request is admitted by its head alone, before a byte of its body is held, and answered once the
body is whole: at once, in steps, when a record is durable (`Held`), or by a coroutine.
"""

import asyncio
import socket
import struct
import sys
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Final, Protocol, TypeAlias

import msgspec

from sidecar.intercept.hot.answers import Reply
from sidecar.intercept.hot.head import Head
from sidecar.terms.record import Written

_SOL_LOCAL: Final = 0
_LOCAL_PEERCRED: Final = 1
_XUCRED: Final = struct.Struct("=IIh16I")
_UCRED: Final = struct.Struct("=iII")


class Peer(msgspec.Struct, frozen=True):
    """The other end of a connection, as the kernel has it.

    Args:
        source: `tcp` or `unix`.
        here: The address at our end that it reached, empty on a Unix socket.
        ip: Of a TCP peer.
        uid: Of a Unix peer, None where the kernel does not say.
    """

    source: str
    here: str = ""
    ip: str | None = None
    uid: int | None = None

    @property
    def key(self) -> tuple[str, str | int | None]:
        """Return what all connections of one peer have in common."""
        return (self.source, self.ip if self.source == "tcp" else self.uid)


class Refused(Exception):
    """A request that is refused before there is a Call: status, stable code, text."""

    def __init__(
        self, status: int, code: str, text: str, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(text)
        self.status = status
        self.code = code
        self.headers = headers or {}


class Held(msgspec.Struct, frozen=True):
    """An answer that is ready and may not be given before its record is durable.

    Args:
        written: Done when the record is durable, or was lost.
        reply: The answer.
        given: Called when it is given.
    """

    written: Written
    reply: Reply
    given: Callable[[], None]


Waited: TypeAlias = Reply | Held | Coroutine[Any, Any, Reply]
# Comes to an answer in a few steps; requests of one turn take each of them together (`turn.py`).
Steps: TypeAlias = Generator[None, None, Waited]
Answer: TypeAlias = Waited | Steps


def next_step(steps: Steps) -> Waited | None:
    """Take one step; return the answer if that was the last."""
    try:
        next(steps)
    except StopIteration as end:
        answer: Waited = end.value
        return answer
    return None


def ended(answer: Answer) -> Waited:
    """Return an answer, all its steps taken."""
    if not isinstance(answer, Generator):
        return answer
    while (found := next_step(answer)) is None:
        pass
    return found


class Together(msgspec.Struct, frozen=True):
    """Answers to equal requests of one turn, held as one is.

    Args:
        written: Done when the records of all of them are durable, or were lost.
        bodies: The answers, 200 and JSON, each with what is its own.
        given: Called with how many of them are given.
    """

    written: Written
    bodies: list[bytes]
    given: Callable[[int], object]


class Alike(msgspec.Struct, frozen=True, eq=False):
    """What answers requests that are equal, whichever connection they come by.

    Args:
        key: The same object for all that equal each other.
        one: Returns the answer to one of them, of this peer.
        many: Returns the answers to the first of so many, each made by itself; None where each has
            to be asked for alone. Does nothing then.
    """

    key: object
    one: "Callable[[Peer], Answer]"
    many: Callable[[int], Together | None]


class Admission(Protocol):
    """A request whose head was read."""

    @property
    def head(self) -> Head:
        """Return the head."""
        ...

    @property
    def request_id(self) -> str | None:
        """Return the caller's own id of the request, where it is fit to repeat."""
        ...

    @property
    def who(self) -> str | None:
        """Return which workload sends it, None where nobody is asked to say."""
        ...

    @property
    def at_once(self) -> Reply | None:
        """Return the answer that needs no body: a refusal, or what is open to everybody."""
        ...

    def answer(self, body: bytes, peer: Peer) -> Answer:
        """Return the answer to the request with this body. Counts what it refuses."""
        ...

    def alike(self, body: bytes, peer: Peer) -> Alike | None:
        """Return what answers the request with this body each time anew, where that is known."""
        ...

    def failed(self, error: BaseException, peer: Peer) -> Reply | None:
        """Return the refusal that `error` comes to, and count it; None for a mistake of ours."""
        ...

    def refuse(self, refused: Refused, peer: Peer) -> Reply:
        """Return a refusal in the words of what was asked, and count it."""
        ...


class Service(Protocol):
    """What stands behind connections."""

    def admit(self, head: Head, peer: Peer) -> Admission:
        """Return the request; a pure function of `head`, `peer.here` and `peer.uid`.

        But for what it counts, and for an answer at once, which is never kept.
        """
        ...

    def refuse(self, refused: Refused, peer: Peer) -> Reply:
        """Return the refusal of what is no request, and count it."""
        ...

    def turning(self) -> None:
        """Take note that what is known again and came in one turn of the loop is begun now."""
        ...

    def turned(self) -> None:
        """Take note that all of it is begun; follows `turning`, before anything else happens."""
        ...


def peer_of(transport: asyncio.BaseTransport) -> Peer:
    """Return who is at the other end of `transport`."""
    one: socket.socket | None = transport.get_extra_info("socket")
    if one is not None and one.family == socket.AF_UNIX:
        return Peer("unix", uid=_uid(one))
    here, there = transport.get_extra_info("sockname"), transport.get_extra_info("peername")
    return Peer(
        "tcp",
        here=here[0] if isinstance(here, tuple) else "",
        ip=there[0] if isinstance(there, tuple) else None,
    )


def _uid(one: socket.socket) -> int | None:
    """Return the user id of the process at the other end, as the kernel has it from its connect.

    Source: unix(7) SO_PEERCRED; unix(4) of macOS, LOCAL_PEERCRED.
    """
    try:
        if sys.platform == "darwin":
            raw = one.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, _XUCRED.size)
            return int(_XUCRED.unpack(raw)[1])
        raw = one.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    except (OSError, struct.error):
        return None
    uid = int(_UCRED.unpack(raw)[1])
    # The kernel says so where a user has no name in our namespace: it is nobody, not user -1.
    return None if uid == 0xFFFFFFFF else uid
