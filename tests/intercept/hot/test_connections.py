"""Connections of the raw HTTP edge: order, bounds, deadlines, ends."""

import asyncio
import contextlib
import os

import pytest

from sidecar.intercept.hot.limits import TURNS_MAX
from tests.intercept.hot.hot_stand import Lost, Stand, answers, last, request

CHUNKED = b"POST /now HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
async def stand():
    found = await Stand().start()
    yield found
    await found.stop()


async def until(condition):
    """Wait for what the loop is about to do."""
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it did not come to be")


async def test_a_request_is_answered(stand):
    assert await stand.sent(last("/now", b"body")) == [(200, b"/now body")]


async def test_who_is_at_the_other_end_is_known_from_the_kernel(tmp_path):
    stand = await Stand().start(tmp_path / "s")
    try:
        await stand.sent(last())
        reader, writer = await asyncio.open_unix_connection(tmp_path / "s")
        writer.write(last())
        await reader.read()
        writer.close()
    finally:
        await stand.stop()

    over_tcp, over_unix = stand.service.peers
    assert (over_tcp.source, over_tcp.ip, over_tcp.here) == ("tcp", "127.0.0.1", "127.0.0.1")
    assert (over_unix.source, over_unix.uid, over_unix.ip) == ("unix", os.getuid(), None)


async def test_a_head_is_admitted_once_and_what_was_refused_is_refused_again(stand):
    assert len(await stand.sent(request() + request() + last())) == 3
    assert len(await stand.sent(request("/nowhere") * 2 + last())) == 3

    targets = [head.target for head in stand.service.heads]
    assert targets == ["/now", "/now", "/nowhere", "/nowhere"]


async def test_the_same_request_again_is_a_request_of_its_own_and_another_is_another(stand):
    reader, writer = await stand.connect()
    sent = ["/now/a", "/now/a", "/now/b", "/now/a", "/now/a"]
    found = b""
    for number, target in enumerate(sent):
        writer.write(request(target, b"body" if number != 3 else b"ydob"))
        while len(answers(found)) <= number:
            found += await reader.read(4096)
    writer.close()

    bodies = [b"body", b"body", b"body", b"ydob", b"body"]
    told = [f"{target} ".encode() + body for target, body in zip(sent, bodies, strict=True)]
    assert [body for _, body in answers(found)] == told


async def test_a_request_that_is_too_long_to_be_kept_is_answered_each_time(stand, monkeypatch):
    monkeypatch.setattr("sidecar.intercept.hot.limits.SAME_BYTES_MAX", 100)
    long = request("/now", b"x" * 200)
    reader, writer = await stand.connect()
    found = b""
    for number in range(3):
        writer.write(long)
        while len(answers(found)) <= number:
            found += await reader.read(4096)
    writer.close()

    assert [body for _, body in answers(found)] == [b"/now " + b"x" * 200] * 3


async def test_a_connection_serves_many(stand):
    reader, writer = await stand.connect()
    for number in range(3):
        writer.write(request("/now", b"%d" % number))
        answer = await reader.readuntil(b"/now %d" % number)
        assert answers(answer) == [(200, b"/now %d" % number)]
    writer.close()


async def test_answers_are_in_the_order_of_the_requests(stand):
    """Whatever can be answered first: a request that is ahead of its turn waits."""
    stand.service.gate.set()
    sending = asyncio.ensure_future(
        stand.sent(request("/held/1") + request("/later/2") + request("/now/3") + last("/held/4"))
    )
    for number in range(2):
        await until(lambda: len(stand.service.held) > number)  # noqa: B023 - waited for at once
        stand.service.held[number].set_result(None)

    assert [body for _, body in await sending] == [
        b"/held/1 ",
        b"/later/2 ",
        b"/now/3 ",
        b"/held/4 ",
    ]


async def test_many_requests_in_one_packet_are_all_answered(stand):
    data = request("/now") * 2000 + (CHUNKED + b"1\r\na\r\n0\r\n\r\n") * 1000 + last("/now")

    assert len(await stand.sent(data)) == 3001


async def test_who_sends_many_at_once_does_not_keep_the_others_waiting(stand):
    _, writer = await stand.connect()
    writer.write(request("/nowhere") * 1000)
    await until(lambda: stand.service.heads)
    seen = len(stand.service.heads)
    await asyncio.sleep(0)

    # A turn of the loop serves some of them, not all.
    assert seen < 1000
    assert len(stand.service.heads) - seen <= 2 * TURNS_MAX
    await until(lambda: len(stand.service.heads) == 1000)
    writer.close()


async def test_requests_mean_the_same_however_their_bytes_come(stand):
    data = request("/now", b"abc") + CHUNKED + b"3\r\nabc\r\n0\r\n\r\n" + last("/now", b"d")
    expected = [(200, b"/now abc"), (200, b"/now abc"), (200, b"/now d")]

    for step in (1, 7, 50):
        reader, writer = await stand.connect()
        for at in range(0, len(data), step):
            writer.write(data[at : at + step])
            await writer.drain()
            await asyncio.sleep(0)
        assert answers(await reader.read()) == expected
        writer.close()


