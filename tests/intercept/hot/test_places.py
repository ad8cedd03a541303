"""Places for requests: who finds none waits for one, in turn, and is refused only after long."""

import asyncio
import socket
import struct
from collections.abc import Callable
from functools import partial

import pytest

from sidecar.intercept.hot import limits
from sidecar.intercept.hot.peer.giving import WAIT
from sidecar.intercept.hot.places.room import Room
from tests.intercept.hot.hot_stand import Lost, Stand, answers, last, request
from tests.intercept.hot.test_room import BODIES, MIB, until

CHUNKED = b"POST /now HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


def of(who, target="/held"):
    return request(target, b"", f"X-Who: {who}", "Connection: close")


def room(stand):
    return stand.server._shared.room


def waiting(stand):
    return sum(len(share.waiting) for share in room(stand).waiting)


async def begun(stand, asked, count):
    """Send so many requests, one after the other, each over its own connection."""
    found = []
    for _ in range(count):
        before = len(stand.service.held) + waiting(stand)
        found.append(asyncio.ensure_future(stand.sent(asked)))
        await until(lambda: len(stand.service.held) + waiting(stand) > before)  # noqa: B023
    return found


async def give(stand, count):
    """Give so many answers, each once it is asked for."""
    for number in range(count):
        await until(lambda: len(stand.service.held) > number)  # noqa: B023 - waited for at once
        if not stand.service.held[number].done():
            stand.service.held[number].set_result(None)


async def test_who_finds_no_place_is_answered_once_there_is_one():
    stand = await Stand(in_flight_max=2).start()
    try:
        asked = await begun(stand, last("/held"), 12)
        assert (len(stand.service.held), waiting(stand)) == (2, 10)
        await give(stand, 12)

        assert await asyncio.gather(*asked) == [[(200, b"/held ")]] * 12
        assert (stand.service.refusals, room(stand).in_flight, waiting(stand)) == ([], 0, 0)
    finally:
        await stand.stop()


async def test_one_workload_does_not_have_all_places():
    stand = await Stand(in_flight_max=4).start()
    try:
        mine = await begun(stand, of("a"), 6)
        assert (len(stand.service.held), waiting(stand)) == (3, 3)
        # Another is answered meanwhile, as often as it asks.
        for _ in range(3):
            assert await stand.sent(of("b", "/now")) == [(200, b"/now ")]
        assert waiting(stand) == 3
        await give(stand, 6)

        assert await asyncio.gather(*mine) == [[(200, b"/held ")]] * 6
    finally:
        await stand.stop()


async def test_workloads_have_the_places_that_are_given_back_in_turns():
    stand = await Stand(in_flight_max=4).start()
    try:
        some = [*await begun(stand, of("a"), 3), *await begun(stand, of("b"), 1)]
        for who, count in (("b", 4), ("c", 1), ("d", 1)):
            some += await begun(stand, of(who), count)
        assert waiting(stand) == 6
        heads, order = stand.service.bodies, []
        for number in range(4):
            stand.service.held[number].set_result(None)
            await until(lambda: len(heads) == 5 + number)  # noqa: B023 - waited for at once
            order.append([len(share.waiting) for share in room(stand).waiting])
        # One of each in turn: b, c, d, and b again.
        assert order == [[1, 1, 3], [1, 3], [3], [2]]
        await give(stand, 10)
        await asyncio.gather(*some)
        assert room(stand).in_flight == 0
    finally:
        await stand.stop()


async def test_who_goes_away_while_it_waits_is_never_asked_about():
    stand = await Stand(in_flight_max=1).start()
    try:
        (first,) = await begun(stand, last("/held"), 1)
        _, gone = await stand.connect()
        gone.write(last("/now"))
        await until(lambda: waiting(stand) == 1)
        # Told by a reset: an end alone may be of one that has sent all.
        linger = struct.pack("ii", 1, 0)
        gone.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        gone.transport.abort()
        await until(lambda: not waiting(stand))
        await give(stand, 1)

        assert await first == [(200, b"/held ")]
        assert len(stand.service.bodies) == 1
        assert room(stand).in_flight == 0
    finally:
        await stand.stop()


