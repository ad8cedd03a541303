"""Records that go through the recorder are durable once, whatever is killed or hangs meanwhile."""

import asyncio
import errno
import socket

import pytest

from sidecar.record.fold import revoke
from sidecar.record.limits import RECORD_BYTES_MAX, UNACKED_MAX
from sidecar.record.recorder import server, wire
from sidecar.record.recorder.ahead import spool
from sidecar.record.recorder.people import SUPERVISOR
from sidecar.record.recorder.worker.client import RecorderClient
from sidecar.terms.call import remembers
from sidecar.terms.errors import RecordError
from sidecar.terms.record import SideObject
from sidecar.terms.words import CallId
from tests.record import sample
from tests.record.faulty import FaultyDisk, HangingDisk
from tests.record.sample import TIME, told
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


async def test_what_is_written_in_one_turn_is_durable_together_and_in_order(tmp_path):
    stand = Stand(tmp_path)
    async with running(stand) as (_, client):
        await asyncio.gather(*(client.write(told(number)) for number in range(200)))

    assert sample.ids(tmp_path) == [f"id-{number}" for number in range(200)]
    assert stand.committed == 200


async def test_two_workers_write_one_log(tmp_path):
    stand = Stand(tmp_path)
    async with running(stand) as (recorder, client):
        other = RecorderClient(Meter())
        await connect(recorder, other, "worker-1")
        await asyncio.gather(
            *(one.write(told(n)) for n in range(50) for one in ((client, other)[n % 2],))
        )
        await other.close()

    assert sorted(sample.ids(tmp_path)) == sorted(f"id-{number}" for number in range(50))


async def test_a_lone_caller_waits_for_nobody_and_many_for_each_other(tmp_path, monkeypatch):
    gave_way: list[None] = []
    monkeypatch.setattr(server, "give_way", lambda: gave_way.append(None))
    async with running(Stand(tmp_path)) as (_, client):
        await client.write(told(0))
        before = len(gave_way)
        for number in range(1, 4):
            await client.write(told(number))
        assert len(gave_way) == before

        await asyncio.gather(*(client.write(told(number)) for number in range(4, 7)))
        assert len(gave_way) > before


async def test_a_record_that_is_too_large_is_refused_at_once(tmp_path):
    async with running(Stand(tmp_path)) as (_, client):
        with pytest.raises(RecordError, match="bytes"):
            await client.write(told(1, text="x" * RECORD_BYTES_MAX))


async def test_side_objects_are_durable_with_the_record(tmp_path):
    stand = Stand(tmp_path)
    one = SideObject(
        "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae", b"foo"
    )
    async with running(stand) as (_, client):
        await client.write(told(1), (one,))

    (file,) = (tmp_path / "inputs").iterdir()
    assert file.read_bytes().endswith(b"foo")


async def test_what_was_not_acknowledged_is_sent_again_and_written_once(tmp_path):
    stand = Stand(tmp_path)
    disk = HangingDisk()
    stand.io = disk
    recorder, client = stand.recorder(), RecorderClient(Meter())
    await connect(recorder, client)
    await client.write(told(0))
    # Frame 2 becomes durable, and its acknowledgement is lost with the recorder.
    link = client._link
    assert link is not None
    link._heard = lambda said: None
    before = asyncio.ensure_future(client.write(told(1)))
    await until(lambda: len(sample.ids(tmp_path)) == 2)
    await recorder.close()
    during = client.write(told(2))
    assert not before.done()

    again = stand.recorder()
    await connect(again, client)
    await asyncio.gather(before, during)
    await client.close()
    await again.close()

    assert sample.ids(tmp_path) == ["id-0", "id-1", "id-2"]


async def test_without_a_recorder_calls_wait_and_then_are_refused_at_once(tmp_path):
    stand = Stand(tmp_path)
    recorder, client = stand.recorder(), RecorderClient(Meter())
    await connect(recorder, client)
    await recorder.close()

    with impatient(client), pytest.raises(RecordError, match="in time"):
        await client.write(told(1))
    with pytest.raises(RecordError, match="does not answer"):
        await client.write(told(2))
    was_refusing = client.is_refusing

    again = stand.recorder()
    await connect(again, client)
    await client.write(told(3))
    assert (was_refusing, client.is_refusing) == (True, False)
    await client.close()
    await again.close()
    assert sample.ids(tmp_path) == ["id-3"]


