"""Power is lost at any moment: the log recovers with all that was acknowledged, or does not start.

Never does it accept another history than that which was written.
"""

import asyncio
import errno
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sidecar.record.disk import DISK
from sidecar.record.keeping.upkeep import Retention
from sidecar.record.ledger import Ledger, ledger_paths
from sidecar.record.proof import identity
from sidecar.record.verify import verify
from sidecar.terms.errors import LedgerBroken, RecordError
from tests.record import sample
from tests.record.power import Call, TracingDisk, acknowledged, after_loss
from tests.record.sample import admin

WRITERS = 12
# Of the records of a session; the three before it are there already.
FIRST = 1000
# For each of four kinds of session: 200 in all, and 10,000 at full length.
SEEDS = (50, 2_500)


async def session(state: Path, disk: TracingDisk, seed: int, records: int, **bounds: Any) -> None:
    """Let some writers write records of many sizes, and close."""
    clock, chance = sample.Clock(), random.Random(seed)
    ledger = Ledger.open(*ledger_paths(state), sample.settings(disk, clock, **bounds))
    numbers = iter(range(FIRST, FIRST + records))

    async def write() -> None:
        for number in numbers:
            clock.now_s += 0.02
            text = "x" * chance.choice((10, 300, 2500, 9000))
            try:
                await ledger.write(admin(number, text=text))
            except RecordError:
                continue
            disk.trace.append(Call("acknowledged", path=f"id-{number}"))

    await asyncio.gather(*(write() for _ in range(WRITERS)))
    await sample.until_idle(ledger)
    await ledger.close()


async def survives(tmp_path: Path, disk: TracingDisk, state: Path, seeds: int) -> int:
    """Lose the power once for each seed; return how often the log did not start."""
    refused = 0
    again = tmp_path / "again"
    for seed in range(seeds):
        chance = random.Random(seed)
        cut = chance.randrange(1, len(disk.trace) + 1)
        after_loss(disk, cut, chance, lambda path: again / Path(path).relative_to(state))
        try:
            ledger = Ledger.open(*ledger_paths(again), sample.settings())
        except LedgerBroken:
            refused += 1
        else:
            await ledger.close()
            check(again, acknowledged(disk.trace[:cut]), seed)
        shutil.rmtree(again)
    return refused


def check(state: Path, acked: list[str], seed: int) -> None:
    """All that was acknowledged is there, once, and the log verifies."""
    folder, key_file = ledger_paths(state)
    who = identity.load(DISK, key_file)
    report = verify(folder, who.verifier, who.last_signed(DISK))
    assert report.intact, (seed, report.problem)
    found = [record["id"] for record in sample.records(state)]
    assert len(set(found)) == len(found), seed
    written = [int(id.removeprefix("id-")) for id in sample.ids(state)]
    assert written == sorted(written), seed
    if not report.pruned:
        assert set(acked) <= set(found), (seed, set(acked) - set(found))


def never(_name: str) -> int:
    """Return that the disk does not fail."""
    return 0


async def lost(
    tmp_path: Path,
    seeds: int,
    fails: Callable[[str], int] = never,
    records: int = 120,
    **bounds: Any,
) -> int:
    """Run one session and lose the power at `seeds` moments of it."""
    state = tmp_path / "state"
    await sample.closed(state, 3)
    disk = TracingDisk(state, fails)
    await session(state, disk, 1, records, **bounds)
    # How many get through a failing disk differs with the moments at which it fails.
    assert len(acknowledged(disk.trace)) > (records // 3 if fails is never else 0)
    return await survives(tmp_path, disk, state, seeds)


@pytest.mark.timeout(3600)
@pytest.mark.torture
async def test_power_is_lost_while_records_are_written(tmp_path, scaled):
    refused = await lost(tmp_path, scaled(*SEEDS))

    assert refused == 0


@pytest.mark.timeout(3600)
@pytest.mark.torture
async def test_power_is_lost_while_segments_are_rotated_and_sealed(tmp_path, scaled):
    refused = await lost(tmp_path, scaled(*SEEDS), segment_bytes_max=30_000, seals=True)

    assert refused == 0


@pytest.mark.timeout(3600)
@pytest.mark.torture
async def test_power_is_lost_while_segments_are_pruned(tmp_path, scaled):
    refused = await lost(
        tmp_path,
        scaled(*SEEDS),
        records=700,
        segment_bytes_max=100_000,
        seals=True,
        retention=Retention(bytes=4_000),
    )

    assert refused == 0


@pytest.mark.timeout(3600)
@pytest.mark.torture
async def test_power_is_lost_while_the_disk_fails_now_and_then(tmp_path, scaled):
    chance = random.Random(4)

    def fails(name: str) -> int:
        often = 0.05 if name in ("write", "fdatasync", "rename") else 0.01
        return chance.choice((errno.EIO, errno.ENOSPC)) if chance.random() < often else 0

    refused = await lost(tmp_path, scaled(*SEEDS), fails, segment_bytes_max=30_000, seals=True)

    assert refused == 0
