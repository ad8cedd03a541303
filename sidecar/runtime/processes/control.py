"""The line between the supervisor and a process of its own: JSON messages, and descriptors beside.

```
 supervisor ─▶ worker    Boot  Connect  Load  Use  Entities  Shade  Health  Count  Text  Cancel
                         Drain
            ◀─           Serving  Loaded  Using  Counted  Scrape  Cancel
 supervisor ─▶ recorder  Open  Connect  Complete  Count  Stop
            ◀─           Opened  Stuck  Counted
```
Three descriptors make it: a socket for messages, one over which descriptors are handed in (each
before the `Connect` that speaks of it), and standard input, on which nothing is ever said: it ends
with the supervisor, whatever ends that, and a thread of the process sees to it that the process
then ends as well, even if its loop hangs.
"""

import asyncio
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Final, Literal, cast

import msgspec

from sidecar.runtime.limits import CONTROL_BYTES_MAX, ORPHAN_EXIT_S
from sidecar.runtime.metrics import Snapshot
from sidecar.terms.errors import RecordError


class Boot(msgspec.Struct, frozen=True, tag=True):
    """What a worker is started with.

    Args:
        file: `sidecar.yaml`, where its paths begin.
        config: Its text as the supervisor has read it: the sockets fit this text.
        sockets: Listener → descriptors, in the order of its addresses.
        bundle: Digest of the bundle in force.
        entities: Digest of the entities in force.
        shadow: Digest of the candidate; empty while none has loaded, None where nobody wants one.
        number: Which of the workers it is; the first tells what every one finds out for itself.
        counts: Descriptor of the memory in which each says how many connections it holds.
    """

    file: str
    config: str
    sockets: dict[str, tuple[int, ...]]
    bundle: str
    entities: str | None = None
    shadow: str | None = None
    number: int = 0
    counts: int | None = None


class Open(msgspec.Struct, frozen=True, tag=True):
    """What the recorder is started with.

    Args:
        state: The folder of ledger and keys.
        name: The configured part of the origin.
        durability: `strict` or `group`.
        writers: How many processes will write.
        user: As whom it goes on, where it is started as root.
        retention_days: How long records are kept.
        retention_bytes: How many bytes of them.
    """

    state: str
    name: str
    durability: Literal["strict", "group"]
    writers: int
    user: str | None = None
    retention_days: int | None = None
    retention_bytes: int | None = None


class Connect(msgspec.Struct, frozen=True, tag=True):
    """A descriptor was handed in: the other end is the recorder, or this life of a process."""

    name: str


class Complete(msgspec.Struct, frozen=True, tag=True):
    """Every process that lives was connected."""


class Load(msgspec.Struct, frozen=True, tag=True):
    """Make the kept bundle of this digest ready."""

    digest: str


class Use(msgspec.Struct, frozen=True, tag=True):
    """Judge by the bundle of this digest from the next call on."""

    digest: str


class Entities(msgspec.Struct, frozen=True, tag=True):
    """Answer from the kept entities of this digest."""

    digest: str


class Shade(msgspec.Struct, frozen=True, tag=True):
    """Ask the kept bundle of this digest beside the one in force, and obey it in nothing."""

    digest: str


class Health(msgspec.Struct, frozen=True, tag=True):
    """How the whole is: for `/readyz` and `/v1/status`, which any worker answers."""

    ready: bool
    workers: int
    workers_up: int
    recorder_restarts: int


class Count(msgspec.Struct, frozen=True, tag=True):
    """Say what was counted so far."""

    number: int


class Text(msgspec.Struct, frozen=True, tag=True):
    """The metrics of all processes, for the `Scrape` of this number."""

    number: int
    text: str


class Cancel(msgspec.Struct, frozen=True, tag=True):
    """Somebody wants to cancel what a session does that is not here; perhaps it is yours.

    Args:
        listener: Where it was asked for.
        key: What proves that it may be, in hex.
    """

    listener: str
    key: str


class Drain(msgspec.Struct, frozen=True, tag=True):
    """End what is under way, then leave."""


class Stop(msgspec.Struct, frozen=True, tag=True):
    """Sign what is there and leave; nobody writes any more."""


class Serving(msgspec.Struct, frozen=True, tag=True):
    """Every listener serves, by this bundle."""

    bundle: str


