"""One end of a connection: bytes are taken by a coroutine at first, then handed on as they come.

Logging in is a conversation and reads best as a coroutine (`take`); statements are a stream whose
cost counts, so from `hand_over` on every chunk goes to a callback without a task between.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, cast

from sidecar.intercept.postgres.limits import CLOSE_S_MAX, STARTUP_BYTES_MAX


class ConnectionEnded(Exception):
    """The other side went away in the middle of the conversation."""


class Writable(Protocol):
    """Is told whether an end takes more bytes at the moment."""

    def __call__(self, *, ready: bool) -> None:
        """Know it."""
        ...


@dataclass(frozen=True, slots=True)
class Receiver:
    """What takes the bytes after the conversation, and is told once that they have ended."""

    received: Callable[[bytes], None]
    lost: Callable[[], None]
    writable: Writable


class Channel(asyncio.Protocol):
    """An end of a TCP or Unix connection."""

    def __init__(
        self,
        made: Callable[["Channel"], None] | None = None,
        gone: Callable[[], None] | None = None,
    ) -> None:
        """Take whom to tell when the connection is there and when it has ended."""
        self._made = made
        self._gone = gone
        self._buffer = bytearray()
        self._receiver: Receiver | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._transport: asyncio.Transport | None = None
        self.closed = False

    @property
    def transport(self) -> asyncio.Transport:
        """Return the transport, which there is from `connection_made` on."""
        assert self._transport is not None
        return self._transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport and say that the connection is there."""
        self._transport = cast("asyncio.Transport", transport)
        if self._made is not None:
            self._made(self)

    def data_received(self, data: bytes) -> None:
        """Hand on, or keep for `take`."""
        if self._receiver is not None:
            self._receiver.received(data)
            return
        self._buffer += data
        # Nobody has more to say than this before it is answered.
        if len(self._buffer) > 2 * STARTUP_BYTES_MAX:
            self.transport.pause_reading()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits or receives."""
        self.closed = True
        if self._gone is not None:
            self._gone()
        self._wake()
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.lost()

    def pause_writing(self) -> None:
        """Say that the other side does not keep up."""
        if self._receiver is not None:
            self._receiver.writable(ready=False)

    def resume_writing(self) -> None:
        """Say that it has caught up."""
        if self._receiver is not None:
            self._receiver.writable(ready=True)

    async def take(self, end_of: Callable[[bytearray], int | None]) -> bytes:
        """Return the next message, whose end `end_of` finds at the start of the buffer.

        Raises:
            ConnectionEnded: The connection ended before it was whole.
            ProtocolError: From `end_of`.
        """
        while (end := end_of(self._buffer)) is None:
            if self.closed:
                raise ConnectionEnded
            self.transport.resume_reading()
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        found = bytes(self._buffer[:end])
        del self._buffer[:end]
        return found

    def hand_over(self, receiver: Receiver) -> None:
        """Let `receiver` have everything from here on, what is already there first."""
        self._receiver = receiver
        self.transport.resume_reading()
        waiting, self._buffer = bytes(self._buffer), bytearray()
        if waiting:
            receiver.received(waiting)
        if self.closed:
            receiver.lost()

    def write(self, data: bytes) -> None:
        """Send, unless the connection has ended."""
        if not self.closed and not self.transport.is_closing():
            self.transport.write(data)

    def close(self, last_words: bytes = b"") -> None:
        """Send `last_words` and end the connection when they are gone."""
        if last_words:
            self.write(last_words)
        if self.closed:
            return
        self.transport.close()
        if self.transport.get_write_buffer_size():
            # Who does not read its last words does not keep the connection by that.
            asyncio.get_running_loop().call_later(CLOSE_S_MAX, self.transport.abort)

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
