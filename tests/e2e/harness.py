"""A real `sidecar run` on the loopback interface, and a client that says what a test wants said.

A `Site` is one installation: a folder with `sidecar.yaml`, a bundle, a key and a state. It outlives
the processes that run on it, which is what most tests here are about. A `Sidecar` is one life of it
in a process group of its own, of which nothing is left when its block ends.
"""

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import aclosing
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from sidecar.facts.keys import issue
from sidecar.record.ledger import ledger_paths
from sidecar.record.read import Reader
from sidecar.syntax.yaml12 import dump

ROOT = Path(__file__).parents[2]
START_S_MAX = 60
# The supervisor gives a worker ten seconds to drain; an orphan leaves after five.
STOP_S_MAX = 15
GONE = (ConnectionError, asyncio.IncompleteReadError)

BUNDLE = {
    "bundle.yaml": 'name: trial\nversion: "1.0.0"\n',
    "catalog/erp.yaml": """\
apiVersion: sidecar/v1
kind: Catalog
metadata: {name: erp}
spec:
  protocol: sql
  dialect: postgres
  search_path: [public]
  schemas: {public: {tables: {notes: {columns: [note]}}}}
""",
    "policies/trial.yaml": """\
apiVersion: sidecar/v1
kind: Policy
metadata: {name: trial}
spec:
  rules:
    - {id: open, effect: allow}
    - id: nothing-is-deleted
      effect: deny
      match: {classes: [delete]}
      message: nothing is deleted
""",
}
READ = {"protocol": "http", "call": {"method": "GET", "url": "http://api.test/things/1"}}
DELETE = {"protocol": "http", "call": {"method": "DELETE", "url": "http://api.test/things/1"}}
EVALUATION = {
    "subject": {"type": "service", "id": "client"},
    "action": {"name": "can_read"},
    "resource": {"type": "thing", "id": "1"},
}


class Done(NamedTuple):
    """What a command came to."""

    code: int
    out: str
    err: str


class Site:
    """One installation in a folder.

    Args:
        folder: Holds `sidecar.yaml`. Its path is short: that of a Unix socket has about a hundred
            bytes.
        key: Of the one workload.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self.folder = folder
        self.key = key
        self.config = folder / "sidecar.yaml"
        self.bundle = folder / "bundle"
        self.state = folder / "state"
        # Where this process sees the ledger; another than the sidecar's where that has its own
        # mounts.
        self.ledger = ledger_paths(self.state)[0]
        # What a command line begins with, to run it with other mounts or rights than our own.
        self.prefix: Sequence[str] = ()

    @classmethod
    def made(cls, folder: Path, listeners: Sequence[Mapping[str, Any]] = ()) -> "Site":
        """Write a site; `listeners` stand besides `ask`, as sidecar.yaml has them."""
        key = issue(secrets.token_bytes)
        site = cls(folder, key.text)
        ask = {"name": "ask", "protocol": "ask", "bind": ["127.0.0.1:0", "unix:ask.sock"]}
        workload = {"id": "client", "key": key.key, "scram": key.scram}
        config = {
            "state": "./state",
            "bundle": "./bundle",
            "workloads": [workload],
            "listeners": [ask, *listeners],
        }
        site.config.write_text(dump(config))
        for name, text in BUNDLE.items():
            site.put(name, text)
        return site

    def put(self, name: str, text: str) -> None:
        """Put a file into the bundle in one step, as an editor or a deployment does."""
        file = self.bundle / name
        file.parent.mkdir(parents=True, exist_ok=True)
        new = self.folder / f"{secrets.token_hex(8)}.new"
        new.write_text(text)
        new.replace(file)

    def command(self, *arguments: str) -> list[str]:
        """Return the command line of one `sidecar` command."""
        return [*self.prefix, sys.executable, "-m", "sidecar", *arguments]

    async def sidecar(self, *arguments: str) -> Done:
        """Run one `sidecar` command to its end."""
        return await asyncio.to_thread(done, self.command(*arguments), cwd=self.folder)

    async def verified(self) -> str:
        """Return what `sidecar log verify` says, which must be that all is well."""
        found = await self.sidecar("log", "verify", "--state", str(self.state))
        assert found.code == 0, f"{found.out}{found.err}\n{self.log()}"
        return found.out

    def records(self) -> list[dict[str, Any]]:
        """Return every record of the ledger, in order."""
        return [orjson.loads(line) for line in Reader(self.ledger).new()]

    def log(self) -> str:
        """Return what the sidecar has said for people."""
        return (self.folder / "log").read_text("utf-8", "replace")

    @contextlib.asynccontextmanager
    async def running(self, *options: str) -> AsyncIterator["Sidecar"]:
        """Serve until the block ends; whatever is alive then is killed."""
        sidecar = Sidecar(self, *options)
        try:
            await sidecar.ready()
            yield sidecar
        finally:
            await sidecar.end()


class Sidecar:
    """One life of a site: a supervisor, recorder and workers, and the clients that talk to them."""

    def __init__(self, site: Site, *options: str) -> None:
        self.site = site
        self.addresses: dict[str, list[str]] = {}
        self.workers: list[int] = []
        self.recorder = 0
        self._clients: list[Client] = []
        command = site.command("run", "-c", str(site.config), *options)
        with (site.folder / "log").open("ab") as log:
            # A session of its own is a process group of its own: all that come from it are known.
            self._process = subprocess.Popen(
                command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, start_new_session=True
            )
        self.supervisor = self._process.pid

    async def ready(self) -> None:
        """Return when all serve: after the start, and after each restart of a process."""
        assert self._process.stdout is not None
        async with asyncio.timeout(START_S_MAX):
            line = await asyncio.to_thread(self._process.stdout.readline)
        assert line.startswith(b"ready "), f"the sidecar did not start:\n{self.site.log()}"
        told = orjson.loads(line.removeprefix(b"ready "))
        self.addresses, self.workers = told["listeners"], told["workers"]
        self.recorder = told["recorder"]
        assert told["pid"] == self.supervisor

    async def client(self, listener: str = "ask", nth: int = 0) -> "Client":
        """Return a new connection to the listener's `nth` address."""
        client = await Client.connect(self.addresses[listener][nth], self.site.key)
        self._clients.append(client)
        return client

    def port(self, listener: str) -> int:
        """Return the port that was chosen for a listener."""
        return int(self.addresses[listener][0].rpartition(":")[2])

    async def stop(self) -> int:
        """Ask it to end, and return the exit code."""
        os.kill(self.supervisor, signal.SIGTERM)
        return await self._gone()

    async def kill(self, *processes: int) -> None:
        """`kill -9` the given ones at once."""
        for process in processes:
            os.kill(process, signal.SIGKILL)

    async def nobody_is_left(self) -> None:
        """Return when no process of this life is alive."""
        await until(lambda: not living(self.supervisor), STOP_S_MAX)

    async def end(self) -> None:
        """Close the clients and kill whatever is alive."""
        for client in self._clients:
            await client.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.supervisor, signal.SIGKILL)
        await self._gone()
        assert self._process.stdout is not None
        self._process.stdout.close()

    async def _gone(self) -> int:
        return await asyncio.to_thread(self._process.wait, STOP_S_MAX)


