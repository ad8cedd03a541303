"""A listener between real clients and a real PostgreSQL: the real path, a ledger on paper."""

import asyncio
import contextlib
import functools
import os
import socket
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from examples.postgres_local import LocalPostgres
from sidecar.domains import by_protocol
from sidecar.facts.identity import MayAssert, PartyEntry, Workload, Workloads
from sidecar.facts.keys import key_digest
from sidecar.facts.scram import ScramClient, make_verifier
from sidecar.facts.sources import Revocations, Sources
from sidecar.flow import Path
from sidecar.intercept.postgres.ends.pinned import check_parameter
from sidecar.intercept.postgres.listener import PostgresListener
from sidecar.intercept.postgres.protocol import wire
from sidecar.intercept.postgres.settings import PostgresSettings
from sidecar.policy.bundle import Bundle, compile_bundle
from sidecar.terms.errors import RecordError
from sidecar.terms.ids import rfc3339, uuid7
from sidecar.terms.record import (
    AdminRecord,
    AnyRecord,
    DecisionRecord,
    MadeRecord,
    OutcomeRecord,
)
from tests.namebook import Namebook

BOT, ALICE, MALLORY = "swk_bot-key", "swk_alice-key", "swk_mallory-key"

# What checks what a server says of itself, for the pinned path of these tests.
agree = functools.partial(check_parameter, search_path=("public",))
OPEN = "SELECT amount FROM finance.expenses WHERE id = 3"
CLOSED = "SELECT salary FROM hr.compensation"

SCHEMA = """
create role erp login password 'erp-secret' nosuperuser;
create schema hr; create schema finance;
create table hr.compensation(employee_id int, name text, salary numeric);
create table finance.expenses(id int primary key, department text, amount numeric);
create table public.scratch(note text, amount numeric);
insert into hr.compensation select n, 'name' || n, 1000 + n from generate_series(1, 50) n;
insert into finance.expenses select n, 'sales', n * 10 from generate_series(1, 100) n;
grant usage on schema hr, finance to erp;
grant select, insert, update, delete on all tables in schema hr, finance, public to erp;
"""

HEADER = 'name: trial\nversion: "1.0.0"\n'
_CATALOG = """
apiVersion: sidecar/v1
kind: Catalog
metadata: {name: erp}
spec:
  protocol: sql
  dialect: postgres
  search_path: [public]
  schemas:
    finance: {tables: {expenses: {columns: [id, department, amount]}}}
    hr: {tables: {compensation: {labels: [compensation], columns: [employee_id, name, salary]}}}
    public: {tables: {scratch: {columns: [note, amount]}}}
"""
_PUBLIC = "public: {tables: {scratch: {columns: [note, amount]}}}"
POLICY = """
apiVersion: sidecar/v1
kind: Policy
metadata: {name: trial}
spec:
  rules:
    - {id: open, effect: allow, when: "true"}
    - id: compensation-is-closed
      effect: deny
      when: "'compensation' in resource.labels"
      message: compensation data is closed to agents
    - {id: not-for-mallory, effect: deny, when: "subject.id == 'mallory'"}
"""


def catalog(public: str) -> str:
    """Return the trial's catalogue with other tables in `public`."""
    return _CATALOG.replace(_PUBLIC, public)


@functools.cache
def bundle(policy: str = POLICY, public: str = _PUBLIC) -> Bundle:
    """Return the trial's bundle with another policy, or other tables in `public`."""
    files = {
        "bundle.yaml": HEADER,
        "catalog/erp.yaml": catalog(public),
        "policies/trial.yaml": policy,
    }
    return compile_bundle({name: text.encode() for name, text in files.items()}, by_protocol())


