"""The supervisor: binds every address, keeps a recorder and workers alive, tells them what is so.

```
 supervisor        bundle, entities, revocation list, addresses; it records what it does
   ├─ recorder     the ledger: it alone writes and signs
   └─ worker, N    every listener; each decides, none writes
```
Each process hangs by a pipe that ends with this one, whatever ends it. What dies is started again:
a worker on the bundle in force, behind the same addresses; the recorder with every process
connected anew, which send again what was not acknowledged.

| signal | done |
|---|---|
| SIGHUP | bundle, entities and revocation list are read again |
| SIGTERM, SIGINT | what is under way ends (10 s), then exit 0 |
"""

import asyncio
import logging
import os
import signal
from collections.abc import Callable

import msgspec

from sidecar import __version__
from sidecar.record.recorder.worker.client import RecorderClient
from sidecar.runtime.bundles import Store
from sidecar.runtime.config import Config, prepare_state
from sidecar.runtime.exits import OK, UNEXPECTED
from sidecar.runtime.limits import WORKERS_MAX
from sidecar.runtime.metrics import Metrics
from sidecar.runtime.processes.admin import AdminDoor
from sidecar.runtime.processes.bound import Bound
from sidecar.runtime.processes.fleet import Fleet, NeverServed, Plan
from sidecar.runtime.processes.machine import Ids, fast_loop, now, raise_descriptors
from sidecar.runtime.processes.recording import hand_over
from sidecar.runtime.reload import CandidateFile, EntitiesFile, FactFile, Reloader, Watch
from sidecar.runtime.revoked import RevokedFile
from sidecar.terms.call import Json
from sidecar.terms.errors import ConfigError, RecordError
from sidecar.terms.record import SCHEMA, AdminRecord

_log = logging.getLogger("sidecar.supervisor")


class Supervisor:
    """Keeps everything alive until told to stop."""

    def __init__(self, plan: Plan, bound: Bound, say: Callable[[str], None]) -> None:
        config = self._config = plan.config
        self._bound = bound
        self._say = say
        self._ids = Ids()
        self._metrics = Metrics()
        self._ledger = RecorderClient(self._metrics)
        self._fleet = Fleet(plan, self._ledger, self._metrics, self._look)
        self._reloader = Reloader(
            config.bundle, Store(config.state / "bundles"), self._metrics, self._note
        )
        self._admin = AdminDoor(config.state, self._ledger.forget)
        self._entities: EntitiesFile | None = None
        self._files = self._fact_files()
        self._stopping = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._was_ready = False

    async def run(self) -> int:
        """Run until told to stop or until a process cannot live; return the exit code."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, self._hang_up)
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, self._stopping.set)
        try:
            await self._serve()
        except NeverServed as never:
            return never.code if never.code > 0 else UNEXPECTED
        finally:
            await self._end()
        return OK

    async def _serve(self) -> None:
        """Start, and return when told to stop."""
        watch = self._watch()
        await watch.look()
        await self._fleet.open()
        listeners: list[Json] = sorted(one.name for one in self._config.listeners)
        await self._admin.open()
        await self._note("start", {"version": __version__, "listeners": listeners})
        for file in self._files:
            await file.first()
        bundle = await self._reloader.first()
        digest = self._entities.digest if self._entities is not None else None
        await self._fleet.serve(bundle, digest)
        watching = asyncio.get_running_loop().create_task(watch.run())
        try:
            await self._fleet.until(self._stopping)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def _end(self) -> None:
        self._admin.close()
        await self._fleet.drain()
        if self._ledger.is_attached:
            try:
                await self._note("stop", {})
            except RecordError as error:
                _log.error("the stop could not be recorded: %s", error)
        await self._ledger.close()
        await self._fleet.close()

    def _fact_files(self) -> list[FactFile]:
        config, files = self._config, list[FactFile]()
        if config.entities is not None:
            self._entities = EntitiesFile(
                config.entities, config.state / "entities", self._note, self._fleet.put_entities
            )
            files.append(self._entities)
        if config.revoked is not None:
            state, write = self._ledger.revocations, self._ledger.write
            files.append(RevokedFile(config.revoked, state, write, self._ids.new, now))
        if config.shadow is not None:
            store, put = Store(config.state / "bundles"), self._fleet.put_shadow
            files.append(CandidateFile(config.shadow, store, self._metrics, self._note, put))
        return files

    def _watch(self) -> Watch:
        watch = Watch()
        watch.add(self._config.bundle, self._reload)
        watch.add(self._config.file, self._config_changed)
        for file in self._files:
            watch.add(file.path, file.reload)
        return watch

    async def _reload(self) -> None:
        await self._reloader.reload(self._fleet)

    async def _config_changed(self) -> None:
        _log.warning("%s has changed; a restart takes it in", self._config.file)

    def _hang_up(self) -> None:
        async def read_again() -> None:
            await self._reload()
            for file in self._files:
                await file.reload()

        if self._was_ready:
            task = asyncio.get_running_loop().create_task(read_again())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _note(self, event: str, detail: dict[str, Json]) -> None:
        await self._ledger.write(AdminRecord(SCHEMA, self._ids.new(), now(), event, detail))

    def _look(self, is_ready: bool) -> None:  # noqa: FBT001 - what the fleet tells
        """Say that every listener serves, each time that this has become so."""
        if is_ready and not self._was_ready:
            told = {
                "listeners": self._bound.addresses(),
                "pid": os.getpid(),
                **self._fleet.pids(),
            }
            self._say("ready " + msgspec.json.encode(told).decode())
        self._was_ready = is_ready


def warn_exposed(config: Config) -> None:
    """Name every address that other machines reach."""
    for listener in config.listeners:
        for address in listener.exposed:
            _log.warning(
                "INSECURE: listener `%s` on %s:%d is reached by other machines, without TLS",
                listener.name,
                address.host,
                address.port,
            )


def supervise(config: Config, text: str, workers: int, say: Callable[[str], None]) -> int:
    """Run `sidecar run`; return its exit code.

    Args:
        config: Read from `text`.
        text: Of `sidecar.yaml`: the workers read the same.
        workers: How many.
        say: Takes the line that says that every listener serves.

    Raises:
        ConfigError: The state folder, its user or an address cannot be had.
        PolicyError: The bundle does not load.
        RecordError: The start cannot be recorded.
    """
    if not 1 <= workers <= WORKERS_MAX:
        raise ConfigError(f"`workers` is a number from 1 to {WORKERS_MAX}")
    prepare_state(config.state)
    if config.doc.ledger.user is not None:
        hand_over(config.state, config.doc.ledger.user)
    warn_exposed(config)
    raise_descriptors()
    bound = Bound(config)

    async def running() -> int:
        plan = Plan(config, text, bound.descriptors(), workers)
        return await Supervisor(plan, bound, say).run()

    try:
        with asyncio.Runner(loop_factory=fast_loop()) as runner:
            return runner.run(running())
    finally:
        bound.close()
