"""The operator's door: `<state>/admin.sock`, 0600 in a folder of 0700; one question, one answer.

What only the recorder can do while it runs is asked here: `{"forget": "type:id"}` is answered with
`{"known": true}`, or with `{"error": text}`. The command line asks; nobody else has a reason to.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from sidecar.runtime.limits import ADMIN_LINE_BYTES_MAX, ADMIN_S_MAX, UNIX_PATH_BYTES_MAX
from sidecar.runtime.processes.bound import bind_unix, remove_bound
from sidecar.terms.errors import RecordError

_log = logging.getLogger("sidecar.admin")


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is asked."""

    forget: str


class Answered(msgspec.Struct, frozen=True, omit_defaults=True):
    """What came of it."""

    known: bool | None = None
    error: str | None = None


def admin_path(state: Path) -> Path:
    """Return where the door of a running sidecar is."""
    return state / "admin.sock"


class AdminDoor:
    """Serves the operator.

    Args:
        state: The state folder.
        forget: Erases a person; returns whether there was one. Raises RecordError.
    """

    def __init__(self, state: Path, forget: Callable[[str], Awaitable[bool]]) -> None:
        self._path = admin_path(state)
        self._forget = forget
        self._bound: socket.socket | None = None
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Serve. Raises ConfigError."""
        if len(bytes(self._path)) > UNIX_PATH_BYTES_MAX:
            _log.warning("%s: too long for a socket; persons are forgotten at rest", self._path)
            return
        bound = self._bound = bind_unix(self._path, 0o600)
        self._server = await asyncio.start_unix_server(
            self._converse, sock=bound, limit=ADMIN_LINE_BYTES_MAX
        )

    def close(self) -> None:
        """Serve no more."""
        if self._server is not None:
            self._server.close()
        if self._bound is not None:
            remove_bound(self._path)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Whoever goes away or asks for ever is not answered.
        with contextlib.suppress(OSError, TimeoutError, ValueError):
            async with asyncio.timeout(ADMIN_S_MAX):
                answered = await self._answer(await reader.readline())
                writer.write(msgspec.json.encode(answered) + b"\n")
                await writer.drain()
        writer.close()

    async def _answer(self, line: bytes) -> Answered:
        try:
            asked = msgspec.json.decode(line, type=Asked)
            return Answered(known=await self._forget(asked.forget))
        except msgspec.MsgspecError:
            return Answered(error="not a question of this door")
        except RecordError as error:
            return Answered(error=str(error))


def ask_running(state: Path, person: str) -> bool | None:
    """Return whether a running sidecar knew the person it has forgotten; None where none answers.

    Raises:
        RecordError: It could not be done.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
        door.settimeout(ADMIN_S_MAX)
        try:
            door.connect(str(admin_path(state)))
            door.sendall(msgspec.json.encode(Asked(person)) + b"\n")
            line = door.makefile("rb").readline(ADMIN_LINE_BYTES_MAX)
            answered = msgspec.json.decode(line, type=Answered)
        except (OSError, msgspec.MsgspecError):
            return None
    if answered.error is not None:
        raise RecordError(answered.error)
    return answered.known
