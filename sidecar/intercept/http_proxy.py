"""The HTTP reverse proxy: one upstream, one kind of credential, every call down the path.

```
app ─▶ credential ─▶ framing ─▶ [body held] ─▶ flow.carry ─▶ upstream ─▶ flow.settle
```

Invariants:
- What is sent is built from the payload that was judged: method, raw path and query, headers, the
  identical body bytes. Nothing is normalised on the way.
- The bundle is read once a call; whether the body is held and what is decided come from one
  snapshot. A body that no rule needs streams unread and its digest stands in the outcome.
- An outcome that cannot be recorded is owed: until it is written no further call goes out.
- Before an identity there is no Call: such requests are answered, never forwarded or recorded.
- Each call has a connection upstream of its own. A kept one would be retried by the client library,
  which is two effects of one decision, and an answer out of step would reach another caller.

Source: RFC 9110 §7.6, RFC 9112 §3.2 (request targets), RFC 9457; WebSocket is refused for now.
"""

import asyncio
import hashlib
import logging
import socket
from collections.abc import AsyncIterator, Sequence
from typing import Protocol

import msgspec
from aiohttp import (
    ClientError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
    TCPConnector,
    web,
)
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from sidecar import flow
from sidecar.intercept import http_limits as limits
from sidecar.intercept.http_wire import (
    Crowded,
    judged_headers,
    malformed,
    problem,
    refusal_response,
    released_headers,
    sent_headers,
)
from sidecar.terms.answer import Forward
from sidecar.terms.call import Call, Identity, Json
from sidecar.terms.errors import RecordError
from sidecar.terms.record import OutcomeRecord

_log = logging.getLogger("sidecar.intercept.http_proxy")
_library = logging.getLogger("sidecar.intercept.http_proxy.library")
# The library prints the bytes that it could not read, and they may be a credential.
_library.addFilter(
    lambda said: not (said.exc_info and isinstance(said.exc_info[1], HttpProcessingError))
)

CREDENTIAL = "sidecar-authorization"


class Identify(Protocol):
    """Who holds a workload key."""

    def __call__(self, token: str) -> Identity | None:
        """Return the identity that `token` proves, None when it proves nothing."""
        ...


class HttpProxySettings(msgspec.Struct, frozen=True):
    """What one HTTP listener is told.

    Args:
        name: Of the listener, as records carry it.
        upstream: Name of the upstream, as records and policies carry it.
        url: Where it is: `http(s)://host[:port][/prefix]`.
        authorization: The upstream's credential, sent as `Authorization` in place of the app's.
    """

    name: str
    upstream: str
    url: str
    authorization: str | None = None
    body_bytes_max: int = limits.BODY_BYTES_MAX
    body_s_max: float = limits.BODY_S_MAX
    idle_s_max: float = limits.IDLE_S_MAX
    silent_s_max: float = limits.SILENT_S_MAX
    connect_s_max: float = limits.CONNECT_S_MAX
    calls_max: int = limits.CALLS_MAX
    connections_max: int = limits.CONNECTIONS_MAX

    def __repr__(self) -> str:
        """Leave the credential out."""
        return f"HttpProxySettings({self.name!r})"


class _TooLarge(Exception):
    """A body over the cap."""


class _Sent:
    """What went by in one exchange: bytes and digests, either way."""

    def __init__(self) -> None:
        self.request: hashlib._Hash | None = None
        self.response = hashlib.sha256()
        self.bytes = 0
        self.status: str | None = None
        self.is_whole = False

    def digest(self) -> str:
        """Return the digest of what came back; before it that of a body that nobody read."""
        back = f"sha256:{self.response.hexdigest()}"
        if self.request is None:
            return back
        return f"request=sha256:{self.request.hexdigest()};response={back}"