class Reply(NamedTuple):
    """An HTTP answer, its header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


class Client:
    """One connection that is kept alive, by TCP or Unix socket."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: str
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._key = key

    @classmethod
    async def connect(cls, address: str, key: str) -> "Client":
        kind, _, path = address.partition(":")
        if kind == "unix":
            return cls(*await asyncio.open_unix_connection(path), key)
        host, _, port = address.rpartition(":")
        return cls(*await asyncio.open_connection(host, int(port)), key)

    async def ask(self, method: str, path: str, body: object = None) -> Reply:
        """Send one request and return its answer; raises one of GONE when none comes."""
        data = b"" if body is None else orjson.dumps(body)
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n"
            f"Sidecar-Authorization: Bearer {self._key}\r\nContent-Length: {len(data)}\r\n"
        )
        kind = "" if body is None else "Content-Type: application/json\r\n"
        self._writer.write(f"{head}{kind}\r\n".encode() + data)
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        pairs = (line.partition(":") for line in lines[1:] if line)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        length = int(headers.get("content-length", 0))
        status = int(lines[0].split(" ")[1])
        return Reply(status, headers, await self._reader.readexactly(length))

    async def decide(self, envelope: object = READ) -> Reply:
        """Ask `/v1/decide`."""
        return await self.ask("POST", "/v1/decide", envelope)

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


@contextlib.contextmanager
def short_folder() -> Iterator[Path]:
    """Make a private folder whose path is short, and remove it with the block."""
    folder = Path(tempfile.mkdtemp(prefix="doorward-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def done(command: Sequence[str], cwd: Path, stdin: bytes = b"") -> Done:
    """Run `command` to its end."""
    found = subprocess.run(command, cwd=cwd, input=stdin, capture_output=True, check=False)
    return Done(found.returncode, found.stdout.decode(), found.stderr.decode())


def living(group: int) -> list[int]:
    """Return the processes of a process group that are alive; a zombie is not."""
    if not Path("/proc/self/stat").exists():
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, 0)
            return [group]
        return []
    return [pid for pid, state, its in _processes() if its == group and state != "Z"]


def _processes() -> Iterator[tuple[int, str, int]]:
    """Yield id, state and group of every process (proc_pid_stat(5))."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            # The name before the last `)` may itself hold anything.
            state, _, group = (entry / "stat").read_text().rpartition(") ")[2].split()[:3]
            yield int(entry.name), state, int(group)


async def until(is_so: Callable[[], bool], seconds_max: float) -> None:
    """Return when `is_so`, of what happens in other processes and cannot be awaited."""

    async def asked() -> bool:
        return is_so()

    await eventually(asked, seconds_max)


async def eventually(is_so: Callable[[], Awaitable[bool]], seconds_max: float) -> None:
    """Return when `is_so`, of what has to be asked for."""
    async with asyncio.timeout(seconds_max), aclosing(_looks()) as looks:
        async for _ in looks:
            if await is_so():
                return


async def _looks() -> AsyncGenerator[None, None]:
    """Yield now and then, for ever."""
    while True:
        yield
        await asyncio.sleep(0.01)