async def test_what_was_held_is_told_when_it_is_given_and_not_before(stand):
    sending = asyncio.ensure_future(stand.sent(last("/held")))
    await until(lambda: stand.service.held)
    assert stand.service.given == []

    stand.service.held[0].set_result(None)

    assert await sending == [(200, b"/held ")]
    assert stand.service.given == ["/held"]


async def test_an_answer_whose_record_is_lost_is_not_given(stand):
    sending = asyncio.ensure_future(stand.sent(last("/held")))
    await until(lambda: stand.service.held)

    stand.service.held[0].set_exception(Lost())

    assert await sending == [(503, b"lost")]
    assert stand.service.given == []


async def test_a_caller_that_went_away_has_its_record_all_the_same(stand):
    _, writer = await stand.connect()
    writer.write(request("/held"))
    await until(lambda: stand.service.held)
    writer.close()
    await writer.wait_closed()

    stand.service.held[0].set_result(None)

    await until(lambda: stand.server._shared.room.in_flight == 0 and not stand.server._shared.open)


async def test_a_caller_that_says_no_more_is_still_answered(stand):
    reader, writer = await stand.connect()
    writer.write(request("/held"))
    writer.write_eof()
    await until(lambda: stand.service.held)
    await asyncio.sleep(0.01)
    stand.service.held[0].set_result(None)

    assert answers(await reader.read()) == [(200, b"/held ")]
    writer.close()


@pytest.mark.parametrize("target", ["/mistake", "/later/mistake"])
async def test_our_own_mistake_ends_the_connection_and_nothing_else(stand, target, caplog):
    stand.service.gate.set()

    # uvloop drops what was written when the protocol fails; what failed is never answered.
    assert await stand.sent(request(target) + request("/now")) in ([], [(500, b"internal")])
    assert stand.service.refusals == ["internal"]
    assert "ZeroDivisionError" in caplog.text
    assert await stand.sent(last()) == [(200, b"/now ")]
    assert stand.server._shared.room.in_flight == 0


async def test_head_asks_for_no_body(stand):
    reader, writer = await stand.connect()
    writer.write(last("/now", b"", method="HEAD"))

    data = await reader.read()
    writer.close()

    assert b"Content-Length: 5\r\n" in data
    assert data.endswith(b"\r\n\r\n")


async def test_a_caller_that_waits_to_be_asked_is_asked_once(stand):
    reader, writer = await stand.connect()
    writer.write(request("/now", b"", "Expect: 100-continue").replace(b"h: 0", b"h: 3"))
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b"abc")

    assert answers(await reader.readuntil(b"/now abc")) == [(200, b"/now abc")]
    writer.close()


@pytest.mark.parametrize("more", ["Expect: x", "Expect: 100-continue"])
async def test_who_expects_what_is_not_met_is_told_so(stand, more):
    data = request("/now", b"abc", more, "Expect: 100-continue")

    assert await stand.sent(data + last()) == [(417, b"expect")]
    assert stand.service.heads == []


async def test_who_is_refused_at_the_head_is_not_asked_for_the_body(stand):
    data = request("/nowhere", b"", "Expect: 100-continue").replace(b"h: 0", b"h: 3")

    assert await stand.sent(data) == [(404, b"")]


async def test_a_refusal_passes_over_a_body_that_has_come(stand):
    assert await stand.sent(request("/nowhere", b"abc") + last()) == [(404, b""), (200, b"/now ")]


async def test_a_refusal_ends_the_connection_where_the_body_has_not_come(stand):
    """Or the rest of the body would be read as the next request."""
    reader, writer = await stand.connect()
    writer.write(request("/nowhere").replace(b"h: 0", b"h: 9"))
    await reader.readuntil(b"\r\n\r\n")
    writer.write(last())

    assert await reader.read() == b""
    assert [head.target for head in stand.service.heads] == ["/nowhere"]
    writer.close()


async def test_what_is_not_http_is_told_so_and_nothing_after_it_is_read(stand):
    assert await stand.sent(b"POST / HTTP/1.1\r\nX : a\r\n\r\n" + last()) == [(400, b"http")]
    assert stand.service.heads == []


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (request().replace(b"h: 0", b"h: 9999"), 413),
        (CHUNKED + b"fff\r\n" + bytes(4095) + b"\r\n2\r\n", 413),
        (CHUNKED + b"zz\r\n", 400),
    ],
    ids=["a length", "chunks", "no chunks"],
)
async def test_a_body_is_held_to_its_bounds(stand, data, status):
    found = await stand.sent(data)

    assert [code for code, _ in found] == [status]
    assert stand.server._shared.room.in_flight == 0


async def test_a_body_that_ends_too_soon_is_refused_and_counted(stand):
    reader, writer = await stand.connect()
    writer.write(request().replace(b"h: 0", b"h: 9") + b"abc")
    writer.write_eof()

    assert answers(await reader.read()) == [(400, b"body")]
    assert stand.service.refusals == ["body"]
    assert stand.server._shared.room.in_flight == 0
    writer.close()


