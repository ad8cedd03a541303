"""While the ledger's disk is full, unwritable or gone, nothing passes any door; then all is well.

What must hold at every door: a refusal in the protocol's own words, nothing behind it sees a byte,
and once the disk is well the same process goes on by itself, with a ledger that tells of the
outage.
"""

import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest

from examples.postgres_local import LocalPostgres
from sidecar.record.limits import DURABLE_TIMEOUT_S
from tests.e2e.disks import FAULTS
from tests.e2e.harness import (
    DELETE,
    EVALUATION,
    READ,
    Client,
    Reply,
    Sidecar,
    Site,
    eventually,
    until,
)
from tests.e2e.upstreams import Api

# How long a fault may stay unnoticed: a checkpoint is due each second, and needs the disk.
NOTICED_S_MAX = 5


@dataclass
class Doors:
    """Every listener of one sidecar. Clients stay connected throughout, but for those of the
    HTTP proxy, which hangs up after a refusal: it may not have read the body.
    """

    site: Site
    sidecar: Sidecar
    api: Api
    database: LocalPostgres
    ask: Client
    unix: Client
    sql: psycopg.AsyncConnection[Any]
    answered: list[str] = field(default_factory=list)

    async def permit(self, name: str) -> None:
        """Assert that each door lets pass what `name` marks."""
        for client in (self.ask, self.unix):
            reply = await client.decide(READ)
            assert (reply.status, reply.json["permitted"]) == (200, True)
            self.answered.append(reply.json["id"])
        reply = await self.ask.ask("POST", "/access/v1/evaluation", EVALUATION)
        assert (reply.status, reply.json["decision"]) == (200, True)
        self.answered.append(reply.json["context"]["id"])
        assert (await self._http("GET", f"/{name}")).status == 200
        assert f"/{name}" in self.api.seen
        await self.sql.execute(f"INSERT INTO notes VALUES ('{name}')")
        assert name in self.database.log()
        assert (await self.ask.ask("GET", "/readyz")).status == 200
        # What was forwarded owes an outcome; a connection that cannot record one is closed. Being
        # seen in the file is not yet being durable: that is so once a later record is.
        await until(lambda: not self._owed(), NOTICED_S_MAX)
        assert (await self.ask.decide(READ)).status == 200

    def _owed(self) -> set[str]:
        records = self.site.records()
        forwarded = {one["id"] for one in records if one.get("listener") in {"api", "erp"}}
        return forwarded - {one["parent"] for one in records if one["kind"] == "outcome"}

    async def refuse(self, name: str) -> None:
        """Assert that each door refuses what `name` marks, and that nothing is behind it."""
        for envelope in (READ, DELETE, {"calls": [READ, READ]}):
            for client in (self.ask, self.unix):
                assert (await client.decide(envelope)).status == 503
        await self._refuse_authzen()
        await self._refuse_http(name)
        await self._refuse_sql(name)
        assert (await self.ask.ask("GET", "/readyz")).status == 503
        assert (await self.ask.ask("GET", "/healthz")).status == 200

    async def _refuse_authzen(self) -> None:
        single = await self.ask.ask("POST", "/access/v1/evaluation", EVALUATION)
        several = {**EVALUATION, "evaluations": [{}, {}]}
        batch = await self.ask.ask("POST", "/access/v1/evaluations", several)
        assert single.status == 503
        assert batch.status == 503 or all(
            one["decision"] is False for one in batch.json["evaluations"]
        )

    async def _refuse_http(self, name: str) -> None:
        for method in ("GET", "POST", "DELETE"):
            reply = await self._http(method, f"/{name}")
            assert reply.status == 503
            assert reply.headers["content-type"] == "application/problem+json"
            assert reply.json["status"] == 503
        assert not [path for path in self.api.seen if name in path]

    async def _http(self, method: str, path: str) -> Reply:
        return await (await self.sidecar.client("api")).ask(method, path)

    async def _refuse_sql(self, name: str) -> None:
        for prepare in (False, True):
            with pytest.raises(psycopg.Error) as failed:
                await self.sql.execute(f"INSERT INTO notes VALUES ('{name}')", prepare=prepare)
            assert failed.value.sqlstate == "58030"
        assert name not in self.database.log()


@asynccontextmanager
async def doors(site: Site, database: LocalPostgres, api: Api) -> AsyncIterator[Doors]:
    async with AsyncExitStack() as stack:
        sidecar = await stack.enter_async_context(site.running())
        dsn = f"host=127.0.0.1 port={sidecar.port('erp')} user=client dbname=postgres"
        sql = await psycopg.AsyncConnection.connect(f"{dsn} password={site.key}", autocommit=True)
        stack.push_async_callback(sql.close)
        yield Doors(
            site=site,
            sidecar=sidecar,
            api=api,
            database=database,
            ask=await sidecar.client(),
            unix=await sidecar.client(nth=1),
            sql=sql,
        )


async def noticed(door: Doors) -> None:
    """Return when the first call is refused; until then the disk has taken what was answered."""

    async def is_refused() -> bool:
        reply = await door.ask.decide(READ)
        if reply.status == 200:
            door.answered.append(reply.json["id"])
        return reply.status == 503

    await eventually(is_refused, NOTICED_S_MAX)


def events(site: Site, name: str) -> list[dict[str, Any]]:
    return [one["detail"] for one in site.records() if one.get("event") == name]


