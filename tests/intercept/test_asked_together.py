"""Equal questions of one turn are judged and recorded each by itself, over a recorder."""

import asyncio
import json
from contextlib import asynccontextmanager
from itertools import count

import msgspec
import pytest

from sidecar.policy.bundle import compile_bundle
from sidecar.record.inputs.again import Again
from sidecar.record.recorder.worker.client import RecorderClient
from tests.intercept.ask_stand import BUNDLE, POLICY
from tests.intercept.ask_stand import Stand as Listener
from tests.intercept.test_known import CALL, OneConnection
from tests.record import sample
from tests.record.stand_recorder import Meter, Stand, connect, impatient, until

COUNT = 6
WARM = 5


def evaluated(action):
    subject, resource = {"type": "service", "id": "gateway"}, {"type": "record", "id": "1"}
    asked = {"subject": subject, "action": {"name": action}, "resource": resource}
    return {"protocol": "authzen", "call": asked}


class Asking:
    """A listener over a recorder, and connections that have asked the same before."""

    def __init__(self, state):
        self.recording = Stand(state)
        self.client = RecorderClient(Meter(), timeout_s=5.0)
        self.listener = Listener(client=self.client)
        self.together = []
        self._write_all = self.client.write_all
        self.client.write_all = self._count  # type: ignore[method-assign]

    def _count(self, records):
        written = self._write_all(records)
        if written is not None:
            self.together.append(len(records))
        return written

    async def start(self, call):
        self.recorder = self.recording.recorder()
        await connect(self.recorder, self.client)
        # What is written to a Unix socket is there at once, so in one turn.
        await self.listener.start(self.recording.state)
        self.connections = [await self.connected(call) for _ in range(COUNT)]
        for _ in range(WARM):
            for one in self.connections:
                await one.ask()
        self.together.clear()
        return self

    async def connected(self, call):
        reader, writer = await self.listener.connect(unix=True)
        return OneConnection(self.listener, reader, writer, call)

    async def ask(self):
        """Have all of them ask in one turn; return their answers."""
        return await asyncio.gather(*(one.ask() for one in self.connections))

    async def stop(self):
        for one in self.connections:
            one.writer.close()
        await self.listener.stop()
        await self.client.close()
        await self.recorder.close()


@asynccontextmanager
async def asking(state, call=CALL, durability="strict"):
    found = Asking(state)
    found.recording.durability = durability
    await found.start(call)
    try:
        yield found
    finally:
        await found.stop()


@pytest.mark.parametrize("durability", ["strict", "group"])
async def test_each_has_an_id_and_a_record_of_its_own(tmp_path, durability):
    async with asyncio.timeout(8), asking(tmp_path, durability=durability) as all_:
        before = sum(all_.listener.runtime.outcomes.values())
        found = [*await all_.ask(), *await all_.ask()]
        ids = [one.json["id"] for one in found]

        assert {one.status for one in found} == {200}
        assert all_.together == [COUNT, COUNT]
        assert sum(all_.listener.runtime.outcomes.values()) == before + 2 * COUNT

    kept = {one["id"]: one for one in sample.records(tmp_path) if one["kind"] == "decision"}
    assert len(kept) == (WARM + 2) * COUNT
    assert len({kept[id]["input"]["digest"] for id in ids}) == len(set(ids)) == 2 * COUNT
    assert {json.loads(kept[id]["input"]["text"])["id"] for id in ids} == set(ids)


async def test_a_denial_is_one_for_each(tmp_path):
    async with asking(tmp_path, evaluated("erase")) as all_:
        found = await all_.ask()

        assert {(one.status, one.json["permitted"]) for one in found} == {(200, False)}
        assert all_.together == [COUNT]


async def test_what_asks_for_a_human_goes_by_itself(tmp_path):
    async with asking(tmp_path, evaluated("buy")) as all_:
        found = await all_.ask()

        assert {one.json["outcome"] for one in found} == {"step_up"}
        assert all_.together == []


async def test_who_was_revoked_is_refused_from_that_turn_on(tmp_path):
    async with asking(tmp_path) as all_:
        before = await all_.ask()
        all_.listener.revocations.parties.add("service:gateway")
        all_.listener.revocations.epoch += 1
        after = await all_.ask()

        assert {one.json["permitted"] for one in before} == {True}
        assert {(one.json["permitted"], one.json["reason"]) for one in after} == {
            (False, "revoked")
        }


async def test_another_bundle_is_asked_from_that_turn_on(tmp_path):
    async with asking(tmp_path) as all_:
        policy = POLICY.replace("id: get, effect: allow", "id: get, effect: deny")
        files = {"bundle.yaml": BUNDLE.encode(), "policies/records.yaml": policy.encode()}
        domains = all_.listener.bundle.domains
        all_.listener.bundle = compile_bundle(files, domains)
        after = [*await all_.ask(), *await all_.ask(), *await all_.ask()]

        assert {one.json["permitted"] for one in after} == {False}


async def test_who_is_revoked_between_what_came_and_the_end_of_the_turn_is_refused(tmp_path):
    async with asking(tmp_path) as all_:
        for one in all_.listener.listener._server._shared.open:
            one.data_received(one.last.raw)
        all_.listener.revocations.parties.add("service:gateway")
        all_.listener.revocations.epoch += 1
        # What is asked now comes behind it.
        found = await all_.ask()

        assert {(one.json["permitted"], one.json["reason"]) for one in found} == {
            (False, "revoked")
        }
        assert all_.together == []


