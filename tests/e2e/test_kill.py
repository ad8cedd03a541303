"""`kill -9` of any process under load: nothing answered is lost, nothing stands twice.

The load comes by every door: decisions for apps, a proxy that forwards and owes an outcome, and a
database. A process that was killed is started again by the supervisor, behind the same addresses;
where the supervisor itself was killed nothing is left, and the next life begins on the same ledger.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import orjson
import psycopg
import pytest

from sidecar.record.disk import DISK
from sidecar.record.ledger import ledger_paths
from sidecar.record.proof import identity
from sidecar.record.read import Reader
from sidecar.record.verify import verify
from sidecar.syntax.yaml12 import dump, load_documents
from tests.e2e.harness import DELETE, GONE, READ, Sidecar, Site, living, until

# (small, full) kills.
KILLS = (50, 1000)
# A kill comes after as many more answers: few enough to come soon, enough for batches under way.
ANSWERS_MAX = 60
# The whole log is verified after so many kills, and at the end of each life.
CHECK_EVERY = 10
# One kill in so many is the supervisor's, and takes a whole new life.
SUPERVISOR_EVERY = 25
# A recorder is up again in a third of the time that a worker takes, and has more to lose.
# What a worker has answered for ahead of its recorder the next one writes within so long.
AHEAD_S_MAX = 10
VICTIMS = ("recorder", "recorder", "recorder", "worker", "recorder and worker")


class Load:
    """Clients at every door that ask as fast as they are answered, over whatever dies."""

    def __init__(self, sidecar: Sidecar, number: int) -> None:
        self.answered: list[str] = []
        self.forwarded: list[str] = []
        self.refused = 0
        self.sent = 0
        self._sidecar = sidecar
        self._name = number
        self._more = asyncio.Event()
        self._wanted = 0
        self._is_over = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Load"]:
        asking = [self._for_ever(partial(self._ask, nth)) for nth in range(4)]
        asking.append(self._for_ever(self._forward))
        if "erp" in self._sidecar.addresses:
            asking.append(self._for_ever(self._query))
        tasks = [asyncio.create_task(one) for one in asking]
        yield self
        self._is_over = True
        # A mistake of a client is the test's failure: it is raised here.
        await asyncio.gather(*tasks)

    async def more(self, count: int) -> None:
        """Return after so many more answers."""
        self._wanted = len(self.answered) + count
        self._more.clear()
        async with asyncio.timeout(60):
            await self._more.wait()

    async def _for_ever(self, once: Callable[[], Awaitable[None]]) -> None:
        while not self._is_over:
            with suppress(*GONE):
                await once()
            await asyncio.sleep(0.01)

    async def _ask(self, nth: int) -> None:
        client = await self._sidecar.client(nth=nth % 2)
        while not self._is_over:
            reply = await client.decide(DELETE if nth % 3 == 0 else READ)
            if reply.status == 200:
                self._answer(reply.json["id"])
            else:
                assert reply.status == 503
                self.refused += 1

    async def _forward(self) -> None:
        client = await self._sidecar.client("api")
        while not self._is_over:
            path = f"/{self._name}-{len(self.forwarded)}"
            self.forwarded.append(path)
            reply = await client.ask("GET", path)
            assert reply.status in {200, 503}

    async def _query(self) -> None:
        site, port = self._sidecar.site, self._sidecar.port("erp")
        dsn = f"host=127.0.0.1 port={port} user=client dbname=postgres password={site.key}"
        with suppress(psycopg.Error):
            async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as sql:
                while not self._is_over:
                    # Each is judged by itself: none is prepared, none is like another.
                    self.sent += 1
                    text = f"INSERT INTO notes VALUES ('{self.sent}')"
                    await sql.execute(text, prepare=False)

    def _answer(self, id: str) -> None:
        self.answered.append(id)
        if len(self.answered) >= self._wanted:
            self._more.set()


class Records:
    """What stands in the ledger, read as it grows."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._reader = Reader(site.ledger)
        self.ids: Counter[str] = Counter()
        self.awaited: set[str] = set()
        self.told: Counter[str] = Counter()
        self.paths: Counter[str] = Counter()
        self.statements = 0

    def check(self, answered: list[str]) -> None:
        """Assert that the log is intact, holds what was answered, and holds nothing twice."""
        folder, key_file = ledger_paths(self._site.state)
        who = identity.load(DISK, key_file)
        report = verify(folder, who.verifier, who.last_signed(DISK))
        assert report.intact, report.problem
        self._read()
        assert not [id for id, count in self.ids.items() if count > 1]
        assert not [id for id, count in self.told.items() if count > 1]
        assert not [id for id in answered if id not in self.ids]

    async def check_soon(self, answered: list[str]) -> None:
        """Check once what was answered for ahead of a recorder is written by the next."""
        await until(lambda: self._holds(answered), AHEAD_S_MAX)
        self.check(answered)

    def _holds(self, answered: list[str]) -> bool:
        self._read()
        return all(id in self.ids for id in answered)

    def _read(self) -> None:
        for line in self._reader.new():
            self._take(orjson.loads(line))

    def _take(self, record: dict[str, Any]) -> None:
        self.ids[record["id"]] += 1
        if record.get("listener_forwarded"):
            self.awaited.add(record["id"])
        if record["kind"] == "outcome":
            self.told[record["parent"]] += 1
        if record.get("listener") == "api":
            self.paths[record["targets"][0]["resource"].removeprefix("path:")] += 1
        self.statements += record.get("listener") == "erp" and record["outcome"] == "allow"