async def test_what_nobody_waits_for_any_more_is_not_written(tmp_path):
    stand = Stand(tmp_path, disk := HangingDisk())
    async with running(stand) as (_, client):
        disk.free.clear()
        with impatient(client, 0.5):
            first = client.write(told(1))
            await asyncio.to_thread(disk.held.wait)
            second = client.write(told(2))
            came = await asyncio.gather(first, second, return_exceptions=True)
        disk.free.set()
        await until(lambda: not client.is_refusing)
        await client.write(told(3))

    assert [type(one) for one in came] == [RecordError, RecordError]
    # The first was on the disk already; nobody was told that it is.
    assert sample.ids(tmp_path) == ["id-1", "id-3"]


async def test_more_than_may_wait_is_refused_at_once(tmp_path):
    client, waiting = RecorderClient(Meter(), timeout_s=1.0), []
    for number in range(UNACKED_MAX):
        waiting.append(client.write(told(number)))
        if number % 64 == 0:
            await asyncio.sleep(0)

    with pytest.raises(RecordError, match="too many"):
        await client.write(told(UNACKED_MAX))

    with pytest.raises(RecordError, match="in time"):
        await waiting[-1]
    assert all(isinstance(one.exception(), RecordError) for one in waiting)
    assert client.waiting == 0


async def test_a_disk_that_takes_nothing_is_told_to_every_worker_and_so_is_its_end(tmp_path):
    stand = Stand(tmp_path, disk := FaultyDisk())
    async with running(stand) as (recorder, client):
        idle = RecorderClient(Meter())
        await connect(recorder, idle, "worker-1")
        disk.fails = lambda _, name: errno.ENOSPC if name in ("write", "open") else 0
        with pytest.raises(RecordError, match="cannot be made durable"):
            await client.write(told(1))
        await until(lambda: idle.is_refusing)
        disk.fails = lambda _, _name: 0
        await client.write(told(2))
        await until(lambda: not idle.is_refusing)
        await idle.close()

    assert sample.ids(tmp_path) == ["id-2"]


# --- outcomes ---


async def test_an_outcome_that_cannot_be_written_is_kept_and_nothing_new_is_permitted(tmp_path):
    stand = Stand(tmp_path, disk := FaultyDisk())
    async with running(stand) as (_, client):
        await client.write(forwarded(1))
        disk.fails = lambda _, name: errno.EIO if name in ("write", "open") else 0
        with pytest.raises(RecordError):
            await client.write(outcome(1))
        with pytest.raises(RecordError, match="outcomes of earlier calls"):
            await client.write(forwarded(2))
        disk.fails = lambda _, _name: 0
        await until(lambda: not client.is_refusing)
        await client.write(forwarded(3))
        await client.write(outcome(3))

    assert stand.kinds() == [
        ("decision", "id-1"),
        ("outcome", "out-1"),
        ("decision", "id-3"),
        ("outcome", "out-3"),
    ]


async def test_the_same_outcome_may_be_written_again_and_stands_once(tmp_path):
    stand = Stand(tmp_path)
    async with running(stand) as (_, client):
        await client.write(forwarded(1))
        await client.write(outcome(1))
        await client.write(outcome(1))

    assert stand.kinds() == [("decision", "id-1"), ("outcome", "out-1")]


async def test_what_a_dead_worker_had_under_way_is_closed_as_unknown(tmp_path):
    stand = Stand(tmp_path)
    async with running(stand) as (recorder, client):
        dead = RecorderClient(Meter())
        await connect(recorder, dead, "worker-1")
        await dead.write(forwarded(1))
        await dead.write(forwarded(2))
        await dead.write(outcome(2))
        await client.write(forwarded(3))
        await dead.close()
        await until(lambda: bool(stand.unknown()))
        assert stand.unknown() == ["id-1"]
        await client.write(outcome(3))

    assert stand.unknown() == ["id-1"]


async def test_a_recorder_started_anew_closes_what_no_living_worker_claims(tmp_path):
    stand = Stand(tmp_path)
    recorder, living, dead = stand.recorder(), RecorderClient(Meter()), RecorderClient(Meter())
    await connect(recorder, living)
    await connect(recorder, dead, "worker-1")
    await living.write(forwarded(1))
    await dead.write(forwarded(2))
    # Killed: it has no time to close anything.
    for connection in tuple(recorder.connections):
        connection.open.clear()
    await recorder.close()

    again = stand.recorder()
    await connect(again, living)
    assert stand.unknown() == []
    again.complete()
    await until(lambda: bool(stand.unknown()))
    await living.write(outcome(1))
    await living.close()
    await again.close()

    assert stand.unknown() == ["id-2"]


# --- what follows from records ---


