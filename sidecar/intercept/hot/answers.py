"""Write an HTTP/1.1 answer: a status line, the few headers that every answer has, the body.

It names no software and is kept by nobody.
"""

import time
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Final

import msgspec

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_CLOSE: Final = "Connection: close\r\n"
_time: Final = time.time
JSON_TYPE: Final = "application/json"


class Reply(msgspec.Struct, frozen=True, gc=False):
    """What goes back."""

    status: int
    body: bytes = b""
    content_type: str = JSON_TYPE
    headers: dict[str, str] = {}


def written(
    reply: Reply, request_id: str | None = None, *, closes: bool = False, bodiless: bool = False
) -> bytes:
    """Return the bytes of an answer.

    Args:
        reply: Its headers' values are ours, hence fit for a line.
        request_id: The caller's own, to be repeated.
        closes: The connection ends after it.
        bodiless: Say how long the body is without sending it, as HEAD asks.
    """
    body = reply.body
    kind, now_s = reply.content_type if body else "", int(_time())
    if request_id is None and not (closes or bodiless or reply.headers):
        return _head(reply.status, kind, now_s, len(body)) + body
    head, more = _start(reply.status, kind, now_s), ""
    if reply.headers:
        more = "".join(f"{name}: {value}\r\n" for name, value in reply.headers.items())
    if request_id is not None:
        more += f"X-Request-ID: {request_id}\r\n"
    if closes:
        more += _CLOSE
    text = b"%b%d\r\n%b\r\n" % (head, len(body), more.encode("latin-1"))
    return text if bodiless else text + body


def all_written(bodies: list[bytes]) -> list[bytes]:
    """Return the bytes of an answer with each of these bodies: 200, of JSON, and nothing more."""
    now_s = int(_time())
    heads = {size: _head(200, JSON_TYPE, now_s, size) for size in set(map(len, bodies))}
    return [heads[len(body)] + body for body in bodies]


@lru_cache(maxsize=64)
def _head(status: int, content_type: str, now_s: int, size: int) -> bytes:
    """Return an answer up to its body; equal questions have answers of one size."""
    return b"%b%d\r\n\r\n" % (_start(status, content_type, now_s), size)


@lru_cache(maxsize=64)
def _start(status: int, content_type: str, now_s: int) -> bytes:
    """Return an answer up to its length; the same for a second long."""
    kind = f"Content-Type: {content_type}\r\n" if content_type else ""
    return (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nServer: sidecar\r\n"
        f"Date: {formatdate(now_s, usegmt=True)}\r\nCache-Control: no-store\r\n"
        f"X-Content-Type-Options: nosniff\r\n{kind}Content-Length: "
    ).encode("latin-1")
