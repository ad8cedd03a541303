"""Each permitted call has one outcome, whoever dies, hangs or is late; and frames stay small."""

import asyncio
import errno
import socket

import msgspec
import pytest

from sidecar.record import limits
from sidecar.record.recorder import wire
from sidecar.record.recorder.ahead import spool
from sidecar.record.recorder.stencils.numbers import Numbers
from sidecar.record.recorder.worker.client import RecorderClient
from sidecar.record.recorder.worker.link import item_of
from sidecar.terms.errors import RecordError
from sidecar.terms.record import SideObject
from sidecar.terms.words import CallId
from tests.record import sample
from tests.record.faulty import FaultyDisk, HangingDisk
from tests.record.sample import told
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
from tests.record.test_recorder import Peer


def outcomes(stand: Stand) -> list[tuple[str, str]]:
    """Return decision and result of every outcome."""
    found = sample.records(stand.state)
    return [(one["parent"], one["result"]) for one in found if one["kind"] == "outcome"]


async def raw(recorder, name: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect a worker of which nothing is known but what it sends."""
    one, other = socket.socketpair()
    recorder.connect(name, one)
    return await asyncio.open_unix_connection(sock=other)


def sent(number: int, *records) -> bytes:
    return bytes(wire.frame(wire.Write(number, 0, [item_of(record) for record in records])))


async def test_who_was_handed_in_is_heard_before_anything_is_nobodys(tmp_path):
    stand = Stand(tmp_path)
    recorder, worker = stand.recorder(), RecorderClient(Meter())
    await connect(recorder, worker)
    await worker.write(forwarded(1))
    # Killed: it has no time to close anything.
    for connection in tuple(recorder.connections):
        connection.open.clear()
    await recorder.close()

    again = stand.recorder()
    one, other = socket.socketpair()
    again.connect("worker-0", one)
    # The supervisor says both in one breath.
    again.complete()
    await worker.attach(other)
    await worker.write(outcome(1))
    await worker.close()
    await again.close()

    assert outcomes(stand) == [("id-1", "forwarded")]


async def test_an_outcome_of_which_the_acknowledgement_was_lost_is_not_owed_again(tmp_path):
    stand = Stand(tmp_path)
    recorder, worker = stand.recorder(), RecorderClient(Meter())
    await connect(recorder, worker)
    await worker.write(forwarded(1))
    link = worker._link
    assert link is not None
    link._heard = lambda said: None
    telling = worker.write(outcome(1))
    await until(lambda: outcomes(stand) == [("id-1", "forwarded")])
    await recorder.close()

    again = stand.recorder()
    await connect(again, worker)
    again.complete()
    await telling
    await worker.close()
    await until(lambda: not again.connections)
    await again.close()

    assert outcomes(stand) == [("id-1", "forwarded")]


async def test_a_worker_that_dies_behind_its_outcome_has_told_it(tmp_path):
    stand = Stand(tmp_path, disk := HangingDisk())
    async with running(stand) as (recorder, _):
        reader, writer = await raw(recorder, "worker-1")
        writer.write(wire.frame(wire.Hello()) + sent(1, forwarded(1)))
        await until(lambda: recorder.open_decisions == 1)
        disk.free.clear()
        writer.write(sent(2, outcome(1)))
        await asyncio.to_thread(disk.held.wait)
        writer.close()
        disk.free.set()
        await until(lambda: len(recorder.connections) == 1)
        await until(lambda: bool(outcomes(stand)))
        await reader.read()

    assert outcomes(stand) == [("id-1", "forwarded")]


async def test_an_outcome_that_could_not_be_written_and_whose_worker_is_dead_is_unknown(tmp_path):
    stand = Stand(tmp_path, disk := FaultyDisk())
    async with running(stand) as (recorder, _):
        _, writer = await raw(recorder, "worker-1")
        writer.write(wire.frame(wire.Hello()) + sent(1, forwarded(1)))
        await until(lambda: recorder.open_decisions == 1)
        disk.fails = lambda _, name: errno.EIO if name in ("write", "open") else 0
        writer.write(sent(2, outcome(1)))
        writer.close()
        await until(lambda: len(recorder.connections) == 1)
        disk.fails = lambda _, _name: 0
        await until(lambda: bool(outcomes(stand)))

    assert outcomes(stand) == [("id-1", "unknown")]


async def test_an_outcome_of_what_another_worker_owes_is_not_written(tmp_path):
    stand = Stand(tmp_path)
    async with running(stand) as (recorder, client):
        await client.write(forwarded(1))
        reader, writer = await raw(recorder, "worker-1")
        false = msgspec.structs.replace(outcome(1), id=CallId("false"))
        # Also behind what is its own.
        writer.write(wire.frame(wire.Hello()) + sent(1, forwarded(2)) + sent(2, outcome(2), false))
        await until(lambda: len(recorder.connections) == 1)
        await reader.read()
        writer.close()
        await client.write(outcome(1))

    assert stand.stuck[0] == "worker-1"
    assert sorted(outcomes(stand)) == [("id-1", "forwarded"), ("id-2", "unknown")]


async def test_an_outcome_of_what_another_worker_sends_in_this_turn_is_not_written(tmp_path):
    stand = Stand(tmp_path, disk := HangingDisk())
    async with running(stand) as (recorder, client):
        (_, other), (_, own) = await raw(recorder, "worker-1"), await raw(recorder, "worker-2")
        for one in (other, own):
            one.write(wire.frame(wire.Hello()))
        await until(lambda: all(one.has_greeted for one in recorder.connections[1:]))
        disk.free.clear()
        held = client.write(sample.told(0))
        await asyncio.to_thread(disk.held.wait)
        # Both are there when the disk has time again; who was handed in first is read first.
        other.write(sent(1, forwarded(1)))
        own.write(sent(1, outcome(1)))
        disk.free.set()
        await held
        await until(lambda: len(recorder.connections) == 2)
        other.close()
        own.close()

    assert stand.stuck[0] == "worker-2"
    assert outcomes(stand) == [("id-1", "unknown")]


async def test_who_told_an_outcome_that_a_disk_may_have_lost_still_calls_its_decision_its_own():
    client = RecorderClient(Meter())
    first = await Peer.met_by(client)
    for made, lasts in ((forwarded(1), True), (outcome(1), False), (forwarded(2), True)):
        writing = client.write(made)
        said = await first.written()
        first.say(wire.Ack(said.number))
        await writing
        if lasts and made.id == "id-1":
            first.say(wire.Synced(said.number))
    await first.gone()

    one, other = socket.socketpair()
    spool.hand_over(one, "", None)
    attaching = asyncio.create_task(client.attach(other))
    second = Peer(*await asyncio.open_unix_connection(sock=one))
    greeting = await second.heard()
    again = [await second.written() for _ in range(2)]
    second.say(wire.Welcome(0, False, 0, (), ""))
    second.say(wire.Synced(again[-1].number))
    await attaching
    await client.close()
    await second.gone()

    # Else a recorder would close it as unknown, and take what comes behind for a second outcome.
    assert isinstance(greeting, wire.Hello)
    assert set(greeting.open) == {"id-1", "id-2"}
    assert [one.items[0].id for one in again] == ["out-1", "id-2"]


async def test_a_decision_may_have_more_outcomes_than_one_of_its_worker(tmp_path):
    stand = Stand(tmp_path)
    async with running(stand) as (_, client):
        await client.write(forwarded(1))
        await client.write(outcome(1))
        await client.write(msgspec.structs.replace(outcome(1), id=CallId("more")))

    assert outcomes(stand) == [("id-1", "forwarded")] * 2
    assert not stand.stuck


async def test_an_outcome_in_the_turn_of_its_decision_is_its_workers(tmp_path):
    stand = Stand(tmp_path)
    async with running(stand) as (recorder, _):
        _, writer = await raw(recorder, "worker-1")
        writer.write(wire.frame(wire.Hello()) + sent(1, forwarded(1)) + sent(2, outcome(1)))
        await until(lambda: bool(outcomes(stand)))
        writer.close()

    assert outcomes(stand) == [("id-1", "forwarded")]
    assert not stand.stuck


async def test_what_was_closed_as_unknown_takes_no_other_outcome(tmp_path):
    stand = Stand(tmp_path)
    async with running(stand) as (recorder, client):
        _, writer = await raw(recorder, "worker-1")
        writer.write(wire.frame(wire.Hello()) + sent(1, forwarded(1)))
        await until(lambda: recorder.open_decisions == 1)
        writer.close()
        await until(lambda: bool(outcomes(stand)))
        await client.write(outcome(1))

    assert outcomes(stand) == [("id-1", "unknown")]


async def test_many_outcomes_that_nobody_can_tell_are_each_closed_once(tmp_path):
    stand, count = Stand(tmp_path), limits.FRAME_RECORDS_MAX + 10
    async with running(stand) as (recorder, client):
        dead = RecorderClient(Meter())
        await connect(recorder, dead, "worker-1")
        await asyncio.gather(*(dead.write(forwarded(number)) for number in range(count)))
        await dead.close()
        await until(lambda: len(stand.unknown()) >= count)
        await client.write(told(1))

    assert sorted(stand.unknown()) == sorted(f"id-{number}" for number in range(count))


async def test_a_disk_that_stalls_longer_than_anybody_waits_writes_each_outcome_once(tmp_path):
    stand = Stand(tmp_path, disk := HangingDisk())
    async with running(stand) as (_, client):
        await client.write(forwarded(1))
        disk.free.clear()
        with impatient(client):
            telling = client.write(outcome(1))
            await asyncio.to_thread(disk.held.wait)
            with pytest.raises(RecordError):
                await telling
        # Longer than it takes to send again what is late.
        await asyncio.sleep(2 * limits.OWED_EVERY_S)
        disk.free.set()
        await until(lambda: not client.is_refusing)

    assert stand.kinds() == [("decision", "id-1"), ("outcome", "out-1")]


async def test_what_is_sent_again_while_it_is_on_its_way_to_the_disk_is_written_once(tmp_path):
    stand = Stand(tmp_path, disk := HangingDisk())
    async with running(stand) as (recorder, client):
        reader, writer = await raw(recorder, "worker-1")
        disk.free.clear()
        writer.write(wire.frame(wire.Hello()) + sent(1, forwarded(1)) + sent(2, forwarded(1)))
        await until(lambda: bool(recorder._parked))
        disk.free.set()
        await until(lambda: not recorder._parked)
        await client.write(told(1))
        writer.close()
        frames = wire.Frames().feed((await reader.read())[spool.NAME_BYTES :])

    said = [wire.read_recorder(body) for body in frames]
    assert [one.number for one in said if isinstance(one, wire.Ack)] == [1, 2]
    assert [id for kind, id in stand.kinds() if kind == "decision"] == ["id-1"]


# --- frames and room ---


async def test_what_is_gathered_in_one_turn_goes_in_frames_that_the_recorder_takes(tmp_path):
    stand, text = Stand(tmp_path), "x" * (limits.RECORD_BYTES_MAX - 1024)
    async with running(stand, timeout_s=8) as (_, client):
        count = 3 * limits.GATHERED_BYTES_MAX // len(text)
        await asyncio.gather(*(client.write(told(number, text=text)) for number in range(count)))
        frames = client._number

    assert frames >= 3
    assert stand.stuck == []
    assert len(sample.ids(tmp_path)) == count


async def test_a_frame_is_sent_when_its_bytes_are_enough(tmp_path):
    client, one = RecorderClient(Meter()), SideObject("sha256:0", bytes(512 * 1024))
    count = limits.GATHERED_BYTES_MAX // len(one.data) + 2
    writing = [client.write(told(number), (one,)) for number in range(count)]
    await asyncio.sleep(0)

    sizes = [len(client._encoded(frame, Numbers())) for frame in client._unacked.values()]
    assert len(sizes) == 2
    assert max(sizes) < limits.GATHERED_BYTES_MAX + len(one.data) + 64 * 1024
    await client.close()
    await asyncio.gather(*writing, return_exceptions=True)


async def test_a_frame_is_sent_when_it_has_records_enough_that_go_over_whole(tmp_path):
    client = RecorderClient(Meter())
    writing = [client.write(told(number)) for number in range(limits.FRAME_WHOLE_MAX + 1)]
    sent = [len(frame.records) for frame in client._unacked.values()]
    await asyncio.sleep(0)

    assert sent == [limits.FRAME_WHOLE_MAX]
    assert [len(frame.records) for frame in client._unacked.values()] == [*sent, 1]
    with impatient(client):
        await client.close()
    await asyncio.gather(*writing, return_exceptions=True)


async def test_bytes_beyond_what_may_wait_are_refused_before_they_are_taken(tmp_path):
    client = RecorderClient(Meter(), timeout_s=1.0)
    one = SideObject("sha256:0", bytes(limits.OBJECT_BYTES_MAX))
    writing = [client.write(told(number), (one,)) for number in range(3)]

    with pytest.raises(RecordError, match="too many"):
        await client.write(told(3), (one,))

    writing.append(client.write(told(4)))
    failed = await asyncio.gather(*writing, return_exceptions=True)
    assert all(isinstance(one, RecordError) for one in failed)
    await client.close()


async def test_who_is_not_understood_is_told_to_be_stuck_so_that_another_is_started(tmp_path):
    stand = Stand(tmp_path)
    async with running(stand) as (recorder, _):
        reader, writer = await raw(recorder, "worker-1")
        writer.write(b"\xff" * 64)
        await reader.read()
        writer.close()

    assert stand.stuck == ["worker-1"]


async def test_a_worker_that_lets_go_of_the_recorder_is_named_so_that_it_is_ended(tmp_path):
    stand = Stand(tmp_path)
    async with running(stand) as (recorder, client):
        peer, other = socket.socketpair()
        recorder.connect("worker-1", peer)
        worker = RecorderClient(Meter())
        await worker.attach(other)
        link = worker._link
        assert link is not None
        # A frame that is too long is no frame: whoever is sent one hangs up.
        link.data_received((limits.WIRE_BYTES_MAX + 1).to_bytes(4, "little"))

        await until(lambda: stand.stuck == ["worker-1"])

        assert worker.is_refusing
        await client.write(told(1))
    assert stand.stuck == ["worker-1"]
