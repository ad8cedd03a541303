"""A full segment gives way to its sealed form only where that holds the same, byte for byte."""

import random
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar.record.disk import DISK, Disk
from sidecar.record.limits import SEAL_STEP_BYTES
from sidecar.record.segments.aside import InThread
from sidecar.record.segments.sealed import opened, sealed_path, sealing
from tests.record import sample

# More than one step reads, and not a whole number of them.
SIZE = 2 * SEAL_STEP_BYTES + 4_711
Change = Callable[[bytearray], object]


@pytest.fixture
def segment(tmp_path: Path) -> Path:
    path = tmp_path / f"{0:020d}.seg"
    path.write_bytes(random.Random(5).randbytes(SIZE))
    return path


def changed(at: int) -> Change:
    def change(data: bytearray) -> None:
        data[at] ^= 1

    return change


CHANGES: dict[str, Change] = {
    "its first byte": changed(0),
    "its last byte": changed(SIZE - 1),
    "a byte between": changed(SEAL_STEP_BYTES + 9),
    "its end is cut off": lambda data: data.pop(),
    "a step of it is cut off": lambda data: data.__delitem__(slice(2 * SEAL_STEP_BYTES, None)),
    "all of it is cut off": lambda data: data.clear(),
    "something follows": lambda data: data.append(0),
}


def sealed_with(segment: Path, disk: Disk, change: Change, after: int) -> None:
    """Seal, and change the open form once `after` steps have been done."""
    for step, _ in enumerate(sealing(disk, segment), 1):
        if step == after:
            data = bytearray(segment.read_bytes())
            change(data)
            segment.write_bytes(data)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_segment_that_changes_once_it_is_compressed_keeps_its_open_form(segment, change):
    with pytest.raises(OSError, match="does not hold what went in"):
        sealed_with(segment, DISK, change, after=3)

    assert [path.name for path in segment.parent.iterdir()] == [segment.name]


@pytest.mark.parametrize("after", [1, 2])
@pytest.mark.parametrize("more", [1, 2 * SEAL_STEP_BYTES])
def test_a_segment_that_grows_while_it_is_compressed_keeps_its_open_form(segment, after, more):
    with pytest.raises(OSError, match="does not hold what went in"):
        sealed_with(segment, DISK, lambda data: data.extend(bytes(more)), after)

    assert [path.name for path in segment.parent.iterdir()] == [segment.name]


@pytest.mark.parametrize("after", range(1, 7))
def test_a_segment_whose_name_goes_while_it_is_sealed_is_there_sealed(segment, after):
    before = segment.read_bytes()

    steps = sealing(DISK, segment)
    for _ in range(after):
        next(steps)
    segment.unlink()

    with pytest.raises(FileNotFoundError):
        list(steps)

    with opened(DISK, sealed_path(segment)) as (read, _):
        assert read(SIZE, 0) == before


class Forgetful(Disk):
    """Gives back other bytes of what is compressed than it was given."""

    def read(self, fd: int, size: int, offset: int) -> bytes:
        found = super().read(fd, size, offset)
        # The sealed form is read by less than a step at a time.
        is_ours = self.sealed == fd and offset > 1_000
        return bytes([found[0] ^ 1]) + found[1:] if is_ours and found else found

    def open(self, path: Path, flags: int) -> int:
        fd = super().open(path, flags)
        self.sealed = fd if path.name.endswith(".tmp") else -1
        return fd


def test_a_disk_that_gives_back_other_bytes_leaves_the_open_form(segment):
    before = segment.read_bytes()

    with pytest.raises(OSError, match=r"cannot be read back|does not hold"):
        for _ in sealing(Forgetful(), segment):
            pass

    assert [path.name for path in segment.parent.iterdir()] == [segment.name]
    assert segment.read_bytes() == before


def test_what_is_sealed_holds_what_went_in(segment):
    before = segment.read_bytes()

    for _ in sealing(DISK, segment):
        pass

    assert [path.name for path in segment.parent.iterdir()] == [sealed_path(segment).name]
    with opened(DISK, segment) as (read, size):
        assert size == SIZE
        assert read(size, 0) == before


class Told(Disk):
    """Says which thread lets go of the open form of a segment whose name is gone."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self._paths: dict[int, Path] = {}

    def open(self, path: Path, flags: int) -> int:
        fd = super().open(path, flags)
        self._paths[fd] = path
        return fd

    def close(self, fd: int) -> None:
        path = self._paths.pop(fd, None)
        if path is not None and path.suffix == ".seg" and not path.exists():
            self.told.append(threading.current_thread().name)
        super().close(fd)


async def test_what_a_sealed_segment_held_is_freed_beside_the_thread_that_writes(tmp_path):
    disk = Told()
    how = sample.settings(disk, segment_bytes_max=20_000, seals=True, aside=InThread)
    ledger = await sample.written(tmp_path, 300, how)
    await sample.until_idle(ledger)
    await ledger.close()

    assert len(disk.told) == len([one for one in sample.segments(tmp_path) if one.suffix == ".zst"])
    assert set(disk.told) == {"disk"}
