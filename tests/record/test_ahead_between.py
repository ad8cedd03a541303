"""`group`: what a worker is ahead by is written once, whatever fails between it and recorders."""

import asyncio
import ctypes
import math
import os
import socket
import time
from pathlib import Path

import pytest

from sidecar.record.limits import GROUP_RECORDS_MAX, REFUSED_MAX, SPOOL_BYTES_MAX, SPOOL_ROOM_MAX
from sidecar.record.recorder import wire
from sidecar.record.recorder.ahead.kept import Kept
from sidecar.record.recorder.ahead.spool import Spool, hand_over, lent
from sidecar.record.recorder.worker.client import RecorderClient
from sidecar.record.recorder.worker.leading import met
from sidecar.terms.errors import RecordError
from tests.record import sample
from tests.record.faulty import FaultyDisk
from tests.record.stand_recorder import Meter, Stand, connect, forwarded, outcome, until
from tests.record.test_ahead import Dying, ahead, decisions, files, full, group, leads, said, sound

WELCOME = wire.frame(wire.Welcome(0, False, 1, (), "", is_group=True))


class Short:
    """A recorder that says what it is told, and is killed before it has written anything."""

    def __init__(self, stand: Stand, letter: str) -> None:
        self.path = stand.state / "keys" / "ahead" / "boot" / (letter * 32)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.line, self._other = socket.socketpair()
        self.line.setblocking(False)

    async def serves(self, client: RecorderClient, *said: wire.FromRecorder) -> None:
        self.path.touch(0o600)
        fd = lent(self.path)
        hand_over(self.line, self.path.name, fd)
        os.close(fd)
        self.line.send(WELCOME + b"".join(map(wire.frame, said)))
        await client.attach(self._other)

    async def hears(self) -> list[wire.FromWorker]:
        data = await asyncio.get_running_loop().sock_recv(self.line, 1 << 20)
        return [wire.read_worker(body) for body in wire.Frames().feed(data)]

    async def dies(self, client: RecorderClient) -> None:
        self.line.close()
        await until(lambda: not client.is_attached)


def spool_to(client: RecorderClient, path: str) -> int:
    """Let a client's spool be another file; return the one that it was."""
    spool = client._ahead._spool
    assert spool is not None
    before, spool._fd = spool._fd, os.open(path, os.O_RDWR)
    return before


async def test_where_neither_spool_nor_log_has_room_the_worker_serves_again_when_there_is(tmp_path):
    disk = FaultyDisk()
    stand = group(tmp_path, disk)
    recorder, client = await ahead(stand)
    disk.fails, before = full, spool_to(client, "/dev/full")
    writing = client.write(forwarded(1))
    assert not leads(client, writing)
    with pytest.raises(RecordError):
        await writing
    disk.fails = sound
    os.close(client._ahead._spool._fd)
    client._ahead._spool._fd = before
    await until(lambda: not client.is_refusing)
    await client.write(forwarded(2))
    await client.write(outcome(2))
    assert not client._late
    await client.close()
    await recorder.close()
    assert [one for one in stand.kinds() if one[1] in ("id-2", "out-2")] == [
        ("decision", "id-2"),
        ("outcome", "out-2"),
    ]


@pytest.mark.parametrize("is_deaf", [True, False], ids=["no hello", "hello"])
async def test_recorders_that_die_one_after_the_other_leave_nothing_twice(tmp_path, is_deaf):
    stand = group(tmp_path)
    client = RecorderClient(Meter(), ahead_s=math.inf)
    first, second = Short(stand, "a"), Short(stand, "b")
    await first.serves(client)
    await client.write(forwarded(1))
    await first.dies(client)
    if is_deaf:
        second.line.close()
        attaching = asyncio.ensure_future(client.attach(second._other))
        await until(lambda: client._link is None and not client._welcomed.is_set())
        await asyncio.sleep(0.01)
    else:
        await second.serves(client)
        await second.dies(client)
        attaching = None
    third = stand.recorder()
    await connect(third, client)
    third.complete()
    await client.write(outcome(1))
    await until(lambda: files(stand) == [third.connections[0].kept.name])
    await client.close()
    await third.close()
    if attaching is not None:
        await attaching
    assert stand.kinds() == [("decision", "id-1"), ("outcome", "out-1")]


async def test_what_a_worker_that_was_cut_off_still_answers_for_is_written(tmp_path):
    stand = group(tmp_path)
    recorder, client = await ahead(stand)
    dying = await Dying.of(recorder)
    dying.puts(1, said(1, forwarded(1)))
    await dying.says(b"\xff" * 8)
    await until(lambda: len(recorder.connections) == 1)
    # It has not found out yet.
    dying.puts(2, said(2, forwarded(2)))
    dying.dies()
    await until(lambda: len(stand.unknown()) == 2)
    await client.close()
    await recorder.close()
    assert decisions(stand) == ["id-1", "id-2"]
    assert files(stand) == []