@pytest.mark.e2e
@pytest.mark.torture
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("durability", "workers"), [("strict", 1), ("strict", 2), ("group", 2)])
async def test_nothing_answered_is_lost_and_nothing_stands_twice_after_kills(
    site_of_doors, api, erp, scaled, durability, workers
):
    site, chance = site_of_doors, random.Random(workers)
    (config,) = load_documents(site.config.name, site.config.read_bytes())
    site.config.write_text(dump({**config.value, "ledger": {"durability": durability}}))
    answered: list[str] = []
    erp.psql("TRUNCATE notes")
    # A third for each of the three, rounded up: together no fewer than is said.
    records, kills = Records(site), -(-scaled(*KILLS) // 3)
    while kills > 0:
        async with site.running("--workers", str(workers)) as sidecar:
            load = Load(sidecar, kills)
            async with load.running():
                kills -= await kill_often(sidecar, load, records, chance, kills)
                # Of `group` everything at once: nothing is left to send anything again.
                everything = durability == "group"
                await sidecar.kill(
                    *living(sidecar.supervisor) if everything else [sidecar.supervisor]
                )
            await sidecar.nobody_is_left()
            answered += load.answered
            if durability == "strict":
                records.check(answered)

    async with site.running() as sidecar:
        assert await sidecar.stop() == 0
    records.check(answered)
    # What was forwarded was on the record first, and what came of it is as well, if as `unknown`.
    assert set(api.seen) <= set(records.paths)
    assert records.awaited <= set(records.told)
    assert int(erp.psql("SELECT count(*) FROM notes")) <= records.statements


async def kill_often(
    sidecar: Sidecar, load: Load, records: Records, chance: random.Random, kills: int
) -> int:
    """Kill anything but the supervisor, again and again; return how many kills that were."""
    addresses = sidecar.addresses
    count = min(kills, SUPERVISOR_EVERY) - 1
    for nth in range(1, count + 1):
        await load.more(chance.randrange(1, ANSWERS_MAX))
        who = chance.choice(VICTIMS)
        recorder, worker = sidecar.recorder, chance.choice(sidecar.workers)
        pids = {"recorder": recorder, "worker": worker}
        await sidecar.kill(*(pids[name] for name in who.split(" and ")))
        await sidecar.ready()
        assert sidecar.addresses == addresses
        assert ("recorder" in who) == (sidecar.recorder != recorder)
        if nth % CHECK_EVERY == 0:
            await records.check_soon(load.answered)
    await load.more(chance.randrange(1, ANSWERS_MAX))
    return count + 1
