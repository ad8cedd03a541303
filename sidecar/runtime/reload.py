"""The bundle in force: one reference that calls read once, swapped whole or not at all.

The supervisor reads, compiles and keeps a bundle beside the running one; every worker loads what
was kept and says so; then it is recorded, and only then does each worker swap its reference, on its
loop, between two calls. Whatever fails on the way leaves the last good bundle in force, says why
with its position, counts it and records it. The same bytes are not activated twice.
"""

import asyncio
import hashlib
import hmac
import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, Protocol, TypeVar

from sidecar.domains import by_protocol
from sidecar.facts.limits import ENTITIES_BYTES_MAX
from sidecar.facts.sources import Entities, Table, entities_table
from sidecar.policy.bundle import Bundle
from sidecar.runtime import names
from sidecar.runtime.bundles import Snapshot, Store, keep_bytes, load_bundle, snapshot
from sidecar.runtime.limits import POLL_S
from sidecar.runtime.metrics import Metrics
from sidecar.terms.call import Json
from sidecar.terms.decision import BundleStamp
from sidecar.terms.errors import ConfigError, PolicyError, RecordError, SidecarError

_log = logging.getLogger("sidecar.reload")
# A problem is shown whole in the log; the record says how many there are and shows the first.
_TEXT_CHARS_MAX: Final = 500
_OURS: Final = "the sidecar failed while it read the"

Note = Callable[[str, dict[str, Json]], Awaitable[None]]
_Made = TypeVar("_Made")


class Current:
    """The one reference to the bundle in force in a worker."""

    __slots__ = ("_bundle",)

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle

    def __call__(self) -> Bundle:
        """Return the snapshot that a call is judged by; called once, at its beginning."""
        return self._bundle

    def swap(self, bundle: Bundle) -> None:
        """Put `bundle` in force."""
        self._bundle = bundle


class Everywhere(Protocol):
    """All that judge by the bundle."""

    async def prepare(self, bundle: Bundle) -> None:
        """Return when `bundle` is ready wherever calls are judged."""
        ...

    async def swap(self, bundle: Bundle) -> None:
        """Return when every call that begins is judged by `bundle`."""
        ...


class Reloader:
    """Puts bundles in force; the only one who does."""

    def __init__(self, path: Path, store: Store, metrics: Metrics, note: Note) -> None:
        self._path = path
        self._store = store
        self._metrics = metrics
        self._note = note
        self._lock = asyncio.Lock()
        self._stamp: BundleStamp | None = None

    async def first(self) -> Bundle:
        """Return the first bundle, kept and on the record.

        Raises:
            PolicyError: It does not load.
        """
        try:
            bundle = await asyncio.to_thread(load_bundle, self._path, by_protocol())
            await asyncio.to_thread(self._store.keep, bundle)
        except PolicyError as error:
            await self._record_refusal(error)
            raise
        await self._activate(bundle)
        return bundle

    async def reload(self, everywhere: Everywhere) -> bool:
        """Put what stands on the disk in force; return whether that is what is in force now."""
        async with self._lock:
            found = await _attempt(self._replace(everywhere))
            if not isinstance(found, BaseException):
                self._metrics.reloaded(ok=True)
                return True
            self._metrics.reloaded(ok=False)
            await self._refused(found)
            return False

    async def _replace(self, everywhere: Everywhere) -> None:
        bundle = await asyncio.to_thread(load_bundle, self._path, by_protocol())
        if bundle.stamp == self._stamp:
            _log.info("bundle unchanged: %s %s", bundle.name, bundle.version)
            return
        await asyncio.to_thread(self._store.keep, bundle)
        # Why before the record: a bundle that is on the record as active has to be active soon.
        await everywhere.prepare(bundle)
        await self._activate(bundle, everywhere)

    async def _activate(self, bundle: Bundle, everywhere: Everywhere | None = None) -> None:
        """Record `bundle`, then put it in force: no decision names a version before the record."""
        stamp: dict[str, Json] = {
            "bundle": bundle.name,
            "version": bundle.version,
            "digest": bundle.digest,
        }
        await self._note("bundle_activated", stamp)
        if everywhere is not None:
            await everywhere.swap(bundle)
        self._stamp = bundle.stamp
        self._metrics.activated(bundle, time.time())
        _log.info("bundle active: %s %s %s", bundle.name, bundle.version, bundle.digest)

    async def _refused(self, error: BaseException) -> None:
        """Say why a bundle is not put in force, to whoever reads logs and to the record."""
        if isinstance(error, SidecarError):
            _log.error("bundle refused:\n%s", error)
        else:
            _log.error("bundle refused: %s bundle", _OURS, exc_info=error)
        await self._record_refusal(error)

    async def _record_refusal(self, error: BaseException) -> None:
        detail: dict[str, Json] = {
            "problems": len(error.problems) if isinstance(error, PolicyError) else 1,
            "first": _first_of(error, "bundle"),
        }
        try:
            await self._note("bundle_refused", detail)
        except RecordError as lost:
            _log.error("the refusal of a bundle could not be recorded: %s", lost)


