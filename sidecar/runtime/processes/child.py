"""One life of a process that the supervisor starts, and its being started again."""

import asyncio
import contextlib
import logging
import socket
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from sidecar.runtime.limits import (
    RESTART_DELAY_S_MAX,
    RESTART_DELAY_S_MIN,
    RESTART_WINDOW_S,
    RESTARTS_FREE,
)
from sidecar.runtime.metrics import Snapshot
from sidecar.runtime.processes.control import Connect, Line, Message, joined

_log = logging.getLogger("sidecar.supervisor")


class Child:
    """A process that was started.

    Args:
        name: `recorder`, `worker-0`, …
        process: The process.
        descriptors: Over which descriptors are handed to it.
    """

    def __init__(
        self, name: str, process: asyncio.subprocess.Process, descriptors: socket.socket
    ) -> None:
        self.name = name
        self.pid = process.pid
        self.counted = Snapshot()
        self._process = process
        self._descriptors = descriptors
        self._line: Line | None = None

    @classmethod
    async def started(
        cls,
        name: str,
        module: str,
        sockets: Sequence[int],
        hear: Callable[["Child", Message], None],
    ) -> "Child":
        """Start `python -m module` with these descriptors open."""
        control, its_control = socket.socketpair()
        descriptors, its_descriptors = socket.socketpair()
        theirs = (its_control.fileno(), its_descriptors.fileno())
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                module,
                *map(str, theirs),
                stdin=asyncio.subprocess.PIPE,
                pass_fds=(*theirs, *sockets),
            )
        finally:
            its_control.close()
            its_descriptors.close()
        descriptors.setblocking(False)  # noqa: FBT003 - the standard library's own signature
        child = cls(name, process, descriptors)
        child._line = await joined(control, lambda message: hear(child, message), lambda: None)
        return child

    @property
    def life(self) -> str:
        """Return what no other process is called, nor the next one of this name."""
        return f"{self.name} ({self.pid})"

    @property
    def is_alive(self) -> bool:
        """Return whether it has not ended, as far as is known."""
        return self._process.returncode is None

    def tell(self, message: Message) -> None:
        """Send a message."""
        assert self._line is not None
        self._line.tell(message)

    def hand(self, connected: socket.socket, name: str) -> None:
        """Hand in a socket whose other end is the process `name`; this process lets go of it."""
        with connected:
            try:
                socket.send_fds(self._descriptors, [b"."], [connected.fileno()])
            except BlockingIOError:
                # It takes nothing any more.
                self.kill()
            except OSError:
                # It is gone; its end is about to be known.
                pass
            else:
                self.tell(Connect(name))

    def kill(self) -> None:
        """End it at once."""
        if self.is_alive:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def ended(self) -> int:
        """Return its exit code, once it has one."""
        code = await self._process.wait()
        assert self._line is not None
        self._line.close()
        self._descriptors.close()
        return code

    async def ended_within(self, seconds: float) -> int:
        """Return its exit code; kill it when it takes longer."""
        try:
            async with asyncio.timeout(seconds):
                return await self._process.wait()
        except TimeoutError:
            _log.error("the %s does not end; it is killed", self.name)
            self.kill()
            return await self._process.wait()


async def kept_alive(
    name: str, live: Callable[[], Awaitable[int]], died: Callable[[], None]
) -> None:
    """Let `live` happen for ever: one life of a process, from its start to its exit code."""
    deaths: deque[float] = deque()
    while True:
        code = await live()
        died()
        now_s = time.monotonic()
        deaths.append(now_s)
        while deaths[0] < now_s - RESTART_WINDOW_S:
            deaths.popleft()
        doubled = min(max(0, len(deaths) - RESTARTS_FREE), 10)
        delay_s = min(RESTART_DELAY_S_MIN * 2**doubled, RESTART_DELAY_S_MAX)
        _log.error("the %s died (%s); started again in %.2f s", name, fate(code), delay_s)
        await asyncio.sleep(delay_s)


def fate(code: int) -> str:
    """Return how a process ended, for people."""
    return f"signal {-code}" if code < 0 else f"exit {code}"