@pytest.mark.e2e
@pytest.mark.torture
@pytest.mark.timeout(120)
@pytest.mark.parametrize("fault", FAULTS)
async def test_nothing_passes_while_the_disk_is(site_of_doors, erp, api, fault):
    site, disk, word = site_of_doors, FAULTS[fault], fault.split(" ")[0]
    with disk.prepared(site):
        async with doors(site, erp, api) as door:
            await door.permit(f"{word}-before")
            disk.harm(site)
            await noticed(door)
            await door.refuse(f"{word}-refused")
            await door.refuse(f"{word}-refused-still")
            disk.heal(site)
            # No restart, and not one call more is refused.
            await door.permit(f"{word}-after")

            assert await door.sidecar.stop() == 0
        (outage,) = events(site, "ledger.recovered")
        assert outage["refused"] > 0
        assert outage["cause"]
        assert set(door.answered) <= {one["id"] for one in site.records()}
        await site.verified()


@pytest.mark.e2e
@pytest.mark.torture
@pytest.mark.timeout(60)
@pytest.mark.parametrize("what", ["unlinked", "replaced by another file"])
async def test_a_segment_is_restored_when_it_is(site, what):
    async with site.running() as sidecar:
        client = await sidecar.client()
        answered = [(await client.decide(READ)).json["id"] for _ in range(5)]
        (segment,) = site.ledger.glob("*.seg")
        segment.unlink()
        if what == "replaced by another file":
            segment.write_bytes(b"not a ledger")

        refused, then = await client.decide(READ), await client.decide(READ)

        assert (refused.status, then.status) == (503, 200)
        answered.append(then.json["id"])
        assert await sidecar.stop() == 0
    (told,) = events(site, "ledger.unlinked")
    assert told["restored"] is True
    assert set(answered) <= {one["id"] for one in site.records()}
    await site.verified()


@pytest.mark.e2e
@pytest.mark.torture
@pytest.mark.timeout(60)
@pytest.mark.parametrize("bytes_left", [0, 64, 1000])
async def test_nothing_is_answered_any_more_when_records_were_cut_off(site, bytes_left):
    async with site.running() as sidecar:
        client = await sidecar.client()
        for _ in range(5):
            assert (await client.decide(READ)).status == 200
        (segment,) = site.ledger.glob("*.seg")
        os.truncate(segment, bytes_left)

        assert {(await client.decide(READ)).status for _ in range(20)} == {503}

    verified = await site.sidecar("log", "verify", "--state", str(site.state))
    assert verified.code == 20
    assert segment.name in verified.err or "checkpoint" in verified.err
    restarted = await site.sidecar("run", "-c", str(site.config))
    assert restarted.code == 20


@pytest.mark.e2e
@pytest.mark.torture
@pytest.mark.timeout(60)
async def test_nothing_passes_while_the_recorder_is_stopped(site_of_doors, erp, api):
    site = site_of_doors
    async with doors(site, erp, api) as door:
        await door.permit("stopped-before")
        os.kill(door.sidecar.recorder, signal.SIGSTOP)
        began_s = time.monotonic()
        assert (await door.ask.decide(READ)).status == 503
        refused_s = time.monotonic() - began_s
        await door.refuse("stopped-refused")
        began_s = time.monotonic()
        for _ in range(50):
            assert (await door.ask.ask("GET", "/healthz")).status == 200
        lag_s = (time.monotonic() - began_s) / 50
        await door.refuse("stopped-refused-still")
        os.kill(door.sidecar.recorder, signal.SIGCONT)

        async def is_ready() -> bool:
            return (await door.ask.ask("GET", "/readyz")).status == 200

        await eventually(is_ready, NOTICED_S_MAX)
        await door.permit("stopped-after")
        assert await door.sidecar.stop() == 0

    # The deadline, and what a busy machine adds.
    assert refused_s < DURABLE_TIMEOUT_S + 1.5
    assert lag_s < 0.1
    assert set(door.answered) <= {one["id"] for one in site.records()}
    await site.verified()


@pytest.mark.e2e
@pytest.mark.torture
@pytest.mark.timeout(60)
async def test_a_recorder_that_dies_is_waited_for_and_no_call_fails(site_of_doors, erp, api):
    site = site_of_doors
    async with doors(site, erp, api) as door:
        for turn in range(3):
            await door.permit(f"died-{turn}-before")
            await door.sidecar.kill(door.sidecar.recorder)
            # The call waits for the next one; nobody has to ask again.
            assert (await door.ask.decide(READ)).status == 200
            await door.sidecar.ready()
            await door.permit(f"died-{turn}-after")
        assert await door.sidecar.stop() == 0

    assert set(door.answered) <= {one["id"] for one in site.records()}
    await site.verified()


@pytest.mark.e2e
@pytest.mark.timeout(60)
async def test_a_full_disk_at_a_start_is_told_apart_from_a_ledger_that_is_not_intact(site):
    full = FAULTS["full"]
    with full.prepared(site):
        async with site.running() as sidecar:
            assert (await (await sidecar.client()).decide(READ)).status == 200
            assert await sidecar.stop() == 0
        full.harm(site)
        refused = await site.sidecar("run", "-c", str(site.config))
        full.heal(site)
        async with site.running() as sidecar:
            assert (await (await sidecar.client()).decide(READ)).status == 200

    assert refused.code == 21
    assert "No space left on device" in refused.err
    assert "Traceback" not in refused.err