def test_who_goes_away_before_it_begins_gives_its_place_to_the_next():
    begun: list[str] = []
    coming: list[Callable[[], None]] = []
    room = Room(1, MIB, coming.append)
    share = room.share_of("a")
    assert room.try_enter(share)
    for one in ("first", "second", "third"):
        room.wait(share, one, partial(begun.append, one))
    room.leave(share)
    room.withdraw(share, "first")
    room.withdraw(share, "third")
    for begin in coming:
        begin()

    assert begun == ["second"]
    assert (room.in_flight, share.count, [*room.waiting]) == (1, 1, [])
    room.withdraw(share, "second")
    assert room.in_flight == 1


@pytest.mark.parametrize("body", [b"", b"whole", bytes(2 * limits.SHORT_BODY_BYTES_MAX)])
async def test_who_has_waited_too_long_is_told_so_and_keeps_the_connection(monkeypatch, body):
    monkeypatch.setattr("sidecar.intercept.hot.limits.WAIT_S_MAX", 0.0)
    stand = await Stand(in_flight_max=1, body_s_max=0.04, body_bytes_max=MIB).start()
    reader, writer = await stand.connect()
    try:
        (first,) = await begun(stand, last("/held"), 1)
        writer.write(request("/now", body) * 2)
        told = await reader.readuntil(b"busy") + await reader.readuntil(b"busy")
        monkeypatch.undo()
        writer.write(last("/now", body))
        await until(lambda: waiting(stand) == 1)
        await give(stand, 1)

        assert answers(told) == [(429, b"busy")] * 2
        assert b"Connection: close" not in told
        assert b"Retry-After: 1\r\n" in told
        assert answers(await reader.read()) == [(200, b"/now " + body)]
        assert await first == [(200, b"/held ")]
        assert (room(stand).in_flight, room(stand).bytes) == (0, 0)
    finally:
        writer.close()
        await stand.stop()


@pytest.mark.parametrize(
    "half", [request("/now", b"half")[:-1], CHUNKED], ids=["half a body", "no chunk"]
)
async def test_half_a_request_holds_no_place(half):
    stand = await Stand(in_flight_max=1).start()
    _, writer = await stand.connect()
    try:
        writer.write(half)
        await until(lambda: stand.service.heads)
        assert await stand.sent(last("/now")) == [(200, b"/now ")]
    finally:
        writer.close()
        await stand.stop()


async def test_a_body_that_waits_is_counted_and_one_for_which_there_is_no_room_is_refused():
    half = 4 * limits.SHORT_BODY_BYTES_MAX
    stand = await Stand(in_flight_max=1, body_bytes_max=half, bodies_bytes_max=2 * half).start()
    try:
        (first,) = await begun(stand, last("/held"), 1)
        some = []
        for count in (1, 2):
            some.append(asyncio.ensure_future(stand.sent(last("/now", bytes(half)))))
            await until(lambda: room(stand).bytes == count * half)  # noqa: B023
        assert await stand.sent(last("/now", bytes(half))) == [(429, b"busy")]
        await give(stand, 1)

        assert await asyncio.gather(*some) == [[(200, b"/now " + bytes(half))]] * 2
        assert await first == [(200, b"/held ")]
        await until(lambda: not room(stand).bytes)
    finally:
        await stand.stop()


async def test_who_waits_when_we_end_is_answered():
    stand = await Stand(in_flight_max=1).start()
    asked = await begun(stand, request("/held"), 3)
    ending = asyncio.ensure_future(stand.server.drain(5.0))
    await give(stand, 3)

    assert await asyncio.gather(*asked) == [[(200, b"/held ")]] * 3
    await ending


