"""Batches have room of their own: many wait for each other, and nobody has all of it."""

import asyncio
from functools import partial

import pytest

from sidecar.intercept.hot.answers import Reply
from sidecar.intercept.hot.places.batches import Batches
from sidecar.intercept.hot.seam import Held, Refused
from sidecar.intercept.limits import LARGE_WAITING_MAX, READ_AT_ONCE_BYTES_MAX
from sidecar.record.limits import UNACKED_MAX
from sidecar.record.recorder.worker.link import Pending
from sidecar.terms.errors import EnvelopeError, RecordError
from tests.intercept.ask_stand import Stand
from tests.intercept.hot.test_room import until

CALL = {"protocol": "http", "call": {"method": "GET", "url": "http://api.test/things/1"}}


class Some:
    """Batches that are let in, in order, and end when they are told to."""

    def __init__(self, calls_max=8, wait_s_max=5.0):
        self.batches = Batches(calls_max, wait_s_max)
        self.let_in = []
        self.ends = {}

    async def _one(self, name, who, calls):
        async with self.batches.room(who, calls):
            self.let_in.append(name)
            await self.ends[name].wait()

    async def begin(self, name, who, calls):
        self.ends[name] = asyncio.Event()
        task = asyncio.ensure_future(self._one(name, who, calls))
        await settled()
        return task

    async def end(self, *names):
        for name in names:
            self.ends[name].set()
            await settled()


async def settled():
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_batch_waits_for_its_room_and_who_came_first_is_first():
    some = Some(calls_max=8)  # Of which one has six.
    tasks = [await some.begin(name, "a", 3) for name in "abcd"]
    assert some.let_in == ["a", "b"]
    await some.end("b")
    assert some.let_in == ["a", "b", "c"]
    await some.end("a", "c", "d")
    await asyncio.gather(*tasks)


async def test_one_workload_does_not_have_all_room():
    some = Some(calls_max=8)
    tasks = [await some.begin("big", "a", 500), await some.begin("more", "a", 1)]
    tasks.append(await some.begin("other", "b", 2))
    assert some.let_in == ["big", "other"]
    await some.end("big", "more", "other")
    await asyncio.gather(*tasks)


async def test_workloads_take_turns_and_the_next_is_not_passed_by_a_smaller_one():
    some = Some(calls_max=8)
    tasks = [await some.begin("a1", "a", 6), await some.begin("b1", "b", 2)]
    for name, calls in (("a2", 4), ("a3", 1), ("b2", 4), ("c1", 1)):
        tasks.append(await some.begin(name, name[0], calls))
    await some.end("b1")
    # Two are free: b is next and wants four.
    assert some.let_in == ["a1", "b1"]
    await some.end("a1")
    assert some.let_in == ["a1", "b1", "a2", "b2"]
    await some.end("b2")
    assert some.let_in[4:] == ["c1", "a3"]
    await some.end("a2", "a3", "c1")
    await asyncio.gather(*tasks)


async def test_who_waits_for_too_long_is_refused_and_holds_nothing():
    some = Some(calls_max=8, wait_s_max=0.01)
    first = await some.begin("a1", "a", 6)
    with pytest.raises(Refused) as refused:
        await (await some.begin("a2", "a", 1))
    assert refused.value.status == 429
    await some.end("a1")
    await first
    last = await some.begin("a3", "a", 6)
    assert some.let_in == ["a1", "a3"]
    await some.end("a3")
    await last


@pytest.mark.parametrize("is_let_in", [False, True])
async def test_who_is_cancelled_gives_back_what_it_has(is_let_in):
    some = Some(calls_max=8)
    first = await some.begin("a1", "a", 6)
    second = asyncio.ensure_future(some._one("a2", "a", 6))
    await settled()
    if is_let_in:
        # It has its room, and has not been told yet.
        some.batches._leave("a", 6)
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    if is_let_in:
        some.batches._held["a"] += 6
    await some.end("a1")
    await first
    assert not some.batches._held
    assert not some.batches._waiting


async def test_many_that_are_cancelled_at_once_leave_nothing_behind():
    some = Some(calls_max=8)
    tasks = [await some.begin(f"{who}{number}", who, 5) for who in "abc" for number in range(3)]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert not some.batches._held
    assert not some.batches._waiting


async def test_large_bodies_are_read_in_turn_and_each_says_what_it_comes_to(monkeypatch):
    monkeypatch.setattr("sidecar.intercept.hot.places.batches.READ_S_MAX", 0.0)
    batches, order = Batches(), []

    def reads(name, found):
        order.append(name)
        if isinstance(found, Exception):
            raise found
        return found

    async def coroutine():
        return Reply(203)

    async def beside():
        for _ in range(6):
            order.append("-")
            await asyncio.sleep(0)

    written = Pending()
    written.settle(None)
    told = asyncio.ensure_future(beside())
    asked = {
        "reply": Reply(201),
        "held": Held(written, Reply(202), lambda: order.append("given")),
        "coroutine": coroutine(),
        "refused": EnvelopeError("no"),
        "lost": RecordError("no"),
    }
    tasks = [
        asyncio.ensure_future(batches.later("a", partial(reads, name, found)))
        for name, found in asked.items()
    ]
    came = await asyncio.gather(*tasks, return_exceptions=True)
    await told

    assert [one.status for one in came if isinstance(one, Reply)] == [201, 202, 203]
    assert [type(one) for one in came[3:]] == [EnvelopeError, RecordError]
    assert [one for one in order if one in asked] == [*asked]
    assert all(
        "-" in order[order.index(before) : order.index(after)]
        for before, after in (("reply", "held"), ("held", "coroutine"))
    )


