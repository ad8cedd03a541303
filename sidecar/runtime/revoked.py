"""The revocation list: a file that the operator edits; what changes in it becomes records first.

The file is the wish, the ledger's fold is the state: each difference is written as a `revoke` or
`unrevoke` record and is in force with it, before `builtin/revoked` is next asked. A file that
cannot be read changes nothing.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from sidecar.facts.identity import party_problem
from sidecar.facts.limits import ENTITIES_BYTES_MAX
from sidecar.facts.sources import documents_of
from sidecar.record.fold import Revocations, revoke, unrevoke
from sidecar.terms.call import Party
from sidecar.terms.errors import ConfigError, SidecarError
from sidecar.terms.record import AdminRecord
from sidecar.terms.words import CallId

_log = logging.getLogger("sidecar.revoked")


class RevokedFile:
    """The file, and what follows from it."""

    def __init__(
        self,
        path: Path,
        state: Revocations,
        write: Callable[[AdminRecord], Awaitable[None]],
        new_id: Callable[[], CallId],
        now: Callable[[], str],
    ) -> None:
        self._path = path
        self._state = state
        self._write = write
        self._new_id = new_id
        self._now = now
        self._wanted: frozenset[str] = frozenset()
        self._lock = asyncio.Lock()

    @property
    def path(self) -> Path:
        """Return where it stands."""
        return self._path

    def load(self) -> None:
        """Read the file. Raises ConfigError with the position; nothing changes then."""
        try:
            with self.path.open("rb") as stream:
                data = stream.read(ENTITIES_BYTES_MAX + 1)
        except OSError as error:
            raise ConfigError(f"{self.path}: cannot be read: {error.strerror}") from None
        self._wanted = parties(str(self.path), data)

    async def first(self) -> None:
        """Read the file and settle. Raises ConfigError, RecordError."""
        await asyncio.to_thread(self.load)
        await self.settle()

    async def settle(self) -> None:
        """Record every difference between the file and the state. Raises RecordError."""
        async with self._lock:
            by = f"file:{self.path.name}"
            held = self._state.parties
            for party in sorted(self._wanted - held):
                await self._write(revoke(party, by, id=self._new_id(), time=self._now()))
                _log.warning("revoked: %s", party)
            for party in sorted(held - self._wanted):
                await self._write(unrevoke(party, by, id=self._new_id(), time=self._now()))
                _log.warning("no longer revoked: %s", party)

    async def reload(self) -> None:
        """Read the file again and settle; what fails is logged and leaves the state as it is."""
        try:
            await self.first()
        except SidecarError as error:
            _log.error("revocations kept as they were:\n%s", error)


def parties(name: str, data: bytes) -> frozenset[str]:
    """Return the parties of a revocation list: a YAML list of `type:id`.

    Raises:
        ConfigError: With the position of what is no party.
    """
    documents = documents_of(name, data)
    if not documents:
        return frozenset()
    if len(documents) != 1 or not isinstance(documents[0].value, list):
        raise ConfigError(f"{name}:1:1: holds one list of `type:id`, `[]` for nobody")
    for index, written in enumerate(documents[0].value):
        kind, colon, identifier = written.partition(":") if isinstance(written, str) else ("",) * 3
        if not colon or party_problem(Party(kind, identifier)):
            raise ConfigError(
                f"{documents[0].where(index)}: a party is `type:id`, like `agent:bot`"
            )
    return frozenset(documents[0].value)
