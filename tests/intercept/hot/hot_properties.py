"""Laws of the raw HTTP edge, on bytes that are nearly requests.

The other reader is aiohttp's own parser in pure Python, which shares no code with llhttp.
"""

import asyncio
import re
from itertools import pairwise
from typing import Any

import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import HttpRequestParserPy
from hypothesis import example, given
from hypothesis import strategies as st

from sidecar.intercept.hot.body import Chunked, Sized, TooLarge
from sidecar.intercept.hot.head import Malformed, head_end, read_head
from sidecar.intercept.hot.limits import AHEAD_BYTES_MAX
from sidecar.intercept.hot.peer.connection import Connection
from sidecar.intercept.hot.shared import Shared
from tests.intercept.hot.hot_stand import BOUNDS, Service

pytestmark = pytest.mark.fuzz

LINES = (
    b"POST /now HTTP/1.1",
    b"GET /nowhere HTTP/1.1",
    b"HEAD /now HTTP/1.1",
    b"POST /now HTTP/1.0",
    b"CONNECT a:1 HTTP/1.1",
    b"PRI * HTTP/2.0",
    b"POST http://a/now HTTP/1.1",
    b"Host: a",
    b"Content-Length: 3",
    b"Content-Length: 5",
    b"Content-Length: 0",
    b"content-length: 99999",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: identity",
    b"Connection: close",
    b"Connection: keep-alive, upgrade",
    b"Upgrade: h2c",
    b"Expect: 100-continue",
    b"X-Request-ID: a",
    b" folded",
    b"",
    b"3",
    b"abc",
    b"0",
    b"5;x=y",
    b"1\r\na\r\n0\r\n",
)
ENDS = (b"\r\n",) * 12 + (b"\n", b"\r", b"", b" \r\n", b"\r\n\r\n", b"\0")
lines = st.tuples(st.sampled_from(LINES) | st.binary(max_size=6), st.sampled_from(ENDS)).map(
    b"".join
)
starts = st.sampled_from((b"", b"POST /now HTTP/1.1\r\nHost: a\r\n"))
streams = st.tuples(starts, st.lists(lines, max_size=14).map(b"".join)).map(b"".join)


class Paper:
    """A transport that takes everything and keeps it."""

    def __init__(self) -> None:
        self.written = b""
        self.is_closed = self.is_paused = False

    def get_extra_info(self, name: str) -> Any:
        return ("127.0.0.1", 1) if name == "peername" else None

    def set_write_buffer_limits(self, high: int) -> None:
        pass

    def write(self, data: bytes) -> None:
        assert not self.is_closed, "an answer after the end"
        self.written += data

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.is_closed = True

    def close(self) -> None:
        self.is_closed = True

    abort = close

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False


def met(pieces: list[bytes]) -> tuple[bytes, Service, Connection]:
    """Return what a connection answers to bytes that come in pieces."""
    service, paper = Service(), Paper()
    connection = Connection(Shared(service, BOUNDS, lambda: 0.0))
    connection.connection_made(paper)  # type: ignore[arg-type]
    for piece in pieces:
        connection.data_received(piece)
    return re.sub(rb"Date: [^\r]+\r\n", b"", paper.written), service, connection


def pieces_of(data: bytes, cuts: list[int]) -> list[bytes]:
    at = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[one:other] for one, other in pairwise(at)]


@given(streams)
def test_no_bytes_make_it_fail_or_hold_more_than_its_bound(data: bytes) -> None:
    written, service, connection = met([data])

    assert "internal" not in service.refusals
    assert len(connection._ahead) <= AHEAD_BYTES_MAX
    assert written.count(b"HTTP/1.1 ") >= len(service.bodies)
    connection.connection_lost(None)
    assert connection._shared.room.in_flight == 0
    assert not connection._shared.open


@given(streams, st.lists(st.integers(0, 400), max_size=6))
@example(b"POST /now HTTP/1.1\r\nHost: a\r\nX: a\nb\r\n\r\n", [40])
def test_where_bytes_are_cut_changes_nothing(data: bytes, cuts: list[int]) -> None:
    whole, cut = met([data])[:2], met(pieces_of(data, cuts))[:2]

    assert whole[1].bodies == cut[1].bodies
    assert [head.target for head in whole[1].heads] == [head.target for head in cut[1].heads]


@given(streams)
@example(
    b"POST /now HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
)
def test_what_is_read_is_what_another_server_reads(data: bytes) -> None:
    read = first_request(data)
    if read is None:
        return
    method, target, body, size = read

    theirs = asyncio.run(as_read_by_aiohttp(data[:size]))

    assert theirs == [(method, target, body)]


def first_request(data: bytes) -> tuple[str, str, bytes, int] | None:
    """Return the first request, and how many bytes it is; None when it is refused or not whole."""
    try:
        end = head_end(data)
        if not end:
            return None
        head = read_head(data[:end])
        body = Chunked(4096) if head.is_chunked else Sized(head.length)
        rest = body.feed(data[end:])
    except (Malformed, TooLarge):
        return None
    if rest is None or head.method == "CONNECT":
        return None
    return head.method, head.target, body.whole(), len(data) - len(rest)


async def as_read_by_aiohttp(data: bytes) -> list[tuple[str, str, bytes]]:
    loop = asyncio.get_running_loop()
    parser = HttpRequestParserPy(BaseProtocol(loop), loop, limit=2**16)
    try:
        messages, _, _ = parser.feed_data(data)
    except HttpProcessingError:
        return []
    found = []
    for message, payload in messages:
        body = await payload.read() if payload.is_eof() else b"?"
        found.append((message.method, message.path, body))
    return found
