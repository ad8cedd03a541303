"""A worker's client whose loop is held up, and what it says before a revocation is in force."""

import asyncio
import socket
import time
from collections.abc import Callable

import pytest
import uvloop

from sidecar.record.recorder import wire
from sidecar.record.recorder.ahead import spool
from sidecar.record.recorder.worker.client import RecorderClient
from sidecar.terms.errors import RecordError
from sidecar.terms.record import Written
from tests.record.stand_recorder import Meter, forwarded

TIMEOUT_S = 0.05


class Raw:
    """A recorder's end of the connection, to be read and written while the loop is held up."""

    def __init__(self, ours: socket.socket) -> None:
        self._ours = ours
        self._frames = wire.Frames()
        self._heard: list[wire.FromWorker] = []
        ours.setblocking(False)

    @classmethod
    async def met_by(cls, client: RecorderClient) -> "Raw":
        ours, theirs = socket.socketpair()
        spool.hand_over(ours, "", None)
        attaching = asyncio.create_task(client.attach(theirs))
        raw = cls(ours)
        assert isinstance(await raw.heard(), wire.Hello)
        raw.say(wire.Welcome(0, False, 1, (), ""))
        await attaching
        assert await raw.heard() == wire.Took(1)
        return raw

    def say(self, said: wire.FromRecorder) -> None:
        self._ours.sendall(wire.frame(said))

    async def heard(self) -> wire.FromWorker:
        while not self._heard:
            data = await asyncio.get_running_loop().sock_recv(self._ours, 1 << 16)
            self._heard += map(wire.read_worker, self._frames.feed(data))
        return self._heard.pop(0)

    def close(self) -> None:
        self._ours.close()


async def came_of(writing: Written) -> RecordError | None:
    try:
        await writing
    except RecordError as error:
        return error
    return None


async def while_held_up(do: Callable[[], None]) -> None:
    """Do this at the end of what keeps the loop until all that is on its way is overdue.

    As a body that takes long to read does: in the turn in which it came, behind what came with it.
    """
    one, other = socket.socketpair()
    loop, held_up = asyncio.get_running_loop(), asyncio.Event()

    def hold_up() -> None:
        loop.remove_reader(one)
        until_s = time.monotonic() + 2 * TIMEOUT_S
        while time.monotonic() < until_s:
            pass
        do()
        held_up.set()

    loop.add_reader(one, hold_up)
    other.send(b"x")
    await held_up.wait()
    one.close()
    other.close()


async def held_up(*, is_acknowledged: bool) -> tuple[RecordError | None, int, bool]:
    """Return what comes of a record, what was counted, and whether more is refused."""
    meter = Meter()
    client = RecorderClient(meter, TIMEOUT_S)
    recorder = await Raw.met_by(client)
    writing = client.write(forwarded(1))
    sent = await recorder.heard()
    assert isinstance(sent, wire.Write)

    def acknowledge() -> None:
        if is_acknowledged:
            recorder.say(wire.Ack(sent.number))

    await while_held_up(acknowledge)

    error = await came_of(writing)
    found = error, meter.refused, client.is_refusing
    await client.close()
    recorder.close()
    return found


# They differ in whether what is due is called before what has come is read.
LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]


@pytest.mark.parametrize("loop", LOOPS, ids=["asyncio", "uvloop"])
def test_what_was_acknowledged_while_the_loop_was_held_up_is_durable(loop):
    with asyncio.Runner(loop_factory=loop) as runner:
        assert runner.run(held_up(is_acknowledged=True)) == (None, 0, False)


@pytest.mark.parametrize("loop", LOOPS, ids=["asyncio", "uvloop"])
def test_what_was_not_acknowledged_in_time_is_refused(loop):
    with asyncio.Runner(loop_factory=loop) as runner:
        error, refused, is_refusing = runner.run(held_up(is_acknowledged=False))

    assert str(error) == "the record was not durable in time"
    assert (refused, is_refusing) == (1, True)


async def test_what_was_judged_by_the_old_list_goes_before_the_word_that_it_is_gone():
    client = RecorderClient(Meter())
    recorder = await Raw.met_by(client)

    # In one turn of the loop: a call is decided, then somebody is revoked.
    writing = client.write(forwarded(1))
    client.heard(wire.Revoked(2, ("agent:bot",)))

    sent = await recorder.heard()
    assert isinstance(sent, wire.Write)
    assert await recorder.heard() == wire.Took(2)
    assert client.revocations.is_revoked("agent:bot")
    recorder.say(wire.Ack(sent.number))
    assert await came_of(writing) is None
    await client.close()
    recorder.close()
