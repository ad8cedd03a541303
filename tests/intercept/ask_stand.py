"""An ask listener on a loopback socket, over the real path, with a ledger on paper."""

import asyncio
import json
import socket
import subprocess
import sys
from collections import Counter
from itertools import count
from pathlib import Path

import msgspec

from sidecar import flow
from sidecar.domains.application import DOMAIN
from sidecar.facts.identity import Workload, Workloads
from sidecar.facts.keys import key_digest
from sidecar.facts.sources import Entities, Revocations, Sources
from sidecar.intercept.ask import AskListener
from sidecar.intercept.ask_edge import AskSettings
from sidecar.policy.bundle import compile_bundle
from sidecar.terms.errors import RecordError
from sidecar.terms.ids import rfc3339, uuid7
from tests.namebook import Namebook

KEYS = {"self": "swk_self", "gateway": "swk_gateway", "bot": "swk_bot"}
GATEWAY_MAY = {"subjects": ["user"], "actors": ["agent:*"], "context": ["purpose"]}
WORKLOADS = [
    {"id": "self", "key": key_digest(KEYS["self"])},
    {"id": "gateway", "key": key_digest(KEYS["gateway"]), "may_assert": GATEWAY_MAY},
    {
        "id": "bot",
        "key": key_digest(KEYS["bot"]),
        "actor": {"type": "agent", "id": "bot"},
        "subject": {"type": "user", "id": "alice"},
    },
]
BUNDLE = """\
name: ask
version: "1.0.0"
"""
POLICY = """\
apiVersion: sidecar/v1
kind: Policy
metadata: {name: records}
spec:
  match: {protocols: [authzen, http]}
  rules:
    - {id: read, effect: allow, match: {classes: [execute], actions: [read]}}
    - {id: get, effect: allow, match: {protocols: [http], classes: [read]}}
    - {id: audit, effect: allow, match: {actions: [audit]}, when: context.purpose == 'audit'}
    - {id: never, effect: deny, match: {actions: [erase]}, message: records are kept}
    - {id: buys, effect: allow, match: {actions: [buy]}}
    - {id: human, effect: step_up, match: {actions: [buy]}, message: a human has to say so}
    - {id: admin, effect: allow, match: {actions: [write]}, when: "'admin' in entity('user', subject.id).roles"}
"""  # noqa: E501 - a policy reads best as it is written


class PaperLedger(Namebook):
    """Keeps records in memory; fails while `is_full`, waits while `gate` is not set."""

    def __init__(self):
        self.records = []
        self.is_full = False
        self.gate = asyncio.Event()
        self.gate.set()
        self.reached = asyncio.Event()

    async def write(self, record, side=()):
        self.reached.set()
        await self.gate.wait()
        if self.is_full:
            raise RecordError("no space left")
        self.records.append(record)


class PaperRevocations:
    """A revocation list in memory."""

    def __init__(self):
        self.epoch = 0
        self.parties = set()

    def is_revoked(self, party):
        return party in self.parties


class PaperRuntime:
    """Counts what the listener counts, and says how the process is."""

    def __init__(self):
        self.refusals: Counter[tuple[str, str]] = Counter()
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self.ready = True

    def refused(self, listener, code, source):
        self.refusals[code, source] += 1

    def decided(self, listener, protocol, decision, count=1):
        self.outcomes[protocol, decision.outcome] += count

    def is_ready(self):
        return self.ready

    async def metrics(self):
        return b"sidecar_up 1\n"

    async def status(self):
        return {"ready": self.ready}


class Answer(msgspec.Struct):
    """One HTTP answer."""

    status: int
    headers: dict
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)


