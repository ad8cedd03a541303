"""Requests that are known again go on together where they come in one turn, each for itself."""

import asyncio
import contextlib
from types import SimpleNamespace

import pytest

from sidecar.intercept.hot.peer.giving import BUSY
from tests.intercept.hot.hot_stand import Lost, Stand, answers, request
from tests.intercept.hot.test_connections import until

ASK = request("/together", b"question")
WRONG = "/together/mistake"


async def started(folder, **bounds):
    found = Stand(**bounds)
    found.unix = str(folder / "s")
    return await found.start(found.unix)


@pytest.fixture
async def stand(tmp_path):
    found = await started(tmp_path)
    yield found
    await found.stop()


class NotConnected(Exception):
    """What a socket says whose other end was reset."""


class Reset:
    """A transport that cannot end its side."""

    def __init__(self, transport):
        self._transport = transport

    def __getattr__(self, name):
        return getattr(self._transport, name)

    def write_eof(self):
        raise NotConnected


class Callers:
    """Connections that have asked before, so that what they ask is known."""

    def __init__(self, stand, asks):
        self.stand = stand
        self.asks = asks
        self.streams = []
        # The other ends.
        self.served = []

    async def known(self):
        connections = self.stand.server._shared.open
        for ask in self.asks:
            reader, writer = await connect(self.stand)
            self.streams.append((reader, writer))
            for _ in range(2):
                writer.write(ask)
                await reader.readuntil(b" question")
            self.served += [one for one in connections if one not in self.served]
        self.stand.service.asked_many.clear()
        self.stand.service.bodies.clear()
        self.stand.service.turns = 0
        return self

    def ask(self):
        """Have all of them ask before the server reads."""
        for (_, writer), ask in zip(self.streams, self.asks, strict=True):
            writer.write(ask)

    async def held(self):
        await until(lambda: self.stand.service.held)
        (found,) = self.stand.service.held
        return found

    def close(self):
        for _, writer in self.streams:
            writer.close()


@contextlib.asynccontextmanager
async def callers(stand, count=4, asks=None):
    found = Callers(stand, asks or [ASK] * count)
    try:
        yield await found.known()
    finally:
        found.close()


def in_flight(stand):
    shared = stand.server._shared
    return shared.room.in_flight, sum(share.count for share in shared.room._shares.values())


async def connect(stand):
    """Connect by a Unix socket: what is written there is there at once, so in one turn."""
    return await asyncio.open_unix_connection(stand.unix)


async def one(reader):
    """Return the next answer: its status, its head, its body of one digit."""
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    length = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
    return int(head[9:12]), head, await reader.readexactly(length)


async def test_each_is_answered_by_itself_once_all_are_on_the_record_and_not_before(stand):
    async with callers(stand) as some:
        some.ask()
        held = await some.held()
        await asyncio.sleep(0.01)
        assert in_flight(stand) == (4, 4)
        assert all(not reader._buffer for reader, _ in some.streams)
        assert stand.service.given == []

        held.set_result(None)
        got = [await one(reader) for reader, _ in some.streams]

        assert [(status, body) for status, _, body in got] == [
            (200, b"0"), (200, b"1"), (200, b"2"), (200, b"3")
        ]  # fmt: skip
        assert {head for _, head, _ in got} == {got[0][1]}
        assert (stand.service.asked_many, stand.service.given) == ([4], [4])
        assert (in_flight(stand), stand.service.turns) == ((0, 0), 1)


async def stepped(stand, targets):
    """Have each of these asked for the first time in one turn, and return the answers."""
    streams = [await connect(stand) for _ in targets]
    for _, writer in streams:
        # So the head of what follows is all that is new.
        writer.write(request("/now", b"x"))
    for reader, _ in streams:
        await one(reader)
    stand.service.turns = 0
    for (_, writer), target in zip(streams, targets, strict=True):
        writer.write(request(target, b"x"))
    got = [await one(reader) for reader, _ in streams]
    for _, writer in streams:
        writer.close()
    return [(status, body) for status, _, body in got]


async def test_new_ones_take_each_step_together(stand):
    got = await stepped(stand, ["/steps"] * 4)

    assert got == [(200, b"/steps x")] * 4
    assert stand.service.steps == [*[0] * 4, *[1] * 4, *[2] * 4]
    assert (in_flight(stand), stand.service.turns) == ((0, 0), 1)


