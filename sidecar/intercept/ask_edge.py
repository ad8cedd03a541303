"""The HTTP edge of the ask listener: whose request it is, whether it may be read, what goes back.

Everything here is said before a Call exists, so nothing of it is a decision. The order is that of
suspicion: where the request thinks it is (Host, Origin), who sends it, only then what it says. A
web page cannot reach the listener through a rebound name, for its Host is not ours and it sends an
Origin; a local process cannot by being local, for it still needs a credential.
"""

import asyncio
import logging
import re
import socket
import struct
import sys
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

import msgspec
import orjson
from aiohttp import web
from aiohttp.web_request import BaseRequest

from sidecar.facts.identity import Caller, Workloads
from sidecar.intercept.limits import ASK_HEADERS_MAX, ASK_LINGER_S, REQUEST_ID_CHARS_MAX
from sidecar.syntax import json
from sidecar.terms.call import Json
from sidecar.terms.errors import ParseError

_log = logging.getLogger("sidecar.intercept.ask")
_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(:[0-9]{1,5})?\Z")
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
_JSON: Final = re.compile(
    r"application/json\s*(;\s*charset\s*=\s*\"?utf-8\"?\s*)?\Z", re.IGNORECASE
)
_SOL_LOCAL: Final = 0
_LOCAL_PEERCRED: Final = 1
_XUCRED: Final = struct.Struct("=IIh16I")
_UCRED: Final = struct.Struct("=iII")


class Reply(msgspec.Struct, frozen=True):
    """What goes back."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: dict[str, str] = {}


class Refused(Exception):
    """A request that is refused before there is a Call: status, stable code, text."""

    def __init__(
        self, status: int, code: str, text: str, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(text)
        self.status = status
        self.code = code
        self.headers = headers or {}


class Connection(web.RequestHandler):
    """One connection, which says as little of what it could not read as of anything else.

    The library's own handler logs the bytes of a malformed request, which may hold a credential,
    answers in its own name, and nobody counts it.
    """

    __slots__ = ("_refused",)

    def __init__(
        self,
        server: web.Server,
        loop: asyncio.AbstractEventLoop,
        refused: Callable[[BaseRequest, str], None],
        idle_s_max: float,
    ) -> None:
        super().__init__(
            server,
            loop=loop,
            access_log=None,  # type: ignore[arg-type]  # The library tests it for truth.
            auto_decompress=False,
            lingering_time=ASK_LINGER_S,
            keepalive_timeout=idle_s_max,
            max_headers=ASK_HEADERS_MAX,
        )
        self._refused = refused

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Return the answer to a request that is not HTTP, or that failed inside the sidecar."""
        code = "internal" if status >= 500 else "http"
        self._refused(request, code)
        if code == "internal":
            _log.error("a request failed inside the sidecar", exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("the answer had begun")
        text = "the sidecar failed" if code == "internal" else "the request is not HTTP"
        # There may be no headers to read here, hence no X-Request-ID to repeat.
        answer = plain_response(problem(Refused(status, code, text)))
        answer.force_close()
        return answer


class Crowded(asyncio.Protocol):
    """A connection beyond the bound: closed before a byte of it is read."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Close it."""
        transport.close()


def json_reply(body: Json, status: int = 200) -> Reply:
    """Return `body` as JSON, on a line of its own: people ask by hand as well."""
    return Reply(status, orjson.dumps(body, option=orjson.OPT_APPEND_NEWLINE))


def problem(refused: Refused) -> Reply:
    """Return a refusal as problem details (RFC 9457)."""
    body = {
        "type": "about:blank",
        "title": refused.code,
        "status": refused.status,
        "detail": str(refused),
    }
    told = orjson.dumps(body, option=orjson.OPT_APPEND_NEWLINE)
    return Reply(refused.status, told, "application/problem+json", headers=refused.headers)


def error_text(refused: Refused) -> Reply:
    """Return a refusal as AuthZEN has it: an error message string (AuthZEN 1.0 §10.1.2)."""
    return Reply(
        refused.status, str(refused).encode(), "text/plain; charset=utf-8", headers=refused.headers
    )


def response(reply: Reply, request: BaseRequest) -> web.Response:
    """Return the response, with the caller's X-Request-ID if it is fit to repeat."""
    answer = plain_response(reply)
    told = request.headers.getall("X-Request-ID", [])
    if len(told) == 1 and len(told[0]) <= REQUEST_ID_CHARS_MAX and _is_visible(told[0]):
        answer.headers["X-Request-ID"] = told[0]
    return answer


def plain_response(reply: Reply) -> web.Response:
    """Return the response, which names no software and is kept by nobody."""
    headers = {
        "Server": "sidecar",
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        **reply.headers,
    }
    if reply.body:
        headers["Content-Type"] = reply.content_type
    return web.Response(status=reply.status, body=reply.body, headers=headers)


def check_place(request: BaseRequest, public_url: str | None) -> None:
    """Refuse a request that was meant for another host, or that a web page sent."""
    if "Origin" in request.headers:
        raise Refused(403, "origin", "requests of web pages are not answered")
    if _is_unix(request):
        return
    told = request.headers.getall("Host", [])
    found = _HOST.match(told[0]) if len(told) == 1 else None
    if found is None:
        raise Refused(400, "host", "expected one Host header of a host and a port")
    if found[1].lower() not in _LOOPBACK | _own_hosts(request, public_url):
        raise Refused(403, "host", "this host is not served here; see `public_url`")


def _own_hosts(request: BaseRequest, public_url: str | None) -> set[str]:
    """Return the names besides loopback's: the address it came in on, the host of `public_url`."""
    hosts = set()
    address = request.transport.get_extra_info("sockname") if request.transport else None
    if isinstance(address, tuple):
        hosts.add(f"[{address[0]}]" if ":" in address[0] else address[0])
    if public_url is not None:
        name = urlsplit(public_url).hostname or ""
        hosts.add(f"[{name}]" if ":" in name else name)
    return hosts


def identify(request: BaseRequest, workloads: Workloads) -> Caller:
    """Return who sends `request`. Raises Refused (401) when nobody is proven.

    A credential that is sent is the one that counts: a wrong key on a Unix socket is not made good
    by the user that sent it.
    """
    told = request.headers.getall("Sidecar-Authorization", [])
    told = told or request.headers.getall("Authorization", [])
    if not told:
        return _peer(request, workloads)
    scheme, _, token = told[0].partition(" ")
    if len(told) == 1 and scheme.lower() == "bearer":
        workload = workloads.identify_bearer(token.strip(" "))
        if workload is not None:
            return Caller(workload, "key")
    raise _unknown('Bearer realm="sidecar", error="invalid_token"')


def _peer(request: BaseRequest, workloads: Workloads) -> Caller:
    uid = _peer_uid(request) if _is_unix(request) else None
    workload = workloads.identify_peer(uid) if uid is not None else None
    if workload is None:
        raise _unknown('Bearer realm="sidecar"')
    return Caller(workload, "peer")


def _unknown(challenge: str) -> Refused:
    return Refused(401, "credential", "a workload's key is needed", {"WWW-Authenticate": challenge})


def _socket(request: BaseRequest) -> socket.socket | None:
    found: socket.socket | None = (
        request.transport.get_extra_info("socket") if request.transport else None
    )
    return found


def _is_unix(request: BaseRequest) -> bool:
    found = _socket(request)
    return found is not None and found.family == socket.AF_UNIX


def _peer_uid(request: BaseRequest) -> int | None:
    """Return the user id of the process at the other end, as the kernel has it from its connect.

    Source: unix(7) SO_PEERCRED; unix(4) of macOS, LOCAL_PEERCRED.
    """
    found = _socket(request)
    if found is None:
        return None
    try:
        if sys.platform == "darwin":
            raw = found.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, _XUCRED.size)
            return int(_XUCRED.unpack(raw)[1])
        raw = found.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    except (OSError, struct.error):
        return None
    uid = int(_UCRED.unpack(raw)[1])
    # The kernel says so where a user has no name in our namespace: it is nobody, not user -1.
    return None if uid == 0xFFFFFFFF else uid


