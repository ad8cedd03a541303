"""The process that reads long texts: takes one at a time, knows the bundles, dies with its worker.

Run as `python -m sidecar.runtime.processes.elsewhere.process FD BUNDLES`. It listens to nobody but
its worker, and writes nothing but answers. A text that would keep it busy for ever ends it: its
worker kills it, and the system does where there is no worker any more.
"""

import logging
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final

import msgspec
from cachetools import LRUCache

from sidecar.domains import data
from sidecar.policy.bundle import Bundle
from sidecar.runtime.bundles import Store
from sidecar.runtime.limits import ERRAND_S_MAX, READER_BUNDLES_MAX, READER_NICE
from sidecar.runtime.processes.control import die_with_supervisor
from sidecar.runtime.processes.elsewhere.reader import ANSWER, BEGUN, FAILED, HEAD, Job
from sidecar.runtime.processes.machine import log_to_stderr

_log = logging.getLogger("sidecar.reader")
_job: Final[Callable[[bytes], Job]] = msgspec.msgpack.Decoder(Job).decode


class Process:
    """Answers one job after the other.

    Args:
        end: The end of the pair that is its worker's.
        store: Where the bundles are.
    """

    def __init__(self, end: socket.socket, store: Store) -> None:
        self._stream = end.makefile("rwb")
        self._store = store
        self._bundles: LRUCache[str, Bundle] = LRUCache(READER_BUNDLES_MAX)

    def run(self) -> None:
        """Answer until nobody asks."""
        # In a thread of its own for its result alone: whatever a job fails with is a value there.
        with ThreadPoolExecutor(1) as pool:
            while (job := self._next()) is not None:
                if self._is_told(pool.submit(self._prepare, job)):
                    self._is_told(pool.submit(self._done, job))

    def _is_told(self, said: Future[bytes]) -> bool:
        """Tell what a step comes to; return whether that is more than that it failed."""
        failed = said.exception()
        if failed is not None:
            # Its text may hold what the statement holds.
            _log.error("a long text cannot be read: %s", type(failed).__name__)
        self._tell(said.result() if failed is None else FAILED)
        return failed is None

    def _prepare(self, job: Job) -> bytes:
        if job.bundle not in self._bundles:
            self._bundles[job.bundle] = self._store.load(job.bundle)
        return BEGUN

    def _done(self, job: Job) -> bytes:
        _spend(2 * ERRAND_S_MAX)
        catalogue = self._bundles[job.bundle].catalogues[data.DOMAIN.name]
        return ANSWER + data.done_elsewhere(job.work, catalogue)

    def _next(self) -> Job | None:
        head = self._stream.read(HEAD.size)
        if len(head) < HEAD.size:
            return None
        return _job(self._stream.read(*HEAD.unpack(head)))

    def _tell(self, said: bytes) -> None:
        self._stream.write(HEAD.pack(len(said)) + said)
        self._stream.flush()


def _spend(seconds: float) -> None:
    """Let the system end this process where it computes for so long from here on."""
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time() + seconds) + 1, most))


def main() -> None:
    """Serve one worker."""
    # A terminal's signals go to the whole group; this process goes when its worker is gone.
    for name in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(name, signal.SIG_IGN)
    log_to_stderr()
    die_with_supervisor(lambda: os._exit(0))
    # What the statements hold stands in no file, however this ends.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(READER_NICE)
    number, folder = sys.argv[1:]
    fd = int(number)
    os.set_inheritable(fd, False)  # noqa: FBT003 - the standard library's own signature
    Process(socket.socket(fileno=fd), Store(Path(folder))).run()


if __name__ == "__main__":
    main()
