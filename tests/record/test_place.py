"""A ledger that is found elsewhere goes on only when somebody says that it was moved."""

import asyncio
import shutil
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from sidecar.cli.log import command
from sidecar.record.disk import DISK
from sidecar.record.ledger import OUTSIDE, Ledger, Settings, ledger_paths
from sidecar.record.proof import place
from sidecar.terms.errors import LedgerBroken
from tests.record import sample
from tests.record.test_commit import is_intact


def settings(machine: str) -> Settings:
    return Settings(name="test", outside=msgspec.structs.replace(OUTSIDE, machine=machine))


async def written(state: Path, number: int, machine: str = "m1") -> None:
    ledger = Ledger.open(*ledger_paths(state), settings(machine))
    await ledger.write(sample.admin(number))
    await ledger.close()


async def test_a_ledger_goes_on_where_it_stood(tmp_path):
    await written(tmp_path, 0)
    await written(tmp_path, 1)

    assert sample.ids(tmp_path) == ["id-0", "id-1"]


@pytest.mark.parametrize("how", ["cloned", "restored", "another machine"])
async def test_a_ledger_that_is_found_elsewhere_is_refused_with_a_remedy(tmp_path, how):
    state, machine = tmp_path / "state", "m1"
    await written(state, 0)
    if how == "another machine":
        machine = "m2"
    else:
        shutil.copytree(state, tmp_path / "copy")
    if how == "cloned":
        state = tmp_path / "copy"
    elif how == "restored":
        # The old folder stays, so that its inode is not given to the new one.
        state.rename(tmp_path / "old")
        (tmp_path / "copy").rename(state)

    with pytest.raises(LedgerBroken, match="log key --moved"):
        await written(state, 1, machine)

    assert sample.ids(state) == ["id-0"]


def put_back(backup: Path, state: Path) -> None:
    """Put files into folders that stay, as an unpacked archive does."""
    for folder in ("ledger", "keys"):
        for path in (state / folder).iterdir():
            path.unlink()
        for path in (backup / folder).iterdir():
            shutil.copy2(path, state / folder)


def written_over(backup: Path, state: Path) -> None:
    """Write files over those that stand there, as a copy of a folder into another does."""
    for folder in ("ledger", "keys"):
        for path in (backup / folder).iterdir():
            shutil.copy2(path, state / folder)


def made_anew(backup: Path, state: Path) -> None:
    """Put the whole folder back: it may be given the very inodes that it had."""
    shutil.rmtree(state)
    shutil.copytree(backup, state)


@pytest.mark.parametrize("how", [put_back, written_over, made_anew])
async def test_a_backup_that_is_put_back_where_it_came_from_is_refused(tmp_path, how):
    state = tmp_path / "state"
    await written(state, 0)
    shutil.copytree(state, tmp_path / "backup")
    await written(state, 1)

    how(tmp_path / "backup", state)

    with pytest.raises(LedgerBroken, match="log key --moved"):
        await written(state, 2)
    assert sample.ids(state) == ["id-0"]


async def backed_up_within_one_start(folder: Path) -> Path:
    state = folder / "state"
    ledger = Ledger.open(*ledger_paths(state), settings("m1"))
    await ledger.write(sample.admin(1))
    shutil.copytree(state, folder / "backup")
    await ledger.write(sample.admin(2))
    await ledger.close()
    return state


async def test_a_backup_of_the_last_start_is_refused_where_its_files_are_made_anew(tmp_path):
    state = await backed_up_within_one_start(tmp_path)
    # The old ones stay, so that their inodes are not given to the new ones.
    for name in ("ledger", "keys"):
        for path in (state / name).iterdir():
            path.rename(tmp_path / f"{name}-{path.name}")

    written_over(tmp_path / "backup", state)

    with pytest.raises(LedgerBroken, match="log key --moved"):
        await written(state, 3)


async def test_so_it_is_where_the_files_are_given_the_inodes_of_before(tmp_path):
    state = await backed_up_within_one_start(tmp_path)
    with (state / "keys" / "ledger.key").open("rb") as found:
        if not DISK.generation(found.fileno()):
            pytest.skip("this file system does not say which generation of an inode a file is")

    for how in (put_back, made_anew):
        how(tmp_path / "backup", state)

        with pytest.raises(LedgerBroken, match="log key --moved"):
            await written(state, 3)