class Loaded(msgspec.Struct, frozen=True, tag=True):
    """The bundle is ready, or cannot be had here."""

    digest: str
    error: str | None = None


class Using(msgspec.Struct, frozen=True, tag=True):
    """From here on every call is judged by these bytes: a bundle, or entities."""

    digest: str


class Counted(msgspec.Struct, frozen=True, tag=True):
    """What a process has counted since it was started."""

    number: int
    counts: Snapshot


class Scrape(msgspec.Struct, frozen=True, tag=True):
    """Somebody asks a worker for the metrics of all."""

    number: int


class Opened(msgspec.Struct, frozen=True, tag=True):
    """The ledger is whole, and records are taken."""

    size: int


class Stuck(msgspec.Struct, frozen=True, tag=True):
    """This life of a process does not do what it must, and was let go; it has to be ended."""

    life: str


Order = (
    Boot
    | Open
    | Connect
    | Complete
    | Load
    | Use
    | Entities
    | Shade
    | Health
    | Count
    | Text
    | Cancel
    | Drain
    | Stop
)
Report = Serving | Loaded | Using | Counted | Scrape | Opened | Stuck
Message = Order | Report

_encode = msgspec.json.Encoder().encode
_decode: Final[Callable[[bytes], Message]] = msgspec.json.Decoder(Message).decode


class Line(asyncio.Protocol):
    """One end of the line; both ends trust each other, and neither outlives the other.

    Args:
        hear: Is handed each message.
        gone: Is called once, when the other end is gone.
    """

    def __init__(self, hear: Callable[[Message], None], gone: Callable[[], None]) -> None:
        self._hear = hear
        self._gone = gone
        self._rest = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        # Why cast: uvloop's transports are of no class of asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Hand on each line that is whole."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        assert len(self._rest) <= CONTROL_BYTES_MAX
        for line in lines:
            self._hear(_decode(line))

    def connection_lost(self, exc: Exception | None) -> None:
        """Say that there is nobody any more."""
        self._transport = None
        self._gone()

    def tell(self, message: Message) -> None:
        """Send a message; to nobody when the other end is gone."""
        if self._transport is not None:
            self._transport.write(_encode(message) + b"\n")

    def close(self) -> None:
        """Let go of this end."""
        if self._transport is not None:
            self._transport.close()


async def joined(
    end: socket.socket, hear: Callable[[Message], None], gone: Callable[[], None]
) -> Line:
    """Return the line whose end is `end`."""
    loop = asyncio.get_running_loop()
    _, line = await loop.create_unix_connection(lambda: Line(hear, gone), sock=end)
    return line


class Post:
    """What a process has of the line: the messages' end, and where descriptors come in.

    A process is started with the numbers of both as its arguments.
    """

    def __init__(self, arguments: list[str]) -> None:
        control, descriptors = (int(one) for one in arguments)
        for fd in (control, descriptors):
            os.set_inheritable(fd, False)  # noqa: FBT003 - the standard library's own signature
        self.control = socket.socket(fileno=control)
        self._descriptors = socket.socket(fileno=descriptors)

    def handed(self) -> socket.socket:
        """Return the socket that was handed in before the `Connect` which is being heard.

        Raises:
            RecordError: It could not be taken: the way to the recorder is not there.
        """
        _, fds, _, _ = socket.recv_fds(self._descriptors, 1, 1)
        if not fds:
            # The kernel leaves out what it finds no number for.
            raise RecordError("the recorder cannot be reached: no descriptor is free")
        return socket.socket(fileno=fds[0])

    def first(self) -> Message:
        """Return the first message, before there is a loop; the process ends where none comes."""
        line = b""
        while not line.endswith(b"\n"):
            # Byte by byte: what follows belongs to the loop.
            byte = self.control.recv(1)
            if not byte:
                sys.exit(0)
            line += byte
        return _decode(line)


def die_with_supervisor(gone: Callable[[], object], exit_s: float = ORPHAN_EXIT_S) -> None:
    """Call `gone` when the supervisor is no more, and end this process `exit_s` later at last."""

    def watch() -> None:
        # Nothing is ever written to it: it returns when the last writer is gone.
        os.read(0, 1)
        gone()
        time.sleep(exit_s)
        os._exit(1)

    threading.Thread(target=watch, name="supervisor", daemon=True).start()
