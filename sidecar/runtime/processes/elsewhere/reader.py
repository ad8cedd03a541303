"""The process that reads long texts, as its worker sees it: a frame to it, two frames back.

A frame is four bytes of length, big-endian, and so many bytes. The first of the two says that the
bundle is there and the work begins: from then on it is timed.
"""

import asyncio
import contextlib
import socket
import struct
import sys
from pathlib import Path
from typing import Final

import msgspec

from sidecar.runtime.limits import ERRAND_S_MAX, FRAME_BYTES_MAX, START_S

HEAD: Final = struct.Struct(">I")
BEGUN: Final = b"begun"
# What stands before an answer, and in place of one.
ANSWER: Final = b"+"
FAILED: Final = b"-"
_MODULE: Final = "sidecar.runtime.processes.elsewhere.process"


class Job(msgspec.Struct, frozen=True):
    """What is asked: the work, and the digest of the bundle that it needs."""

    bundle: str
    work: bytes


class Reader:
    """One life of the process."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reads: asyncio.StreamReader,
        writes: asyncio.StreamWriter,
    ) -> None:
        self.pid = process.pid
        self._process = process
        self._reads = reads
        self._writes = writes

    @classmethod
    async def started(cls, bundles: Path) -> "Reader":
        """Start the process on the bundles that are kept in a folder. Raises OSError."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", _MODULE, str(theirs.fileno()), str(bundles),
                stdin=asyncio.subprocess.PIPE, pass_fds=(theirs.fileno(),),
            )  # fmt: skip
        reads, writes = await asyncio.open_unix_connection(sock=ours)
        return cls(process, reads, writes)

    async def ask(self, bundle: str, work: bytes) -> bytes | None:
        """Return the answer, None where there is none because of a mistake of ours.

        Raises:
            TimeoutError: It takes too long.
            OSError: The process has died.
            EOFError: So it has.
        """
        job = msgspec.msgpack.encode(Job(bundle, work))
        self._writes.write(HEAD.pack(len(job)) + job)
        async with asyncio.timeout(START_S):
            begun = await self._frame()
        if begun != BEGUN:
            return None
        async with asyncio.timeout(ERRAND_S_MAX):
            said = await self._frame()
        return said[1:] if said[:1] == ANSWER else None

    async def _frame(self) -> bytes:
        (size,) = HEAD.unpack(await self._reads.readexactly(HEAD.size))
        assert size <= FRAME_BYTES_MAX
        return await self._reads.readexactly(size)

    async def end(self) -> None:
        """End it at once."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        await self._process.wait()
        self._writes.close()
        with contextlib.suppress(OSError):
            await self._writes.wait_closed()
