"""A write that returns is durable, one that fails is refused, and the log tells of it later."""

import asyncio
import errno
import os
import shutil
from pathlib import Path

import msgspec
import orjson
import pytest

from sidecar.record.canonical import split
from sidecar.record.fold import revoke, unrevoke
from sidecar.record.keeping.batch import One
from sidecar.record.ledger import Ledger, ledger_paths
from sidecar.record.limits import RECORD_BYTES_MAX
from sidecar.record.verify import verify
from sidecar.terms.errors import RecordError
from sidecar.terms.words import CallId
from tests.record import sample
from tests.record.faulty import FaultyDisk, HangingDisk
from tests.record.sample import TIME, admin


async def test_records_are_numbered_in_the_order_they_were_written(tmp_path):
    report = await sample.closed(tmp_path, 5)

    assert report.intact, report.problem
    assert (report.records, report.signed) == (5, 5)
    assert [record["log"]["seq"] for record in sample.records(tmp_path)] == [0, 1, 2, 3, 4]
    assert sample.ids(tmp_path) == [f"id-{number}" for number in range(5)]


async def test_writers_that_wait_together_are_made_durable_together(tmp_path):
    disk = HangingDisk()
    ledger = Ledger.open(*ledger_paths(tmp_path), sample.settings(disk))
    disk.free.clear()
    first = asyncio.ensure_future(ledger.write(admin(0)))
    await asyncio.to_thread(disk.held.wait)
    others = [asyncio.ensure_future(ledger.write(admin(number))) for number in range(1, 200)]
    await asyncio.sleep(0)

    disk.free.set()
    await asyncio.gather(first, *others)
    await ledger.close()

    assert sample.ids(tmp_path) == [f"id-{number}" for number in range(200)]
    assert disk.syncs == 2


async def test_a_ledger_goes_on_where_it_was_closed(tmp_path):
    await sample.closed(tmp_path, 3)
    ledger = Ledger.open(*ledger_paths(tmp_path), sample.settings())
    await ledger.write(admin(3))
    await ledger.close()

    assert sample.ids(tmp_path) == ["id-0", "id-1", "id-2", "id-3"]
    assert verify(ledger_paths(tmp_path)[0], ledger.verifier).intact


async def test_segments_are_rotated_and_prove_one_log(tmp_path):
    report = await sample.closed(tmp_path, 20, sample.settings(segment_bytes_max=600))

    assert report.intact, report.problem
    assert report.segments > 3
    assert sample.ids(tmp_path) == [f"id-{number}" for number in range(20)]


async def test_files_are_their_owners_alone(tmp_path):
    await sample.closed(tmp_path, 1)
    folder, key_file = ledger_paths(tmp_path)

    modes = {path.name: path.stat().st_mode & 0o777 for path in (folder, key_file.parent)}
    files = [*folder.iterdir(), *key_file.parent.iterdir()]
    assert modes == {"ledger": 0o700, "keys": 0o700}
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}


async def test_a_record_that_is_too_large_is_refused_and_harms_no_other(tmp_path):
    ledger = await sample.written(tmp_path, 1)

    with pytest.raises(RecordError, match="bytes"):
        await ledger.write(admin(1, text="x" * RECORD_BYTES_MAX))
    await ledger.write(admin(2))
    await ledger.close()

    assert sample.ids(tmp_path) == ["id-0", "id-2"]


async def test_a_closed_ledger_takes_nothing(tmp_path):
    ledger = await sample.written(tmp_path, 1)
    await ledger.close()
    await ledger.close()

    with pytest.raises(RecordError, match="closed"):
        await ledger.write(admin(1))


async def test_what_waits_at_the_end_is_written(tmp_path):
    ledger = await sample.written(tmp_path, 0)
    writes = [asyncio.ensure_future(ledger.write(admin(number))) for number in range(50)]
    await asyncio.sleep(0)

    await ledger.close()
    await asyncio.gather(*writes)

    assert len(sample.ids(tmp_path)) == 50


