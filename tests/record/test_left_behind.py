"""No second name of a key outlives a start, a forgetting or a rotation; what is cut off is told."""

import asyncio
import errno
import os
from pathlib import Path
from typing import Any

import pytest

from sidecar.record.disk import DISK, Disk, Io
from sidecar.record.inputs.beside import TORN
from sidecar.record.ledger import Ledger, Settings, ledger_paths
from sidecar.record.persons import Persons, persons_paths
from sidecar.record.rekey import rotate
from sidecar.terms.errors import RecordError
from tests.record import sample


class Leaves(Disk):
    """Does not remove what was half made, as a process that is killed before; or says that not."""

    def __init__(self) -> None:
        self.is_well = True
        self.is_killed = True

    def unlink(self, path: Path) -> None:
        if path.name.endswith(".tmp") and path.parent.name == "keys":
            if not self.is_well:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            if self.is_killed:
                return
        super().unlink(path)


def left(state: Path) -> list[str]:
    """Return the keys of which another name stands there."""
    return sorted(
        ".".join(path.name.split(".")[:2]) for path in (state / "keys").iterdir()
        if path.suffix == ".tmp"
    )  # fmt: skip


async def opened(state: Path, io: Io = DISK) -> Ledger:
    how: Settings = sample.settings(io)
    return await asyncio.to_thread(Ledger.open, *ledger_paths(state), how)


async def lived(state: Path, io: Io) -> None:
    ledger = await opened(state, io)
    await ledger.handles(["user:alice"])
    await ledger.close()


async def test_a_start_removes_what_was_half_made_of_keys(tmp_path):
    await lived(tmp_path, Leaves())
    assert left(tmp_path) == ["ledger.key", "persons.key"]

    await lived(tmp_path, DISK)

    assert left(tmp_path) == []


async def test_who_is_forgotten_stays_so_for_every_key_that_is_left(tmp_path):
    ledger = await opened(tmp_path, io := Leaves())
    handles = await ledger.handles(["user:alice"])
    assert "persons.key" in left(tmp_path)
    io.is_well = io.is_killed = False

    with pytest.raises(RecordError, match="a key of the table of persons is left"):
        await ledger.forget("user:alice")
    io.is_well = True
    assert await ledger.forget(f"user:{handles['user:alice']}")
    await ledger.close()

    assert "persons.key" not in left(tmp_path)


async def test_no_old_key_is_left_after_a_rotation(tmp_path):
    await lived(tmp_path, Leaves())
    before = (tmp_path / "keys" / "ledger.key").read_bytes()

    rotate(*ledger_paths(tmp_path), "root", sample.outside())

    for path in (tmp_path / "keys").iterdir():
        assert path.read_bytes() != before, path.name


# --- the table of persons ---


async def events(state: Path) -> list[dict[str, Any]]:
    ledger = await opened(state)
    await ledger.write(sample.admin(1))
    await ledger.close()
    return [one["detail"] for one in sample.records(state) if one.get("event") == TORN]


def rows(data: bytes) -> list[int]:
    """Return where the rows begin."""
    found, at = [], 16
    while at < len(data):
        found.append(at)
        at += 4 + int.from_bytes(data[at : at + 4], "big")
    return found


@pytest.mark.parametrize(
    ("kept", "how"), [(50, "flipped"), (199, "flipped"), (0, "flipped"), (100, "cut"), (200, "")]
)
async def test_rows_that_are_cut_off_are_told_once(tmp_path, kept, how):
    ledger = await opened(tmp_path)
    handles = await ledger.handles([f"user:p{number}" for number in range(200)])
    await ledger.close()
    path, key = persons_paths(tmp_path)
    data = bytearray(path.read_bytes())
    at = [*rows(bytes(data)), len(data)]
    if how == "flipped":
        for row in at[kept:-1]:
            data[row + 20] ^= 1
    elif how == "cut":
        del data[at[kept] + 7 :]
    path.write_bytes(data)

    told = await events(tmp_path)

    size = len(data) - at[kept]
    assert told == ([{"bytes": size, "file": path.name, "offset": at[kept]}] if size else [])
    assert (path.with_name("persons.table.torn")).exists() is bool(size)
    assert Persons.read(path, key).known == dict(list(handles.items())[:kept])
    assert await events(tmp_path) == told
