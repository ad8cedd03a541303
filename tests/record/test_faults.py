"""Whichever call to the disk fails: what was acknowledged is there afterwards, the log intact.

As SQLite does it: the n-th call fails, for every n until a run makes fewer calls than that.
"""

import errno
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sidecar.record.disk import DISK
from sidecar.record.keeping.upkeep import Retention
from sidecar.record.ledger import Ledger, Settings, ledger_paths
from sidecar.record.proof import identity
from sidecar.record.verify import verify
from sidecar.terms.errors import LedgerBroken, LedgerUnwritable, RecordError
from tests.record import sample
from tests.record.faulty import FaultyDisk
from tests.record.sample import admin

# Small enough for a rotation in each run.
SEGMENT_BYTES = 900
RECORDS = 8
CALLS_MAX = 3000


async def run(state: Path, how: Settings, clock: sample.Clock, first: int) -> list[str]:
    """Write some records and return the ids of those that were acknowledged."""
    acked: list[str] = []
    try:
        ledger = Ledger.open(*ledger_paths(state), how)
    except (LedgerBroken, LedgerUnwritable):
        return acked
    for number in range(first, first + RECORDS):
        clock.now_s += 0.4
        try:
            await ledger.write(admin(number))
        except RecordError:
            continue
        acked.append(f"id-{number}")
    await sample.until_idle(ledger)
    await ledger.close()
    return acked


async def check(state: Path, acked: list[str]) -> None:
    """Open the ledger on a disk that is well: nothing acknowledged is absent, and it takes more."""
    ledger = await sample.written(state, 0)
    await ledger.write(admin(999))
    await ledger.close()
    found, expected = sample.ids(state), set(acked)
    first = sample.pruned(state)
    assert [id for id in found if id in expected] == [id for id in acked if _seq(id) >= first]
    assert len(set(found)) == len(found)
    folder, key_file = ledger_paths(state)
    report = verify(folder, ledger.verifier, identity.load(DISK, key_file).last_signed(DISK))
    assert report.intact, report.problem


def _seq(id: str) -> int:
    """Return where a record of the prepared log stands; later ones are never pruned here."""
    return int(id.removeprefix("id-"))


def _nth(fails_at: Callable[[int, int], int], n: int) -> Callable[[int, str], int]:
    return lambda number, _name: fails_at(n, number)


async def each_call_fails(
    tmp_path: Path,
    fails_at: Callable[[int, int], int],
    prepare: Callable[[Path], list[str]] = lambda _state: [],
    *,
    stride: int = 1,
    **bounds: Any,
) -> int:
    """Run once for every n; `fails_at(n, number)` says whether call `number` fails."""
    for n in range(1, CALLS_MAX, stride):
        state, clock = tmp_path / str(n), sample.Clock()
        before = prepare(state)
        disk = FaultyDisk(_nth(fails_at, n))
        how = sample.settings(disk, clock, **{"segment_bytes_max": SEGMENT_BYTES, **bounds})
        acked = await run(state, how, clock, first=100_000)
        disk.fails = lambda _number, _name: 0
        await check(state, [*before, *acked])
        shutil.rmtree(state)
        if len(disk.calls) < n:
            return n
    raise AssertionError("a run never ended")


@pytest.mark.timeout(120)
@pytest.mark.torture
@pytest.mark.parametrize(
    "number",
    [errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EINTR, errno.EAGAIN],
    ids=lambda n: errno.errorcode[n],
)
async def test_the_nth_call_fails_once(tmp_path, number, scaled):
    # EAGAIN stands for a short write, which is no failure; elsewhere it is one like others.
    runs = await each_call_fails(
        tmp_path, lambda n, call: number if call == n else 0, stride=scaled(3, 1)
    )

    assert runs > 60


@pytest.mark.timeout(120)
@pytest.mark.torture
async def test_the_disk_fails_from_the_nth_call_on(tmp_path, scaled):
    runs = await each_call_fails(
        tmp_path, lambda n, call: errno.EIO if call >= n else 0, stride=scaled(3, 1)
    )

    assert runs > 60


@pytest.mark.timeout(120)
@pytest.mark.torture
async def test_the_disk_fails_for_some_calls_and_is_well_again(tmp_path, scaled):
    runs = await each_call_fails(
        tmp_path, lambda n, call: errno.ENOSPC if n <= call < n + 9 else 0, stride=scaled(3, 1)
    )

    assert runs > 60


@pytest.mark.timeout(120)
@pytest.mark.torture
async def test_the_nth_call_fails_while_a_torn_tail_is_set_aside(tmp_path, scaled):
    await sample.closed(tmp_path / "whole", 3)

    def prepare(state: Path) -> list[str]:
        shutil.copytree(tmp_path / "whole", state)
        (segment,) = sample.segments(state)
        with segment.open("ab") as file:
            file.write(b"\x80\x00\x00\x00half of a frame")
        return ["id-0", "id-1", "id-2"]

    runs = await each_call_fails(
        tmp_path / "runs",
        lambda n, call: errno.EIO if call == n else 0,
        prepare,
        stride=scaled(3, 1),
    )

    assert runs > 60


@pytest.mark.timeout(300)
@pytest.mark.torture
@pytest.mark.parametrize(
    "number",
    [errno.EIO, errno.ENOSPC, errno.EROFS, errno.EAGAIN],
    ids=lambda number: errno.errorcode[number],
)
async def test_the_nth_call_fails_while_segments_are_sealed_tiled_and_pruned(
    tmp_path, number, scaled
):
    full: dict[str, Any] = {"segment_bytes_max": 40_000, "seals": True}
    await sample.closed(tmp_path / "whole", 700, sample.settings(**{**full, "seals": False}))

    def prepare(state: Path) -> list[str]:
        shutil.copytree(tmp_path / "whole", state)
        return [f"id-{seq}" for seq in range(700)]

    stride = scaled(15, 1)
    runs = await each_call_fails(
        tmp_path / "runs",
        lambda n, call: number if call == n else 0,
        prepare,
        stride=stride,
        retention=Retention(bytes=9_000),
        **full,
    )

    assert runs > 150