class HttpProxy:
    """Serves one upstream on sockets that somebody else has bound."""

    def __init__(self, settings: HttpProxySettings, path: flow.Path, identify: Identify) -> None:
        self._settings = settings
        self._path = path
        self._identify = identify
        self._base = settings.url.rstrip("/")
        self._in_flight = 0
        self._owed: list[tuple[Forward, OutcomeRecord]] = []
        self._paying = asyncio.Lock()
        self._settling: set[asyncio.Task[None]] = set()
        self._server: web.Server | None = None
        self._client: ClientSession | None = None
        self._listening: list[asyncio.Server] = []

    async def serve(self, sockets: Sequence[socket.socket]) -> None:
        """Start to serve on bound sockets and return."""
        settings = self._settings
        self._client = ClientSession(
            connector=TCPConnector(force_close=True, limit=settings.calls_max),
            cookie_jar=DummyCookieJar(),
            auto_decompress=False,
            timeout=ClientTimeout(
                total=None, sock_connect=settings.connect_s_max, sock_read=settings.silent_s_max
            ),
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
        )
        self._server = web.Server(
            self._answer,
            access_log=None,
            logger=_library,
            auto_decompress=False,
            keepalive_timeout=settings.idle_s_max,
            max_line_size=limits.LINE_BYTES_MAX,
            max_field_size=limits.HEADER_BYTES_MAX,
            max_headers=limits.HEADERS_MAX,
        )
        loop = asyncio.get_running_loop()
        for one in sockets:
            make = loop.create_unix_server if one.family == socket.AF_UNIX else loop.create_server
            self._listening.append(await make(self._connection, sock=one))

    async def drain(self, timeout_s: float) -> None:
        """Take no more connections, end what was begun, cut the rest after `timeout_s`."""
        for listening in self._listening:
            listening.close()
        self._listening.clear()
        if self._server is not None:
            self._server.pre_shutdown()
            await self._server.shutdown(timeout_s)
        await asyncio.gather(*self._settling)
        await self._pay()
        if self._client is not None:
            await self._client.close()

    def _connection(self) -> asyncio.Protocol:
        assert self._server is not None
        if len(self._server.connections) >= self._settings.connections_max:
            return Crowded()
        return self._server()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        identity = self._who(request)
        if identity is None:
            return problem(
                401, "identity.unproven", "a workload key is needed",
                WWW_Authenticate='Bearer realm="sidecar"',
            )  # fmt: skip
        refused = malformed(request)
        if refused is not None:
            return refused
        if self._in_flight >= self._settings.calls_max:
            return problem(503, "busy", "too many calls in flight", Retry_After="1")
        self._in_flight += 1
        try:
            return await self._carried(request, identity)
        except RecordError:
            return problem(503, "record.lost", "the decision cannot be recorded", Retry_After="1")
        finally:
            self._in_flight -= 1

    def _who(self, request: web.BaseRequest) -> Identity | None:
        """Return who sends the request, by exactly one credential."""
        said = request.headers.getall(CREDENTIAL, [])
        scheme, _, token = said[0].partition(" ") if len(said) == 1 else ("", "", "")
        return self._identify(token.strip()) if scheme.lower() == "bearer" and token else None

    async def _carried(self, request: web.BaseRequest, identity: Identity) -> web.StreamResponse:
        if self._owed:
            await self._pay()
        if self._owed:
            raise RecordError("an earlier outcome is not recorded yet")
        bundle = self._path.bundle()
        path = msgspec.structs.replace(self._path, bundle=lambda: bundle)
        body: bytes | None = None
        if bundle.needs("http").body and request.body_exists:
            try:
                body = await self._held(request)
            except _TooLarge:
                return problem(413, "too_large", "a body over the limit")
            except TimeoutError:
                return problem(408, "timeout", "a body that does not come")
            except (web.RequestPayloadError, ConnectionError):
                return problem(400, "framing", "a body that does not end as it should")
        answer = await flow.carry(self._call(request, identity, body, path), path)
        if isinstance(answer, Forward):
            return await self._forward(request, answer)
        return refusal_response(answer.refusal)

    async def _held(self, request: web.BaseRequest) -> bytes:
        """Return the whole body, or refuse it as soon as it is over the cap."""
        cap = self._settings.body_bytes_max
        if (request.content_length or 0) > cap:
            raise _TooLarge
        await _continue(request)
        held = bytearray()
        async with asyncio.timeout(self._settings.body_s_max):
            async for chunk in request.content.iter_any():
                held += chunk
                if len(held) > cap:
                    raise _TooLarge
        return bytes(held)

    def _call(
        self, request: web.BaseRequest, identity: Identity, body: bytes | None, path: flow.Path
    ) -> Call:
        payload: dict[str, Json] = {
            "method": request.method,
            "url": self._base + request.raw_path,
            "headers": judged_headers(request.headers.items()),
        }
        if body is not None:
            payload["body"] = body
        return Call(
            id=path.new_id(),
            time=path.now(),
            listener=self._settings.name,
            upstream=self._settings.upstream,
            protocol="http",
            payload=payload,
            identity=identity,
            context={"ip": request.remote} if request.remote else {},
        )

    async def _forward(self, request: web.BaseRequest, forward: Forward) -> web.StreamResponse:
        """Send what was permitted and give the answer back; whatever happens, an outcome follows."""
        sent = _Sent()
        try:
            return await self._exchange(request, forward, sent)
        except (ClientError, TimeoutError, ValueError):
            return problem(502, "upstream.failed", "the upstream did not answer")
        finally:
            await self._settle(forward, sent)

    async def _exchange(
        self, request: web.BaseRequest, forward: Forward, sent: _Sent
    ) -> web.StreamResponse:
        assert self._client is not None
        payload = forward.payload
        url = URL(payload["url"], encoded=True)
        if url.raw_path_qs != "/" + payload["url"].split("/", 3)[3]:
            return problem(400, "target", "a target that cannot be sent unchanged")
        headers = sent_headers(payload, self._settings.authorization)
        said: Json = payload.get("body")
        data: bytes | AsyncIterator[bytes] | None
        data = said.encode() if isinstance(said, str) else said
        if data is None and request.body_exists:
            await _continue(request)
            sent.request = hashlib.sha256()
            data = _streamed(request, sent.request)
            if request.content_length is not None:
                headers.append(("Content-Length", str(request.content_length)))
        async with self._client.request(
            payload["method"], url, headers=headers, data=data, allow_redirects=False
        ) as back:
            sent.status = str(back.status)
            return await self._release(request, back, forward, sent)

    async def _release(
        self, request: web.BaseRequest, back: ClientResponse, forward: Forward, sent: _Sent
    ) -> web.StreamResponse:
        """Give the upstream's answer to the app, chunk by chunk, as fast as the app takes it."""
        if back.status < 200:
            return problem(502, "upstream.failed", "the upstream changed the protocol")
        response = web.StreamResponse(status=back.status, reason=back.reason)
        for name, value in released_headers(back.headers.items()):
            if not (forward.result and name.lower() == "content-length"):
                response.headers.add(name, value)
        await response.prepare(request)
        try:
            async for chunk in back.content.iter_any():
                released = forward.result.feed(chunk) if forward.result else chunk
                await _give(response, released, sent)
            if forward.result:
                await _give(response, forward.result.finish(), sent)
            sent.is_whole = True
        except (ClientError, TimeoutError, ConnectionError):
            # Half an answer must not look like a whole one: the connection is cut without an end.
            if request.transport is not None:
                request.transport.abort()
            return response
        await response.write_eof()
        return response

    async def _settle(self, forward: Forward, sent: _Sent) -> None:
        failed = {} if sent.is_whole else {"result": "failed"}
        outcome = flow.outcome_record(
            forward, self._path, upstream_status=sent.status, bytes=sent.bytes,
            digest=sent.digest(), **failed,
        )  # fmt: skip
        # Why a task and a shield: a drain that cuts the call must not lose what happened to it.
        settling = asyncio.create_task(self._write(forward, outcome))
        self._settling.add(settling)
        settling.add_done_callback(self._settling.discard)
        await asyncio.shield(settling)

    async def _write(self, forward: Forward, outcome: OutcomeRecord) -> None:
        try:
            await flow.settle(forward, self._path, outcome)
        except RecordError as error:
            self._owed.append((forward, outcome))
            _log.warning("listener %s: an outcome is not recorded: %s", self._settings.name, error)

    async def _pay(self) -> None:
        """Write every outcome that is owed; what cannot be written stays owed."""
        async with self._paying:
            while self._owed:
                try:
                    await flow.settle(self._owed[0][0], self._path, self._owed[0][1])
                except RecordError:
                    return
                del self._owed[0]


async def _continue(request: web.BaseRequest) -> None:
    """Ask for a body that waits to be asked for (RFC 9110 §10.1.1)."""
    if "expect" in request.headers and request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


async def _streamed(request: web.BaseRequest, seen: "hashlib._Hash") -> AsyncIterator[bytes]:
    async for chunk in request.content.iter_any():
        seen.update(chunk)
        yield chunk


async def _give(response: web.StreamResponse, chunk: bytes, sent: _Sent) -> None:
    if chunk:
        await response.write(chunk)
        sent.response.update(chunk)
        sent.bytes += len(chunk)
