"""What comes of records that were acknowledged, or durable, when the disk fails right after."""

import asyncio
import errno
import math
import shutil
from collections import Counter
from pathlib import Path

import pytest

from sidecar.record.canonical import split
from sidecar.record.disk import DISK
from sidecar.record.fold import Revocations, revoke
from sidecar.record.keeping.obeyed import Unsigned
from sidecar.record.ledger import ledger_paths
from sidecar.record.recorder.people import SUPERVISOR
from sidecar.record.recorder.worker.client import RecorderClient
from sidecar.terms.errors import RecordError
from sidecar.terms.words import CallId
from tests.record import sample
from tests.record.faulty import FaultyDisk, HangingDisk
from tests.record.sample import TIME
from tests.record.stand_recorder import (
    Meter,
    Stand,
    connect,
    forwarded,
    impatient,
    outcome,
    running,
    until,
)
from tests.record.test_commit import batch, events, is_intact, kill, opened

FAILURES = {
    "no write": (errno.EIO, ("write", "open")),
    "read only": (errno.EROFS, ("write", "open", "fdatasync", "rename", "ftruncate")),
    "no sync": (errno.EIO, ("fdatasync", "open")),
    "no new segment": (errno.EIO, ("fdatasync", "rename")),
    "full": (errno.ENOSPC, ("write",)),
}


@pytest.mark.parametrize("ends", ["killed", "stopped"])
@pytest.mark.parametrize("failure", FAILURES)
def test_what_was_accepted_is_there_at_the_next_start_or_a_gap_says_that_it_is_not(
    tmp_path, failure, ends
):
    number, calls = FAILURES[failure]
    disk, clock = FaultyDisk(), sample.Clock()
    committer = opened(tmp_path, disk, clock, durability="group", boot="b1")
    committer.commit(batch(0))
    committer.accept(batch(1, 2, 3))
    disk.fails = lambda _, name: number if name in calls else 0
    clock.now_s += 0.06
    with pytest.raises(RecordError):
        committer.accept(batch(4))
    committer.tend()
    if ends == "killed":
        kill(committer)
    else:
        committer.close()

    committer = opened(tmp_path, clock=clock, durability="group", boot="b1")
    committer.commit([])
    committer.close()

    is_whole = [one for one in sample.ids(tmp_path) if one != "id-4"] == [
        "id-0", "id-1", "id-2", "id-3",
    ]  # fmt: skip
    assert is_whole or "gap" in events(tmp_path)
    assert is_intact(tmp_path)


def test_who_ends_between_two_segments_leaves_a_gap_and_it_is_told_once(tmp_path):
    disk, clock = FaultyDisk(), sample.Clock()
    committer = opened(tmp_path, disk, clock, durability="group", boot="b1")
    committer.commit(batch(0))
    committer.accept(batch(1, 2))
    clock.now_s += 0.06
    # The sync fails, the old segment is cut, and no new one can be begun.
    disk.fails = lambda _, name: errno.EIO if name in ("fdatasync", "chmod") else 0
    segment = sample.segments(tmp_path)[-1]
    with pytest.raises(RecordError):
        committer.accept(batch(3))
    lost = b"id-1" not in segment.read_bytes()
    sign = ledger_paths(tmp_path)[1].with_suffix(".in_hand")

    assert sign.exists()
    kill(committer)
    told = []
    for _ in range(3):
        committer = opened(tmp_path, clock=clock, durability="group", boot="b1")
        committer.commit([])
        committer.tend()
        kill(committer)
        told.append(events(tmp_path).count("gap"))
    assert told == [1, 1, 1]
    assert not sign.exists()
    assert lost or "id-1" in sample.ids(tmp_path)


def test_a_kill_without_a_failing_disk_leaves_no_sign_and_no_gap(tmp_path):
    committer = opened(tmp_path, durability="group", boot="b1")
    committer.commit(batch(0))
    committer.accept(batch(1))
    kill(committer)

    committer = opened(tmp_path, durability="group", boot="b1")
    committer.commit([])
    committer.close()

    assert sample.ids(tmp_path) == ["id-0", "id-1"]
    assert "gap" not in events(tmp_path)