def peer_ip(request: BaseRequest) -> str | None:
    """Return the address at the other end of a TCP connection."""
    address = request.transport.get_extra_info("peername") if request.transport else None
    return address[0] if isinstance(address, tuple) else None


async def read_json(request: BaseRequest, bytes_max: int, seconds_max: float) -> Json:
    """Return the strictly read JSON body.

    Raises:
        Refused: 400 for a type, an encoding or a text that is not read, 408, 413.
    """
    types = request.headers.getall("Content-Type", [])
    # Why 400: AuthZEN 1.0 §10.1.2 knows no 415.
    if len(types) != 1 or not _JSON.match(types[0].strip()):
        raise Refused(400, "content_type", "expected Content-Type: application/json")
    if "Content-Encoding" in request.headers:
        raise Refused(400, "content_encoding", "an encoded body is not read")
    body = await _read(request, bytes_max, seconds_max)
    if not body:
        raise Refused(400, "body", "expected a JSON body")
    try:
        return json.loads(body, bytes_max=bytes_max)
    except ParseError as error:
        raise Refused(400, str(error.reason), str(error)) from None


async def _read(request: BaseRequest, bytes_max: int, seconds_max: float) -> bytes:
    if (request.content_length or 0) > bytes_max:
        raise _too_large(bytes_max)
    await _continue(request)
    try:
        async with asyncio.timeout(seconds_max):
            return await _collected(request, bytes_max)
    except TimeoutError:
        raise Refused(408, "body", "the body did not come in time") from None
    except (web.RequestPayloadError, OSError):
        # A caller that went away is refused as well, so that it is counted and not our mistake.
        raise Refused(400, "body", "the body is not framed as its headers say") from None


async def _collected(request: BaseRequest, bytes_max: int) -> bytes:
    chunks = bytearray()
    async for chunk in request.content.iter_any():
        chunks += chunk
        if len(chunks) > bytes_max:
            raise _too_large(bytes_max)
    return bytes(chunks)


async def _continue(request: BaseRequest) -> None:
    """Ask for the body of a caller that waits to be asked (RFC 9110 §10.1.1)."""
    if request.headers.get("Expect", "").lower() == "100-continue":
        writer = request.writer
        await writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # The writer counts what it sends; the response's own count starts after this.
        writer.output_size = 0


def _too_large(bytes_max: int) -> Refused:
    return Refused(413, "too_large", f"the body is larger than {bytes_max} bytes")


def _is_visible(text: str) -> bool:
    return bool(text) and all(0x21 <= ord(char) <= 0x7E for char in text)
