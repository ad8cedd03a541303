"""A recorder and its clients hold no more after many records than after some.

What is kept for each record (its leaf until its tile is full, where its frame begins, its id while
it may be sent again) goes with its segment, or with the window it belongs to.
"""

import asyncio
import gc
import os
from pathlib import Path

import pytest

from tests.record.stand_recorder import Meter, Stand, forwarded, outcome, running

# (small, full): records, and the size of segments: several are rotated and sealed on each half.
RECORDS = (40_000, 500_000)
SEGMENT_BYTES = (1_000_000, 16_000_000)
BATCH = 250
# What caches and the allocator may take besides: 40 bytes for each of the records at full length.
GROWTH_MIB_MAX = 16


def resident_mib() -> float:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 2**20


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc: memory cannot be seen")
@pytest.mark.parametrize("durability", ["strict", "group"])
def test_memory_is_flat_over_many_records(tmp_path, scaled, durability):
    stand = Stand(tmp_path)
    stand.durability = durability
    stand.bounds = {"seals": True, "segment_bytes_max": scaled(*SEGMENT_BYTES)}

    # A loop as a recorder has it, which does not watch itself.
    sizes = asyncio.run(sizes_over(stand, scaled(*RECORDS)), debug=False)

    early, *_, last = sizes
    assert last - early < GROWTH_MIB_MAX, sizes
    assert len(list((tmp_path / "ledger").glob("*.seg.zst"))) > 5


async def sizes_over(stand: Stand, records: int) -> list[float]:
    """Write records; return what the process holds after each fifth of them."""
    sizes = []
    async with running(stand) as (recorder, client):
        for first in range(0, records, BATCH):
            # Half of them owe an outcome, which comes.
            calls = range(first, first + BATCH // 2)
            await asyncio.gather(*(client.write(forwarded(number)) for number in calls))
            await asyncio.gather(*(client.write(outcome(number)) for number in calls))
            assert isinstance(client._meter, Meter)
            client._meter.ids.clear()
            if (first + BATCH) % (records // 5) == 0:
                sizes.append(resident_mib())
        assert recorder.open_decisions == 0
        assert client.waiting == 0
    return sizes
