"""`group`: what a worker answers for before the recorder has it is written, whoever dies."""

import asyncio
import errno
import math
import os
import socket
from struct import Struct

import pytest

from sidecar.record.disk import DISK
from sidecar.record.limits import AHEAD_RECORDS_MAX, SPOOL_BYTES_MAX
from sidecar.record.recorder import wire
from sidecar.record.recorder.ahead.kept import Kept
from sidecar.record.recorder.ahead.spool import Spool, entries, hand_over, raise_floor
from sidecar.record.recorder.ahead.spools import Spools
from sidecar.record.recorder.worker.client import RecorderClient
from sidecar.record.recorder.worker.leading import met
from sidecar.record.recorder.worker.link import item_of
from sidecar.terms.errors import RecordError
from sidecar.terms.record import Written
from tests.record import sample
from tests.record.faulty import FaultyDisk
from tests.record.stand_recorder import Meter, Stand, connect, forwarded, outcome, until

NEVER = 1e6


def group(tmp_path, io=DISK) -> Stand:
    stand = Stand(tmp_path, io)
    stand.durability = "group"
    return stand


def files(stand: Stand) -> list[str]:
    return [path.name for path in (stand.state / "keys" / "ahead").rglob("*") if path.is_file()]


def full(_number: int, name: str) -> int:
    return errno.ENOSPC if name == "write" else 0


def sound(_number: int, _name: str) -> int:
    return 0


def decisions(stand: Stand) -> list[str]:
    return sorted(id for kind, id in stand.kinds() if kind == "decision")


def said(number: int, *records) -> bytes:
    return bytes(wire.frame(wire.Write(number, 0, [item_of(record) for record in records])))


@pytest.fixture
def spool(tmp_path):
    fd = os.open(tmp_path / "spool", os.O_RDWR | os.O_CREAT, 0o600)
    one = Spool("spool", fd)
    yield one, fd
    one.close()


# --- the file ---


def test_what_was_put_is_found_in_its_order(spool):
    one, fd = spool
    assert [one.put(number, b"%d" % number) for number in (3, 4, 9)] == [True] * 3
    assert list(entries(fd)) == [b"3", b"4", b"9"]


def test_what_is_written_in_the_log_is_not_found_again(spool):
    one, fd = spool
    for number in (3, 4, 9):
        one.put(number, b"%d" % number)
    raise_floor(fd, 4)
    assert list(entries(fd)) == [b"9"]


def test_what_stands_behind_from_before_is_not_found(spool):
    one, fd = spool
    for number in range(1, 6):
        one.put(number, b"%d" % number)
    one.begin_anew()
    one.put(6, b"6")
    assert list(entries(fd)) == [b"6"]
    # Also where the entries of before begin where the next would.
    one.put(7, b"7")
    assert list(entries(fd)) == [b"6", b"7"]


@pytest.mark.parametrize("kept", range(1, 30))
def test_an_entry_that_was_not_written_to_its_end_is_none(spool, kept):
    one, fd = spool
    one.put(1, b"first")
    at = os.fstat(fd).st_size
    one.put(2, b"second entry")
    begin = at - Struct("<QI").size
    whole = os.fstat(fd).st_size - begin - Struct("<QI").size
    os.ftruncate(fd, begin + min(kept, whole - 1))
    assert list(entries(fd)) == [b"first"]


