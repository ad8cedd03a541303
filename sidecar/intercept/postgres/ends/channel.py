"""One end of a connection: bytes are taken by a coroutine at first, then handed on as they come.

Logging in is a conversation and reads best as a coroutine (`take`); statements are a stream whose
cost counts, so from `hand_over` on every chunk goes to a callback without a task between.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, cast

from sidecar.intercept.postgres.ends.tls import HANDSHAKE, Tls, TlsFailed
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


class _Straight(asyncio.BaseProtocol):
    """What a transport calls once nothing is done with its bytes but to hand them on."""

    def __init__(self, channel: "Channel", received: Callable[[bytes], None]) -> None:
        self._channel = channel
        self.data_received = received

    def eof_received(self) -> None:
        """Let the transport close: whoever says no more is told no more."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the channel."""
        self._channel.connection_lost(exc)

    def pause_writing(self) -> None:
        """Tell the channel."""
        self._channel.pause_writing()

    def resume_writing(self) -> None:
        """Tell the channel."""
        self._channel.resume_writing()


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
        self._tls: Tls | None = None
        self.closed = False

    @property
    def transport(self) -> asyncio.Transport:
        """Return the transport, which there is from `connection_made` on."""
        assert self._transport is not None
        return self._transport

    @property
    def is_encrypted(self) -> bool:
        """Return whether TLS is spoken."""
        return self._tls is not None

    @property
    def is_local(self) -> bool:
        """Return whether nobody on a network can listen: a Unix socket, the loopback interface."""
        if self.transport.get_extra_info("socket").family == socket.AF_UNIX:
            return True
        peer = self.transport.get_extra_info("peername")
        return ipaddress.ip_address(peer[0].partition("%")[0]).is_loopback

    @property
    def peer(self) -> str:
        """Return the address of the other side, empty on a Unix socket."""
        peer = self.transport.get_extra_info("peername")
        return str(peer[0]) if isinstance(peer, tuple) else ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport and say that the connection is there."""
        self._transport = cast("asyncio.Transport", transport)
        if self._made is not None:
            self._made(self)

    def data_received(self, data: bytes) -> None:
        """Hand on, or keep for `take`."""
        if self._tls is not None:
            data = self._plain(data, self._tls)
            if not data:
                return
        if self._receiver is not None:
            self._receiver.received(data)
            return
        self._buffer += data
        # Nobody has more to say than this before it is answered.
        if len(self._buffer) > 2 * STARTUP_BYTES_MAX:
            self.transport.pause_reading()
        self._wake()

    def _plain(self, data: bytes, tls: Tls) -> bytes:
        """Return the plaintext that `data` completes; TLS that is broken or over ends it all."""
        try:
            found = tls.feed(data)
        except TlsFailed:
            self._close_in_time()
            return b""
        if tls.is_ended:
            # What it said before still counts; no more follows it.
            asyncio.get_running_loop().call_soon(self.close)
        elif not found:
            self._wake()
        return found

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
        end: int | None = None

        def is_whole() -> bool:
            nonlocal end
            end = end_of(self._buffer)
            return end is not None

        await self._until(is_whole)
        found = bytes(self._buffer[:end])
        del self._buffer[:end]
        return found

    async def _until(self, is_so: Callable[[], bool]) -> None:
        """Return when what has arrived makes it so. Raises ConnectionEnded."""
        while not is_so():
            if self.closed or self.transport.is_closing():
                raise ConnectionEnded
            self.transport.resume_reading()
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter

    async def begins_with_tls(self) -> bool:
        """Return whether the first byte, which nothing before it announced, begins TLS."""
        await self._until(lambda: bool(self._buffer))
        return self._buffer[0] == HANDSHAKE

    async def secure(
        self, context: ssl.SSLContext, *, is_server: bool, host: str | None = None
    ) -> Tls:
        """Speak TLS from here on; what was read already belongs to it. Raises ConnectionEnded."""
        self._tls = tls = Tls(context, self.transport.write, is_server=is_server, host=host)
        early, self._buffer = bytes(self._buffer), bytearray()
        if early or not is_server:
            self.data_received(early)
        await self._until(lambda: tls.is_open)
        return tls

    @property
    def has_more(self) -> bool:
        """Return whether there are bytes that nobody has taken."""
        return bool(self._buffer)

    def hand_over(self, receiver: Receiver) -> None:
        """Let `receiver` have everything from here on, what is already there first."""
        self._receiver = receiver
        if self._tls is None:
            # Each call on the way of a chunk counts: transports know whom to call beforehand.
            self.transport.set_protocol(_Straight(self, receiver.received))
        self.transport.resume_reading()
        waiting, self._buffer = bytes(self._buffer), bytearray()
        if waiting:
            receiver.received(waiting)
        if self.closed:
            receiver.lost()

    def write(self, data: bytes) -> None:
        """Send, unless the connection has ended."""
        transport = self._transport
        if self.closed or transport is None or transport.is_closing():
            return
        if self._tls is None:
            transport.write(data)
        elif self._tls.is_open and data:
            try:
                self._tls.write(data)
            except TlsFailed:
                self.transport.abort()

    def close(self, last_words: bytes = b"") -> None:
        """Send `last_words` and end the connection when they are gone."""
        if last_words:
            self.write(last_words)
        if self.closed:
            return
        if self._tls is not None and not self.transport.is_closing():
            self._tls.end()
        self._close_in_time()

    def _close_in_time(self) -> None:
        self.transport.close()
        if self.transport.get_write_buffer_size():
            # Who does not read its last words does not keep the connection by that.
            asyncio.get_running_loop().call_later(CLOSE_S_MAX, self.transport.abort)

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