class Sender:
    """Sends what a test chooses, header by header, to the listener at `port` or `unix`."""

    port = 0
    unix = ""

    async def connect(self, *, unix=False):
        if unix:
            return await asyncio.open_unix_connection(self.unix)
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def send(self, method, path, *, body=None, key="gateway", headers=(), unix=False):
        """Send one request, of which every header can be chosen, and return its answer."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode() if body else b""
        told = {name.lower() for name, _ in headers}
        lines = [f"{method} {path} HTTP/1.1", "Connection: close", *map(": ".join, headers)]
        if "host" not in told:
            lines.append(f"Host: 127.0.0.1:{self.port}")
        if key is not None:
            lines.append(f"Sidecar-Authorization: Bearer {KEYS.get(key, key)}")
        if method == "POST" and "content-type" not in told:
            lines.append("Content-Type: application/json")
        if "transfer-encoding" not in told and "content-length" not in told:
            lines.append(f"Content-Length: {len(data)}")
        return await self.raw("\r\n".join([*lines, "", ""]).encode() + data, unix=unix)

    async def raw(self, data, *, unix=False):
        """Send bytes and return the answer that comes before the end."""
        reader, writer = await self.connect(unix=unix)
        writer.write(data)
        try:
            return read_answer(await reader.read())
        finally:
            writer.close()

    async def post(self, path, body, **more):
        return await self.send("POST", path, body=body, **more)

    async def decide(self, body, **more):
        return await self.post("/v1/decide", body, **more)

    async def evaluate(self, body, **more):
        return await self.post("/access/v1/evaluation", body, **more)

    async def evaluate_all(self, body, **more):
        return await self.post("/access/v1/evaluations", body, **more)


class Process(Sender):
    """A `sidecar run` of its own, in a folder that it may keep."""

    def __init__(self, process, port):
        self._process = process
        self.port = port

    @classmethod
    async def start(cls, folder, bundle, entities, public_url):
        config = {
            "state": str(folder / "state"),
            "bundle": str(bundle),
            "facts": {"entities": str(entities)},
            "public_url": public_url,
            "workloads": WORKLOADS,
            "listeners": [{"name": "ask", "protocol": "ask", "bind": "127.0.0.1:0"}],
        }
        # JSON is YAML, and this file is the only thing that the process is told.
        file = folder / "sidecar.yaml"
        file.write_text(json.dumps(config), "utf-8")
        process = await asyncio.create_subprocess_exec(
            Path(sys.executable).with_name("sidecar"), "run", "-c", file, stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        said = (await process.stdout.readline()).decode()
        word, _, told = said.partition(" ")
        if word != "ready":
            await process.wait()
            raise AssertionError(f"sidecar run said {said!r} and ended with {process.returncode}")
        (address,) = json.loads(told)["listeners"]["ask"]
        return cls(process, int(address.rpartition(":")[2]))

    async def stop(self):
        self._process.terminate()
        await self._process.communicate()


class Stand(Sender):
    """The listener under test and all that it stands on."""

    def __init__(
        self, files=None, workloads=WORKLOADS, entities=b"user: {}\n", client=None, **settings
    ):
        files = files or {"bundle.yaml": BUNDLE.encode(), "policies/records.yaml": POLICY.encode()}
        self.bundle = compile_bundle(files, dict.fromkeys(DOMAIN.protocols, DOMAIN))
        self.ledger = client or PaperLedger()
        self.revocations = PaperRevocations()
        self.runtime = PaperRuntime()
        ticks = count(1)
        known = Entities(lambda: 0)
        known.load("entities.yaml", entities, "sha256:0")
        path = flow.Path(
            bundle=lambda: self.bundle,
            ledger=self.ledger,
            gathers=client,
            facts=Sources({"entity": known, "revoked": Revocations(self.revocations)}),
            new_id=lambda: uuid7(1_700_000_000_000, next(ticks).to_bytes(10, "big")),
            now=lambda: rfc3339(1_700_000_000_000_000),
        )
        self.listener = AskListener(
            AskSettings(**settings),
            path,
            Workloads(msgspec.convert(workloads, list[Workload])),
            self.runtime,
            self.runtime,
        )

    async def start(self, folder: Path | None = None):
        tcp = socket.create_server(("127.0.0.1", 0))
        self.port = tcp.getsockname()[1]
        sockets = [tcp]
        if folder is not None:
            self.unix = str(folder / "ask.sock")
            unix = socket.socket(socket.AF_UNIX)
            unix.bind(self.unix)
            unix.listen()
            sockets.append(unix)
        await self.listener.serve(sockets)
        return self

    async def stop(self):
        await self.listener.drain(1.0)


def read_answer(data):
    """Return the last answer in `data`, past an interim one."""
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    status = int(first.split()[1])
    if status == 100:
        return read_answer(body)
    pairs = (line.partition(": ") for line in lines)
    return Answer(status, {name.lower(): value for name, _, value in pairs}, body)