async def test_of_many_new_ones_half_go_before_the_others_and_are_sent(tmp_path):
    many = {"connections_max": 32, "peer_connections_max": 32, "in_flight_max": 64}
    stand = await started(tmp_path, **many)
    got = await stepped(stand, ["/steps"] * 24)

    assert got == [(200, b"/steps x")] * 24
    groups = [12, 12]
    assert stand.service.steps == [
        step for count in groups for step in range(3) for _ in range(count)
    ]
    assert (in_flight(stand), stand.service.turns) == ((0, 0), len(groups))
    await stand.stop()


async def test_a_mistake_in_a_step_of_one_is_not_the_others(stand, caplog):
    stand.service.gate.set()
    targets = [
        "/steps", "/steps/mistake", "/steps/lost", "/steps/later", "/steps/mistake", "/steps",
    ]  # fmt: skip

    got = await stepped(stand, targets)

    assert got == [
        (200, b"/steps x"), (500, b"internal"), (503, b"lost"), (200, b"/steps/later x"),
        (500, b"internal"), (200, b"/steps x"),
    ]  # fmt: skip
    # What was judged in a turn is recorded in it: whatever is heard in between is news for it.
    assert (in_flight(stand), stand.service.turns) == ((0, 0), 1)
    assert "ZeroDivisionError" in caplog.text


async def test_a_new_one_whose_caller_goes_away_meanwhile_gives_its_room_back(stand, caplog):
    for target in ("/steps", "/steps/mistake"):
        async with callers(stand, 1, [request("/together", b" question")]) as some:
            (served,) = some.served
            served.abort()
            served.data_received(request(target, b"x"))
            await until(lambda: in_flight(stand) == (0, 0))
    assert len(stand.service.steps) == 6


async def test_one_by_itself_is_asked_by_itself(stand):
    async with callers(stand, 1) as some:
        some.ask()

        assert (await one(some.streams[0][0]))[2] == b"/together question"
        assert (stand.service.asked_many, stand.service.turns) == ([], 1)


async def test_those_that_do_not_go_together_are_asked_by_themselves(stand):
    stand.service.at_a_time = 0
    async with callers(stand) as some:
        some.ask()
        got = [await one(reader) for reader, _ in some.streams]

        assert {body for _, _, body in got} == {b"/together question"}
        assert (stand.service.asked_many, len(stand.service.bodies)) == ([4], 4)


async def test_what_is_left_of_them_goes_on_in_the_same_turn(stand):
    stand.service.at_a_time = 2
    async with callers(stand, 5) as some:
        some.ask()
        await until(lambda: len(stand.service.held) == 2)
        for held in reversed(stand.service.held):
            held.set_result(None)
        got = [(await one(reader))[2] for reader, _ in some.streams]

        assert got == [b"0", b"1", b"2", b"3", b"/together question"]
        assert (stand.service.asked_many, stand.service.turns) == ([5, 3], 1)


async def test_those_of_others_and_those_that_differ_go_by_themselves(stand):
    other, another = request("/together", b"question", "X-Who: b"), request("/now", b"question")
    async with callers(stand, asks=[ASK, ASK, other, other]) as some:
        some.ask()
        await until(lambda: len(stand.service.held) == 2)
        for held in stand.service.held:
            held.set_result(None)
        got = [(await one(reader))[2] for reader, _ in some.streams]

        assert (got, stand.service.asked_many) == ([b"0", b"1", b"2", b"3"], [2, 2])
        some.streams[0][1].write(another)
        assert (await one(some.streams[0][0]))[2] == b"/now question"


async def test_where_the_record_is_lost_each_is_refused_and_may_ask_again(stand):
    async with callers(stand) as some:
        some.ask()
        (await some.held()).set_exception(Lost())
        got = [await one(reader) for reader, _ in some.streams]
        assert {(status, body) for status, _, body in got} == {(503, b"lost")}
        assert stand.service.refusals == ["lost"] * 4
        assert (stand.service.given, in_flight(stand)) == ([], (0, 0))

        stand.service.held.clear()
        some.ask()
        (await some.held()).set_result(None)
        assert {(await one(reader))[0] for reader, _ in some.streams} == {200}


