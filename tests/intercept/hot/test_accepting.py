"""Several that listen on one socket each have their share, however connections come."""

import asyncio
import errno
import os
import socket

import pytest

from sidecar.intercept.hot import limits
from sidecar.intercept.hot.spread import accepting as accepting_module
from sidecar.intercept.hot.spread.accepting import Accepting
from sidecar.intercept.hot.spread.counts import ABSENT, Spread, counts_in, new_counts
from tests.intercept.hot.hot_stand import Stand, request
from tests.intercept.hot.test_room import until
from tests.intercept.scarce import few_descriptors

BURST = 24


class Counted(asyncio.Protocol):
    """Counts what connects, and answers to it by its name."""

    def __init__(self, name: bytes) -> None:
        self.name = name

    def connection_made(self, transport) -> None:
        transport.write(self.name)
        transport.close()


@pytest.fixture
def counts():
    """Return what two workers share, of whom nobody is there yet."""
    fd = new_counts(2)
    yield counts_in(fd)
    os.close(fd)


def accepting(bound: socket.socket, name: bytes, spread: Spread | None = None) -> Accepting:
    spread = spread or Spread()
    spread.begin()
    return Accepting(bound.dup(), lambda: Counted(name), spread)


@pytest.fixture(params=["tcp", "unix"])
def listening(request, tmp_path):
    family = socket.AF_INET if request.param == "tcp" else socket.AF_UNIX
    with socket.socket(family, socket.SOCK_STREAM) as bound:
        bound.bind(("127.0.0.1", 0) if request.param == "tcp" else str(tmp_path / "s"))
        bound.listen(BURST)
        yield bound


async def answered(bound: socket.socket) -> bytes:
    """Return who answers a connection to `bound`."""
    name = bound.getsockname()
    if isinstance(name, str):
        reader, writer = await asyncio.open_unix_connection(name)
    else:
        reader, writer = await asyncio.open_connection(*name)
    found = await reader.read()
    writer.close()
    return found


@pytest.mark.parametrize("before", [(0, 0), (6, 0), (0, 6), (3, 2)])
async def test_a_burst_is_shared_so_that_both_hold_as_many(
    listening, counts, before, monkeypatch
) -> None:
    # Both are there, however slow this machine is.
    monkeypatch.setattr(accepting_module, "STANDS_BACK_S_MAX", 5.0)
    both = [
        accepting(listening, name, Spread(counts, at)) for at, name in enumerate((b"one", b"other"))
    ]
    counts[0], counts[1] = before

    found = await asyncio.gather(*[answered(listening) for _ in range(BURST)])

    assert abs(counts[0] - counts[1]) <= limits.AHEAD_MAX
    assert (found.count(b"one"), found.count(b"other")) == (
        counts[0] - before[0],
        counts[1] - before[1],
    )
    for one in both:
        one.close()


@pytest.mark.parametrize(("other", "count"), [(ABSENT, limits.TAKES_MAX), (0, 1), (5, 6)])
async def test_who_holds_no_more_than_others_takes_several_in_one_turn(
    listening, counts, other, count
) -> None:
    one, family = accepting(listening, b"one", Spread(counts, 0)), listening.family
    counts[1] = other
    callers = [socket.socket(family, socket.SOCK_STREAM) for _ in range(BURST)]
    for caller in callers:
        caller.connect(listening.getsockname())

    one._take()

    assert counts[0] == count
    one.close()
    for caller in callers:
        caller.close()
    await until(lambda: not one._tasks)


async def test_connections_that_come_one_after_the_other_are_shared(listening, counts) -> None:
    both = [
        accepting(listening, name, Spread(counts, at)) for at, name in enumerate((b"one", b"other"))
    ]

    for _ in range(BURST):
        await answered(listening)

    assert sum(counts) == BURST
    assert abs(counts[0] - counts[1]) <= limits.AHEAD_MAX
    for one in both:
        one.close()


async def test_who_does_not_take_its_share_is_waited_for_once_and_shortly(
    listening, counts, monkeypatch
) -> None:
    counts[1] = 0  # It is there and hangs.
    one = accepting(listening, b"one", Spread(counts, 0))
    counts[0] = 10
    rests: list[float] = []
    rest = one._rest

    def counted(seconds: float) -> None:
        rests.append(seconds)
        rest(seconds)

    monkeypatch.setattr(one, "_rest", counted)

    assert await answered(listening) == b"one"
    at_first = sum(rests)
    found = [await answered(listening) for _ in range(BURST)]

    assert found == [b"one"] * BURST
    # Of what it has waited, for a busy machine takes longer over it.
    assert 0 < at_first < 2 * limits.STANDS_BACK_S_MAX
    assert sum(rests) == at_first
    one.close()