async def test_our_own_mistake_with_a_large_body_is_not_one_with_the_next():
    told, batches = [], Batches()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))

    def wrong():
        raise ZeroDivisionError

    found = await asyncio.gather(
        batches.later("a", wrong), batches.later("a", lambda: Reply(200)), return_exceptions=True
    )

    assert [type(one) for one in found] == [AssertionError, Reply]
    assert [type(one["exception"]) for one in told] == [ZeroDivisionError]


async def test_more_batches_than_the_recorder_takes_are_all_answered():
    stand = await Stand().start()
    try:
        count = UNACKED_MAX // 100 + 2
        asked = [stand.decide({"calls": [CALL] * 100}) for _ in range(count)]
        answers = await asyncio.gather(*asked)
        assert [answer.status for answer in answers] == [200] * count
    finally:
        await stand.stop()


async def test_a_large_envelope_is_decided_and_one_that_is_none_is_refused():
    stand = await Stand().start()
    large = {**CALL, "context": {"note": "x" * READ_AT_ONCE_BYTES_MAX}}
    try:
        assert (await stand.decide(large)).json["permitted"] is True
        assert (await stand.decide({"calls": [large]})).status == 200
        assert (await stand.decide({**large, "protocol": 1})).status == 400
    finally:
        await stand.stop()


async def test_of_large_batches_a_few_wait_read_and_others_do_not_wait_for_them(monkeypatch):
    monkeypatch.setattr("sidecar.intercept.hot.places.batches.READ_S_MAX", 0.0)
    batches, ends, read = Batches(calls_max=8), asyncio.Event(), []

    async def carried(who):
        async with batches.room(who, 6, is_large=True):
            await ends.wait()
            return Reply(200)

    def reads(who):
        read.append(who)
        return carried(who)

    tasks = [
        asyncio.ensure_future(batches.later(who, partial(reads, who)))
        for who in [*"a" * 2 * LARGE_WAITING_MAX, "b"]
    ]
    for _ in range(4 * LARGE_WAITING_MAX):
        await asyncio.sleep(0)
    # One has its room, and so many wait for it.
    assert LARGE_WAITING_MAX < read.count("a") <= LARGE_WAITING_MAX + 2
    assert read.index("b") == 1
    assert all(not task.done() for task in tasks)
    ends.set()

    assert {answer.status for answer in await asyncio.gather(*tasks)} == {200}
    assert len(read) == len(tasks)
    assert not +batches._large
    assert not batches._unread


@pytest.mark.parametrize("is_read", [False, True])
async def test_a_large_body_that_is_not_read_for_too_long_is_refused(is_read, monkeypatch):
    monkeypatch.setattr("sidecar.intercept.hot.places.batches.LARGE_WAITING_MAX", int(is_read))
    batches = Batches(wait_s_max=0.0)

    async def carried():
        raise AssertionError

    # It comes to a coroutine that nobody awaits: it is closed.
    with pytest.raises(Refused) as refused:
        await batches.later("a", carried)
    assert refused.value.status == 429
    assert not batches._unread


async def test_who_goes_away_before_its_large_body_is_read_leaves_nothing_behind():
    batches, read = Batches(), list[int]()

    def reads(number: int) -> Reply:
        read.append(number)
        return Reply(200)

    tasks = [
        asyncio.ensure_future(batches.later("a", partial(reads, number))) for number in range(3)
    ]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await settled()
    assert (read, [*batches._unread]) == ([], [])


@pytest.mark.parametrize("path", ["/v1/decide", "/access/v1/evaluations"])
async def test_large_batches_of_one_caller_wait_unread_and_are_all_answered(path, monkeypatch):
    monkeypatch.setattr("sidecar.intercept.hot.places.batches.READ_S_MAX", 0.0)
    stand = await Stand().start()
    stand.listener._batches = batches = Batches(calls_max=1)
    stand.ledger.gate.clear()
    note = {"note": "x" * READ_AT_ONCE_BYTES_MAX}
    evaluation = {
        "subject": {"type": "user", "id": "a"}, "action": {"name": "read"},
        "resource": {"type": "record", "id": "1"},
    }  # fmt: skip
    bodies = {
        "/v1/decide": {"calls": [{**CALL, "context": note}]},
        "/access/v1/evaluations": {"context": note, "evaluations": [evaluation]},
    }
    try:
        count = LARGE_WAITING_MAX + 8
        asked = [asyncio.ensure_future(stand.post(path, bodies[path])) for _ in range(count)]
        await until(lambda: batches._large["gateway"] == LARGE_WAITING_MAX)
        await until(lambda: batches._unread)
        stand.ledger.gate.set()

        assert [(await one).status for one in asked] == [200] * count
        assert not +batches._large
    finally:
        await stand.stop()
