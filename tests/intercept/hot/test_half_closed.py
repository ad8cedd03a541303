"""A caller that has sent all and says so is answered all that came whole, and nothing else."""

import pytest

from tests.intercept.hot.hot_stand import Stand, answers, request
from tests.intercept.hot.test_room import until

HALF_A_BODY = request().replace(b"h: 0", b"h: 9") + b"abc"
CHUNKED = b"POST /now HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
async def stand():
    found = await Stand().start()
    yield found
    await found.stop()


async def sent_and_ended(stand, data):
    """Return the answers to bytes behind which nothing comes, as bytes."""
    reader, writer = await stand.connect()
    writer.write(data)
    writer.write_eof()
    found = await reader.read()
    writer.close()
    return found


@pytest.mark.parametrize("count", [1, 2, 50])
@pytest.mark.parametrize("target", ["/now", "/held", "/later", "/nowhere"])
async def test_all_that_came_whole_is_answered(stand, target, count):
    reader, writer = await stand.connect()
    writer.write(request(target) * count)
    writer.write_eof()
    stand.service.gate.set()
    for number in range(count if target == "/held" else 0):
        await until(lambda: len(stand.service.held) > number)  # noqa: B023 - waited for at once
        stand.service.held[number].set_result(None)

    data = await reader.read()
    writer.close()

    status = 404 if target == "/nowhere" else 200
    assert [code for code, _ in answers(data)] == [status] * count
    # Who is told that the connection ends is told so with the last answer.
    assert b"Connection: close" not in data[: data.rindex(b"HTTP/1.1")]
    assert stand.server._shared.room.in_flight == 0


@pytest.mark.parametrize(
    ("rest", "found"),
    [
        (b"POST / HT", []),
        (b"x", [(400, b"http")]),
        (HALF_A_BODY, [(400, b"body")]),
        (CHUNKED + b"5\r\na", [(400, b"body")]),
    ],
    ids=["half a head", "no head", "half a body", "half a chunk"],
)
async def test_what_did_not_come_whole_is_not_waited_for(stand, rest, found):
    reader, writer = await stand.connect()
    writer.write(request("/held") + request() + rest)
    writer.write_eof()
    await until(lambda: stand.service.held)
    stand.service.held[0].set_result(None)

    assert answers(await reader.read()) == [(200, b"/held "), (200, b"/now "), *found]
    assert stand.server._shared.room.in_flight == 0
    writer.close()


async def test_more_than_is_read_ahead_is_answered_as_well(stand):
    many = request("/now", bytes(1000)) * 500

    data = await sent_and_ended(stand, request("/now") + many)

    assert len(answers(data)) == 501


async def test_who_takes_its_answers_late_is_answered_all(stand):
    reader, writer = await stand.connect()
    reader._transport.pause_reading()
    writer.write(request("/big") * 12)
    writer.write_eof()
    await until(lambda: any(one._is_stalled for one in stand.server._shared.open))
    (connection,) = stand.server._shared.open
    await until(lambda: connection._is_ended or connection._ahead)
    reader._transport.resume_reading()

    assert [code for code, _ in answers(await reader.read())] == [200] * 12
    writer.close()


async def test_draining_does_not_answer_what_is_ahead_of_who_has_ended(stand):
    reader, writer = await stand.connect()
    writer.write(request("/held") + request("/now"))
    writer.write_eof()
    await until(lambda: stand.service.held)
    stand.server._shared.is_draining = True
    stand.service.held[0].set_result(None)

    assert answers(await reader.read()) == [(200, b"/held ")]
    writer.close()