async def test_a_caller_that_goes_away_in_the_middle_of_a_body_is_counted(stand):
    _, writer = await stand.connect()
    writer.write(request().replace(b"h: 0", b"h: 9") + b"abc")
    await until(lambda: stand.service.heads)
    writer.transport.abort()

    await until(lambda: not stand.server._shared.open)
    assert stand.service.refusals == ["body"]


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", []),
        (b"POST / HT", []),
        (request() + b"POST", [(200, b"/now ")]),
        (request().replace(b"h: 0", b"h: 9") + b"a", [(408, b"body")]),
        (CHUNKED + b"5\r\na", [(408, b"body")]),
    ],
    ids=["nothing", "half a head", "half a second head", "half a body", "half a chunk"],
)
async def test_who_does_not_go_on_is_given_up(data, found):
    stand = await Stand(idle_s_max=0.05, body_s_max=0.05).start()
    try:
        assert await stand.sent(data) == found
        assert stand.server._shared.room.in_flight == 0
    finally:
        await stand.stop()


async def test_a_head_that_trickles_does_not_earn_more_time():
    stand = await Stand(idle_s_max=0.1).start()
    reader, writer = await stand.connect()

    async def trickle():
        for _ in range(400):
            writer.write(b"X")
            await asyncio.sleep(0.005)

    trickling = asyncio.ensure_future(trickle())
    try:
        # It may end with a reset, for more was sent than was read.
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        assert not trickling.done()
    finally:
        trickling.cancel()
        writer.transport.abort()
        await stand.stop()


async def test_who_waits_for_a_record_is_not_given_up():
    stand = await Stand(idle_s_max=0.02, body_s_max=0.02).start()
    sending = asyncio.ensure_future(stand.sent(last("/held")))
    try:
        await until(lambda: stand.service.held)
        await asyncio.sleep(0.1)
        stand.service.held[0].set_result(None)
        assert await sending == [(200, b"/held ")]
    finally:
        await stand.stop()


async def test_who_takes_no_answers_holds_a_bounded_buffer_and_is_cut(stand, monkeypatch):
    monkeypatch.setattr("sidecar.intercept.hot.limits.WRITE_S_MAX", 0.05)
    monkeypatch.setattr("sidecar.intercept.hot.server.SWEEP_S_MAX", 0.02)
    quick = await Stand().start()
    reader, writer = await quick.connect()
    reader._transport.pause_reading()
    writer.write(request("/big") * 50)
    try:
        await until(lambda: quick.service.bodies)
        await until(lambda: not quick.server._shared.open)
        # The kernel's buffers take a few answers of a mebibyte; nobody made all of the fifty.
        assert len(quick.service.bodies) < 20
    finally:
        writer.transport.abort()
        await quick.stop()


async def test_what_is_sent_ahead_of_an_answer_is_bounded(stand):
    _, writer = await stand.connect()
    writer.write(request("/held"))
    await until(lambda: stand.service.held)
    (connection,) = stand.server._shared.open
    for _ in range(64):
        writer.write(bytes(1 << 20))
    await until(lambda: connection._is_paused)

    assert len(connection._ahead) < 1 << 20
    writer.transport.abort()
    stand.service.held[0].set_result(None)


@pytest.mark.parametrize("bound", ["connections_max", "peer_connections_max"])
async def test_connections_are_bounded_and_their_room_is_given_back(bound):
    stand = await Stand(**{bound: 2}).start()
    try:
        held = [await stand.connect() for _ in range(2)]
        await until(lambda: len(stand.server._shared.open) == 2)
        assert await stand.sent(b"") == []
        for _, writer in held:
            writer.close()
        await until(lambda: not stand.server._shared.open)
        assert await stand.sent(last()) == [(200, b"/now ")]
    finally:
        await stand.stop()


async def test_draining_answers_what_was_begun_and_takes_nothing_after_it(stand):
    reader, writer = await stand.connect()
    idle, other = await stand.connect()
    writer.write(request("/held") + request("/now"))
    await until(lambda: stand.service.held)
    draining = asyncio.ensure_future(stand.server.drain(5.0))

    assert await idle.read() == b""
    stand.service.held[0].set_result(None)
    assert answers(await reader.read()) == [(200, b"/held ")]
    await draining
    with pytest.raises(ConnectionRefusedError):
        await stand.connect()
    writer.close()
    other.close()


async def test_draining_does_not_wait_for_ever(stand):
    reader, writer = await stand.connect()
    writer.write(request("/later"))
    await until(lambda: stand.service.bodies)

    await stand.server.drain(0.05)

    assert await reader.read() == b""
    writer.close()


async def test_a_request_id_is_of_its_own_request(stand):
    data = request("/now", b"", "X-Request-ID: one") + last()
    reader, writer = await stand.connect()
    writer.write(data)

    first, _, second = (await reader.read()).partition(b"/now ")

    assert b"X-Request-ID: one\r\n" in first
    assert b"X-Request-ID" not in second
    writer.close()