class FactFile(Protocol):
    """A file that facts come from; one that cannot be read leaves what was."""

    @property
    def path(self) -> Path:
        """Where it stands."""
        ...

    async def first(self) -> None:
        """Read it and bring it into force. Raises ConfigError, RecordError."""
        ...

    async def reload(self) -> None:
        """Read it again; what fails is logged and leaves what was."""
        ...


class EntitiesFile:
    """The entities file; one that cannot be read leaves what was.

    Entities are in force once their bytes are kept and that is on the record: the revision that a
    decision's record gives of a fact can be looked up in `<kept>/<digest>.yaml`.
    """

    def __init__(
        self, path: Path, kept: Path, note: Note, put: Callable[[str], Awaitable[None]]
    ) -> None:
        """Take where it stands, where its bytes are kept, and who puts a digest in force."""
        self._path = path
        self._kept = kept
        self._note = note
        self._put = put
        self._lock = asyncio.Lock()
        self.digest: str | None = None

    @property
    def path(self) -> Path:
        """Return where it stands."""
        return self._path

    async def first(self) -> None:
        """Read the file and put it in force. Raises ConfigError, RecordError."""
        async with self._lock:
            try:
                await self._replace()
            except SidecarError as error:
                await self._record_refusal(error)
                raise

    async def reload(self) -> None:
        """Read the file again; log and record why when it cannot be put in force."""
        async with self._lock:
            found = await _attempt(self._replace())
            if isinstance(found, BaseException):
                await self._record_refusal(found)
            if isinstance(found, SidecarError):
                _log.error("entities kept as they were:\n%s", found)
            elif isinstance(found, BaseException):
                _log.error("entities kept as they were", exc_info=found)

    async def _replace(self) -> None:
        data, digest, _ = await asyncio.to_thread(_entities, self._path)
        if hmac.compare_digest(digest, self.digest or ""):
            return
        await asyncio.to_thread(self._keep, data, digest)
        await self._note("entities_activated", {"file": self._path.name, "digest": digest})
        await self._put(digest)
        self.digest = digest
        _log.info("entities active: %s %s", self._path.name, digest)

    def _keep(self, data: bytes, digest: str) -> None:
        file = kept_file(self._kept, digest)
        try:
            keep_bytes(file, data)
        except OSError as error:
            raise ConfigError(f"{file}: cannot be written: {error.strerror}") from None

    async def _record_refusal(self, error: BaseException) -> None:
        try:
            await self._note("entities_refused", {"first": _first_of(error, "entities")})
        except RecordError as lost:
            _log.error("the refusal of entities could not be recorded: %s", lost)


