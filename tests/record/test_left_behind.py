"""No second name of a key outlives a start, a forgetting or a rotation; what is cut off is told."""

import asyncio
import errno
import os
import random
import shutil
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
from tests.record.faulty import FaultyDisk
from tests.record.power import Call, TracingDisk, acknowledged, after_loss


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
    ("kept", "how"),
    [
        (50, "flipped"), (199, "flipped"), (0, "flipped"), (100, "cut"), (200, ""),
        (199, "ended"), (100, "ended"), (0, "ended"),
    ],
)  # fmt: skip
async def test_rows_that_are_cut_off_are_told_once(tmp_path, kept, how):
    ledger = await opened(tmp_path)
    handles = dict(await ledger.handles([f"user:p{number}" for number in range(150)]))
    for number in range(150, 200):
        handles |= await ledger.handles([f"user:p{number}"])
    await ledger.close()
    path, key = persons_paths(tmp_path)
    data = bytearray(path.read_bytes())
    at = [*rows(bytes(data)), len(data)]
    if how == "flipped":
        for row in at[kept:-1]:
            data[row + 20] ^= 1
    elif how:
        del data[at[kept] + (7 if how == "cut" else 0) :]
    path.write_bytes(data)

    told = await events(tmp_path)

    size, cut = len(data) - at[kept], {"file": path.name, "offset": at[kept]}
    assert told == ([{"bytes": size, "rows": 200 - kept, **cut}] if how else [])
    assert (path.with_name("persons.table.torn")).exists() is bool(size)
    assert Persons.read(path, key).known == dict(list(handles.items())[:kept])
    assert await events(tmp_path) == told


def cut(path: Path, row: int) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: rows(data)[row]])


def named(state: Path, *names: str) -> Persons:
    """Return an open table in which these have a handle, each made durable by itself."""
    table = Persons.open(*persons_paths(state))
    for name in names:
        table.handle_of(f"user:{name}")
    return table


def test_rows_under_the_key_that_follows_a_forgetting_are_counted_as_well(tmp_path):
    table = named(tmp_path, "alice", "bob", "eve")
    assert table.forget("user:bob")
    table.handle_of("user:mallory")
    table.close()
    cut(persons_paths(tmp_path)[0], 2)

    again = named(tmp_path)
    again.close()

    assert set(again.known) == {"user:alice", "user:eve"}
    assert again.missing == 1


@pytest.mark.parametrize("how", ["absent", "of another key", "zeros", "half an entry", "older"])
def test_a_count_that_cannot_be_read_or_is_older_refuses_nobody(tmp_path, how):
    table = named(tmp_path, "alice")
    count = persons_paths(tmp_path)[1].with_suffix(".rows")
    older = count.read_bytes()
    table.handle_of("user:bob")
    table.close()
    said = count.read_bytes()
    assert len(said) > len(older)
    found = {
        "absent": None, "zeros": bytes(len(said)), "half an entry": said[:-5], "older": older,
        "of another key": said[:8] + bytes(16),
    }[how]  # fmt: skip
    if found is None:
        count.unlink()
    else:
        count.write_bytes(found)

    again = named(tmp_path)

    assert (again.missing, again.torn) == (0, None)
    assert set(again.known) == {"user:alice", "user:bob"}
    again.handle_of("user:eve")
    again.close()
    cut(persons_paths(tmp_path)[0], 2)
    last = named(tmp_path)
    last.close()
    assert last.missing == 1


def test_a_count_that_the_disk_did_not_take_is_taken_with_the_next(tmp_path):
    disk = FaultyDisk()
    table = Persons.open(*persons_paths(tmp_path), disk)
    table.handle_of("user:alice")
    begin = len(disk.calls)
    table.handle_of("user:bob")
    # The row, its sync, and then the count, of which half an entry is written.
    assert disk.calls[begin:] == ["write", "fdatasync", "write"]
    failing = len(disk.calls) + 3
    disk.fails = lambda number, _name: errno.EIO if number == failing else 0
    table.handle_of("user:eve")
    table.handle_of("user:mallory")
    table.close()
    cut(persons_paths(tmp_path)[0], 1)

    again = named(tmp_path)
    again.close()

    assert again.missing == 3


@pytest.mark.torture
@pytest.mark.timeout(600)
def test_no_loss_of_power_looks_like_rows_that_were_cut_off(tmp_path, scaled):
    """Two lives, the second one begun on what the first had not yet synced."""
    state, again = tmp_path / "state", tmp_path / "again"
    state.mkdir()
    disk = TracingDisk(state)
    first = Persons.open(*persons_paths(state), disk)
    handed = dict[str, str]()

    def name(table: Persons, who: str) -> None:
        handed[who] = table.handle_of(f"user:{who}")
        disk.trace.append(Call("acknowledged", path=who))

    for number in range(20):
        name(first, f"a{number}")
    assert first.forget("user:a7")
    begun = len(disk.trace)
    disk.fails = lambda call: errno.EIO if call == "fdatasync" else 0
    with pytest.raises(RecordError):
        first.handle_of("user:lost")
    disk.fails = lambda _call: 0
    second = Persons.open(*persons_paths(state), disk)
    name(second, "lost")
    for number in range(20):
        name(second, f"b{number}")
    first.close()
    second.close()

    for seed in range(scaled(60, 3_000)):
        chance = random.Random(seed)
        cut_at = chance.randrange(begun, len(disk.trace) + 1)
        after_loss(disk, cut_at, chance, lambda path: again / Path(path).relative_to(state))
        table = Persons.open(*persons_paths(again))
        table.close()
        assert table.missing == 0, seed
        told = acknowledged(disk.trace[:cut_at])
        kept = {f"user:{who}": handed[who] for who in told if who != "a7"}
        assert kept.items() <= table.known.items(), seed
        shutil.rmtree(again)
