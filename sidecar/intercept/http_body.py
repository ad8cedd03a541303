"""Bodies on their way through the HTTP proxy: held whole to be judged, or streamed and digested."""

import asyncio
import hashlib
from collections.abc import AsyncIterator

from aiohttp import web

from sidecar.intercept.http_wire import CUT_SHORT, TIMED_OUT, TOO_LARGE, Rejected


class Sent:
    """What went by in one exchange: bytes and digests, either way."""

    def __init__(self) -> None:
        self.request: hashlib._Hash | None = None
        self.response = hashlib.sha256()
        self.bytes = 0
        self.status: str | None = None
        self.is_whole = False

    def judged(self, body: bytes) -> None:
        """Note a body that was held; records hold of it only what a rule reads."""
        self.request = hashlib.sha256(body)

    def digest(self) -> str:
        """Return the digest of what came back; before it that of the body that went out."""
        back = f"sha256:{self.response.hexdigest()}"
        if self.request is None:
            return back
        return f"request=sha256:{self.request.hexdigest()};response={back}"


async def hold(request: web.BaseRequest, bytes_max: int, seconds_max: float) -> bytes | Rejected:
    """Return the whole body, or its refusal as soon as it is over a bound."""
    if (request.content_length or 0) > bytes_max:
        return TOO_LARGE
    await ask_for(request)
    try:
        async with asyncio.timeout(seconds_max):
            return await _whole(request, bytes_max)
    except TimeoutError:
        return TIMED_OUT
    except (web.RequestPayloadError, ConnectionError):
        return CUT_SHORT


async def _whole(request: web.BaseRequest, bytes_max: int) -> bytes | Rejected:
    held = bytearray()
    async for chunk in request.content.iter_any():
        held += chunk
        if len(held) > bytes_max:
            return TOO_LARGE
    return bytes(held)


async def stream(request: web.BaseRequest, sent: Sent) -> AsyncIterator[bytes]:
    """Yield the body as it comes, digested into `sent`."""
    sent.request = hashlib.sha256()
    await ask_for(request)
    async for chunk in request.content.iter_any():
        sent.request.update(chunk)
        yield chunk


async def ask_for(request: web.BaseRequest) -> None:
    """Ask for a body that waits to be asked for (RFC 9110 §10.1.1)."""
    if "expect" in request.headers and request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


async def give(response: web.StreamResponse, chunk: bytes, sent: Sent) -> None:
    """Write `chunk` of the answer, as fast as the app takes it."""
    if chunk:
        await response.write(chunk)
        sent.response.update(chunk)
        sent.bytes += len(chunk)