class PaperLedger(Namebook):
    """Keeps records in a list, persons by their names; `is_full` refuses as a full disk does.

    While `is_slow` every outcome waits, as for a disk that does not keep up, until `catch_up`;
    while `is_stuck` every decision does.
    """

    def __init__(self) -> None:
        self.records: list[AnyRecord] = []
        self.is_full = False
        self.refuses_outcomes = False
        self.refuses_turns = False
        self.is_slow = self.is_stuck = False
        self.held = 0
        self._written = asyncio.Event()
        self._caught_up = asyncio.Event()

    async def until(self, is_enough: Callable[[], bool]) -> None:
        """Return when the records are enough."""
        async with asyncio.timeout(5):
            while not is_enough():
                self._written.clear()
                await self._written.wait()

    def catch_up(self) -> None:
        self.is_slow = self.is_stuck = False
        self._caught_up.set()

    async def handles(self, persons: Collection[str]) -> Mapping[str, str]:
        named = self._named()
        named.update((person, person.partition(":")[2]) for person in persons)
        return named

    async def write(self, record: AnyRecord, side: object = ()) -> None:
        await asyncio.sleep(0)
        is_outcome = isinstance(record, OutcomeRecord)
        if (self.is_slow and is_outcome) or (self.is_stuck and not is_outcome):
            self.held += 1
            self._written.set()
            await self._caught_up.wait()
        if self.is_full or (self.refuses_outcomes and isinstance(record, OutcomeRecord)):
            raise RecordError("the disk is full")
        if self.refuses_turns and isinstance(record, AdminRecord):
            raise RecordError("the disk is full")
        self.records.append(record)
        self._written.set()

    @property
    def decisions(self) -> list[DecisionRecord]:
        return [record for record in self.records if isinstance(record, DecisionRecord)]

    @property
    def all_decisions(self) -> list[DecisionRecord | MadeRecord]:
        """Return those too that were made of what was known."""
        return [one for one in self.records if isinstance(one, DecisionRecord | MadeRecord)]

    @property
    def outcomes(self) -> list[OutcomeRecord]:
        return [record for record in self.records if isinstance(record, OutcomeRecord)]


@dataclass
class Revoked:
    """A revocation list that a test writes."""

    parties: set[str] = field(default_factory=set)
    epoch: int = 0

    def is_revoked(self, party: str) -> bool:
        return party in self.parties


@functools.cache
def workloads() -> Workloads:
    def entry(name: str, key: str, **rest: Any) -> Workload:
        scram = make_verifier(key, b"a salt of 16 byt", 4096)
        return Workload(id=name, key=key_digest(key), scram=scram, **rest)

    return Workloads(
        [
            entry(
                "expense-bot",
                BOT,
                actor=PartyEntry("agent", "expense-bot"),
                subject=PartyEntry("user", "bob"),
                may_assert=MayAssert(subjects=("user",)),
            ),
            entry("alice", ALICE, subject=PartyEntry("user", "alice")),
            entry("mallory", MALLORY, subject=PartyEntry("user", "mallory")),
            entry("loner", "swk_loner", subject=PartyEntry("user", "loner")),
            entry("robot", "swk_robot"),
        ]
    )


class Stand:
    """One listener and what a test needs to look at it."""

    def __init__(
        self,
        server: LocalPostgres,
        port: int | None = None,
        password: str = "erp-secret",
        **settings: Any,
    ) -> None:
        self.server = server
        self.ledger = PaperLedger()
        self.revoked = Revoked()
        self.bundle = bundle()
        self.port = 0
        self.clients: list[Raw] = []
        # What libpq is told beside where to and as whom.
        self.options: dict[str, str] = {}
        self._serial = 0
        plain: dict[str, Any] = {"host": server.host, "port": port or server.port}
        self.settings = PostgresSettings(
            name="erp",
            upstream="erp",
            database="postgres",
            user="erp",
            password=password,
            **(plain | settings),
        )
        self.listener = PostgresListener(self.settings, self._path(), workloads(), self.revoked)

    def _path(self) -> Path:
        sources = Sources({"revoked": Revocations(self.revoked)})
        return Path(lambda: self.bundle, self.ledger, sources, self._new_id, self._now)

    def _new_id(self):
        self._serial += 1
        return uuid7(1_700_000_000_000, self._serial.to_bytes(10, "big"))

    def _now(self) -> str:
        return rfc3339(1_700_000_000_000_000 + self._serial)

    async def start(self) -> None:
        sock = socket.create_server(("127.0.0.1", 0))
        self.port = sock.getsockname()[1]
        await self.listener.serve([sock])

    async def stop(self) -> None:
        for client in self.clients:
            await client.close()
        await self.listener.drain(0)

    async def outcomes(self, count: int) -> list[OutcomeRecord]:
        """Return the outcome records once there are `count`."""
        await self.ledger.until(lambda: len(self.ledger.outcomes) >= count)
        return self.ledger.outcomes

    def dsn(self, user: str = "expense-bot", key: str = BOT, **more: str) -> str:
        words = {"host": "127.0.0.1", "port": str(self.port), "user": user, "password": key}
        words |= {"dbname": "postgres"} | more
        return " ".join(f"{name}={value}" for name, value in words.items())