async def test_a_revocation_is_acknowledged_when_every_worker_has_taken_it(tmp_path):
    async with running(Stand(tmp_path), SUPERVISOR) as (recorder, client):
        others = [RecorderClient(Meter()) for _ in range(3)]
        for number, other in enumerate(others):
            await connect(recorder, other, f"worker-{number + 1}")

        await client.write(revoke("agent:bot", "root", id=CallId("r"), time=TIME))

        assert all(one.revocations.is_revoked("agent:bot") for one in (client, *others))
        late = RecorderClient(Meter())
        await connect(recorder, late, "worker-9")
        assert late.revocations.is_revoked("agent:bot")
        for one in (late, *others):
            await one.close()


async def test_a_person_is_revoked_by_handle_in_the_log_and_by_name_in_force(tmp_path):
    stand = Stand(tmp_path)
    async with running(stand, SUPERVISOR) as (_, client):
        await client.write(revoke("user:alice", "root", id=CallId("r"), time=TIME))
        assert client.revocations.is_revoked("user:alice")
    assert b"alice" not in sample.segments(tmp_path)[0].read_bytes()

    async with running(stand, SUPERVISOR) as (_, client):
        assert client.revocations.is_revoked("user:alice")


async def test_a_worker_that_does_not_take_a_revocation_is_let_go_and_named(tmp_path):
    stand = Stand(tmp_path)
    async with running(stand, SUPERVISOR) as (recorder, client):
        one, deaf = socket.socketpair()
        recorder.connect("worker-1", one)

        await client.write(revoke("agent:bot", "root", id=CallId("r"), time=TIME))

        assert stand.stuck == ["worker-1"]
        with deaf:
            deaf.setblocking(False)
            while deaf.recv(65536):
                pass


# --- persons ---


async def test_handles_are_the_same_for_every_worker_and_after_a_restart(tmp_path):
    stand = Stand(tmp_path)
    async with running(stand) as (recorder, client):
        other = RecorderClient(Meter())
        await connect(recorder, other, "worker-1")
        first = await client.handles(["user:alice", "user:bob"])
        assert await other.handles(["user:bob", "user:alice"]) == first
        assert dict(client.known_handles()) == first
        await other.close()
    async with running(stand) as (_, client):
        assert await client.handles(["user:alice"]) == {"user:alice": first["user:alice"]}


async def test_a_forgotten_person_has_another_handle_everywhere(tmp_path):
    stand = Stand(tmp_path)
    async with running(stand) as (recorder, client):
        other = RecorderClient(Meter())
        await connect(recorder, other, SUPERVISOR)
        before = await client.handles(["user:alice"])

        assert await other.forget("user:alice") is True
        assert await other.forget("user:nobody") is False

        assert await client.handles(["user:alice"]) != before
        await other.close()


async def test_a_worker_that_asks_to_erase_somebody_is_ended_and_nobody_is(tmp_path):
    stand = Stand(tmp_path)
    async with running(stand) as (recorder, client):
        before = await client.handles(["user:alice"])
        asking = asyncio.ensure_future(client.forget("user:alice"))
        await until(lambda: stand.stuck == ["worker-0"])
        other = RecorderClient(Meter())
        await connect(recorder, other, "worker-1")

        assert await other.handles(["user:alice"]) == before
        asking.cancel()
        await other.close()
    assert "person_forgotten" not in [one.get("event") for one in sample.records(tmp_path)]


async def test_what_is_remembered_of_calls_goes_before_the_person_does(tmp_path):
    class Cache:
        def __init__(self):
            self.was_recorded = []
            remembers(self.forget)

        def forget(self):
            events = [one.get("event") for one in sample.records(tmp_path)]
            self.was_recorded.append("person_forgotten" in events)

    stand, cache = Stand(tmp_path), Cache()
    async with running(stand) as (recorder, client):
        other = RecorderClient(Meter())
        await connect(recorder, other, SUPERVISOR)
        await client.handles(["user:alice"])

        await other.forget("user:alice")

        # Once for each process, of which there is one here.
        assert cache.was_recorded == [False, False]
        await other.close()


# --- the group window ---


