"""One worker: everything that serves, on sockets that the supervisor has bound.

It is told what to do by lines on its standard input and answers by lines on a pipe of its own. When
the input ends the supervisor is gone, killed perhaps: the worker then drains for a moment and
leaves, and a thread sees to that even if the event loop hangs. Run as `python -m
sidecar.runtime.worker`, never through the command line: who serves loads no reviewer's tools.

```
 supervisor ─▶ {"file": …, "config": …, "sockets": …}  then  reload | drain
            ◀─ {"ready": …}   {"bundle": digest}
```
"""

import asyncio
import importlib
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from io import FileIO
from pathlib import Path

import msgspec

from sidecar import __version__
from sidecar.facts.identity import Workloads
from sidecar.facts.sources import Entities
from sidecar.record.ledger import Ledger
from sidecar.runtime.bundles import Store
from sidecar.runtime.config import Config, read_config
from sidecar.runtime.exits import exit_code
from sidecar.runtime.limits import DRAIN_S, LINE_BYTES_MAX, ORPHAN_DRAIN_S, ORPHAN_EXIT_S
from sidecar.runtime.metrics import MeteredLedger, Metrics, Refusals
from sidecar.runtime.reload import Current, EntitiesFile, FactFile, Reloader, Watch
from sidecar.runtime.revoked import RevokedFile
from sidecar.runtime.supervisor import Boot, Told
from sidecar.runtime.wiring import (
    Ids,
    Parts,
    Serving,
    listener_of,
    now,
    now_ms,
    open_ledger,
    path_of,
    sources,
)
from sidecar.terms.call import Json
from sidecar.terms.errors import RecordError, SidecarError
from sidecar.terms.record import SCHEMA, AdminRecord, OpsRecord

_log = logging.getLogger("sidecar.worker")


class Worker:
    """The serving process from its first record to its last."""

    def __init__(self, config: Config, boot: Boot, ledger: Ledger) -> None:
        self._config = config
        self._boot = boot
        self._ledger = ledger
        self._metrics = Metrics()
        self._records = MeteredLedger(ledger, self._metrics)
        self._refusals = Refusals(self._metrics, self._note_refusals)
        self._ids = Ids()
        self._entities = Entities(now_ms) if config.entities else None
        self._listeners: dict[str, Serving] = {}
        self._current: Current | None = None
        self._reloader = Reloader(
            config.bundle, Store(config.state / "bundles"), self._metrics, self._note
        )
        self._asked: asyncio.Queue[str] = asyncio.Queue()
        self._started_s = time.monotonic()
        self._is_serving = False

    def hear(self, line: str) -> None:
        """Take a line from the supervisor; an empty one says that it is gone."""
        self._asked.put_nowait(line)

    async def run(self) -> None:
        """Serve until told to drain."""
        files = self._files()
        watch = self._watch(files)
        await watch.look()
        await self._note("start", {"version": __version__, "listeners": sorted(self._boot.sockets)})
        for file in files:
            await file.first()
        self._current = await self._reloader.first(self._boot.last_good)
        self._tell(Told(bundle=self._current.bundle.digest))
        await self._serve(self._current)
        background = asyncio.gather(watch.run(), self._refusals.run())
        self._is_serving = True
        self._tell(Told(ready=True))
        drain_s = await self._obey(files)
        self._is_serving = False
        background.cancel()
        await asyncio.gather(background, return_exceptions=True)
        await asyncio.gather(*(one.drain(drain_s) for one in self._listeners.values()))
        await self._stopped()

    def _files(self) -> list[FactFile]:
        files: list[FactFile] = []
        if self._config.entities is not None and self._entities is not None:
            kept = self._config.state / "entities"
            files.append(EntitiesFile(self._config.entities, self._entities, kept, self._note))
        if self._config.revoked is not None:
            state, write = self._ledger.revocations, self._records.write
            files.append(RevokedFile(self._config.revoked, state, write, self._ids.new, now))
        return files

    def _watch(self, files: list[FactFile]) -> Watch:
        watch = Watch()
        watch.add(self._config.bundle, self._reload)
        watch.add(self._config.file, self._config_changed)
        for file in files:
            watch.add(file.path, file.reload)
        return watch

    async def _serve(self, current: Current) -> None:
        facts = sources(self._ledger.revocations, self._entities)
        parts = Parts(
            path=path_of(current, self._records, facts),
            workloads=Workloads(self._config.workloads),
            revocations=self._ledger.revocations,
            metrics=self._metrics,
            health=self,
            public_url=self._config.doc.public_url,
        )
        for listener in self._config.listeners:
            serving = listener_of(listener, self._config, parts)
            self._listeners[listener.name] = serving
            bound = [socket.socket(fileno=fd) for fd in self._boot.sockets[listener.name]]
            await serving.serve(bound)

    async def _obey(self, files: list[FactFile]) -> float:
        """Do as told until told to stop; return how long what is under way may take."""
        while True:
            match await self._asked.get():
                case "reload":
                    await self._reload()
                    for file in files:
                        await file.reload()
                case "drain":
                    return DRAIN_S
                case _:
                    return ORPHAN_DRAIN_S

    async def _reload(self) -> None:
        assert self._current is not None
        if await self._reloader.reload(self._current):
            self._tell(Told(bundle=self._current.bundle.digest))

    async def _config_changed(self) -> None:
        _log.warning("%s has changed; a restart takes it in", self._config.file)

    async def _stopped(self) -> None:
        await self._refusals.tell()
        try:
            await self._note("stop", {})
        except RecordError as error:
            _log.error("the stop could not be recorded: %s", error)
        await self._ledger.close()

    async def _note(self, event: str, detail: dict[str, Json]) -> None:
        await self._records.write(AdminRecord(SCHEMA, self._ids.new(), now(), event, detail))

    async def _note_refusals(self, detail: dict[str, Json]) -> None:
        await self._records.write(OpsRecord(SCHEMA, self._ids.new(), now(), "refusals", detail))

    def _tell(self, told: Told) -> None:
        try:
            os.write(self._boot.status, msgspec.json.encode(told) + b"\n")
        except OSError as error:
            # The supervisor is gone; the end of the input says so as well.
            _log.warning("the supervisor does not listen: %s", error.strerror)

    # --- what the ask listener shows of the process ---

    def is_ready(self) -> bool:
        """Return whether calls can be decided and recorded."""
        return self._is_serving and not self._ledger.is_refusing

    async def metrics(self) -> bytes:
        """Return the Prometheus text."""
        return self._metrics.text()

    async def status(self) -> dict[str, Json]:
        """Return what `/v1/status` shows."""
        assert self._current is not None
        bundle = self._current.bundle
        return {
            "version": __version__,
            "ready": self.is_ready(),
            "uptime_s": int(time.monotonic() - self._started_s),
            "policy": msgspec.to_builtins(bundle.stamp),
            "engine": bundle.engine,
            "ledger": {"records": self._ledger.size, "refusing": self._ledger.is_refusing},
            "listeners": sorted(self._listeners),
        }