async def test_a_checkpoint_is_signed_at_most_once_an_interval(tmp_path):
    clock, disk = sample.Clock(), FaultyDisk()
    ledger = await sample.written(tmp_path, 0, sample.settings(disk, clock))
    at_start = disk.calls.count("rename")
    for number in range(5):
        await ledger.write(admin(number))
    while_it_stands = disk.calls.count("rename")

    clock.now_s += 1
    for number in range(5, 10):
        await ledger.write(admin(number))
    after = disk.calls.count("rename")
    await ledger.close()

    # One checkpoint is two files: in the folder and beside the key.
    assert (while_it_stands - at_start, after - while_it_stands) == (0, 2)


async def test_an_idle_ledger_signs_what_it_has(tmp_path):
    ledger = Ledger.open(*ledger_paths(tmp_path))
    await ledger.write(admin(0))
    folder, _ = ledger_paths(tmp_path)
    async with asyncio.timeout(5):
        while verify(folder, ledger.verifier).signed == 0:  # noqa: ASYNC110 - a file says it
            await asyncio.sleep(0.05)
    await ledger.close()


# --- the disk fails ---

FAILURES = [errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EIO, errno.EACCES, errno.EINTR]


@pytest.mark.parametrize("number", FAILURES, ids=lambda number: errno.errorcode[number])
async def test_a_disk_that_takes_nothing_refuses_and_recovers_by_itself(tmp_path, number):
    disk = FaultyDisk()
    ledger = await sample.written(tmp_path, 2, sample.settings(disk))
    disk.fails = lambda _, name: number if name in ("write", "open") else 0

    for refused in (2, 3, 4):
        with pytest.raises(RecordError, match="cannot be made durable"):
            await ledger.write(admin(refused))
    was_refusing = ledger.is_refusing
    disk.fails = lambda _, _name: 0
    await ledger.write(admin(5))
    await ledger.close()

    assert was_refusing
    assert sample.ids(tmp_path) == ["id-0", "id-1", "id-5"]
    (told,) = [record for record in sample.records(tmp_path) if record["kind"] == "ops"]
    assert told["event"] == "ledger.recovered"
    assert told["detail"]["refused"] == 3
    assert told["detail"]["cause"] == os.strerror(number)
    assert verify(ledger_paths(tmp_path)[0], ledger.verifier).intact


async def test_after_a_failed_sync_the_descriptor_is_never_trusted_again(tmp_path):
    disk = FaultyDisk()
    ledger = await sample.written(tmp_path, 2, sample.settings(disk))
    failed = iter([errno.EIO])
    disk.fails = lambda _, name: next(failed, 0) if name == "fdatasync" else 0

    await ledger.write(admin(2))
    await ledger.close()

    first, second = sample.segments(tmp_path)
    assert sample.ids(tmp_path) == ["id-0", "id-1", "id-2"]
    assert b"id-2" not in first.read_bytes()
    assert b"id-2" in second.read_bytes()
    assert verify(ledger_paths(tmp_path)[0], ledger.verifier).intact


async def test_a_checkpoint_that_cannot_be_signed_stops_the_ledger(tmp_path):
    disk, clock = FaultyDisk(), sample.Clock()
    ledger = await sample.written(tmp_path, 1, sample.settings(disk, clock))
    synced: list[str] = []

    def fails(_, name):
        # What is due is due behind the record, whenever the ledger's thread looks at the clock.
        if name == "fdatasync" and not synced:
            clock.now_s += 2
            synced.append(name)
        return errno.EIO if name == "rename" and synced else 0

    disk.fails = fails
    await ledger.write(admin(1))

    with pytest.raises(RecordError):
        await ledger.write(admin(2))
    disk.fails = lambda _, _name: 0
    await ledger.write(admin(3))
    await ledger.close()

    assert sample.ids(tmp_path) == ["id-0", "id-1", "id-3"]


async def test_a_short_write_is_written_to_its_end(tmp_path):
    short = FaultyDisk(lambda number, name: errno.EAGAIN if name == "write" and number % 2 else 0)
    report = await sample.closed(tmp_path, 10, sample.settings(short))

    assert report.intact, report.problem
    assert len(sample.ids(tmp_path)) == 10


# --- the disk hangs ---