async def test_what_the_next_recorder_refuses_comes_again_whatever_is_durable_behind_it(tmp_path):
    disk = FaultyDisk()
    stand = group(tmp_path, disk)
    client = RecorderClient(Meter(), ahead_s=-1)
    first = Short(stand, "a")
    await first.serves(client)
    writing = client.write(forwarded(1))
    await asyncio.sleep(0)
    first.line.send(wire.frame(wire.Ack(1)))
    await writing
    await first.dies(client)
    recorder = stand.recorder()
    disk.fails = full
    await connect(recorder, client)
    recorder.complete()
    await until(lambda: recorder.connections[0].kept._refused == [1])
    disk.fails = sound
    await client.write(forwarded(2))
    # Its outcome stands behind it, and nobody waits for ever.
    with pytest.raises(RecordError):
        await client.write(outcome(1))
    await until(lambda: not client.is_refusing)
    await client.close()
    await recorder.close()
    kinds = stand.kinds()
    assert sorted(kinds) == sorted({*kinds})
    assert kinds.index(("decision", "id-1")) < kinds.index(("outcome", "out-1"))
    assert ("decision", "id-2") in kinds


async def test_the_next_recorder_is_sent_all_in_the_order_of_its_numbers(tmp_path):
    stand = group(tmp_path)
    client = RecorderClient(Meter(), ahead_s=math.inf)
    first, second = Short(stand, "a"), Short(stand, "b")
    await first.serves(client)
    for number in (1, 2):
        assert leads(client, client.write(forwarded(number)))
    first.line.send(wire.frame(wire.Ack(2)) + wire.frame(wire.Ack(1, "full")))
    await until(lambda: bool(client._unsynced))
    await first.dies(client)
    await second.serves(client)
    heard = await second.hears()
    assert [one.number for one in heard if isinstance(one, wire.Write)] == [1, 2]
    second.line.close()
    client._timeout_s = 0.01
    await client.close()


async def test_the_spool_of_before_stays_while_the_next_takes_nothing(tmp_path):
    stand = group(tmp_path)
    client = RecorderClient(Meter(), ahead_s=math.inf)
    first = Short(stand, "a")
    await first.serves(client)
    await client.write(forwarded(1))
    await first.dies(client)

    disk = FaultyDisk()
    stand.io = disk
    recorder = stand.recorder()
    recorder._spools._makes = False
    disk.fails = full
    await connect(recorder, client)
    recorder.complete()
    await until(lambda: bool(client._late))
    # Both are killed now: a recorder that comes then finds it.
    assert files(stand) == [first.path.name]
    disk.fails = sound
    await until(lambda: not client.is_refusing)
    await until(lambda: files(stand) == [])
    await client.write(outcome(1))
    await client.close()
    await recorder.close()
    assert stand.kinds() == [("decision", "id-1"), ("outcome", "out-1")]


@pytest.mark.parametrize(("ago_s", "is_news"), [(0, True), (2, False)])
async def test_a_worker_that_was_held_up_takes_no_old_word_for_news(tmp_path, ago_s, is_news):
    client, first = RecorderClient(Meter(), ahead_s=1), Short(group(tmp_path), "a")
    await first.serves(client)
    writing = client.write(forwarded(1))
    client.flush()
    # It lay there, while the worker's loop did something else.
    first.line.send(wire.frame(wire.Ack(1, None, time.monotonic() - ago_s)))
    await writing
    following = client.write(forwarded(2))
    assert leads(client, following) is is_news
    client._timeout_s = 0.01
    await client.close()
    first.line.close()
    if is_news:
        await following


async def test_a_file_that_is_gone_meanwhile_is_no_gap(tmp_path):
    stand = group(tmp_path)
    recorder, client = await ahead(stand)
    gone = stand.state / "keys" / "ahead" / "boot" / "gone"
    recorder._post(lambda: recorder._ahead.take([gone]))
    await client.write(forwarded(1))
    await client.close()
    await recorder.close()
    assert [kind for kind, _ in stand.kinds()] == ["decision", "outcome"]


async def test_what_cannot_be_read_stays_and_is_told_once(tmp_path):
    stand = group(tmp_path)
    recorder, client = await ahead(stand)
    # Whoever reads it fails.
    (stand.state / "keys" / "ahead" / "boot" / ("a" * 32)).mkdir()
    for number in range(3):
        dying = await Dying.of(recorder, f"worker-{number}")
        await dying.says()
        dying.dies()
        await until(lambda: len(recorder.connections) == 1)
    await client.write(forwarded(1))
    await client.close()
    await recorder.close()
    assert [kind for kind, _ in stand.kinds()].count("gap") == 1


