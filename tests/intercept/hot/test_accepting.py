"""Several that listen on one socket each have their share of a burst."""

import asyncio
import errno
import socket

import pytest

from sidecar.intercept.hot.accepting import Accepting

BURST = 24


class Counted(asyncio.Protocol):
    """Counts what connects, and answers to it by its name."""

    def __init__(self, name: bytes) -> None:
        self.name = name

    def connection_made(self, transport) -> None:
        transport.write(self.name)
        transport.close()


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


async def test_a_burst_is_shared(listening) -> None:
    both = [
        Accepting(listening.dup(), lambda name=name: Counted(name))  # type: ignore[misc]
        for name in (b"one", b"other")
    ]

    found = await asyncio.gather(*[answered(listening) for _ in range(BURST)])

    assert set(found) == {b"one", b"other"}
    assert min(found.count(b"one"), found.count(b"other")) >= BURST // 4
    for one in both:
        one.close()


async def test_who_has_closed_leaves_the_socket_to_the_others(listening) -> None:
    one = Accepting(listening.dup(), lambda: Counted(b"one"))
    other = Accepting(listening.dup(), lambda: Counted(b"other"))
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
    one = Accepting(bound, lambda: Counted(b"one"))

    assert await answered(listening) == b"one"
    assert bound.has_failed
    one.close()
