"""One worker: everything that serves, on sockets that the supervisor has bound.

It writes nothing but through the recorder, and reads no bundle but what the supervisor has kept, by
digest. When the supervisor is gone, killed perhaps, it drains for a moment and leaves. Run as
`python -m sidecar.runtime.processes.worker`, never through the command line: who serves loads no
reviewer's tools.
"""

import asyncio
import itertools
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path

import msgspec

from sidecar import __version__, flow
from sidecar.domains.data.catalogue import Relations
from sidecar.facts.asking import FactSource
from sidecar.facts.identity import Workloads
from sidecar.facts.sources import Entities
from sidecar.intercept.hot.spread.counts import Spread, counts_in
from sidecar.intercept.postgres.listener import PostgresListener
from sidecar.policy.bundle import Bundle
from sidecar.record.inputs import Secrets, secrets_path
from sidecar.record.recorder.worker.client import RecorderClient
from sidecar.runtime import names
from sidecar.runtime.bundles import Store
from sidecar.runtime.catalog.drift import TOLD_MAX, Drift, Watches, relations_for
from sidecar.runtime.config import Config, read_config
from sidecar.runtime.exits import exit_code
from sidecar.runtime.limits import DRAIN_S, ORPHAN_DRAIN_S, SCRAPE_S_MAX
from sidecar.runtime.metrics import Metrics, Refusals
from sidecar.runtime.processes import control, elsewhere
from sidecar.runtime.processes.control import Boot, Line, Message, Post, die_with_supervisor
from sidecar.runtime.processes.elsewhere.desk import Desk
from sidecar.runtime.processes.elsewhere.reader import Reader
from sidecar.runtime.processes.machine import (
    Ids,
    fast_loop,
    log_to_stderr,
    now,
    now_ms,
    settle_memory,
)
from sidecar.runtime.processes.shadow import Shadow
from sidecar.runtime.reload import Current, take_entities
from sidecar.runtime.wiring import Parts, Serving, listener_of, sources
from sidecar.terms.answer import unseen
from sidecar.terms.call import Json
from sidecar.terms.errors import RecordError, SidecarError
from sidecar.terms.record import SCHEMA, Ledger, OpsRecord
from sidecar.terms.spent import Timed, untimed

_log = logging.getLogger("sidecar.worker")