class Peer:
    """A recorder of which nothing is known but what it says."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def met_by(cls, client: RecorderClient) -> "Peer":
        one, other = socket.socketpair()
        spool.hand_over(one, "", None)
        attaching = asyncio.create_task(client.attach(other))
        peer = cls(*await asyncio.open_unix_connection(sock=one))
        peer.say(wire.Welcome(0, False, 0, (), "", is_group=True))
        await attaching
        assert isinstance(await peer.heard(), wire.Hello)
        return peer

    def say(self, said: wire.FromRecorder) -> None:
        self._writer.write(wire.frame(said))

    async def heard(self) -> wire.FromWorker:
        length = int.from_bytes(await self._reader.readexactly(4), "little")
        return wire.read_worker(await self._reader.readexactly(length))

    async def written(self) -> wire.Write:
        """Return the next records that are sent."""
        while not isinstance(said := await self.heard(), wire.Write):
            pass
        return said

    async def gone(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()


async def test_what_was_acknowledged_and_is_not_durable_is_sent_to_the_next_recorder(tmp_path):
    client = RecorderClient(Meter())
    first = await Peer.met_by(client)
    writing = client.write(forwarded(1))
    sent = await first.written()
    assert sent.until_us > 0
    first.say(wire.Ack(sent.number))
    await writing
    await first.gone()

    second = await Peer.met_by(client)
    again = await second.written()
    assert again.items == sent.items
    # It was acknowledged: there is no deadline after which it need not be written.
    assert again.until_us == 0
    for said in (wire.Ack(again.number), wire.Synced(again.number)):
        second.say(said)
    after = client.write(forwarded(2))
    last = await second.written()
    second.say(wire.Ack(last.number))
    await after
    await second.gone()

    third = await Peer.met_by(client)
    assert [item.id for item in (await third.written()).items] == ["id-2"]
    await client.close()
    await third.gone()


async def test_what_is_written_before_the_recorder_has_greeted_is_sent_once(tmp_path):
    client = RecorderClient(Meter())
    one, other = socket.socketpair()
    spool.hand_over(one, "", None)
    before = client.write(forwarded(1))
    attaching = asyncio.create_task(client.attach(other))
    peer = Peer(*await asyncio.open_unix_connection(sock=one))
    assert isinstance(await peer.heard(), wire.Hello)
    during = client.write(forwarded(2))

    sent = [await peer.written(), await peer.written()]
    peer.say(wire.Welcome(0, False, 0, (), ""))
    for write in sent:
        peer.say(wire.Ack(write.number))
    await asyncio.gather(attaching, before, during)

    assert [[item.id for item in write.items] for write in sent] == [["id-1"], ["id-2"]]
    await client.close()
    await peer.gone()


@pytest.mark.parametrize("durability", ["strict", "group"])
async def test_either_way_records_stand_once_and_in_order(tmp_path, durability):
    stand = Stand(tmp_path)
    stand.durability = durability
    async with running(stand) as (_, client):
        for turn in range(5):
            writes = [client.write(forwarded(10 * turn + number)) for number in range(10)]
            await asyncio.gather(*writes)
        await until(lambda: not client._unsynced)

    assert sample.ids(tmp_path) == [f"id-{number}" for number in range(50)]


async def test_in_group_what_others_act_upon_is_durable_when_it_is_acknowledged(tmp_path):
    stand = Stand(tmp_path)
    stand.durability = "group"
    async with running(stand, SUPERVISOR) as (recorder, client):
        await client.write(forwarded(1))
        await client.write(revoke("agent:bot", "root", id=CallId("r"), time=TIME))
        assert client.revocations.is_revoked("agent:bot")
        assert recorder._ledger.size == recorder._ledger.accepted


# --- the wire ---


@pytest.mark.parametrize(
    "garbage",
    [b"\xff" * 64, wire.frame(wire.Welcome(0, False, 0, (), "")), b"\x02\0\0\0{}"],
    ids=["too long", "what only a recorder says", "no msgpack"],
)
async def test_who_does_not_speak_the_language_is_cut_off(tmp_path, garbage):
    async with running(Stand(tmp_path)) as (recorder, client):
        one, stranger = socket.socketpair()
        recorder.connect("worker-1", one)
        reader, writer = await asyncio.open_unix_connection(sock=stranger)
        writer.write(garbage)

        await reader.read()

        await client.write(told(1))
        writer.close()
        await writer.wait_closed()

    assert sample.ids(tmp_path) == ["id-1"]


@pytest.mark.parametrize("size", [1, 2, 7, 4096])
def test_a_stream_is_cut_into_the_same_frames_however_it_arrives(size):
    said = [wire.Took(number) for number in range(20)] + [wire.Hello(("x" * 5000,))]
    stream = b"".join(map(wire.frame, said))
    frames = wire.Frames()

    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
    found = [wire.read_worker(body) for piece in pieces for body in frames.feed(piece)]

    assert found == said