@pytest.mark.parametrize("other", [ABSENT, 11])
async def test_who_is_not_there_or_holds_more_is_not_waited_for(listening, counts, other) -> None:
    counts[1] = other
    one = accepting(listening, b"one", Spread(counts, 0))
    counts[0] = 10

    assert await answered(listening) == b"one"
    assert one._since_s is None
    assert one._vain == ()
    one.close()


async def test_a_connection_counts_from_its_beginning_to_its_end(counts) -> None:
    stand = await Stand(Spread(counts, 0)).start()
    assert list(counts) == [0, ABSENT]

    for _ in range(3):
        reader, writer = await stand.connect()
        writer.write(request())
        await reader.readuntil(b"/now ")
        assert counts[0] == 1
        writer.close()
        await until(lambda: not counts[0])

    await stand.stop()
    assert list(counts) == [ABSENT, ABSENT]


async def test_who_was_left_with_all_sends_what_is_beyond_its_share_away(counts) -> None:
    stand = await Stand(Spread(counts, 0)).start()
    held = [await stand.connect() for _ in range(8)]
    for reader, writer in held:
        writer.write(request())
        await reader.readuntil(b"/now ")
    shared = stand.server._shared
    assert shared is not None

    counts[1] = 0  # Another has begun.
    # Those who say nothing for a while are still sent away, and nobody instead of them.
    for _ in range(3):
        stand.server._sweeping.cancel()
        stand.server._sweep()
    closed = 0
    for reader, writer in held:
        writer.write(request())
        closed += b"Connection: close" in await reader.readuntil(b"/now ")

    assert closed == 4
    assert stand.service.refusals == []
    for _, writer in held:
        writer.close()
    await stand.stop()


@pytest.mark.parametrize(
    ("held", "ahead", "excess"),
    [
        ((0, 0), 0, 0),
        ((5, ABSENT), 0, 0),
        ((64, 0), 64, 32),
        ((33, 32), 1, 0),
        ((34, 32), 2, 1),
        ((0, 9), -9, -5),
        ((9, 3, 0), 9, 5),
        ((9, ABSENT, 1), 8, 4),
    ],
)
def test_shares_are_told_by_what_those_hold_who_are_there(held, ahead, excess) -> None:
    fd = new_counts(len(held))
    counts = counts_in(fd)
    for at, count in enumerate(held):
        counts[at] = count

    one = Spread(counts, 0)

    assert (one.ahead(), one.excess()) == (ahead, excess)
    os.close(fd)


async def test_who_has_closed_leaves_the_socket_to_the_others(listening) -> None:
    one, other = accepting(listening, b"one"), accepting(listening, b"other")
    one.close()

    found = await asyncio.gather(*[answered(listening) for _ in range(4)])

    assert found == [b"other"] * 4
    other.close()


class Exhausted(socket.socket):
    """A listening socket whose process has no descriptor left, once."""

    has_failed = False

    def accept(self):
        if not self.has_failed:
            self.has_failed = True
            raise OSError(errno.EMFILE, "too many open files")
        return super().accept()


async def test_without_a_descriptor_who_waits_is_taken_later(listening) -> None:
    bound = Exhausted(listening.family, listening.type, fileno=listening.dup().detach())
    one = Accepting(bound, lambda: Counted(b"one"), Spread())

    assert await answered(listening) == b"one"
    assert bound.has_failed
    one.close()


async def test_connections_leave_descriptors_to_what_comes_besides(monkeypatch) -> None:
    monkeypatch.setattr(accepting_module, "ACCEPT_REST_S", 0.01)
    stand = await Stand(idle_s_max=75.0).start()
    held = []
    with few_descriptors(8):
        # Each has two in this process, and what is not taken waits in the kernel.
        held = [await stand.connect() for _ in range(12)]
        await until(lambda: stand.server._listening[0]._resting is not None)
        taken = len(stand.server._shared.open)
        spare = [socket.socket() for _ in range(8)]
        for one in spare:
            one.close()
        assert 0 < taken < len(held)

        for _, writer in held[:taken]:
            writer.close()
        reader, writer = held[taken]
        writer.write(request())
        assert (await reader.readuntil(b"/now ")).startswith(b"HTTP/1.1 200")

    for _, writer in held:
        writer.close()
    await stand.stop()