class Worker:
    """The serving process, from its first connection to the recorder to its last."""

    def __init__(self, config: Config, boot: Boot, post: Post) -> None:
        self._config = config
        self._boot = boot
        self._post = post
        self._metrics = Metrics()
        self._ledger = RecorderClient(self._metrics)
        self._refusals = Refusals(self._metrics, self._note_refusals)
        self._ids = Ids()
        self._store = Store(config.state / "bundles")
        self._desk = Desk(partial(Reader.started, config.state / "bundles"))
        self._secrets = Secrets.open(secrets_path(config.state))
        self._entities = Entities(now_ms) if config.entities else None
        self._sources = sources(self._ledger.revocations, self._entities)
        self._shadow = Shadow(self._sources.at_hand, self._note, self._metrics.counts)
        self._watches = Watches(self._relations, self._note_drift)
        self._listeners: dict[str, Serving] = {}
        self._current: Current | None = None
        self._ready: dict[str, Bundle] = {}
        self._line: Line | None = None
        self._leave: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._attached = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._health = control.Health(False, 0, 0, 0)  # noqa: FBT003 - nothing is known yet
        self._texts: dict[int, asyncio.Future[str]] = {}
        self._numbers = itertools.count()
        self._started_s = time.monotonic()
        self._is_serving = False

    async def run(self) -> None:
        """Serve until told to drain."""
        loop = asyncio.get_running_loop()
        self._line = await control.joined(self._post.control, self._hear, self._orphaned)
        die_with_supervisor(lambda: loop.call_soon_threadsafe(self._orphaned))
        loop.add_signal_handler(signal.SIGTERM, self._end, DRAIN_S)
        bundle = await self._kept(self._boot.bundle)
        if self._boot.entities is not None:
            await asyncio.to_thread(self._take_entities, self._boot.entities)
        await self._attached.wait()
        self._current = Current(bundle)
        await self._serve(self._current)
        if self._boot.shadow:
            self._spawn(self._shade(self._boot.shadow))
        settle_memory()
        telling = loop.create_task(self._refusals.run())
        watching = loop.create_task(self._watches.run())
        self._is_serving = True
        self._tell(control.Serving(bundle.digest))
        drain_s = await self._leave
        self._is_serving = False
        telling.cancel()
        watching.cancel()
        await asyncio.gather(telling, watching, return_exceptions=True)
        await asyncio.gather(*(one.drain(drain_s) for one in self._listeners.values()))
        await self._desk.close()
        await self._refusals.tell()
        await self._shadow.close()
        await self._ledger.close()

    async def _serve(self, current: Current) -> None:
        shaded = self._shadow if self._boot.shadow is not None else unseen
        parts = Parts(
            path=msgspec.structs.replace(
                path_of(current, self._ledger, self._sources, self._secrets, self._metrics.spent),
                gathers=self._ledger,
                shadow=shaded,
                worked=self._desk,
            ),
            workloads=Workloads(self._config.workloads),
            revocations=self._ledger.revocations,
            metrics=self._metrics,
            health=self,
            public_url=self._config.doc.public_url,
            watches=self._watches,
            elsewhere=self._cancel_elsewhere,
            spread=self._spread(),
        )
        for listener in self._config.listeners:
            serving = listener_of(listener, self._config, parts)
            self._listeners[listener.name] = serving
            bound = [socket.socket(fileno=fd) for fd in self._boot.sockets[listener.name]]
            await serving.serve(bound)

    def _spread(self) -> Spread | None:
        if self._boot.counts is None:
            return None
        try:
            return Spread(counts_in(self._boot.counts), self._boot.number)
        finally:
            os.close(self._boot.counts)

    # --- what the supervisor says ---

    def _hear(self, message: Message) -> None:
        match message:
            case control.Connect():
                self._connect()
            case control.Drain():
                self._end(DRAIN_S)
            case control.Health():
                self._health = message
            case control.Cancel(listener, key):
                self._cancel(listener, key)
            case control.Shade(digest):
                self._spawn(self._shade(digest))
            case _:
                self._hear_order(message)

    def _hear_order(self, message: Message) -> None:
        match message:
            case control.Load(digest):
                self._spawn(self._load(digest))
            case control.Use(digest):
                self._use(digest)
            case control.Entities(digest):
                self._spawn(self._put_entities(digest))
            case control.Count(number):
                self._metrics.counts.put(names.QUEUE, (), self._ledger.waiting)
                self._tell(control.Counted(number, self._metrics.snapshot()))
            case control.Text(number, text):
                asked = self._texts.pop(number, None)
                if asked is not None and not asked.done():
                    asked.set_result(text)
            case _:
                raise AssertionError(message)

    def _spawn(self, doing: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(doing)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _orphaned(self) -> None:
        self._end(ORPHAN_DRAIN_S)

    def _end(self, drain_s: float) -> None:
        # A worker that does not serve yet has nothing to drain.
        if not self._is_serving:
            os._exit(0)
        if not self._leave.done():
            self._leave.set_result(drain_s)

    def _connect(self) -> None:
        try:
            self._spawn(self._attach(self._post.handed()))
        except RecordError as error:
            _log.error("%s; this worker leaves", error)
            self._end(ORPHAN_DRAIN_S)

    async def _attach(self, connected: socket.socket) -> None:
        await self._ledger.attach(connected)
        self._attached.set()

    async def _kept(self, digest: str) -> Bundle:
        return elsewhere.bound(await asyncio.to_thread(self._store.load, digest))

    async def _load(self, digest: str) -> None:
        if digest in self._ready:
            self._tell(control.Loaded(digest))
            return
        try:
            self._ready = {digest: await self._kept(digest)}
        except SidecarError as error:
            _log.error("a bundle cannot be loaded here:\n%s", error)
            self._tell(control.Loaded(digest, str(error)))
        else:
            self._tell(control.Loaded(digest))

    def _use(self, digest: str) -> None:
        assert self._current is not None
        self._current.swap(self._ready[digest])
        self._tell(control.Using(digest))

    async def _put_entities(self, digest: str) -> None:
        try:
            await asyncio.to_thread(self._take_entities, digest)
        except SidecarError as error:
            _log.error("entities cannot be loaded here:\n%s", error)
        else:
            self._tell(control.Using(digest))

    def _take_entities(self, digest: str) -> None:
        assert self._config.entities is not None
        assert self._entities is not None
        kept = self._config.state / "entities"
        take_entities(kept, digest, self._config.entities.name, self._entities)

    async def _shade(self, digest: str) -> None:
        """Ask a candidate beside the bundle in force; what fails here changes nothing."""
        try:
            self._shadow.use(await self._kept(digest))
        except SidecarError as error:
            _log.error("a candidate cannot be loaded here:\n%s", error)

    def _tell(self, message: Message) -> None:
        assert self._line is not None
        self._line.tell(message)

    def _cancel(self, listener: str, key: str) -> None:
        serving = self._listeners.get(listener)
        if isinstance(serving, PostgresListener):
            serving.cancel(bytes.fromhex(key))

    def _cancel_elsewhere(self, listener: str, key: bytes) -> bool:
        if self._health.workers <= 1:
            return False
        self._tell(control.Cancel(listener, key.hex()))
        return True

    async def _note_refusals(self, detail: dict[str, Json]) -> None:
        await self._note("refusals", detail)

    def _relations(self, upstream: str) -> Relations:
        assert self._current is not None
        return relations_for(self._current().catalogues, upstream)

    async def _note_drift(self, upstream: str, found: Drift, has_changed: bool) -> bool:  # noqa: FBT001
        # Every worker finds the same; one tells.
        if self._boot.number:
            return True
        is_told = not has_changed or await self._is_drift_noted(upstream, found)
        # Why after: what the gauge shows is on record, unless the ledger has refused it.
        self._metrics.counts.put(names.CATALOGUE_DRIFT, (upstream,), len(found))
        return is_told

    async def _is_drift_noted(self, upstream: str, found: Drift) -> bool:
        named: dict[str, Json] = {"relations": sorted(found)[:TOLD_MAX], "count": len(found)}
        try:
            await self._note("catalogue_drift", {"upstream": upstream, **named})
        except RecordError:
            # The ledger has told of its outage.
            return False
        return True

    async def _note(self, event: str, detail: dict[str, Json]) -> None:
        await self._ledger.write(OpsRecord(SCHEMA, self._ids.new(), now(), event, detail))

    # --- what the ask listener shows of the process ---

    def is_ready(self) -> bool:
        """Return whether calls can be decided and recorded, here and in every other worker."""
        return self._is_serving and self._health.ready and not self._ledger.is_refusing

    async def metrics(self) -> bytes:
        """Return the Prometheus text of all processes."""
        number = next(self._numbers)
        asked: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._texts[number] = asked
        self._tell(control.Scrape(number))
        try:
            async with asyncio.timeout(2 * SCRAPE_S_MAX):
                return (await asked).encode()
        except TimeoutError:
            # The supervisor hangs: what this process knows is better than nothing.
            return b"# the supervisor does not answer\n"
        finally:
            self._texts.pop(number, None)

    async def status(self) -> dict[str, Json]:
        """Return what `/v1/status` shows."""
        assert self._current is not None
        bundle = self._current()
        health = self._health
        return {
            "version": __version__,
            "ready": self.is_ready(),
            "uptime_s": int(time.monotonic() - self._started_s),
            "policy": msgspec.to_builtins(bundle.stamp),
            "engine": bundle.engine,
            "ledger": {
                "records": self._ledger.size,
                "refusing": self._ledger.is_refusing,
                "recorder_restarts": health.recorder_restarts,
            },
            "listeners": sorted(self._listeners),
            "workers": {"wanted": health.workers, "up": health.workers_up},
        }


def path_of(
    bundle: Callable[[], Bundle],
    ledger: Ledger,
    facts: FactSource,
    secrets: Secrets,
    timed: Timed = untimed,
) -> flow.Path:
    """Return the path with this machine's clock and randomness."""
    return flow.Path(
        bundle=bundle,
        ledger=ledger,
        facts=facts,
        new_id=Ids().new,
        now=now,
        secrets=secrets,
        timed=timed,
    )


async def _main(config: Config, boot: Boot, post: Post) -> None:
    await Worker(config, boot, post).run()


def main() -> None:
    """Serve until the supervisor says otherwise or is gone."""
    # A terminal's signals go to the whole group; the supervisor alone answers them.
    for name in (signal.SIGINT, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)
    log_to_stderr()
    post = Post(sys.argv[1:])
    boot = post.first()
    if not isinstance(boot, Boot):
        # Told to leave before there was anything to serve.
        return
    for fd in (fd for bound in boot.sockets.values() for fd in bound):
        os.set_inheritable(fd, False)  # noqa: FBT003 - the standard library's own signature
    try:
        config = read_config(Path(boot.file), boot.config.encode())
        with asyncio.Runner(loop_factory=fast_loop()) as runner:
            runner.run(_main(config, boot, post))
    except SidecarError as error:
        sys.stderr.write(f"sidecar: {error}\n")
        sys.exit(exit_code(error))


if __name__ == "__main__":
    main()