async def test_who_waits_is_told_what_comes_of_its_own_record():
    stand = await Stand(in_flight_max=1).start()
    try:
        asked = await begun(stand, last("/held"), 3)
        stand.service.held[0].set_exception(Lost())
        await until(lambda: len(stand.service.held) == 2)
        stand.service.held[1].set_result(None)
        await until(lambda: len(stand.service.held) == 3)
        stand.service.held[2].set_exception(Lost())

        found = await asyncio.gather(*asked)
        assert [status for ((status, _),) in found] == [503, 200, 503]
        assert room(stand).in_flight == 0
    finally:
        await stand.stop()


async def test_our_own_mistake_with_one_that_waited_is_not_one_with_the_next():
    stand, told = await Stand(in_flight_max=3).start(), []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    try:
        first = await begun(stand, of("a"), 3)
        some = []
        for target in ("/mistake", "/now", "/mistake", "/now"):
            some.append(asyncio.ensure_future(stand.sent(last(target))))
            await until(lambda: waiting(stand) == len(some))
        for one in stand.service.held:
            one.set_result(None)

        assert [(await one)[0][0] for one in some] == [500, 200, 500, 200]
        assert await asyncio.gather(*first) == [[(200, b"/held ")]] * 3
        assert [type(one["exception"]) for one in told] == [ZeroDivisionError] * 2
        assert room(stand).in_flight == 0
    finally:
        await stand.stop()


async def test_our_own_mistake_with_one_that_is_late_is_not_the_last_look_at_the_others():
    stand, told = await Stand(in_flight_max=1, body_s_max=0.04).start(), []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    refuse = stand.service.refuse

    def wrong(refused, peer):
        stand.service.refuse = refuse
        raise ZeroDivisionError

    try:
        (first,) = await begun(stand, last("/held"), 1)
        some = await begun(stand, last("/now"), 2)
        stand.service.refuse = wrong
        for one in stand.server._shared.open:
            if one._mode == WAIT:
                one.deadline_s = 0.0
        found = await asyncio.wait_for(asyncio.gather(*some), 2)
        await give(stand, 1)

        assert sorted(status for ((status, _),) in found) == [429, 500]
        assert await first == [(200, b"/held ")]
        assert [type(one["exception"]) for one in told] == [ZeroDivisionError]
        assert room(stand).in_flight == 0
    finally:
        await stand.stop()


async def test_a_place_that_a_mistake_gave_back_is_not_given_back_by_the_record():
    stand = await Stand().start()
    try:
        (sending,) = await begun(stand, last("/held"), 1)
        (served,) = stand.server._shared.open
        served._mistake()
        assert room(stand).in_flight == 0
        await give(stand, 1)

        assert [status for status, _ in await sending] == [500]
        assert room(stand).in_flight == 0
    finally:
        await stand.stop()


@pytest.mark.parametrize("target", ["/later/mistake", "/held", "/steps/mistake"])
async def test_our_own_mistake_with_one_that_has_gone_gives_back_all_it_had(target, caplog):
    """Its place and the bytes of its body, which nobody else would give back."""
    stand, told = await Stand(**BODIES).start(), []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    _, writer = await stand.connect()
    try:
        writer.write(request(target).replace(b"h: 0", b"h: %d" % MIB) + bytes(MIB - 1))
        await until(lambda: room(stand).bytes == MIB - 1)
        (served,) = stand.server._shared.open
        served.abort()
        # Its last byte is read in the turn in which it goes.
        served.data_received(b"\0")
        assert room(stand).in_flight == 1
        await until(lambda: not stand.server._shared.open)
        stand.service.gate.set()
        for one in stand.service.held:
            one.set_exception(ZeroDivisionError())
        await until(lambda: not room(stand).in_flight)

        assert room(stand).bytes == 0
        assert "ZeroDivisionError" in caplog.text or told
    finally:
        writer.transport.abort()
        await stand.stop()