async def test_who_goes_away_meanwhile_costs_nobody_anything(stand):
    async with callers(stand) as some:
        some.ask()
        held = await some.held()
        some.served[1].abort()
        await until(lambda: len(stand.server._shared.open) == 3)
        held.set_result(None)
        got = [(await one(some.streams[at][0]))[2] for at in (0, 2, 3)]

        assert got == [b"0", b"2", b"3"]
        assert (in_flight(stand), stand.service.given) == ((0, 0), [4])


async def test_who_goes_away_before_the_turn_ends_has_its_record_all_the_same(stand):
    async with callers(stand) as some:
        some.served[0].abort()
        for each in some.served:
            each.data_received(ASK)
        (await some.held()).set_result(None)
        for reader, _ in some.streams[1:]:
            assert (await one(reader))[0] == 200

        await until(lambda: in_flight(stand) == (0, 0))


async def test_what_is_sent_ahead_waits_for_its_turn_and_is_answered_in_order(stand):
    async with callers(stand) as some:
        some.ask()
        held = await some.held()
        reader, writer = some.streams[0]
        writer.write(request("/now", b"1") + request("/now", b"2"))
        await asyncio.sleep(0.01)
        assert not reader._buffer
        held.set_result(None)

        assert [(await one(reader))[2] for _ in range(3)] == [b"0", b"/now 1", b"/now 2"]
        assert (await one(some.streams[1][0]))[2] == b"1"


async def test_who_sends_many_at_once_has_one_of_them_in_a_turn(stand):
    async with callers(stand) as some:
        some.streams[0][1].write(ASK * 20)
        for _, writer in some.streams[1:]:
            writer.write(ASK)
        await until(lambda: stand.service.held)
        for held in stand.service.held:
            held.set_result(None)

        for reader, _ in some.streams:
            assert (await one(reader))[0] == 200
        assert max(stand.service.asked_many) <= 4


async def test_who_says_no_more_is_answered_and_then_the_connection_ends(stand):
    async with callers(stand) as some:
        some.ask()
        some.streams[2][1].write_eof()
        held = await some.held()
        await asyncio.sleep(0.01)
        held.set_result(None)

        status, head, body = await one(some.streams[2][0])
        assert (status, body, b"Connection: close" in head) == (200, b"2", True)
        assert await some.streams[2][0].read() == b""
        assert b"Connection: close" not in (await one(some.streams[3][0]))[1]


async def test_draining_answers_them_and_ends_each_connection(stand):
    async with callers(stand) as some:
        some.ask()
        held = await some.held()
        draining = asyncio.ensure_future(stand.server.drain(5.0))
        await asyncio.sleep(0.01)
        held.set_result(None)
        for reader, _ in some.streams:
            assert b"Connection: close" in (await one(reader))[1]
            assert await reader.read() == b""
        await draining


@pytest.mark.parametrize("more", ["X-Request-ID: mine", "Connection: close"])
async def test_what_an_answer_has_besides_is_that_of_its_own_request(stand, more):
    special = request("/together", b"question", more)
    async with callers(stand, 2) as some:
        reader, writer = await connect(stand)
        if more.startswith("X"):
            for _ in range(2):
                writer.write(special)
                await one(reader)
        some.ask()
        writer.write(special)
        await until(lambda: stand.service.held)
        for held in stand.service.held:
            held.set_result(None)

        assert more.encode() in (await one(reader))[1]
        for each, _ in some.streams:
            assert more.encode() not in (await one(each))[1]
        writer.close()


async def test_who_finds_no_place_goes_on_together_with_the_others_that_waited(tmp_path):
    stand = await started(tmp_path, in_flight_max=2)
    try:
        async with callers(stand) as some:
            some.ask()
            (await some.held()).set_result(None)
            await until(lambda: len(stand.service.held) == 2)
            assert in_flight(stand) == (2, 2)
            stand.service.held[1].set_result(None)
            got = [(await one(reader))[0] for reader, _ in some.streams]

            assert got == [200] * 4
            assert (stand.service.asked_many, in_flight(stand)) == ([2, 2], (0, 0))
    finally:
        await stand.stop()


