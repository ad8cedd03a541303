"""Records of one stencil that are written at once are written as if one behind the other."""

import asyncio

import pytest

from sidecar.record.limits import FRAME_RECORDS_MAX, UNACKED_MAX
from sidecar.record.recorder.worker.client import RecorderClient
from sidecar.record.recorder.worker.link import Pending
from sidecar.terms.errors import RecordError
from sidecar.terms.record import MadeRecord
from sidecar.terms.words import CallId
from tests.record.stand_recorder import (
    Meter,
    Stand,
    connect,
    impatient,
    outcome,
    running,
    until,
)
from tests.record.test_stencils import TIME, made, stencil


def at_once(client: RecorderClient, records: list[MadeRecord]) -> Pending:
    """Return what is done when all of them are durable."""
    written = client.write_all(records)
    assert isinstance(written, Pending)
    return written


@pytest.mark.parametrize("durability", ["strict", "group"])
async def test_they_are_durable_together_and_stand_in_the_order_in_which_they_were_written(
    tmp_path, durability
):
    stand, of, other = Stand(tmp_path), stencil(), stencil("other")
    stand.durability = durability
    first, some, between, more = made(of), [made(of), made(of)], made(other), [made(of)]
    async with running(stand) as (_, client):
        waiting = [client.write(first), at_once(client, some), client.write(between)]
        waiting += [at_once(client, more), at_once(client, [made(other)])]
        client.flush()
        assert (client.waiting, client._number) == (6, 1)
        for one in waiting:
            await one
        size, meter = client.size, client._meter

    ids = [one.id for one in (first, *some, between, *more)]
    assert isinstance(meter, Meter)
    assert meter.ids[:5] == ids
    assert [id for _, id in stand.kinds()][:5] == ids
    assert size >= 6


async def test_one_that_waits_for_all_is_told_once_and_when_all_are_durable(tmp_path):
    told: list[object] = []
    async with running(Stand(tmp_path)) as (_, client):
        written = at_once(client, [made(stencil()) for _ in range(5)])
        written.add_done_callback(told.append)
        assert not written.done()
        await written

        assert told == [written]
        assert client.waiting == 0


async def test_what_is_held_goes_in_one_frame_once_it_is_let_go(tmp_path):
    stand, of = Stand(tmp_path), stencil()
    async with running(stand) as (_, client):
        client.hold()
        waiting = [client.write(made(of)), at_once(client, [made(of), made(of)])]
        assert client._number == 0
        client.flush()
        assert client._number == 1
        waiting.append(client.write(made(of)))
        for one in waiting:
            await one
        assert client._number == 2

    assert len(stand.kinds()) == 4


async def test_what_does_not_fit_is_to_be_written_one_by_one_and_counted_then(tmp_path):
    meter, of = Meter(), stencil()
    client = RecorderClient(meter, timeout_s=5.0)
    taken = [at_once(client, [made(of) for _ in range(256)]) for _ in range(UNACKED_MAX // 256)]
    assert all(taken)

    assert client.write_all([made(of)]) is None
    assert meter.refused == 0
    with pytest.raises(RecordError, match="too many"):
        _ = client.write(made(of))
    assert (meter.refused, client.waiting) == (1, UNACKED_MAX)
    with impatient(client):
        await client.close()
    await asyncio.sleep(0)
    assert all(isinstance(one.exception(), RecordError) for one in taken)
    assert client.write_all([made(of)]) is None


async def test_no_frame_holds_more_of_them_than_any_frame(tmp_path):
    stand, of = Stand(tmp_path), stencil()
    each = FRAME_RECORDS_MAX // 2 + 1
    async with running(stand) as (_, client):
        first = at_once(client, [made(of) for _ in range(each)])
        second = at_once(client, [made(of) for _ in range(each)])
        sizes = [len(sent.records) for sent in client._unacked.values()]
        await second

        assert (sizes, first.done()) == ([each], True)
    assert len(stand.kinds()) == 2 * each


@pytest.mark.parametrize(("id", "time"), [("short", TIME), ("", TIME), (None, TIME[:-1])])
async def test_what_has_another_form_is_to_be_written_by_itself(tmp_path, id, time):
    good = made(stencil())
    bad = MadeRecord(CallId(good.id if id is None else id), time, b"d" * 32, good.stencil)
    client = RecorderClient(Meter())

    assert client.write_all([good, bad]) is None
    assert client.waiting == 0


async def test_who_does_not_hear_in_time_is_refused_and_then_each_at_once(tmp_path):
    meter, of = Meter(), stencil()
    client = RecorderClient(meter, timeout_s=0.1)
    written = at_once(client, [made(of), made(of)])

    with pytest.raises(RecordError, match="in time"):
        await written
    assert client.write_all([made(of)]) is None
    assert (meter.refused, client.waiting) == (2, 0)


async def test_the_next_recorder_is_sent_all_of_them_and_they_stand_once(tmp_path):
    stand, of = Stand(tmp_path), stencil()
    client, first = RecorderClient(Meter()), stand.recorder()
    await connect(first, client)
    before, lost, after = ([made(of), made(of)] for _ in range(3))
    await at_once(client, before)
    link = client._link
    assert link is not None
    link._heard = lambda said: None
    # Durable, and its acknowledgement is lost with the recorder.
    writing = at_once(client, lost)
    await until(lambda: len(stand.kinds()) == 4)
    await first.close()
    behind = at_once(client, after)

    second = stand.recorder()
    await connect(second, client)
    await writing
    await behind
    await client.close()
    await second.close()

    assert [id for _, id in stand.kinds()] == [one.id for one in (*before, *lost, *after)]


async def test_those_that_are_forwarded_are_each_open_until_their_outcome(tmp_path):
    stand, of = Stand(tmp_path), stencil(opens=True)
    async with running(stand) as (recorder, client):
        recorder.complete()
        one, two = made(of), made(of)
        await at_once(client, [one, two])
        told = outcome(1)
        await client.write(type(told)(told.schema, told.id, one.id, told.time, told.result))
        for connection in recorder.connections:
            connection.cut()
        await until(lambda: bool(stand.unknown()))

    assert stand.unknown() == [two.id]