async def test_a_disk_that_hangs_refuses_in_time_and_never_blocks_the_loop(tmp_path):
    disk = HangingDisk()
    ledger = await sample.written(tmp_path, 1, sample.settings(disk))
    disk.free.clear()
    loop = asyncio.get_running_loop()
    patience_s, ledger._timeout_s = ledger._timeout_s, 0.2
    began_s = loop.time()

    # A loop that waits for the disk never comes back from here.
    with pytest.raises(RecordError, match="in time"):
        await ledger.write(admin(1))
    took_s = loop.time() - began_s
    ledger._timeout_s = patience_s
    disk.free.set()
    await ledger.write(admin(2))
    await ledger.close()

    assert 0.1 < took_s < 5
    # What was refused may be there: it was never acknowledged.
    assert [id for id in sample.ids(tmp_path) if id != "id-1"] == ["id-0", "id-2"]


async def test_a_sync_that_nobody_waits_for_and_that_hangs_is_told(tmp_path):
    disk, clock = HangingDisk(), sample.Clock()
    how = sample.settings(disk, clock, durability="group")
    ledger = await sample.written(tmp_path, 1, msgspec.structs.replace(how, durable_timeout_s=5.0))
    disk.free.clear()
    loop = asyncio.get_running_loop()
    accepted: asyncio.Future[None] = loop.create_future()
    ledger.submit(One((split(admin(1)),), (), loop, accepted, is_strict=False))
    await accepted
    was_refusing = ledger.is_refusing
    clock.now_s += 0.06
    await asyncio.to_thread(disk.held.wait)
    clock.now_s += 6

    is_refusing = ledger.is_refusing

    disk.free.set()
    await ledger.close()
    assert not was_refusing
    assert is_refusing
    assert sample.ids(tmp_path) == ["id-0", "id-1"]


async def test_once_a_batch_is_overdue_writes_are_refused_at_once(tmp_path):
    disk, clock = HangingDisk(), sample.Clock()
    how = msgspec.structs.replace(sample.settings(disk, clock), durable_timeout_s=5.0)
    ledger = await sample.written(tmp_path, 1, how)
    disk.free.clear()
    stuck = asyncio.ensure_future(ledger.write(admin(1)))
    await asyncio.to_thread(disk.held.wait)
    clock.now_s += 6

    with pytest.raises(RecordError, match="does not answer"):
        await ledger.write(admin(2))
    was_refusing = ledger.is_refusing
    disk.free.set()
    await stuck
    await ledger.close()

    assert was_refusing


async def test_who_has_given_up_before_the_write_leaves_no_record(tmp_path):
    disk = HangingDisk()
    ledger = await sample.written(tmp_path, 1, sample.settings(disk))
    disk.free.clear()
    first = asyncio.ensure_future(ledger.write(admin(1)))
    await asyncio.to_thread(disk.held.wait)
    second = asyncio.ensure_future(ledger.write(admin(2)))
    await asyncio.sleep(0)

    second.cancel()
    await asyncio.sleep(0)
    disk.free.set()
    await first
    await ledger.close()

    assert sample.ids(tmp_path) == ["id-0", "id-1"]


# --- somebody takes the file away ---


def unlink(folder: Path) -> None:
    (folder / "00000000000000000000.seg").unlink()


def replace(folder: Path) -> None:
    (folder / "other").write_bytes(b"nothing of ours")
    (folder / "other").rename(folder / "00000000000000000000.seg")


def link(folder: Path) -> None:
    unlink(folder)
    (folder / "00000000000000000000.seg").symlink_to("/dev/null")


@pytest.mark.parametrize("attack", [unlink, replace, link], ids=lambda attack: attack.__name__)
async def test_a_segment_taken_away_is_noticed_before_the_answer_and_restored(tmp_path, attack):
    ledger = await sample.written(tmp_path, 3)
    folder, _ = ledger_paths(tmp_path)
    attack(folder)

    with pytest.raises(RecordError):
        await ledger.write(admin(3))
    await ledger.write(admin(4))
    await ledger.close()

    assert sample.ids(tmp_path) == ["id-0", "id-1", "id-2", "id-4"]
    told = {
        record["event"]: record["detail"]
        for record in sample.records(tmp_path)
        if record["kind"] == "ops"
    }
    assert told["ledger.unlinked"]["restored"] is True
    assert (told["ledger.unlinked"]["first_seq"], told["ledger.unlinked"]["next_seq"]) == (0, 3)
    assert told["ledger.recovered"]["refused"] == 1
    assert verify(folder, ledger.verifier).intact