def absent(state: Path) -> None:
    place_of(state).unlink()


def empty(state: Path) -> None:
    place_of(state).write_bytes(b"")


def without_start(state: Path) -> None:
    place_of(state).write_bytes(b"".join(place_of(state).read_bytes().splitlines(True)[:2]))


def elsewhere_in_the_tree(state: Path) -> None:
    place_of(state).write_bytes(place_of(state).read_bytes().replace(b"start ", b"start ../"))


def start_is_gone(state: Path) -> None:
    (start,) = (state / "keys").glob("*.start")
    start.unlink()


def place_of(state: Path) -> Path:
    return ledger_paths(state)[1].with_suffix(".place")


@pytest.mark.parametrize(
    "change", [absent, empty, without_start, elsewhere_in_the_tree, start_is_gone]
)
async def test_a_ledger_with_marks_of_which_nobody_says_where_it_stood_is_refused(tmp_path, change):
    await written(tmp_path, 0)
    change(tmp_path)

    with pytest.raises(LedgerBroken, match="log key --moved"):
        await written(tmp_path, 1)

    assert sample.ids(tmp_path) == ["id-0"]


async def test_one_file_says_which_start_was_the_last(tmp_path):
    for number in range(3):
        await written(tmp_path, number)

    assert len(list((tmp_path / "keys").glob("*.start"))) == 1


@pytest.mark.parametrize("asked", [["key", "--rotate"], ["forget", "user:alice"]])
def test_no_command_but_the_one_that_says_so_goes_on_with_a_copy(tmp_path, asked):
    asyncio.run(written(tmp_path / "state", 0, place.machine_id()))
    shutil.copytree(tmp_path / "state", tmp_path / "copy")
    before = sample.records(tmp_path / "copy")

    done = CliRunner().invoke(command, [*asked, "--state", str(tmp_path / "copy")])

    assert isinstance(done.exception, LedgerBroken), done.output
    assert "log key --moved" in str(done.exception)
    assert sample.records(tmp_path / "copy") == before
    assert not (tmp_path / "copy" / "keys" / "ledger.next").exists()


def test_a_key_is_rotated_where_the_ledger_stands_and_it_goes_on(tmp_path):
    here = place.machine_id()
    asyncio.run(written(tmp_path, 0, here))

    done = CliRunner().invoke(command, ["key", "--rotate", "--state", str(tmp_path)])
    asyncio.run(written(tmp_path, 1, here))

    assert done.exit_code == 0, done.output
    assert is_intact(tmp_path)


def test_who_says_that_it_was_moved_is_recorded_and_then_it_goes_on(tmp_path):
    here, there = place.machine_id(), tmp_path / "copy"
    asyncio.run(written(tmp_path / "state", 0, here))
    shutil.copytree(tmp_path / "state", there)

    done = CliRunner().invoke(command, ["key", "--moved", "--state", str(there)])
    asyncio.run(written(there, 1, here))

    assert done.exit_code == 0, done.output
    said = [one for one in sample.records(there) if one.get("event") == place.MOVED]
    assert [one["detail"]["from"] != one["detail"]["to"] for one in said] == [True]
    assert [one["event"] for one in sample.records(there)] == ["reload", place.MOVED, "reload"]
    assert is_intact(there)


async def test_a_ledger_of_before_there_were_places_is_taken_where_it_stands_and_told(tmp_path):
    ledger = await sample.written(tmp_path, 1)
    await ledger.close()
    # Places and marks came together.
    for suffix in (".marks", ".place"):
        ledger_paths(tmp_path)[1].with_suffix(suffix).unlink()

    await written(tmp_path, 1)
    await written(tmp_path, 2)

    assert sample.ids(tmp_path) == ["id-0", "id-1", "id-2"]
    told = [one for one in sample.records(tmp_path) if one.get("event") == place.UNKNOWN]
    assert len(told) == 1


async def test_of_a_new_ledger_nothing_is_told(tmp_path):
    await written(tmp_path, 0)

    assert [one["event"] for one in sample.records(tmp_path)] == ["reload"]
