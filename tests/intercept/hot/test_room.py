"""Room for connections and requests: who has shown no credential holds no place for long."""

import asyncio

import pytest

from sidecar.intercept.hot import limits
from tests.intercept.hot.hot_stand import Stand, answers, last, request


async def until(condition):
    """Wait for what the loop is about to do."""
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it did not come to be")


@pytest.fixture
async def stand():
    found = await Stand().start()
    yield found
    await found.stop()


@pytest.mark.parametrize("bound", ["connections_max", "peer_connections_max"])
@pytest.mark.parametrize(
    "said", [b"", b"POST / HT", request("/nowhere")], ids=["idle", "half", "refused"]
)
async def test_strangers_make_room_the_oldest_first(bound, said):
    stand = await Stand(**{bound: 3}).start()
    try:
        strangers = [await stand.connect() for _ in range(3)]
        for _, writer in strangers:
            writer.write(said)
        await until(lambda: len(stand.server._shared.open) == 3)
        assert await stand.sent(last()) == [(200, b"/now ")]
        # The first has gone, the others are still here.
        await strangers[0][0].read()
        assert len(stand.server._shared.open) == 2
        for _, writer in strangers:
            writer.close()
    finally:
        await stand.stop()


@pytest.mark.parametrize("bound", ["connections_max", "peer_connections_max"])
async def test_who_has_shown_a_credential_keeps_its_place(bound):
    stand = await Stand(**{bound: 2}).start()
    try:
        known = [await stand.connect() for _ in range(2)]
        for reader, writer in known:
            writer.write(request())
            assert answers(await reader.readuntil(b"/now ")) == [(200, b"/now ")]
        # There is nobody to make room.
        assert await stand.sent(b"") == []
        for reader, writer in known:
            writer.write(last())
            assert answers(await reader.read()) == [(200, b"/now ")]
            writer.close()
    finally:
        await stand.stop()


async def test_who_has_shown_no_credential_may_be_silent_for_less_long(stand):
    _, stranger = await stand.connect()
    reader, known = await stand.connect()
    known.write(request())
    await reader.readuntil(b"/now ")
    shared = stand.server._shared
    shared.bounds = type(shared.bounds)(**{**_of(shared.bounds), "idle_s_max": 75.0})

    reader, late = await stand.connect()
    known.write(request())
    await until(lambda: len(shared.open) == 3 and len(stand.service.bodies) == 2)

    left = sorted(one.deadline_s - shared.now_s() for one in shared.open)
    assert left[1] <= limits.STRANGER_S_MAX < left[2]
    for writer in (stranger, known, late):
        writer.close()


def _of(bounds):
    return {name: getattr(bounds, name) for name in bounds.__struct_fields__}


@pytest.mark.parametrize("step", [1, 100])
async def test_one_empty_line_before_a_request_is_passed_over(stand, step):
    data = b"\r\n" + request() + b"\r\n" + last()
    reader, writer = await stand.connect()
    for at in range(0, len(data), step):
        writer.write(data[at : at + step])
        await writer.drain()
        await asyncio.sleep(0)

    assert answers(await reader.read()) == [(200, b"/now ")] * 2
    writer.close()


@pytest.mark.parametrize("step", [1, 100])
@pytest.mark.parametrize("data", [b"\r\n\r\n", b"\n", b"\r\r\n", b"\r\n \r\n"])
async def test_more_than_an_empty_line_is_no_request(stand, data, step):
    reader, writer = await stand.connect()
    for at in range(0, len(data), step):
        writer.write(data[at : at + step])
        await asyncio.sleep(0)

    assert answers(await reader.read()) == [(400, b"http")]
    writer.close()


@pytest.mark.parametrize("first", ["/held", "/later", "/nowhere"])
async def test_a_mistake_behind_an_answer_ends_the_connection_and_gives_its_room_back(first):
    """What is begun from a callback of a record or of a task is guarded as what is read is."""
    stand, told = await Stand().start(), []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    try:
        count = limits.TURNS_MAX if first == "/nowhere" else 1
        sending = asyncio.ensure_future(stand.sent(request(first) * count + last("/mistake")))
        await until(lambda: stand.service.heads)
        stand.service.gate.set()
        await until(lambda: first != "/held" or stand.service.held)
        for one in stand.service.held:
            one.set_result(None)

        found = await sending
        assert [status for status, _ in found] == [404 if count > 1 else 200] * count + [500]
        assert stand.server._shared.room.in_flight == 0
        assert [type(one["exception"]) for one in told] == [ZeroDivisionError]
    finally:
        await stand.stop()