async def test_they_wait_for_the_next_recorder_and_are_written_once(tmp_path):
    async with asking(tmp_path) as all_:
        # What the recorder acknowledges is not heard any more.
        all_.client._link._heard = lambda said: None
        waiting = asyncio.ensure_future(all_.ask())
        await until(lambda: len(all_.recording.kinds()) == (WARM + 1) * COUNT)
        assert all(not one._reader._buffer for one in all_.connections)
        await all_.recorder.close()
        all_.recorder = all_.recording.recorder()
        await connect(all_.recorder, all_.client)
        found = await waiting

        assert {one.status for one in found} == {200}
        ids = [one.json["id"] for one in found]

    kept = [id for _, id in all_.recording.kinds()]
    assert sorted(kept[-COUNT:]) == sorted(ids)
    assert len(kept) == len(set(kept))


async def test_a_mistake_in_one_of_them_is_not_in_the_others(tmp_path, monkeypatch):
    asked, comes_out = count(1), Again.comes_out

    def mistaken(self, *given):
        if next(asked) in {3, 4}:
            raise ZeroDivisionError
        return comes_out(self, *given)

    async with asking(tmp_path) as all_:
        before = len(all_.recording.kinds())
        monkeypatch.setattr(Again, "comes_out", mistaken)
        # The third of all of them, and then the first of each.
        found = await all_.ask()

        assert sorted(one.status for one in found) == [200] * (COUNT - 1) + [500]
        assert len(all_.recording.kinds()) == before + COUNT - 1


async def test_equal_questions_of_other_places_are_each_on_the_record_with_its_own(tmp_path):
    async with asking(tmp_path) as all_:
        places = ["127.0.0.1"] * 3
        for _ in places:
            reader, writer = await all_.listener.connect()
            all_.connections.append(OneConnection(all_.listener, reader, writer, CALL))
        for _ in range(WARM):
            for one in all_.connections:
                await one.ask()
        ids = [one.json["id"] for one in await all_.ask()]

    kept = {one["id"]: one["input"]["text"] for one in sample.records(tmp_path) if "outcome" in one}
    told = [json.loads(kept[id])["context"].get("ip") for id in ids]
    assert told == [None] * COUNT + places


async def test_where_there_is_no_recorder_each_is_refused_and_then_at_once(tmp_path):
    async with asking(tmp_path) as all_:
        await all_.recorder.close()
        # The alarm that stands is of what came before.
        all_.client._watch.stop()
        with impatient(all_.client):
            late = await all_.ask()
        assert all_.together == [COUNT]
        at_once = await all_.ask()
        assert all_.together == [COUNT]

        for found in (late, at_once):
            assert {(one.status, one.json["title"]) for one in found} == {(503, "record.lost")}
        assert all_.listener.runtime.refusals["record.lost", "unix"] == 2 * COUNT
        assert all_.client._meter.refused == 2 * COUNT
        all_.recorder = all_.recording.recorder()
        await connect(all_.recorder, all_.client)
        assert {one.status for one in await all_.ask()} == {200}


async def test_each_is_carried_by_itself_where_there_is_no_room_for_all(tmp_path, monkeypatch):
    async with asking(tmp_path) as all_:
        monkeypatch.setattr("sidecar.record.limits.UNACKED_MAX", COUNT - 2)
        found = await all_.ask()

        assert sorted(one.status for one in found) == [200] * (COUNT - 2) + [503] * 2
        assert all_.together == []


async def test_draining_answers_all_of_them(tmp_path):
    async with asking(tmp_path) as all_:
        waiting = asyncio.ensure_future(all_.ask())
        await until(lambda: bool(all_.together))
        await all_.listener.listener.drain(2.0)

        assert {one.status for one in await waiting} == {200}


async def test_what_one_asks_is_of_another_outcome_than_what_the_others_ask(tmp_path):
    async with asking(tmp_path) as all_:
        other = await all_.connected(evaluated("erase"))
        for _ in range(WARM):
            await other.ask()
        all_.connections.append(other)
        found = await all_.ask()

        assert [one.json["permitted"] for one in found] == [True] * COUNT + [False]
        assert all_.together == [COUNT]


@pytest.mark.parametrize("what", ["timed", "shadow"])
async def test_a_mistake_behind_the_records_has_none_of_them_carried_twice(tmp_path, caplog, what):
    def mistaken(*_given):
        msg = "our own"
        raise ZeroDivisionError(msg)

    async with asking(tmp_path) as all_:
        path = all_.listener.listener._path
        msgspec.structs.force_setattr(path, what, mistaken)
        found = [one for _ in range(5) for one in await all_.ask()]

        assert all_.together == [COUNT] * 5
        assert {one.status for one in found} == {200}
        assert "ZeroDivisionError" in caplog.text

    ids = [one["id"] for one in sample.records(tmp_path) if one["kind"] == "decision"]
    assert len(ids) == (WARM + 5) * COUNT
    assert {one.json["id"] for one in found} <= set(ids)