def _listen(stream: FileIO, hear: Callable[[str], None]) -> None:
    """Hand each line to `hear`; when there are no more, see to it that this process ends."""
    while line := stream.readline(LINE_BYTES_MAX):
        hear(line.decode("ascii", "replace").strip())
    hear("")
    time.sleep(ORPHAN_EXIT_S)
    os._exit(1)


async def _main(config: Config, boot: Boot, ledger: Ledger, stream: FileIO) -> None:
    worker = Worker(config, boot, ledger)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, worker.hear, "drain")

    def hear(line: str) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(worker.hear, line)

    threading.Thread(target=_listen, args=(stream, hear), name="supervisor", daemon=True).start()
    try:
        await worker.run()
    finally:
        await ledger.close()


def fast_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's factory where it is installed, None for the standard library's loop."""
    try:
        factory: Callable[[], asyncio.AbstractEventLoop] = importlib.import_module(
            "uvloop"
        ).new_event_loop
    except ImportError:
        return None
    return factory


def main() -> None:
    """Serve until the supervisor says otherwise or is gone."""
    # A terminal's signals go to the whole group; the supervisor alone answers them.
    for name in (signal.SIGINT, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s"
    )
    # Unbuffered: a buffer's lock, held by the thread that waits for a line, would break the exit.
    stream = FileIO(0, closefd=False)
    boot = msgspec.json.decode(stream.readline(), type=Boot)
    for fd in (boot.status, *(fd for bound in boot.sockets.values() for fd in bound)):
        os.set_inheritable(fd, False)  # noqa: FBT003 - the standard library's own signature
    try:
        config = read_config(Path(boot.file), boot.config.encode())
        ledger = open_ledger(config)
        with asyncio.Runner(loop_factory=fast_loop()) as runner:
            runner.run(_main(config, boot, ledger, stream))
    except SidecarError as error:
        sys.stderr.write(f"sidecar: {error}\n")
        sys.exit(exit_code(error))


if __name__ == "__main__":
    main()