class CandidateFile:
    """The candidate bundle: asked beside the one in force. One that does not load changes nothing.

    It is kept as the bundle in force is, and on the record before it is asked.
    """

    def __init__(
        self, path: Path, store: Store, metrics: Metrics, note: Note, put: Callable[[str], None]
    ) -> None:
        """Take where it stands, where it is kept, and who has it asked."""
        self._path = path
        self._store = store
        self._metrics = metrics
        self._note = note
        self._put = put
        self._lock = asyncio.Lock()
        self._stamp: BundleStamp | None = None

    @property
    def path(self) -> Path:
        """Return where it stands."""
        return self._path

    async def first(self) -> None:
        """Read it; without it everything is served as well."""
        await self.reload()

    async def reload(self) -> None:
        """Read it again; log, count and record why where it cannot be asked."""
        async with self._lock:
            found = await _attempt(self._replace())
            result = "refused" if isinstance(found, BaseException) else "ok"
            self._metrics.counts.add(names.SHADOW_RELOADS, (result,))
            if isinstance(found, BaseException):
                await self._refused(found)

    async def _replace(self) -> None:
        bundle = await asyncio.to_thread(load_bundle, self._path, by_protocol())
        if bundle.stamp == self._stamp:
            return
        await asyncio.to_thread(self._store.keep, bundle)
        detail: dict[str, Json] = {
            "bundle": bundle.name,
            "version": bundle.version,
            "digest": bundle.digest,
        }
        await self._note("shadow_activated", detail)
        self._put(bundle.digest)
        self._stamp = bundle.stamp
        _log.info("candidate asked: %s %s %s", bundle.name, bundle.version, bundle.digest)

    async def _refused(self, error: BaseException) -> None:
        if isinstance(error, SidecarError):
            _log.error("candidate refused:\n%s", error)
        else:
            _log.error("candidate refused", exc_info=error)
        try:
            await self._note("shadow_refused", {"first": _first_of(error, "candidate")})
        except RecordError as lost:
            _log.error("the refusal of a candidate could not be recorded: %s", lost)


def kept_file(kept: Path, digest: str) -> Path:
    """Return where the entities of this digest are kept."""
    return kept / f"{digest.removeprefix('sha256:')}.yaml"


def take_entities(kept: Path, digest: str, name: str, table: Entities) -> None:
    """Answer from the kept entities of `digest`. Raises ConfigError."""
    file = kept_file(kept, digest)
    _, found, read = _entities(file)
    if not hmac.compare_digest(found, digest):
        raise ConfigError(f"{file}: holds other entities than its name says")
    table.put(name, read, digest)


def load_entities(path: Path, table: Entities) -> None:
    """Read an entities file into `table`, for a dry run. Raises ConfigError with the position."""
    _, digest, read = _entities(path)
    table.put(path.name, read, digest)


def _entities(path: Path) -> tuple[bytes, str, Table]:
    """Return a file's bytes, their digest and what they say. Raises ConfigError."""
    try:
        with path.open("rb") as stream:
            data = stream.read(ENTITIES_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    return data, digest, entities_table(path.name, data)


def _first_of(error: BaseException, what: str) -> str:
    """Return the first problem as a record has it; what is our mistake is not told in detail."""
    text = str(error) if isinstance(error, SidecarError) else f"{_OURS} {what}"
    return text.partition("\n")[0][:_TEXT_CHARS_MAX]


class Watch:
    """Looks at files each second and calls when one has changed and then stood still for a look."""

    def __init__(self, poll_s: float = POLL_S) -> None:
        self._poll_s = poll_s
        self._watched: list[tuple[Path, Callable[[], Awaitable[object]]]] = []
        self._seen: dict[Path, Snapshot] = {}

    def add(self, path: Path, changed: Callable[[], Awaitable[object]]) -> None:
        """Call `changed` when what stands at `path` is another."""
        self._watched.append((path, changed))

    async def look(self) -> None:
        """Take the first look, before what stands there is read: no change falls in between."""
        self._seen = {path: await _look(path) for path, _ in self._watched}

    async def run(self) -> None:
        """Look for ever."""
        seen, moving = self._seen, dict[Path, Snapshot]()
        while True:
            await asyncio.sleep(self._poll_s)
            for path, changed in self._watched:
                now = await _look(path)
                if now == seen[path]:
                    moving.pop(path, None)
                elif moving.get(path) == now:
                    # Still since the last look: whoever wrote it has ended.
                    seen[path] = moving.pop(path)
                    await changed()
                else:
                    moving[path] = now


async def _look(path: Path) -> Snapshot:
    """Return the snapshot; what cannot be looked at is a state like any other, told once."""
    try:
        return await asyncio.to_thread(snapshot, path)
    except PolicyError as error:
        return ((str(error), 0, 0, 0),)


async def _attempt(made: Awaitable[_Made]) -> _Made | BaseException:
    """Return what `made` comes to, its failure as a value: a reload never ends the service."""
    (found,) = await asyncio.gather(made, return_exceptions=True)
    return found