@pytest.mark.parametrize(
    "records",
    [
        [outcome(7)],
        [sample.told(1)],
        [forwarded(number) for number in range(GROUP_RECORDS_MAX + 200)],
    ],
    ids=["an outcome", "an event", "too many"],
)
async def test_what_no_worker_is_ahead_by_is_not_taken_from_its_spool(tmp_path, records):
    stand = group(tmp_path)
    recorder, client = await ahead(stand)
    dying = await Dying.of(recorder)
    await dying.says()
    dying.puts(1, said(1, forwarded(7)))
    for at, one in enumerate(range(0, len(records), 300)):
        dying.puts(2 + at, said(2 + at, *records[one : one + 300]))
    dying.dies()
    await until(lambda: "gap" in [kind for kind, _ in stand.kinds()])
    await until(lambda: "id-7" in stand.unknown())
    await client.close()
    await recorder.close()
    kinds = stand.kinds()
    assert len(kinds) == len({*kinds})
    assert all(kind != "admin" and id != "out-7" for kind, id in kinds)


async def test_one_record_twice_in_a_spool_stands_in_the_log_once(tmp_path):
    stand = group(tmp_path)
    recorder, client = await ahead(stand)
    dying = await Dying.of(recorder)
    await dying.says()
    for number in (1, 2):
        dying.puts(number, said(number, forwarded(1)))
    dying.dies()
    await until(lambda: stand.unknown() == ["id-1"])
    await client.close()
    await recorder.close()
    assert decisions(stand) == ["id-1"]


def test_who_has_more_refused_than_it_can_have_sent_takes_no_memory(tmp_path):
    fd = os.open(tmp_path / "spool", os.O_RDWR | os.O_CREAT, 0o600)
    kept = Kept(tmp_path / "spool", fd)
    for number in range(10 * REFUSED_MAX, 0, -1):
        kept.refuse(number)
        kept.refuse(number)
    assert len(kept._refused) == len(kept._in_refused) == REFUSED_MAX
    assert not kept.takes(10 * REFUSED_MAX)
    kept.left()


def test_a_frame_is_durable_when_all_before_it_are(tmp_path):
    fd = os.open(tmp_path / "spool", os.O_RDWR | os.O_CREAT, 0o600)
    kept = Kept(tmp_path / "spool", fd)
    kept.refuse(3)
    assert kept.written(5) == 2
    assert not kept.takes(4)
    assert kept.takes(3)
    assert kept.written(3) == 5
    kept.left()


def test_nobody_reads_a_spool_while_its_worker_has_it(tmp_path: Path):
    path = tmp_path / "spool"
    path.touch()
    theirs = Spool("spool", lent(path))
    with pytest.raises(BlockingIOError):
        lent(path)
    theirs.close()
    os.close(lent(path))


def take_room(fd: int, size: int) -> None:
    """Take room behind the end of a file, as some file systems do by themselves."""
    try:
        keep_size = ctypes.c_int(1)
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.fallocate(fd, keep_size, ctypes.c_long(0), ctypes.c_long(size)):
            pytest.skip("the file system takes no room ahead")
    except AttributeError:
        pytest.skip("not on this system")


def test_room_that_a_file_system_takes_ahead_ends_nobody(tmp_path):
    fd = os.open(tmp_path / "spool", os.O_RDWR | os.O_CREAT)
    kept = Kept(tmp_path / "spool", fd)
    os.pwrite(fd, b"x", SPOOL_BYTES_MAX - 1)
    take_room(fd, 64 * SPOOL_BYTES_MAX)

    before = kept.is_outgrown
    os.pwrite(fd, b"x", SPOOL_BYTES_MAX)
    assert (before, kept.is_outgrown) == (False, True)
    kept.left()


@pytest.mark.parametrize("how", ["long", "far", "behind"])
async def test_who_puts_more_into_its_spool_than_anybody_may_is_ended(tmp_path, how):
    stand = group(tmp_path)
    recorder, other = stand.recorder(), RecorderClient(Meter())
    await connect(recorder, other)
    one, its = socket.socketpair()
    recorder.connect("worker-1", its)
    spool = await met(one)
    assert spool is not None
    if how == "long":
        os.pwrite(spool._fd, bytes(SPOOL_BYTES_MAX + 1), 0)
    elif how == "far":
        os.pwrite(spool._fd, b"x", 1 << 40)
    else:
        # Room behind the end of the file, which its size does not tell.
        take_room(spool._fd, SPOOL_ROOM_MAX + SPOOL_BYTES_MAX)

    await until(lambda: bool(stand.stuck))
    await until(lambda: len(recorder.connections) == 1)
    spool.close()
    await until(lambda: len(files(stand)) == 1)
    await other.write(forwarded(1))
    one.close()
    await other.close()
    await recorder.close()

    assert stand.stuck[0] == "worker-1"
    assert decisions(stand) == ["id-1"]