def test_a_full_one_takes_nothing_until_it_begins_anew(spool):
    one, fd = spool
    large = bytes(SPOOL_BYTES_MAX // 2)
    assert one.put(1, large)
    assert not one.put(2, large)
    assert one.put(3, b"small")
    assert list(entries(fd)) == [large, b"small"]
    one.begin_anew()
    assert one.put(4, large)
    assert list(entries(fd)) == [large]


@pytest.mark.parametrize(
    "data",
    [b"", bytes(15), bytes(16), bytes(64), b"\xff" * 64, b"{" * 4096, os.urandom(4096)],
    ids=["empty", "short", "nothing", "zeros", "ones", "text", "noise"],
)
def test_what_is_none_of_ours_gives_nothing(tmp_path, data):
    (tmp_path / "other").write_bytes(data)
    fd = os.open(tmp_path / "other", os.O_RDONLY)
    assert list(entries(fd)) == []
    os.close(fd)


def test_what_another_life_of_the_machine_left_is_removed(tmp_path):
    before = Spools(tmp_path / "ahead", "before", lambda count: "a" * 2 * count, makes=True)
    kept = before.make()
    assert kept.path is not None
    assert kept.path.exists()
    kept.left()
    Spools(tmp_path / "ahead", "after", lambda count: "b" * 2 * count, makes=True)
    assert not kept.path.exists()


@pytest.mark.parametrize("name", ["../ledger.key", "", "a/b", ".", "*", "a" * 32])
def test_nobody_removes_another_file_by_a_name(tmp_path, name):
    (tmp_path / "ledger.key").write_text("key")
    spools = Spools(tmp_path / "ahead", "boot", lambda count: "a" * 2 * count, makes=True)
    kept = spools.make()
    other = Kept(None, None)
    other.before = spools.named((name,), kept.names)
    spools.forget(other)
    assert (tmp_path / "ledger.key").exists()
    assert kept.path is not None
    assert kept.path.exists()
    kept.left()


# --- a worker and its recorder ---


async def ahead(stand: Stand, ahead_s: float = math.inf) -> tuple:
    recorder, client = stand.recorder(), RecorderClient(Meter(), ahead_s=ahead_s)
    await connect(recorder, client)
    recorder.complete()
    return recorder, client


async def test_a_decision_is_answered_before_it_is_acknowledged_and_stands_in_the_log(tmp_path):
    stand = group(tmp_path)
    recorder, client = await ahead(stand)
    writing = client.write(forwarded(1))
    assert leads(client, writing)
    await writing
    await client.write(outcome(1))
    await client.close()
    await recorder.close()
    assert stand.kinds() == [("decision", "id-1"), ("outcome", "out-1")]
    assert files(stand) == []


async def test_who_has_not_heard_of_the_recorder_lately_waits_for_it(tmp_path):
    stand = group(tmp_path)
    recorder, client = await ahead(stand, ahead_s=NEVER)
    writing = client.write(forwarded(1))
    assert not leads(client, writing)
    await writing
    assert leads(client, client.write(forwarded(2)))
    await client.close()
    await recorder.close()
    assert decisions(stand) == ["id-1", "id-2"]


async def test_in_strict_nobody_is_ahead(tmp_path):
    stand = Stand(tmp_path)
    recorder, client = await ahead(stand)
    assert not leads(client, client.write(forwarded(1)))
    await client.close()
    await recorder.close()
    assert files(stand) == []


async def test_what_others_act_upon_is_waited_for(tmp_path):
    stand = group(tmp_path)
    recorder, client = await ahead(stand)
    assert not leads(client, client.write(sample.told(1)))
    await client.close()
    await recorder.close()


async def test_so_many_records_are_the_most(tmp_path):
    stand = group(tmp_path)
    recorder, client = await ahead(stand)
    # Nobody hears the recorder meanwhile.
    told: list[object] = []
    for number in range(AHEAD_RECORDS_MAX + 8):
        client.write(forwarded(number)).add_done_callback(told.append)
        client.flush()
    ahead_now = [one for one in client._unacked.values() if one.is_ahead]
    assert len(ahead_now) == AHEAD_RECORDS_MAX
    await until(lambda: len(told) == AHEAD_RECORDS_MAX + 8)
    await client.close()
    await recorder.close()
    assert len(decisions(stand)) == AHEAD_RECORDS_MAX + 8


def leads(client: RecorderClient, writing: Written) -> bool:
    """Return whether what is written is answered for at once."""
    client.flush()
    return list(client._unacked.values())[-1].is_ahead


class Dying:
    """A worker that answers for records, and is killed before its socket has them."""

    def __init__(self, line: socket.socket, spool: Spool) -> None:
        self._line = line
        self._spool = spool

    @classmethod
    async def of(cls, recorder, name: str = "worker-7") -> "Dying":
        one, other = socket.socketpair()
        recorder.connect(name, one)
        spool = await met(other)
        assert spool is not None
        return cls(other, spool)

    async def says(self, *frames: bytes) -> None:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(self._line, wire.frame(wire.Hello()) + b"".join(frames))

    def puts(self, number: int, data: bytes) -> None:
        assert self._spool.put(number, data)

    def dies(self) -> None:
        self._spool.close()
        self._line.close()


async def test_what_never_came_by_the_socket_is_written_and_nobody_knows_its_outcome(tmp_path):
    stand = group(tmp_path)
    recorder, client = await ahead(stand)
    dying = await Dying.of(recorder)
    await dying.says(said(1, forwarded(1)))
    for number in (1, 2, 3):
        dying.puts(number, said(number, forwarded(number)))
    dying.dies()
    await until(lambda: len(stand.unknown()) == 3)
    await client.close()
    await recorder.close()
    assert decisions(stand) == [
        "id-1",
        "id-2",
        "id-3",
    ]
    assert sorted(stand.unknown()) == ["id-1", "id-2", "id-3"]
    assert files(stand) == []


async def test_when_recorder_and_worker_are_killed_the_next_recorder_writes_it(tmp_path):
    stand = group(tmp_path)
    recorder, client = await ahead(stand)
    dying = await Dying.of(recorder)
    await dying.says()
    dying.puts(1, said(1, forwarded(1)))
    dying.puts(2, said(2, forwarded(2), forwarded(3)))
    # The recorder is gone before it sees the worker go.
    left = (stand.state / "keys" / "ahead" / "boot").glob("*")
    copies = {path: path.read_bytes() for path in left}
    dying.dies()
    await client.close()
    await recorder.close()
    before = stand.kinds()
    for path, data in copies.items():
        path.write_bytes(data)

    recorder, client = await ahead(stand)
    await until(lambda: files(stand) == [recorder.connections[0].kept.name])
    await client.close()
    await recorder.close()
    # It stands there once, whichever of the two recorders came to write it.
    assert stand.kinds() == before
    assert decisions(stand) == ["id-1", "id-2", "id-3"]


async def test_it_waits_until_every_living_worker_has_said_which_is_its_own(tmp_path):
    stand = group(tmp_path)
    folder = stand.state / "keys" / "ahead" / "boot"
    folder.mkdir(parents=True)
    fd = os.open(folder / ("a" * 32), os.O_RDWR | os.O_CREAT, 0o600)
    Spool("a" * 32, fd).put(1, said(1, forwarded(1)))
    os.close(fd)
    recorder = stand.recorder()
    living = await Dying.of(recorder)
    recorder.complete()
    await asyncio.sleep(0.05)
    assert stand.kinds() == []
    await living.says()
    await until(lambda: stand.unknown() == ["id-1"])
    living.dies()
    await recorder.close()


async def test_a_worker_that_lives_on_brings_what_it_is_ahead_by_to_the_next_recorder(tmp_path):
    stand = group(tmp_path)
    folder, name = stand.state / "keys" / "ahead" / "boot", "a" * 32
    folder.mkdir(parents=True)
    client = RecorderClient(Meter(), ahead_s=math.inf)
    # A recorder that is killed before it has written anything.
    one, other = socket.socketpair()
    fd = os.open(folder / name, os.O_RDWR | os.O_CREAT, 0o600)
    hand_over(one, name, fd)
    os.close(fd)
    one.send(wire.frame(wire.Welcome(0, False, 1, (), "", is_group=True)))
    await client.attach(other)
    await client.write(forwarded(1))
    one.close()
    await until(lambda: not client.is_attached)

    second = stand.recorder()
    await connect(second, client)
    second.complete()
    await client.write(outcome(1))
    await until(lambda: files(stand) == [second.connections[0].kept.name])
    await client.close()
    await second.close()
    assert stand.kinds() == [("decision", "id-1"), ("outcome", "out-1")]


async def test_what_cannot_be_read_is_a_gap(tmp_path):
    stand = group(tmp_path)
    recorder, client = await ahead(stand)
    dying = await Dying.of(recorder)
    await dying.says()
    dying.puts(1, said(1, forwarded(1)))
    dying.puts(2, bytes(wire.frame(wire.Took(1))))
    dying.dies()
    await until(lambda: "gap" in [kind for kind, _ in stand.kinds()])
    await client.close()
    await recorder.close()
    (gap,) = [one for one in sample.records(stand.state) if one["kind"] == "gap"]
    assert (gap["reason"], gap["records_max"]) == ("ahead", AHEAD_RECORDS_MAX)
    assert stand.unknown() == ["id-1"]


async def test_a_disk_that_is_full_refuses_what_comes_and_keeps_what_was_answered(tmp_path):
    disk = FaultyDisk()
    stand = group(tmp_path, disk)
    recorder, client = await ahead(stand, ahead_s=NEVER)
    await client.write(forwarded(1))
    disk.fails = full
    await client.write(forwarded(2))
    await until(lambda: client.is_refusing)
    with pytest.raises(RecordError):
        await client.write(forwarded(3))
    # Its outcome does not stand before it, whatever the disk takes first.
    with pytest.raises(RecordError):
        await client.write(outcome(2))
    disk.fails = sound
    await until(lambda: not client.is_refusing)
    await client.close()
    await recorder.close()
    kinds = [one for one in stand.kinds() if one[1] in ("id-2", "out-2")]
    assert kinds == [("decision", "id-2"), ("outcome", "out-2")]


async def test_an_outcome_waits_for_its_decision_that_was_refused(tmp_path):
    disk = FaultyDisk()
    stand = group(tmp_path, disk)
    recorder, client = await ahead(stand)
    dying = await Dying.of(recorder)
    disk.fails = full
    await dying.says(said(1, forwarded(1)))
    # Its spool comes before it is one of the connections.
    await until(lambda: [one.kept._refused for one in recorder.connections[1:]] == [[1]])
    disk.fails = sound
    await dying.says(said(2, outcome(1)))
    await asyncio.sleep(0.05)
    assert stand.kinds() == []
    await dying.says(said(1, forwarded(1)), said(2, outcome(1)))
    await until(lambda: len(stand.kinds()) == 2)
    dying.dies()
    await client.close()
    await recorder.close()
    assert stand.kinds() == [("decision", "id-1"), ("outcome", "out-1")]
