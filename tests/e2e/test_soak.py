"""Hours of service in short: steady load, reloads, a recorder that is killed now and then.

No answered decision may be missing or stand twice, none may be stamped with a bundle that did not
judge it, and no process may grow. `-s` shows the figures.
"""

import asyncio
import os
import signal
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import pytest

from sidecar.record.read import Reader
from tests.e2e.harness import GONE, READ, Client, Sidecar, Site
from tests.e2e.test_reload import FILE, POLICIES, A, B, Said, tell

# (small, full): seconds in all, between reloads, between kills of the recorder.
SECONDS = (20, 1200)
RELOAD_EVERY_S = (4, 60)
KILL_EVERY_S = (7, 120)
CLIENTS = 4
BATCH = 25
BATCHES_A_S = 20
CHECK_EVERY_S = 2
# What a process may hold more at the end than after its first seconds: caches that fill. The
# recorder at the end is another than the first: it has read a whole segment when it started.
GROWTH_MIB_MAX = {"supervisor": 8, "recorder": 32, "worker-0": 24}


class Soak:
    """Clients that together ask two thousand decisions a second, and what the ledger shows."""

    def __init__(self, sidecar: Sidecar) -> None:
        self._sidecar = sidecar
        self._reader = Reader(sidecar.site.ledger)
        self._owed: set[str] = set()
        self._early: set[str] = set()
        self.answered = self.refused = self.recorded = 0
        self.said: Counter[Said] = Counter()
        self.stamped: Counter[Said] = Counter()
        self.is_over = False

    async def ask(self, nth: int) -> None:
        """Ask at a steady rate until it is over."""
        envelope = {"calls": [READ] * BATCH}
        client = await self._sidecar.client(nth=nth % 2)
        due_s = time.monotonic()
        while not self.is_over:
            due_s = max(due_s + 1 / BATCHES_A_S, time.monotonic() - 1)
            await asyncio.sleep(due_s - time.monotonic())
            with suppress(*GONE):
                await self._batch(client, envelope)

    async def _batch(self, client: Client, envelope: object) -> None:
        reply = await client.decide(envelope)
        if reply.status == 503:
            self.refused += BATCH
            return
        assert reply.status == 200, reply
        for decision in reply.json["decisions"]:
            self.answered += 1
            self.said[Said.of(decision)] += 1
            if decision["id"] in self._early:
                self._early.discard(decision["id"])
            else:
                self._owed.add(decision["id"])

    def look(self) -> None:
        """Read what was recorded since the last time."""
        for line in self._reader.new():
            record: dict[str, Any] = orjson.loads(line)
            if record["kind"] != "decision":
                continue
            self.recorded += 1
            self.stamped[Said.of(record)] += 1
            if record["id"] in self._owed:
                self._owed.discard(record["id"])
            else:
                assert record["id"] not in self._early, "a record stands twice"
                self._early.add(record["id"])

    def owed(self) -> int:
        """Return how many answered decisions are not on the record."""
        return len(self._owed)


def resident_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 2**20


def sizes(sidecar: Sidecar) -> dict[str, float]:
    pids = {"supervisor": sidecar.supervisor, "recorder": sidecar.recorder}
    pids |= {f"worker-{nth}": pid for nth, pid in enumerate(sidecar.workers)}
    return {name: resident_mib(pid) for name, pid in pids.items()}


async def disturb(sidecar: Sidecar, site: Site, seconds: float, every: tuple[int, int]) -> None:
    """Reload and kill by the clock."""
    reload_s, kill_s = every
    for second in range(1, int(seconds)):
        await asyncio.sleep(1)
        if second % reload_s == 0:
            site.put(FILE, POLICIES["ab"[(second // reload_s) % 2]])
            tell(sidecar, "SIGHUP")
        if second % kill_s == 0:
            os.kill(sidecar.recorder, signal.SIGKILL)
            await sidecar.ready()


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc: memory cannot be seen")
async def test_steady_load_with_reloads_and_kills_loses_nothing_and_grows_nothing(site, scaled):
    seconds = scaled(*SECONDS)
    site.put(FILE, POLICIES["a"])
    async with site.running() as sidecar:
        soak = Soak(sidecar)
        asking = [asyncio.create_task(soak.ask(nth)) for nth in range(CLIENTS)]
        await asyncio.sleep(min(5, seconds / 4))
        before = sizes(sidecar)
        every = (scaled(*RELOAD_EVERY_S), scaled(*KILL_EVERY_S))
        disturbing = asyncio.create_task(disturb(sidecar, site, seconds, every))
        while not disturbing.done():
            await asyncio.wait([disturbing], timeout=CHECK_EVERY_S)
            await asyncio.to_thread(soak.look)
        await disturbing
        after = sizes(sidecar)
        soak.is_over = True
        await asyncio.gather(*asking)
        assert await sidecar.stop() == 0
    soak.look()
    report(soak, seconds, before, after)

    assert soak.owed() == 0
    assert set(soak.said) == {A, B}
    assert set(soak.stamped) == {A, B}
    # What was recorded and not answered is what a kill cut off.
    assert soak.recorded - soak.answered <= soak.refused + BATCH * CLIENTS * (seconds + 1)
    assert before.keys() == GROWTH_MIB_MAX.keys()
    grown = {name: after[name] - size for name, size in before.items()}
    assert all(grown[name] < most for name, most in GROWTH_MIB_MAX.items()), grown
    await site.verified()


def report(soak: Soak, seconds: float, before: dict[str, float], after: dict[str, float]) -> None:
    memory = ", ".join(f"{name} {before[name]:.1f} → {after[name]:.1f} MiB" for name in before)
    sys.stdout.write(
        f"\nsoak: {seconds} s, {soak.answered} answered ({soak.answered / seconds:.0f}/s), "
        f"{soak.recorded} recorded, {soak.refused} refused, {soak.owed()} lost; {memory}\n"
    )
