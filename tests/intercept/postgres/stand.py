"""A listener between real clients and a real PostgreSQL, with the real path and a ledger on paper."""

import asyncio
import socket
from dataclasses import dataclass, field
from typing import Any

from examples.postgres_local import LocalPostgres
from sidecar.domains import by_protocol
from sidecar.facts.identity import Workload, Workloads
from sidecar.facts.keys import key_digest
from sidecar.facts.scram import make_verifier
from sidecar.facts.sources import Revocations, Sources
from sidecar.flow import Path
from sidecar.intercept.postgres.listener import PostgresListener
from sidecar.intercept.postgres.settings import PostgresSettings
from sidecar.policy.bundle import Bundle, compile_bundle
from sidecar.terms.call import Party
from sidecar.terms.errors import RecordError
from sidecar.terms.ids import rfc3339, uuid7
from sidecar.terms.record import AnyRecord, DecisionRecord, OutcomeRecord

BOT, ALICE, MALLORY = "swk_bot-key", "swk_alice-key", "swk_mallory-key"

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

_HEADER = 'name: trial\nversion: "1.0.0"\n'
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


def bundle(policy: str = POLICY) -> Bundle:
    """Return the trial's bundle with another policy."""
    files = {"bundle.yaml": _HEADER, "catalog/erp.yaml": _CATALOG, "policies/trial.yaml": policy}
    return compile_bundle({name: text.encode() for name, text in files.items()}, by_protocol())


class PaperLedger:
    """Keeps records in a list; `is_full` refuses them as a full disk does."""

    def __init__(self) -> None:
        self.records: list[AnyRecord] = []
        self.is_full = False
        self.refuses_outcomes = False

    async def write(self, record: AnyRecord) -> None:
        await asyncio.sleep(0)
        if self.is_full or (self.refuses_outcomes and isinstance(record, OutcomeRecord)):
            raise RecordError("the disk is full")
        self.records.append(record)

    @property
    def decisions(self) -> list[DecisionRecord]:
        return [record for record in self.records if isinstance(record, DecisionRecord)]

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


def workloads() -> Workloads:
    def entry(name: str, key: str, **rest: Any) -> Workload:
        scram = make_verifier(key, b"a salt of 16 byt", 4096)
        return Workload(id=name, key=key_digest(key), scram=scram, **rest)

    from sidecar.facts.identity import MayAssert, PartyEntry

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

    def __init__(self, server: LocalPostgres) -> None:
        self.server = server
        self.ledger = PaperLedger()
        self.revoked = Revoked()
        self.bundle = bundle()
        self.port = 0
        self._serial = 0
        self.listener = PostgresListener(
            PostgresSettings(
                name="erp",
                upstream="erp",
                host=server.host,
                port=server.port,
                database="postgres",
                user="erp",
                password="erp-secret",
            ),
            self._path(),
            workloads(),
            self.revoked,
        )

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

    async def outcomes(self, count: int) -> list[OutcomeRecord]:
        """Return the outcome records once there are `count`."""
        async with asyncio.timeout(5):
            while len(self.ledger.outcomes) < count:
                await asyncio.sleep(0)
        return self.ledger.outcomes

    def dsn(self, user: str = "expense-bot", key: str = BOT, **more: str) -> str:
        words = {"host": "127.0.0.1", "port": str(self.port), "user": user, "password": key}
        words |= {"dbname": "postgres"} | more
        return " ".join(f"{name}={value}" for name, value in words.items())


def party(one: Any) -> str:
    return f"{one.type}:{one.id}"


__all__ = ["ALICE", "BOT", "MALLORY", "POLICY", "SCHEMA", "Party", "Stand", "bundle", "party"]
