"""Nothing is acknowledged while segments of the log are gone; all goes on once they are back."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sidecar.record.disk import DISK, Disk
from sidecar.record.keeping.upkeep import Retention
from sidecar.record.ledger import Ledger, ledger_paths
from sidecar.record.proof import identity
from sidecar.record.verify import Report, verify
from sidecar.terms.errors import RecordError
from tests.record import sample
from tests.record.test_upkeep import kept

# Each of many records is synced, and a disk may be slow.
pytestmark = pytest.mark.timeout(60)

BOUNDS: dict[str, Any] = {"segment_bytes_max": 6_000}


def judged(state: Path) -> Report:
    folder, key_file = ledger_paths(state)
    return verify(folder, identity.load(DISK, key_file).verifier)


def emptied(folder: Path) -> None:
    folder.rename(folder.with_name("away"))
    folder.mkdir(mode=0o700)


def rolled_back(folder: Path) -> None:
    folder.rename(folder.with_name("away"))
    shutil.copytree(folder.with_name("earlier"), folder)


def back(folder: Path) -> None:
    """Put everything back as it was."""
    if (away := folder.with_name("away")).is_dir():
        shutil.rmtree(folder)
        away.rename(folder)
    for path in folder.parent.glob("*.aside"):
        path.rename(folder / path.stem)


def taken(pattern: str, at: int) -> Callable[[Path], Any]:
    """Return what takes one file away."""

    def take(folder: Path) -> None:
        path = sorted(folder.glob(pattern))[at]
        path.rename(folder.with_name(f"{path.name}.aside"))

    return take


def all_taken(folder: Path) -> None:
    for _ in sorted(folder.glob("*.seg*"))[:-1]:
        taken("*.seg*", 0)(folder)


GONE: dict[str, Callable[[Path], Any]] = {
    "an empty folder": emptied,
    "an earlier copy of the folder": rolled_back,
    "the first segment": taken("*.seg*", 0),
    "a segment between": taken("*.seg*", 2),
    "the segment before the last": taken("*.seg*", -2),
    "all segments before the last": all_taken,
}


@pytest.mark.parametrize("durability", ["strict", "group"])
@pytest.mark.parametrize("seals", [True, False], ids=["sealed", "open"])
@pytest.mark.parametrize("kind", GONE)
async def test_nothing_is_acknowledged_until_it_is_back(tmp_path, kind, seals, durability):
    how = sample.settings(seals=seals, durability=durability, **BOUNDS)
    folder, _ = ledger_paths(tmp_path)
    ledger = await sample.written(tmp_path, 35, how)
    shutil.copytree(folder, tmp_path / "earlier")
    for number in range(35, 120):
        await ledger.write(sample.admin(number))
    await sample.until_idle(ledger)
    assert len(sample.segments(tmp_path)) > 4

    GONE[kind](folder)
    # From the next sync on, though no time goes by.
    for number in range(130, 135):
        with pytest.raises(RecordError, match=r"is gone|cannot be made durable"):
            await ledger.write(sample.admin(number))
    back(folder)
    await ledger.write(sample.admin(140))
    await ledger.close()

    assert judged(tmp_path).intact
    ids = sample.ids(tmp_path)
    assert ids == [f"id-{number}" for number in (*range(120), 140)]


class Reading(Disk):
    """Counts how often the names of a folder are read."""

    def __init__(self) -> None:
        self.count = 0

    def names(self, folder: Path) -> list[str]:
        self.count += 1
        return super().names(folder)


async def test_names_are_read_when_one_has_changed_and_not_with_each_sync(tmp_path):
    clock, disk = sample.Clock(), Reading()
    ledger = await sample.written(tmp_path, 3, sample.settings(disk, clock=clock))
    for number in range(3, 6):
        clock.now_s += 0.1
        await ledger.write(sample.admin(number))
    disk.count = 0

    for number in range(6, 56):
        clock.now_s += 0.001
        await ledger.write(sample.admin(number))
    assert disk.count == 0

    (ledger_paths(tmp_path)[0] / "another").touch()
    for number in range(56, 106):
        clock.now_s += 0.001
        await ledger.write(sample.admin(number))
    # With each of a few syncs: what has changed within one tick has one time.
    assert 1 < disk.count < 30
    await ledger.close()


@pytest.mark.parametrize("what", ["*.snap", "tiles"])
async def test_what_stands_for_pruned_records_must_be_there_as_well(tmp_path, what):
    await kept(tmp_path, 1000)
    await kept(tmp_path, 1, first=1000, retention=Retention(bytes=8_000))
    folder, _ = ledger_paths(tmp_path)
    assert sample.pruned(tmp_path)
    ledger = Ledger.open(*ledger_paths(tmp_path), sample.settings())
    # Another folder in its place, in which all is but this.
    folder.rename(tmp_path / "away")
    shutil.copytree(tmp_path / "away", folder)
    for path in folder.glob(what):
        path.rename(tmp_path / f"{path.name}.aside")

    with pytest.raises(RecordError, match=r"is gone|cannot be made durable"):
        await ledger.write(sample.admin(2000))
    with pytest.raises(RecordError, match="is gone"):
        await ledger.write(sample.admin(2001))
    for path in tmp_path.glob("*.aside"):
        path.rename(folder / path.stem)
    await ledger.write(sample.admin(2002))
    await ledger.close()

    assert judged(tmp_path).intact