# --- bodies ---

MIB = 1 << 20
# One workload has three quarters of it.
BODIES = {"body_bytes_max": MIB, "bodies_bytes_max": 4 * MIB}


async def begin(stand, who, size, *, is_chunked=False):
    """Send a body but for its last bytes; return the ends of the connection."""
    head = f"POST /now HTTP/1.1\r\nHost: a\r\nX-Who: {who}\r\n"
    how = "Transfer-Encoding: chunked" if is_chunked else f"Content-Length: {size}"
    chunk = f"{size:x}\r\n" if is_chunked else ""
    reader, writer = await stand.connect()
    writer.write(f"{head}{how}\r\n\r\n{chunk}".encode() + bytes(size - 1))
    return reader, writer


@pytest.mark.parametrize("is_chunked", [False, True])
async def test_bodies_under_way_of_one_workload_are_bounded_in_bytes(is_chunked):
    stand = await Stand(**BODIES).start()
    try:
        mine = [await begin(stand, "a", MIB, is_chunked=is_chunked) for _ in range(3)]
        shared = stand.server._shared
        await until(lambda: shared.room.bytes >= 3 * (MIB - 1))

        reader, writer = await begin(stand, "a", MIB, is_chunked=is_chunked)
        data = await reader.read()
        assert answers(data) == [(429, b"busy")]
        assert b"Retry-After: 1\r\n" in data
        writer.close()
        # What it held is given back, and others have their room.
        await until(lambda: shared.room.bytes == 3 * (MIB - 1))
        theirs = await begin(stand, "b", MIB, is_chunked=is_chunked)
        await until(lambda: shared.room.bytes == 4 * (MIB - 1))

        for reader, writer in (*mine, theirs):
            writer.write(b"\0\r\n0\r\n\r\n" if is_chunked else b"\0")
            found = await reader.readexactly(len(b"HTTP/1.1 200"))
            assert found == b"HTTP/1.1 200"
            writer.transport.abort()
        await until(lambda: not shared.room.bytes and not shared.room.in_flight)
    finally:
        await stand.stop()


@pytest.mark.parametrize("end", ["abort", "late", "held", "mistake"])
async def test_the_room_of_a_body_is_given_back_however_it_ends(end):
    stand = await Stand(**BODIES, body_s_max=0.05 if end == "late" else 5.0).start()
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    shared = stand.server._shared
    try:
        _, writer = await stand.connect()
        target = end if end in {"held", "mistake"} else "now"
        writer.write(request(f"/{target}").replace(b"h: 0", b"h: %d" % MIB) + bytes(MIB - 1))
        await until(lambda: shared.room.bytes == MIB - 1 or end == "late")
        if end == "abort":
            writer.transport.abort()
        elif end != "late":
            writer.write(b"\0")
        if end == "held":
            await until(lambda: stand.service.held)
            # It is held while its answer is.
            assert shared.room.bytes == MIB - 1
            stand.service.held[0].set_result(None)

        await until(lambda: not shared.room.bytes and not shared.room.in_flight)
        assert all(not share.bytes for share in shared.room._shares.values())
        writer.transport.abort()
    finally:
        await stand.stop()


async def test_short_bodies_have_room_whatever_else_is_under_way():
    stand = await Stand(**BODIES).start()
    try:
        mine = [await begin(stand, "a", MIB) for _ in range(3)]
        await until(lambda: stand.server._shared.room.bytes >= 3 * (MIB - 1))

        reader, writer = await begin(stand, "a", limits.SHORT_BODY_BYTES_MAX)
        writer.write(b"\0")
        assert await reader.readexactly(len(b"HTTP/1.1 200")) == b"HTTP/1.1 200"
        for _, one in (*mine, (reader, writer)):
            one.transport.abort()
    finally:
        await stand.stop()
