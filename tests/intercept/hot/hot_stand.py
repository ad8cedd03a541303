"""A service with behaviour behind the raw HTTP edge, on a loopback and a Unix socket."""

import asyncio
import re
import socket
from functools import partial
from itertools import count

import msgspec

from sidecar.intercept.hot.answers import Reply
from sidecar.intercept.hot.seam import Alike, Held, Refused, Together
from sidecar.intercept.hot.server import Server
from sidecar.intercept.hot.shared import Bounds
from sidecar.terms.errors import RecordError

BOUNDS = Bounds(
    connections_max=16,
    peer_connections_max=16,
    in_flight_max=16,
    body_bytes_max=4096,
    body_s_max=5.0,
    idle_s_max=5.0,
)
_ANSWER = re.compile(rb"HTTP/1\.1 (\d{3}) [^\r]+\r\n((?:[^\r]+\r\n)*)\r\n")
_LENGTH = re.compile(rb"Content-Length: (\d+)\r\n")


class Lost(RecordError):
    """A record that was lost."""


class Asked:
    """One request: `/now` is answered at once, `/held` and `/later` when the stand says so."""

    def __init__(self, service, head, at_once=None):
        self.service = service
        self.head = head
        self.at_once = at_once
        self.request_id = next(iter(head.all("x-request-id")), None)
        self.who = next(iter(head.all("x-who")), None)

    def alike(self, body, peer):
        one = partial(self.answer, body)
        return Alike((self.head.target, self.who, body), one, partial(self.service.many, self))

    def answer(self, body, peer):
        self.service.bodies.append(body)
        name = self.head.target[1:].partition("/")[0]
        reply = Reply(200, self.head.target.encode() + b" " + body)
        if name == "held":
            written = asyncio.get_running_loop().create_future()
            self.service.held.append(written)
            return Held(written, reply, lambda: self.service.given.append(self.head.target))
        if name == "later":
            return self._later(reply)
        if name == "steps":
            return self._steps(reply)
        if name == "mistake" or self.service.mistakes.pop(self.head.target, 0):
            raise ZeroDivisionError
        if name == "big":
            return Reply(200, bytes(1 << 20))
        return reply

    def _steps(self, reply):
        """Take three steps; `/steps/mistake` and `/steps/lost` do not come to the third."""
        for step in range(2):
            self.service.steps.append(step)
            yield
        self.service.steps.append(2)
        if self.head.target == "/steps/mistake":
            raise ZeroDivisionError
        if self.head.target == "/steps/lost":
            raise Lost
        return self._later(reply) if self.head.target == "/steps/later" else reply

    async def _later(self, reply):
        await self.service.gate.wait()
        if self.head.target == "/later/mistake":
            raise ZeroDivisionError
        return reply

    def failed(self, error, peer):
        return self.refuse(Refused(503, "lost", "lost"), peer) if type(error) is Lost else None

    def refuse(self, refused, peer):
        return self.service.refuse(refused, peer)


class Service:
    """What is asked and refused, in order."""

    def __init__(self):
        self.bodies = []
        self.heads = []
        self.peers = []
        self.held = []
        self.given = []
        self.refusals = []
        self.gate = asyncio.Event()
        self.at_a_time = 16
        self.asked_many = []
        self.numbers = count()
        # Whose next request we make a mistake in.
        self.mistakes = {}
        self.turns = 0
        self.steps = []

    def admit(self, head, peer):
        self.heads.append(head)
        self.peers.append(peer)
        closed = Reply(404) if head.target == "/nowhere" else None
        return Asked(self, head, closed)

    def many(self, asked, most):
        """Answer `/together` so many at a time as the stand says; the last of them says so."""
        self.asked_many.append(most)
        if not asked.head.target.startswith("/together") or not self.at_a_time:
            return None
        if asked.head.target == "/together/mistake":
            raise ZeroDivisionError
        written = asyncio.get_running_loop().create_future()
        self.held.append(written)
        bodies = [b"%d" % next(self.numbers) for _ in range(min(most, self.at_a_time))]
        return Together(written, bodies, self.given.append)

    def turning(self):
        self.is_turning = True

    def turned(self):
        assert self.is_turning
        self.is_turning = False
        self.turns += 1

    def refuse(self, refused, peer):
        self.refusals.append(refused.code)
        return Reply(refused.status, refused.code.encode(), headers=refused.headers)


class Stand:
    """The server under test."""

    unix = ""

    def __init__(self, spread=None, **bounds):
        self.service = Service()
        self.server = Server(self.service, msgspec.structs.replace(BOUNDS, **bounds), spread)

    async def start(self, unix=None):
        sockets = [socket.create_server(("127.0.0.1", 0))]
        self.port = sockets[0].getsockname()[1]
        if unix is not None:
            sockets.append(socket.socket(socket.AF_UNIX))
            sockets[1].bind(str(unix))
            sockets[1].listen()
        await self.server.serve(sockets)
        return self

    async def stop(self):
        await self.server.drain(1.0)

    async def connect(self):
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def sent(self, data):
        """Send bytes, and return the answers that come before the end."""
        reader, writer = await self.connect()
        writer.write(data)
        try:
            return answers(await reader.read())
        finally:
            writer.close()


def request(target="/now", body=b"", *headers, method="POST"):
    lines = [f"{method} {target} HTTP/1.1", "Host: a", *headers, f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


def last(target="/now", body=b"", method="POST"):
    return request(target, body, "Connection: close", method=method)


def answers(data):
    """Return status and body of each answer; interim ones have no body."""
    found, at = [], 0
    while at < len(data):
        head = _ANSWER.match(data, at)
        assert head, data[at : at + 200]
        size = _LENGTH.search(head[2])
        length = int(size[1]) if size else 0
        found.append((int(head[1]), data[head.end() : head.end() + length]))
        at = head.end() + length
    return found