async def run(stand: Stand, program: str, *asked: str, said: str = "") -> tuple[int, str, str]:
    """Run one of PostgreSQL's own programs as a client; return its code and what it wrote."""
    # The bundled programs were built without TLS; the system's speak with any server.
    words = {f"PG{name.upper()}": value for name, value in stand.options.items()}
    process = await asyncio.create_subprocess_exec(
        stand.server.bin(program),
        *asked,
        env={
            **os.environ, **words, "PGHOST": "127.0.0.1", "PGPORT": str(stand.port),
            "PGUSER": "expense-bot", "PGPASSWORD": BOT, "PGDATABASE": "postgres",
        },
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate(said.encode())
    return process.returncode or 0, out.decode(), err.decode()


def party(one: Any) -> str:
    return f"{one.type}:{one.id}"


class Raw:
    """A client that says exactly what a test wants it to say."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(cls, stand: Stand) -> Self:
        raw = cls(*await asyncio.open_connection("127.0.0.1", stand.port))
        stand.clients.append(raw)
        return raw

    @classmethod
    async def logged_in(cls, stand: Stand, user: str = "expense-bot", key: str = BOT) -> "Raw":
        raw = await cls.connect(stand)
        raw.send(startup(user=user, database="postgres"))
        await raw.prove(key)
        await raw.until(b"Z")
        return raw

    def send(self, *data: bytes) -> None:
        self._writer.write(b"".join(data))

    async def drained(self) -> None:
        """Return when what was said has left; what follows is another piece, most likely."""
        await self._writer.drain()

    async def exactly(self, size: int) -> bytes:
        async with asyncio.timeout(5):
            return await self._reader.readexactly(size)

    async def message(self) -> tuple[bytes, bytes]:
        head = await self.exactly(5)
        return head[:1], await self.exactly(int.from_bytes(head[1:], "big") - 4)

    async def until(self, kind: bytes) -> list[tuple[bytes, bytes]]:
        """Return the messages up to one of `kind`, that one included."""
        found = [await self.message()]
        while found[-1][0] != kind:
            found.append(await self.message())
        return found

    async def kinds(self, kind: bytes = b"Z") -> str:
        return "".join(one.decode() for one, _ in await self.until(kind))

    async def prove(self, key: str) -> None:
        exchange = ScramClient(key, b"a nonce of eighteen")
        assert await self.message() == (b"R", b"\0\0\0\x0aSCRAM-SHA-256\0\0")
        first = exchange.first()
        size = len(first).to_bytes(4, "big")
        self.send(wire.message(b"p", b"SCRAM-SHA-256\0", size, first))
        kind, body = await self.message()
        assert (kind, body[:4]) == (b"R", b"\0\0\0\x0b")
        self.send(wire.message(b"p", exchange.final(body[4:])))
        kind, body = await self.message()
        if kind == b"E":
            raise PermissionError(wire.fields(body)["C"])
        exchange.verify(body[4:])
        assert await self.message() == (b"R", b"\0\0\0\0")

    async def rest(self) -> bytes:
        """Return what comes until the other side hangs up."""
        async with asyncio.timeout(5):
            return await self._reader.read()

    async def last_words(self) -> dict[str, str]:
        """Return the fields of the fatal error after which the other side hangs up."""
        kind, body = (await self.until(b"E"))[-1]
        assert kind == b"E"
        assert await self.rest() == b""
        return wire.fields(body)

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


def startup(code: int = wire.PROTOCOL_3_0, /, **settings: str) -> bytes:
    words = (word.encode() + b"\0" for pair in settings.items() for word in pair)
    return wire.packet(code, *words, b"\0")


def bind(statement: bytes = b"", portal: bytes = b"") -> bytes:
    return wire.message(b"B", portal + b"\0", statement + b"\0", b"\0" * 6)


def execute(portal: bytes = b"", rows: int = 0) -> bytes:
    return wire.message(b"E", portal + b"\0", rows.to_bytes(4, "big"))


def close(kind: bytes, name: bytes) -> bytes:
    return wire.message(b"C", kind, name + b"\0")


def describe(kind: bytes, name: bytes = b"") -> bytes:
    return wire.message(b"D", kind, name + b"\0")


def query(text: str) -> bytes:
    return wire.query(text.encode())


def parse(text: str, name: bytes = b"") -> bytes:
    return wire.parse(name, text.encode())
