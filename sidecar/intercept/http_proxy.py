"""The HTTP reverse proxy: one upstream, one kind of credential, every call down the path.

```
app ─▶ credential ─▶ framing ─▶ [body held] ─▶ flow.carry ─▶ upstream ─▶ flow.settle
```

Invariants:
- What is sent is built from the payload that was judged: method, raw path and query, headers, the
  identical body bytes. Nothing is normalised on the way.
- The bundle is read once a call; whether the body is held and what is decided come from one
  snapshot. A body that no rule needs streams unread, unless it may say another method (`_method`):
  such a POST is held for the parser to look. The digest of every body stands in the outcome.
- An outcome that cannot be recorded is owed: until it is written no further call goes out.
- Before an identity there is no Call: such requests are answered, never forwarded or recorded.
- What one decision permits is sent once, on a connection of its own (`http_upstream.py`).

Source: RFC 9110 §7.6, RFC 9112 §3.2 (request targets), RFC 9457; WebSocket is refused for now.
"""

import asyncio
import logging
import re
import socket
from collections.abc import AsyncIterator, Sequence
from typing import Protocol

import msgspec
from aiohttp import ClientError, ClientResponse, ClientSession, web
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from sidecar import flow
from sidecar.intercept import limits
from sidecar.intercept.descriptors import is_spare_left
from sidecar.intercept.http_body import Sent, give, hold, stream
from sidecar.intercept.http_upstream import forwarding_session
from sidecar.intercept.http_wire import (
    BUSY,
    CHANGED_PROTOCOL,
    CHANGED_TARGET,
    LOST,
    NO_UPSTREAM,
    UNPROVEN,
    Crowded,
    Rejected,
    judged_headers,
    malformed,
    refusal_response,
    released_headers,
    says_maybe_another,
    sent_headers,
)
from sidecar.terms.answer import Forward
from sidecar.terms.call import Call, Identity, Json
from sidecar.terms.decision import Decision
from sidecar.terms.errors import ConfigError, RecordError
from sidecar.terms.record import OutcomeRecord

_log = logging.getLogger("sidecar.intercept.http_proxy")
_library = logging.getLogger("sidecar.intercept.http_proxy.aiohttp")
# The library prints the bytes that it could not read, and they may be a credential.
_library.addFilter(
    lambda said: not (said.exc_info and isinstance(said.exc_info[1], HttpProcessingError))
)

# No user information, query or fragment: the app's path and query come after it.
_BASE = re.compile(r"https?://[A-Za-z0-9.:\[\]_-]+(/[A-Za-z0-9._~/-]*)?\Z")
CREDENTIAL = "sidecar-authorization"


class Identify(Protocol):
    """Who holds a workload key."""

    def __call__(self, token: str) -> Identity | None:
        """Return the identity that `token` proves, None when it proves nothing."""
        ...


class Counters(Protocol):
    """What the runtime counts of this listener."""

    def refused(self, listener: str, code: str, source: str) -> None:
        """Count a request that was refused before there was a Call; `source` is `tcp` or `unix`."""
        ...

    def decided(self, listener: str, protocol: str, decision: Decision) -> None:
        """Count a decision."""
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
    body_bytes_max: int = limits.HTTP_BODY_BYTES_MAX
    body_s_max: float = limits.HTTP_BODY_S_MAX
    idle_s_max: float = limits.HTTP_IDLE_S_MAX
    silent_s_max: float = limits.HTTP_SILENT_S_MAX
    connect_s_max: float = limits.HTTP_CONNECT_S_MAX
    calls_max: int = limits.HTTP_CALLS_MAX
    connections_max: int = limits.HTTP_CONNECTIONS_MAX

    def __repr__(self) -> str:
        """Leave the credential out."""
        return f"HttpProxySettings({self.name!r})"


