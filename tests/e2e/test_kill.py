"""`kill -9` of a sidecar under load loses no decision that was answered, and leaves no process."""

import asyncio
import random
from collections import Counter
from contextlib import suppress

import pytest

from tests.e2e.harness import DELETE, GONE, READ, Sidecar, Site

CONNECTIONS = 6
# (small, full) kills a victim: 6 and 51 over all three.
KILLS = (2, 17)
# Enough for many batches and some checkpoints, few enough that a kill comes soon.
ANSWERS_MAX = 400


class Load:
    """Connections that ask as fast as they are answered, until the other side is gone."""

    def __init__(self, sidecar: Sidecar) -> None:
        self.answered: list[str] = []
        self._sidecar = sidecar
        self._enough = asyncio.Event()
        self._wanted = 0

    async def until_killed(self, victims: tuple[int, ...], answers: int) -> list[str]:
        """Kill `victims` after so many answers; return the ids of all answered decisions."""
        self._wanted = answers
        asking = [asyncio.create_task(self._ask(nth)) for nth in range(CONNECTIONS)]
        await self._enough.wait()
        await self._sidecar.kill(*victims)
        # A mistake of a connection is the test's failure: it is raised here.
        await asyncio.gather(*asking)
        return self.answered

    async def _ask(self, nth: int) -> None:
        client = await self._sidecar.client(nth=nth % 2)
        envelope = DELETE if nth % 3 == 0 else READ
        with suppress(*GONE):
            while True:
                reply = await client.decide(envelope)
                assert reply.status == 200
                self.answered.append(reply.json["id"])
                if len(self.answered) >= self._wanted:
                    self._enough.set()


async def check_ledger(site: Site, answered: list[str]) -> None:
    """Assert that each answered decision is on the record once, and that the record is intact."""
    await site.verified()
    recorded = Counter(one["id"] for one in site.records())
    assert not [id for id, count in recorded.items() if count > 1]
    assert not [id for id in answered if id not in recorded]


@pytest.mark.e2e
@pytest.mark.torture
@pytest.mark.timeout(900)
@pytest.mark.parametrize("who", ["supervisor and worker", "worker", "supervisor"])
async def test_every_answered_decision_is_on_the_record_after_a_kill_of(site, scaled, who):
    chance = random.Random(who)
    answered: list[str] = []
    for _ in range(scaled(*KILLS)):
        async with site.running() as sidecar:
            await check_ledger(site, answered)
            pids = {"supervisor": sidecar.supervisor, "worker": sidecar.worker}
            victims = tuple(pids[name] for name in who.split(" and "))

            answered += await Load(sidecar).until_killed(victims, chance.randrange(1, ANSWERS_MAX))

            if who == "worker":
                await serves_again(sidecar)
            await sidecar.nobody_is_left()
    async with site.running() as sidecar:
        await check_ledger(site, answered)
        assert await sidecar.stop() == 0
    await check_ledger(site, answered)


async def serves_again(sidecar: Sidecar) -> None:
    """Assert that the supervisor has put a new worker behind the same addresses, then stop it."""
    before, addresses = sidecar.worker, sidecar.addresses
    await sidecar.ready()
    assert sidecar.worker != before
    assert sidecar.addresses == addresses
    for nth in range(len(addresses["ask"])):
        assert (await (await sidecar.client(nth=nth)).decide()).status == 200
    assert await sidecar.stop() == 0