async def test_our_own_mistake_with_all_of_them_is_not_one_with_each(stand, caplog):
    wrong = request(WRONG, b"question")
    async with callers(stand, asks=[wrong, wrong, wrong, ASK, ASK]) as some:
        stand.service.mistakes[WRONG] = True
        some.ask()
        (await some.held()).set_result(None)
        got = [await one(reader) for reader, _ in some.streams]

        assert [status for status, _, _ in got] == [500, 200, 200, 200, 200]
        assert [body for _, _, body in got[2:]] == [b"/together/mistake question", b"0", b"1"]
        assert in_flight(stand) == (0, 0)
    assert "ZeroDivisionError" in caplog.text


async def test_our_own_mistake_gives_back_the_room_of_who_went_away_meanwhile(stand, caplog):
    wrong = request(WRONG, b"question")
    async with callers(stand, asks=[wrong, wrong]) as some:
        stand.service.mistakes[WRONG] = True
        some.served[0].abort()
        for each in some.served:
            each.data_received(wrong)

        assert (await one(some.streams[1][0]))[0] == 200
        assert in_flight(stand) == (0, 0)
    assert "ZeroDivisionError" in caplog.text


async def test_a_mistake_behind_the_answer_gives_its_room_back_once(stand, caplog):
    stand.service.at_a_time = 0
    async with callers(stand, 2) as some:
        for each in some.served:
            each._transport = Reset(each._transport)
            each.data_received(ASK)
            each.data_received(b"no request\r\n\r\n")
        await until(lambda: not stand.server._shared.turn._came)
        await until(lambda: caplog.text.count("NotConnected") >= 2)

        assert in_flight(stand) == (0, 0)


async def test_a_mistake_before_any_of_them_keeps_nobody_waiting(stand, caplog):
    async with callers(stand, 2) as some:
        # No turn is over that was not begun, which is a second mistake.
        stand.service.turning = {}.popitem
        stand.service.turned = {}.popitem
        for _ in range(2):
            some.ask()
            (await some.held()).set_result(None)
            assert {(await one(reader))[0] for reader, _ in some.streams} == {200}
            stand.service.held.clear()
    assert "KeyError" in caplog.text


async def test_a_mistake_in_counting_them_ends_all_of_them(stand, caplog):
    async with callers(stand) as some:
        stand.service.given = SimpleNamespace(append={}.pop)
        some.ask()
        (await some.held()).set_result(None)

        for reader, _ in some.streams:
            assert answers(await reader.read()) == [(500, b"internal")]
        assert in_flight(stand) == (0, 0)
    assert "KeyError" in caplog.text


async def test_a_mistake_in_giving_one_does_not_keep_the_others_waiting(stand, caplog):
    async with callers(stand) as some:
        some.ask()
        held = await some.held()
        first = next(one for one in stand.server._shared.open if one._mode == BUSY)
        first._finish = None
        first._is_ended = True
        held.set_result(None)
        got = [await one(reader) for reader, _ in some.streams]

        assert sorted(status for status, _, _ in got) == [200, 200, 200, 500]
        assert in_flight(stand) == (0, 0)
    assert "not callable" in caplog.text


async def test_who_was_answered_may_say_nothing_for_as_long_as_any(stand):
    async with callers(stand) as some:
        some.ask()
        held = await some.held()
        assert {one.deadline_s for one in stand.server._shared.open} == {float("inf")}
        held.set_result(None)
        for reader, _ in some.streams:
            await one(reader)

        shared = stand.server._shared
        left = [one.deadline_s - shared.now_s() for one in shared.open]
        assert all(0 < each <= shared.bounds.idle_s_max for each in left)


async def test_who_does_not_take_its_answers_is_cut_and_the_others_are_not(stand):
    async with callers(stand) as some:
        some.ask()
        held = await some.held()
        slow = next(iter(stand.server._shared.open))
        slow.pause_writing()
        held.set_result(None)
        for reader, _ in some.streams:
            assert (await one(reader))[0] == 200

        until_s = {one: one.deadline_s for one in stand.server._shared.open}
        assert until_s.pop(slow) > max(until_s.values())
        slow.resume_writing()
        assert in_flight(stand) == (0, 0)