class HttpProxy:
    """Serves one upstream on sockets that somebody else has bound."""

    def __init__(
        self,
        settings: HttpProxySettings,
        path: flow.Path,
        identify: Identify,
        counters: Counters | None = None,
    ) -> None:
        if not _BASE.match(settings.url):
            raise ConfigError(
                f"listener `{settings.name}`: `url` is `http(s)://host[:port][/path]`"
            )
        self._settings = settings
        self._counters = counters
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
        self._client = forwarding_session(
            settings.calls_max, settings.connect_s_max, settings.silent_s_max
        )
        self._server = web.Server(
            self._answer,
            access_log=None,
            logger=_library,
            auto_decompress=False,
            keepalive_timeout=settings.idle_s_max,
            lingering_time=limits.HTTP_LINGER_S_MAX,
            max_line_size=limits.HTTP_LINE_BYTES_MAX,
            max_field_size=limits.HTTP_HEADER_BYTES_MAX,
            max_headers=limits.HTTP_HEADERS_MAX,
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
        is_full = len(self._server.connections) >= self._settings.connections_max
        if is_full or not is_spare_left():
            return Crowded()
        return self._server()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        identity = self._who(request)
        rejected = UNPROVEN if identity is None else malformed(request)
        if rejected is None and self._in_flight >= self._settings.calls_max:
            rejected = BUSY
        if identity is None or rejected is not None:
            assert rejected is not None
            return self._counted(request, rejected)
        self._in_flight += 1
        try:
            return await self._carried(request, identity)
        except RecordError:
            return LOST.response()
        finally:
            self._in_flight -= 1

    def _counted(self, request: web.BaseRequest, rejected: Rejected) -> web.Response:
        if self._counters is not None:
            source = "tcp" if request.remote else "unix"
            self._counters.refused(self._settings.name, rejected.code, source)
        return rejected.response()

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
        payload = self._payload(request)
        if request.body_exists and (bundle.needs("http").body or says_maybe_another(payload)):
            body = await hold(request, self._settings.body_bytes_max, self._settings.body_s_max)
            if isinstance(body, Rejected):
                return self._counted(request, body)
            payload["body"] = body
        answer = await flow.carry(self._call(request, identity, payload, path), path)
        if self._counters is not None:
            self._counters.decided(self._settings.name, "http", answer.decision)
        if isinstance(answer, Forward):
            return await self._forward(request, answer)
        return refusal_response(answer.refusal)

    def _payload(self, request: web.BaseRequest) -> dict[str, Json]:
        """Return the Call's payload without the body: what would be sent, and nothing else."""
        return {
            "method": request.method,
            "url": self._base + request.raw_path,
            "headers": judged_headers(request.headers.items()),
        }

    def _call(
        self,
        request: web.BaseRequest,
        identity: Identity,
        payload: dict[str, Json],
        path: flow.Path,
    ) -> Call:
        return Call(
            id=path.new_id(),
            time=path.now(),
            listener=self._settings.name,
            upstream=self._settings.upstream,
            protocol="http",
            payload=payload,
            identity=identity,
            context={"ip": request.remote} if request.remote else {},
            is_enforced=True,
        )

    async def _forward(self, request: web.BaseRequest, forward: Forward) -> web.StreamResponse:
        """Send what was permitted, give the answer back; whatever happens, an outcome follows."""
        sent = Sent()
        try:
            return await self._exchange(request, forward, sent)
        except (ClientError, TimeoutError, ValueError):
            return NO_UPSTREAM.response()
        finally:
            await self._settle(forward, sent)

    async def _exchange(
        self, request: web.BaseRequest, forward: Forward, sent: Sent
    ) -> web.StreamResponse:
        assert self._client is not None
        payload = forward.payload
        url = URL(payload["url"], encoded=True)
        if url.raw_path_qs != "/" + payload["url"].split("/", 3)[3]:
            return CHANGED_TARGET.response()
        headers = sent_headers(payload, self._settings.authorization)
        said: Json = payload.get("body")
        data: bytes | AsyncIterator[bytes] | None
        data = said.encode() if isinstance(said, str) else said
        if isinstance(data, bytes):
            sent.judged(data)
        elif request.body_exists:
            data = stream(request, sent)
            if request.content_length is not None:
                headers.append(("Content-Length", str(request.content_length)))
        async with self._client.request(
            payload["method"], url, headers=headers, data=data, allow_redirects=False
        ) as back:
            sent.status = str(back.status)
            return await self._release(request, back, forward, sent)

    async def _release(
        self, request: web.BaseRequest, back: ClientResponse, forward: Forward, sent: Sent
    ) -> web.StreamResponse:
        """Give the upstream's answer to the app, chunk by chunk, as fast as the app takes it."""
        if back.status < 200:
            return CHANGED_PROTOCOL.response()
        response = web.StreamResponse(status=back.status, reason=back.reason)
        for name, value in released_headers(back.headers.items()):
            if not (forward.result and name.lower() == "content-length"):
                response.headers.add(name, value)
        await response.prepare(request)
        try:
            async for chunk in back.content.iter_any():
                released = forward.result.feed(chunk) if forward.result else chunk
                await give(response, released, sent)
            if forward.result:
                await give(response, forward.result.finish(), sent)
            sent.is_whole = True
        except (ClientError, TimeoutError, ConnectionError):
            # Half an answer must not look like a whole one: the connection is cut without an end.
            if request.transport is not None:
                request.transport.abort()
            return response
        await response.write_eof()
        return response

    async def _settle(self, forward: Forward, sent: Sent) -> None:
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