@pytest.mark.parametrize("ahead_s", [-1, math.inf], ids=["acknowledged", "answered ahead"])
async def test_what_was_answered_survives_the_stop_of_worker_and_recorder_in_an_outage(
    tmp_path, ahead_s
):
    stand = Stand(tmp_path)
    stand.io = disk = FaultyDisk()
    stand.durability, stand.bounds = "group", {"boot": "b1"}
    recorder, client = stand.recorder(), RecorderClient(Meter(), ahead_s=ahead_s)
    await connect(recorder, client)
    recorder.complete()
    await client.write(sample.told(0))
    answered = list(range(1, 20))
    for number in answered:
        await client.write(forwarded(number))
    await until(lambda: not client.waiting)
    disk.fails = lambda _, name: errno.EIO if name in ("write", "open") else 0
    if ahead_s > 0:
        answered.append(20)
        await client.write(forwarded(20))
        await until(lambda: client.is_refusing)
    with pytest.raises(RecordError):
        await client.write(forwarded(99))
    with impatient(client):
        await client.close()
    await recorder.close()

    disk.fails = lambda _, _name: 0
    await stand.recorder().close()

    found = [one for one in sample.records(tmp_path) if one["kind"] == "decision"]
    is_whole = {one["id"] for one in found} >= {f"id-{number}" for number in answered}
    assert is_whole or any(one["kind"] == "gap" for one in sample.records(tmp_path))


async def test_a_client_that_ends_waits_until_what_was_acknowledged_is_durable(tmp_path):
    stand = Stand(tmp_path)
    stand.durability = "group"
    async with running(stand) as (recorder, client):
        await client.write(sample.told(0))
        for number in range(5):
            await client.write(forwarded(number))
        await client.close()

        assert client._unsynced == {}
        assert recorder._ledger.size >= 6


# --- durable, and not signed ---


def test_what_is_durable_beside_a_revocation_that_cannot_be_signed_is_known_as_durable(tmp_path):
    disk, revocations = FaultyDisk(), Revocations()
    committer = opened(tmp_path, disk, folds=(revocations,))
    said = split(revoke("agent:a", "root", id=CallId("id-r"), time=TIME))
    disk.fails = lambda _, name: errno.EIO if name == "rename" else 0

    with pytest.raises(Unsigned):
        committer.commit([*batch(0), said])
    with pytest.raises(RecordError) as later:
        committer.commit(batch(1))
    size = committer.size
    disk.fails = lambda _, _name: 0
    committer.commit(batch(2))
    committer.close()

    assert not isinstance(later.value, Unsigned)
    assert size == 2
    assert revocations.is_revoked("agent:a")
    assert sample.ids(tmp_path) == ["id-0", "id-r", "id-2"]
    assert is_intact(tmp_path)


async def test_outcomes_beside_a_revocation_that_cannot_be_signed_stand_once(tmp_path):
    stand = Stand(tmp_path)
    stand.io = disk = FaultyDisk()
    recorder, client = stand.recorder(), RecorderClient(Meter())
    await connect(recorder, client, SUPERVISOR)
    recorder.complete()
    await client.write(forwarded(1))
    left = [1]

    def fails(_number: int, name: str) -> int:
        if name != "rename" or not left:
            return 0
        left.pop()
        return errno.EIO

    disk.fails = fails
    revoked = client.write(revoke("service:x", "root", id=CallId("rv"), time=TIME))
    told = await asyncio.gather(revoked, client.write(outcome(1)), return_exceptions=True)
    disk.fails = lambda _, _name: 0
    await until(lambda: not client.is_refusing)
    await client.write(forwarded(2))
    await client.close()
    await recorder.close()

    assert isinstance(told[0], RecordError)
    assert told[1] is None
    count = Counter(one["id"] for one in sample.records(tmp_path))
    assert [id for id, times in count.items() if times > 1] == []
    assert stand.unknown() == ["id-2"]


# --- refused meanwhile ---


async def test_a_decision_that_is_written_after_its_caller_was_refused_is_closed_at_once(tmp_path):
    stand = Stand(tmp_path)
    stand.io = disk = HangingDisk()
    recorder, client = stand.recorder(), RecorderClient(Meter(), timeout_s=0.1)
    await connect(recorder, client)
    recorder.complete()
    for number in range(2):
        disk.free.clear()
        with pytest.raises(RecordError):
            await client.write(forwarded(number))
        disk.free.set()
        await until(lambda: not client.is_refusing)
    await until(lambda: len(stand.unknown()) == 2)
    await until(lambda: recorder.open_decisions == 0)

    assert set(stand.unknown()) == {"id-0", "id-1"}
    await client.close()
    await recorder.close()
    assert len(stand.unknown()) == 2


# --- marks of other lives ---


