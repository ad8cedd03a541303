"""A recorder and its clients in one loop, over pairs of sockets as a supervisor makes them."""

import itertools
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from secrets import token_hex
from typing import Any, Literal

import msgspec

from sidecar.record.disk import DISK, Io
from sidecar.record.fold import OpenDecisions
from sidecar.record.ledger import Ledger, ledger_paths
from sidecar.record.read import recent_ids
from sidecar.record.recorder.ahead.spools import Spools
from sidecar.record.recorder.outside import Outside
from sidecar.record.recorder.server import Recorder
from sidecar.record.recorder.worker.client import RecorderClient
from sidecar.terms.decision import BundleStamp
from sidecar.terms.errors import RecordError
from sidecar.terms.record import (
    SCHEMA,
    AnyRecord,
    DecisionRecord,
    InputRecord,
    OutcomeRecord,
    PartyRecord,
)
from sidecar.terms.words import CallId, PolicyVersion
from tests.e2e import harness
from tests.record import sample
from tests.record.sample import TIME


class Meter:
    """Remembers what was told of records."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.refused = 0

    def written(self, records: Sequence[AnyRecord], seconds: float) -> None:
        assert seconds >= 0
        self.ids += [record.id for record in records]

    def lost(self, count: int, error: RecordError) -> None:
        assert str(error)
        self.refused += count


class Stand:
    """One ledger, and recorders that come and go upon it."""

    def __init__(self, state: Path, io: Io = DISK) -> None:
        self.state = state
        self.io = io
        self.stuck: list[str] = []
        self.committed = 0
        self.durability: Literal["strict", "group"] = "strict"
        self.bounds: dict[str, Any] = {}
        self._numbers = itertools.count()

    def recorder(self) -> Recorder:
        """Start a recorder upon what is there."""
        opened = OpenDecisions()
        how = sample.settings(self.io, **self.bounds)
        kept = msgspec.structs.replace(how.outside, durability=self.durability)
        # A clock that goes on: what is accepted is synced some time later.
        kept = msgspec.structs.replace(kept, monotonic_s=time.monotonic)
        how = type(how)(name=how.name, folds=(opened,), outside=kept)
        ledger = Ledger.open(*ledger_paths(self.state), how)
        recent = recent_ids(DISK, ledger_paths(self.state)[0], 1000)
        outside = Outside(
            new_id=lambda: CallId(f"unknown-{next(self._numbers)}"),
            now=lambda: TIME,
            stuck=self.stuck.append,
            committed=self._committed,
        )
        ahead = self.state / "keys" / "ahead"
        spools = Spools(ahead, "boot", token_hex, makes=self.durability == "group")
        return Recorder(ledger, opened, recent, spools, outside)

    def _committed(self, count: int, seconds: float) -> None:
        assert seconds >= 0
        self.committed += count

    def kinds(self) -> list[tuple[str, str]]:
        """Return kind and id of every record that is no ops record."""
        found = [(one["kind"], one["id"]) for one in sample.records(self.state)]
        return [one for one in found if one[0] != "ops"]

    def unknown(self) -> list[str]:
        """Return the decisions that were closed because nobody told what came of them."""
        return [
            one["parent"] for one in sample.records(self.state) if one.get("result") == "unknown"
        ]


async def until(is_so: Callable[[], bool]) -> None:
    """Return when `is_so`, of what another thread does."""
    await harness.until(is_so, 5)


async def connect(recorder: Recorder, client: RecorderClient, name: str = "worker-0") -> None:
    """Connect a client to a recorder, as the supervisor does."""
    one, other = socket.socketpair()
    recorder.connect(name, one)
    await client.attach(other)


@asynccontextmanager
async def running(
    stand: Stand, name: str = "worker-0", **bounds: float
) -> AsyncIterator[tuple[Recorder, RecorderClient]]:
    """Run one recorder with one client."""
    recorder, client = stand.recorder(), RecorderClient(Meter(), **bounds)
    await connect(recorder, client, name)
    try:
        yield recorder, client
    finally:
        # Also for a test that fails, or another is told of what it has left open.
        await client.close()
        await recorder.close()


@contextmanager
def impatient(client: RecorderClient, timeout_s: float = 0.1) -> Iterator[None]:
    """Let calls wait so briefly only where nothing comes; a slow disk has its time before it."""
    before, client._timeout_s = client._timeout_s, timeout_s
    yield
    client._timeout_s = before


def forwarded(number: int) -> DecisionRecord:
    """Return the record of a call that was forwarded: an outcome is to follow."""
    return DecisionRecord(
        schema=SCHEMA,
        id=CallId(f"id-{number}"),
        time=TIME,
        listener="api",
        upstream="api",
        domain="application",
        protocol="http",
        phase="call",
        subject=PartyRecord("service", "app"),
        actors=[],
        verified="key",
        effect="allow",
        outcome="allow",
        reason="permitted",
        policy=BundleStamp("trial", PolicyVersion("1"), "sha256:0"),
        engine="e",
        targets=[],
        rules=[],
        obligations=[],
        facts=[],
        errors=[],
        input=InputRecord("", "none", ()),
        listener_forwarded=True,
    )


def outcome(number: int) -> OutcomeRecord:
    """Return what came of the call of this number."""
    id, parent = CallId(f"out-{number}"), CallId(f"id-{number}")
    return OutcomeRecord(SCHEMA, id, parent, TIME, "forwarded")