async def test_a_segment_cut_by_somebody_else_is_never_written_again(tmp_path):
    ledger = await sample.written(tmp_path, 3)
    os.truncate(sample.segments(tmp_path)[0], 100)

    for number in (3, 4):
        with pytest.raises(RecordError):
            await ledger.write(admin(number))
    await ledger.close()

    assert not verify(ledger_paths(tmp_path)[0], ledger.verifier).intact


async def test_a_folder_moved_away_refuses_until_it_is_back(tmp_path):
    ledger = await sample.written(tmp_path, 3)
    folder, _ = ledger_paths(tmp_path)
    folder.rename(tmp_path / "away")
    with pytest.raises(RecordError):
        await ledger.write(admin(3))
    assert not folder.exists()

    (tmp_path / "away").rename(folder)
    await ledger.write(admin(4))
    await ledger.close()

    assert sample.ids(tmp_path) == ["id-0", "id-1", "id-2", "id-4"]
    assert verify(folder, ledger.verifier).intact


async def test_a_folder_removed_and_made_again_gets_its_segment_back(tmp_path):
    ledger = await sample.written(tmp_path, 3)
    folder, _ = ledger_paths(tmp_path)
    shutil.rmtree(folder)
    with pytest.raises(RecordError):
        await ledger.write(admin(3))

    folder.mkdir(mode=0o700)
    await ledger.write(admin(4))
    await ledger.close()

    assert sample.ids(tmp_path) == ["id-0", "id-1", "id-2", "id-4"]
    events = {record.get("event") for record in sample.records(tmp_path)}
    assert {"ledger.folder_replaced", "ledger.unlinked", "ledger.recovered"} <= events
    assert verify(folder, ledger.verifier).intact


# --- state that is a fold ---


async def test_a_revocation_is_in_force_once_it_is_written(tmp_path):
    ledger = await sample.written(tmp_path, 1)
    before = ledger.revocations.epoch

    await ledger.write(revoke("agent:bot", "root", id=CallId("id-r"), time=TIME))

    assert ledger.revocations.is_revoked("agent:bot")
    assert not ledger.revocations.is_revoked("agent:bo")
    assert ledger.revocations.epoch == before + 1
    await ledger.close()


async def test_revocations_are_rebuilt_when_the_ledger_is_opened(tmp_path):
    ledger = await sample.written(tmp_path, 1)
    for party in ("agent:bot", "user:eve"):
        await ledger.write(revoke(party, "root", id=CallId("id-r"), time=TIME))
    await ledger.write(unrevoke("user:eve", "root", id=CallId("id-u"), time=TIME))
    await ledger.close()

    ledger = Ledger.open(*ledger_paths(tmp_path), sample.settings())

    assert ledger.revocations.is_revoked("agent:bot")
    assert not ledger.revocations.is_revoked("user:eve")
    await ledger.close()


async def test_words_inside_of_a_record_revoke_nobody(tmp_path):
    ledger = await sample.written(tmp_path, 0)
    inner = orjson.dumps({"kind": "admin", "event": "revoke", "detail": {"party": "user:a"}})

    await ledger.write(admin(1, event="reload", party="user:a", kind="admin", text=inner.decode()))

    assert not ledger.revocations.is_revoked("user:a")
    await ledger.close()


async def test_a_refused_revocation_is_not_in_force(tmp_path):
    disk = FaultyDisk()
    ledger = await sample.written(tmp_path, 1, sample.settings(disk))
    disk.fails = lambda _, name: errno.EIO if name in ("write", "open") else 0

    with pytest.raises(RecordError):
        await ledger.write(revoke("agent:bot", "root", id=CallId("id-r"), time=TIME))

    assert not ledger.revocations.is_revoked("agent:bot")
    disk.fails = lambda _, _name: 0
    await ledger.close()
