"""What one decision permits reaches the upstream once, however the upstream ends the connection."""

import asyncio
import re
import socket
import struct
from pathlib import Path

import pytest

import sidecar
from tests.intercept.http_stand import KEY, standing
from tests.tables import Row, rows

pytestmark = pytest.mark.e2e

RESET = struct.pack("ii", 1, 0)
CALL = f"GET /a HTTP/1.1\r\nHost: a\r\nSidecar-Authorization: Bearer {KEY}\r\n\r\n".encode()
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


class Ending:
    """An upstream that ends each connection in one way; `sent` counts what came."""

    def __init__(self, end: str) -> None:
        self.end = end
        self.sent = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.sent += 1
        if self.end != "reads nothing":
            await reader.readuntil(b"\r\n\r\n")
        if self.end == "resets":
            one = writer.get_extra_info("socket")
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            writer.transport.abort()
        elif self.end not in {"closes", "reads nothing"}:
            writer.write(self.end.encode())
        writer.close()


@pytest.mark.parametrize("row", rows("intercept/http_once.yaml"))
async def test_a_call_that_is_not_answered(row: Row):
    upstream, body = Ending(row.given["end"]), row.given.get("body", "").encode()
    framed = [f"Content-Length: {len(body)}", f"Content-Type: {row.given['type']}"] if body else []

    async with standing(raw_upstream=upstream) as stand:
        status, _, _ = await stand.ask(f"{row.given['method']} /made", *framed, body=body)

    assert (upstream.sent, status) == (row.want["sent"], row.want["status"])
    assert stand.events == ["decision", "outcome"]
    assert [one.result for one in stand.outcomes] == [row.want.get("outcome", "failed")]


async def test_an_upstream_that_closes_idle_connections_costs_no_call():
    """Each call has a connection of its own: none meets one that the upstream just closes."""

    async def upstream(reader, writer):
        # Keeps the connection alive as far as its head says, and closes it right after.
        assert b"Connection: close" in await reader.readuntil(b"\r\n\r\n")
        writer.write(WHOLE)
        writer.close()

    async with standing(raw_upstream=upstream) as stand:
        reader, writer = await stand.connect()
        found = []
        for _ in range(20):
            writer.write(CALL)
            found.append((await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[0])
            await reader.readexactly(5)
        writer.close()

    assert found == [b"HTTP/1.1 200 OK"] * 20
    assert [one.result for one in stand.outcomes] == ["forwarded"] * 20


def test_every_session_is_made_in_one_place():
    """Another one would send calls again, unless somebody thinks of it again."""
    room = Path(sidecar.__file__).parent
    making = {
        str(file.relative_to(room))
        for file in room.rglob("*.py")
        if re.search(r"\b(ClientSession|TCPConnector|aiohttp\.request)\(", file.read_text())
    }

    assert making == {"intercept/http_upstream.py"}
