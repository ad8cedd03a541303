"""A process that sends one HTTP request over and over: `python -m tests.bench.load`.

It reads a `Job` on standard input and prints a `Seen`. As little as possible is done for each
answer, since what the generator costs is taken from the same machine.
"""

import asyncio
import importlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import cast

import msgspec


class Job(msgspec.Struct, frozen=True):
    """What is sent where, how long, over how many connections that are kept alive."""

    host: str
    port: int
    request: bytes
    connections: int
    warm_s: float
    measured_s: float


class Seen(msgspec.Struct, frozen=True):
    """What came back while it was measured: how many, how fast, and on whose CPU.

    `after_s` is the CPU that the server used behind it, until it stood still.
    """

    answers: int
    seconds: float
    p50_us: float
    p99_us: float
    cpu_s: float | None = None
    after_s: float = 0.0

    @property
    def rate(self) -> float:
        return self.answers / self.seconds


class Connection(asyncio.Protocol):
    """Sends the next request once the answer to the last one is whole."""

    def __init__(self, job: Job, taken: list[tuple[float, float]]) -> None:
        self._request = job.request
        self._taken = taken
        self._buffer = b""
        self._sent = 0.0
        self.lost: Exception | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none of the standard library's classes.
        self._transport = cast("asyncio.Transport", transport)
        self._send()

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        at = self._buffer.lower().find(b"content-length: ", 0, head)
        end = self._buffer.find(b"\r", at)
        size = head + 4 + int(self._buffer[at + 16 : end])
        if len(self._buffer) < size:
            return
        if not self._buffer.startswith(b"HTTP/1.1 200 "):
            self.lost = ConnectionError(self._buffer[:500].decode("utf-8", "replace"))
            self._transport.abort()
            return
        self._buffer = b""
        now = time.perf_counter()
        self._taken.append((now, now - self._sent))
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = self.lost or exc or ConnectionError("the server hung up")


async def sent(job: Job) -> Seen:
    """Do the job in this process."""
    loop = asyncio.get_running_loop()
    taken: list[tuple[float, float]] = []
    made = [
        await loop.create_connection(lambda: Connection(job, taken), job.host, job.port)
        for _ in range(job.connections)
    ]
    await asyncio.sleep(job.warm_s)
    began = time.perf_counter()
    sys.stdout.write("begin\n")
    sys.stdout.flush()
    await asyncio.sleep(job.measured_s)
    ended = time.perf_counter()
    for _, connection in made:
        if connection.lost is not None:
            raise connection.lost
    if not taken:
        raise ConnectionError("not one answer came")
    waits = sorted(wait for at, wait in taken if began <= at <= ended)
    return Seen(len(waits), ended - began, _quantile(waits, 0.5), _quantile(waits, 0.99))


def _quantile(waits: list[float], share: float) -> float:
    return waits[min(int(len(waits) * share), len(waits) - 1)] * 1e6 if waits else 0.0


def generated(job: Job, server_cpu_s: Callable[[], float | None]) -> Seen:
    """Do the job in a process of its own; `server_cpu_s` is read when measuring begins and ends."""
    command = [sys.executable, "-m", "tests.bench.load"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(msgspec.json.encode(job))
        process.stdin.close()
        process.stdout.readline()
        before = server_cpu_s()
        line = process.stdout.readline()
        after = server_cpu_s()
    if not line:
        raise RuntimeError("the load could not be sent; see above")
    seen = msgspec.json.decode(line, type=Seen)
    used = None if before is None or after is None else after - before
    return msgspec.structs.replace(seen, cpu_s=used)


def fast_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return the loop that the sidecar itself runs on."""
    try:
        factory: Callable[[], asyncio.AbstractEventLoop]
        factory = importlib.import_module("uvloop").new_event_loop
    except ImportError:
        return None
    return factory


def main() -> None:
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    with asyncio.Runner(loop_factory=fast_loop()) as runner:
        seen = runner.run(sent(job))
    sys.stdout.write(msgspec.json.encode(seen).decode() + "\n")
    sys.stdout.flush()
    # The connections are still busy; there is nothing to be told about them.
    os._exit(0)


if __name__ == "__main__":
    main()