def test_a_batch_that_was_refused_before_an_outage_was_over_is_not_believed(tmp_path):
    disk = FaultyDisk()
    committer = opened(tmp_path, disk)
    committer.commit(batch(0))
    segment = sample.segments(tmp_path)[-1]
    kept: list[bytes] = []

    def fails(_number: int, name: str) -> int:
        if name == "fdatasync":
            kept.append(segment.read_bytes())
        return errno.EIO if name in ("fdatasync", "open") else 0

    disk.fails = fails
    with pytest.raises(RecordError):
        committer.commit(batch(66))
    disk.fails = lambda _, _name: 0
    committer.commit(batch(1))
    kill(committer)
    (*_, last) = sample.segments(tmp_path)
    # The frame of the one that was refused, where the one stands that was taken.
    at = kept[0].index(b'{"event":"reload","id":"id-66"') - 8
    last.write_bytes(last.read_bytes()[:128] + kept[0][at:])

    committer = opened(tmp_path)
    committer.close()

    assert "id-66" not in sample.ids(tmp_path)
    assert "ledger.torn_tail" in [*events(tmp_path), *(one[0] for one in committer._news)]


@pytest.mark.parametrize("durability", ["strict", "group"])
@pytest.mark.parametrize("how", ["not cut", "put back"])
def test_a_batch_that_was_refused_is_not_believed_though_nothing_came_after_it(
    tmp_path, how, durability
):
    disk = FaultyDisk()
    committer = opened(tmp_path, disk, durability=durability, boot="b1")
    committer.commit(batch(0))
    committer.accept(batch(1, 2))
    if durability == "strict":
        committer.commit([])
    segment = sample.segments(tmp_path)[-1]
    kept: list[bytes] = []

    def fails(_number: int, name: str) -> int:
        if name == "fdatasync":
            kept.append(segment.read_bytes())
        return errno.EIO if name in ("fdatasync", "ftruncate", "chmod") else 0

    disk.fails = fails
    with pytest.raises(RecordError):
        committer.commit(batch(66))
    kill(committer)
    if how == "put back":
        segment.write_bytes(kept[0])
    assert b'"id-66"' in segment.read_bytes()

    committer = opened(tmp_path, durability=durability, boot="b1")
    committer.commit(batch(3))
    committer.close()

    assert sample.ids(tmp_path) == ["id-0", "id-1", "id-2", "id-3"]
    assert "ledger.torn_tail" in events(tmp_path)
    assert is_intact(tmp_path)


def test_each_batch_that_was_refused_has_marks_of_its_own(tmp_path):
    disk = FaultyDisk()
    committer = opened(tmp_path, disk)
    committer.commit(batch(0))
    marks = ledger_paths(tmp_path)[1].with_suffix(".marks")
    sizes, left = [], [2]

    def fails(_number: int, name: str) -> int:
        if name == "fdatasync" and left[0]:
            left[0] -= 1
            return errno.EIO
        return 0

    disk.fails = fails
    # Refused, and again in the segment that is begun for it.
    with pytest.raises(RecordError):
        committer.commit(batch(1))
    sizes.append(len(marks.read_bytes()))
    committer.commit(batch(2))
    sizes.append(len(marks.read_bytes()))
    kill(committer)

    # One key before another while something that it has marked may be unsigned; then one alone.
    assert sizes == [72, 32]
    committer = opened(tmp_path)
    committer.close()
    assert sample.ids(tmp_path) == ["id-0", "id-2"]


def test_a_batch_of_a_copy_that_goes_on_is_not_believed_by_the_other(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    committer = opened(a)
    committer.commit(batch(0))
    committer.close()
    shutil.copytree(a, b)
    both = opened(a), opened(b)
    for number, committer in enumerate(both, 1):
        committer.commit(batch(number))
        kill(committer)
    pasted(b, a)

    committer = opened(a)
    committer.commit(batch(3))
    committer.close()

    assert sample.ids(a) == ["id-0", "id-3"]
    assert is_intact(a)


def pasted(source: Path, target: Path) -> None:
    sample.segments(target)[-1].write_bytes(sample.segments(source)[-1].read_bytes())


def test_the_key_of_marks_is_another_with_each_start(tmp_path):
    keys = set()
    for number in range(3):
        committer = opened(tmp_path)
        committer.commit(batch(number))
        kill(committer)
        keys.add(ledger_paths(tmp_path)[1].with_suffix(".marks").read_bytes())

    assert len(keys) == 3
    assert sample.ids(tmp_path) == ["id-0", "id-1", "id-2"]
    assert DISK.names(tmp_path / "keys").count("ledger.marks") == 1
