"""The ask listener: `POST /v1/decide` and AuthZEN for apps that are their own enforcement point.

Open to whoever reaches the socket: `/healthz` and `/readyz` (no content) and the AuthZEN discovery
document. Everything else needs a workload's key, or on a Unix socket a peer that a workload lists.
Whatever is decided is 200, a denial too; it is answered once its record is durable. A Call that is
asked about has no outcome record: what the app then did is not ours to know.

A batch is read whole before any of it is decided, so a request is either refused or decided, never
half of each; AuthZEN's evaluations answer each entry by itself, as its specification has it.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Protocol, TypeAlias

import msgspec
from aiohttp import web
from aiohttp.web_request import BaseRequest

from sidecar import flow
from sidecar.facts.identity import AssertionRefused, Caller, Workloads
from sidecar.intercept import authzen, limits
from sidecar.intercept.ask_edge import (
    Connection,
    Crowded,
    Refused,
    Reply,
    check_place,
    error_text,
    identify,
    json_reply,
    peer_ip,
    problem,
    read_json,
    response,
)
from sidecar.intercept.envelope import Envelope, Seen, asked_call, decided, read_envelope
from sidecar.terms.call import Call, Json
from sidecar.terms.decision import Decision
from sidecar.terms.errors import EnvelopeError, RecordError

_METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class AskSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `sidecar.yaml` says of this listener; the bounds' reasons stand in `limits.py`."""

    name: str = "ask"
    public_url: str | None = None
    body_bytes_max: int = limits.ASK_BODY_BYTES_MAX
    body_s_max: float = limits.ASK_BODY_S_MAX
    connections_max: int = limits.ASK_CONNECTIONS_MAX
    in_flight_max: int = limits.ASK_IN_FLIGHT_MAX
    idle_s_max: float = limits.ASK_IDLE_S_MAX


class Counters(Protocol):
    """What the runtime counts of this listener."""

    def refused(self, listener: str, code: str, source: str) -> None:
        """Count a request that was refused before there was a Call; `source` is `tcp` or `unix`."""
        ...

    def decided(self, listener: str, protocol: str, decision: Decision) -> None:
        """Count a decision that was answered."""
        ...


class Health(Protocol):
    """What the runtime knows of the whole process group."""

    def is_ready(self) -> bool:
        """Return whether calls can be decided and recorded."""
        ...

    async def metrics(self) -> bytes:
        """Return the Prometheus text of all workers."""
        ...

    async def status(self) -> dict[str, Json]:
        """Return what `/v1/status` shows."""
        ...


class _Asked(msgspec.Struct, frozen=True):
    """One authenticated request."""

    request: BaseRequest
    caller: Caller


_Handler: TypeAlias = Callable[[_Asked], Awaitable[Reply]]


class _Route(msgspec.Struct, frozen=True):
    """One path that a credential opens: its method, its handler, and how it says no."""

    method: str
    handler: _Handler
    refusal: Callable[[Refused], Reply] = problem


class AskListener:
    """Serves the ask API on sockets that somebody else has bound."""

    def __init__(
        self,
        settings: AskSettings,
        path: flow.Path,
        workloads: Workloads,
        counters: Counters,
        health: Health,
    ) -> None:
        self._settings = settings
        self._path = path
        self._workloads = workloads
        self._counters = counters
        self._health = health
        self._in_flight = 0
        self._server: web.Server | None = None
        self._listening: list[asyncio.Server] = []
        self._base = settings.public_url.rstrip("/") if settings.public_url else None
        self._routes: Mapping[str, _Route] = self._routed()

    def _routed(self) -> dict[str, _Route]:
        routes = {
            "/v1/decide": _Route("POST", self._decide),
            "/v1/status": _Route("GET", self._status),
            "/metrics": _Route("GET", self._metrics),
            authzen.EVALUATION_PATH: _Route("POST", self._evaluation, error_text),
            authzen.EVALUATIONS_PATH: _Route("POST", self._evaluations, error_text),
        }
        search = _Route("POST", self._search, error_text)
        return {**routes, **dict.fromkeys(authzen.SEARCH_PATHS, search)}

    async def serve(self, sockets: Sequence[socket.socket]) -> None:
        """Start to serve on bound sockets and return."""
        loop = asyncio.get_running_loop()
        self._server = web.Server(self._answer)
        for one in sockets:
            if one.family == socket.AF_UNIX:
                listening = await loop.create_unix_server(self._connection, sock=one)
            else:
                listening = await loop.create_server(self._connection, sock=one)
                self._base = self._base or _base_of(one)
            self._listening.append(listening)

    async def drain(self, timeout_s: float) -> None:
        """Take no more connections, end what was begun, close the rest after `timeout_s`."""
        for listening in self._listening:
            listening.close()
        if self._server is not None:
            self._server.pre_shutdown()
            await self._server.shutdown(timeout_s)
        self._listening.clear()

    def _connection(self) -> asyncio.Protocol:
        assert self._server is not None
        if len(self._server.connections) >= self._settings.connections_max:
            return Crowded()
        loop, idle_s_max = asyncio.get_running_loop(), self._settings.idle_s_max
        return Connection(self._server, loop, self._refused, idle_s_max)

    def _refused(self, request: BaseRequest, code: str) -> None:
        self._counters.refused(self._settings.name, code, _source(request))

    async def _answer(self, request: BaseRequest) -> web.StreamResponse:
        return response(await self._reply(request), request)

    async def _reply(self, request: BaseRequest) -> Reply:
        target = request.raw_path.partition("?")[0]
        route = self._routes.get(target)
        refusal = route.refusal if route is not None else problem
        try:
            reply = self._open(request, target)
            if reply is None:
                reply = await self._closed(request, route)
        except Refused as refused:
            self._refused(request, refused.code)
            return refusal(refused)
        return reply

    def _open(self, request: BaseRequest, target: str) -> Reply | None:
        """Return the answer to a request that needs no credential, None when it does."""
        if target == "/healthz":
            return Reply(200)
        if target == "/readyz":
            return Reply(200 if self._health.is_ready() else 503)
        check_place(request, self._settings.public_url)
        if target == authzen.DISCOVERY_PATH and request.method in ("GET", "HEAD"):
            return json_reply(authzen.discovery(self._base or "http://localhost"))
        return None

    async def _closed(self, request: BaseRequest, route: _Route | None) -> Reply:
        """Return the answer to a request that needs a credential."""
        # Before anything else: who is nobody learns not even which paths there are.
        caller = identify(request, self._workloads)
        if route is None:
            raise Refused(404, "path", "nothing is served at this path")
        if request.method != route.method:
            allow = {"Allow": route.method}
            raise Refused(405, "method", f"this path takes {route.method}", allow)
        if self._in_flight >= self._settings.in_flight_max:
            raise Refused(429, "busy", "too many requests at a time", {"Retry-After": "1"})
        self._in_flight += 1
        try:
            return await route.handler(_Asked(request, caller))
        except AssertionRefused as error:
            raise Refused(403, error.code, str(error)) from None
        except EnvelopeError as error:
            raise Refused(400, error.code, str(error)) from None
        except RecordError:
            # Decided, perhaps, but not on the record: so it is not said.
            text = "the decision cannot be recorded"
            raise Refused(503, RecordError.code, text, {"Retry-After": "1"}) from None
        finally:
            self._in_flight -= 1

    async def _decide(self, asked: _Asked) -> Reply:
        body = await self._body(asked)
        if not (isinstance(body, dict) and "calls" in body):
            return json_reply(decided(await self._judge(asked, _read(body))))
        calls = [self._call(asked, envelope) for envelope in _read_calls(body)]
        decisions = await authzen.every(self._carry(call) for call in calls)
        return json_reply({"decisions": [decided(decision) for decision in decisions]})

    async def _evaluation(self, asked: _Asked) -> Reply:
        envelope = authzen.read_evaluation(await self._body(asked))
        return json_reply(await authzen.evaluate(envelope, self._judge_of(asked)))

    async def _evaluations(self, asked: _Asked) -> Reply:
        read = authzen.read_evaluations(await self._body(asked))
        judge = self._judge_of(asked)
        if isinstance(read, Envelope):
            return json_reply(await authzen.evaluate(read, judge))
        return json_reply(await authzen.evaluate_all(read, self._counted(judge, asked)))

    def _counted(self, judge: authzen.Judge, asked: _Asked) -> authzen.Judge:
        """Return `judge`, an entry that it refuses counted: its batch is answered all the same."""

        async def judged(envelope: Envelope) -> Decision:
            try:
                return await judge(envelope)
            except AssertionRefused as error:
                self._refused(asked.request, error.code)
                raise

        return judged

    async def _search(self, asked: _Asked) -> Reply:
        raise Refused(501, "search", "search is not offered yet")

    async def _status(self, asked: _Asked) -> Reply:
        return json_reply(await self._health.status())

    async def _metrics(self, asked: _Asked) -> Reply:
        return Reply(200, await self._health.metrics(), _METRICS_TYPE)

    async def _body(self, asked: _Asked) -> Json:
        settings = self._settings
        return await read_json(asked.request, settings.body_bytes_max, settings.body_s_max)

    def _judge_of(self, asked: _Asked) -> authzen.Judge:
        async def judge(envelope: Envelope) -> Decision:
            return await self._judge(asked, envelope)

        return judge

    async def _judge(self, asked: _Asked, envelope: Envelope) -> Decision:
        return await self._carry(self._call(asked, envelope))

    def _call(self, asked: _Asked, envelope: Envelope) -> Call:
        seen = Seen(
            id=self._path.new_id(),
            time=self._path.now(),
            listener=self._settings.name,
            ip=peer_ip(asked.request),
        )
        return asked_call(envelope, asked.caller, seen)

    async def _carry(self, call: Call) -> Decision:
        answer = await flow.carry(call, self._path)
        self._counters.decided(self._settings.name, call.protocol, answer.decision)
        return answer.decision


def _read(body: Json) -> Envelope:
    return read_envelope(body, trusted=False)


def _read_calls(body: Mapping[str, Json]) -> list[Envelope]:
    """Return the envelopes of a batch, all of them or none."""
    calls = body["calls"]
    if set(body) != {"calls"}:
        raise EnvelopeError("a batch has the one key `calls`")
    if not isinstance(calls, list):
        raise EnvelopeError("`calls` is not a list")
    if len(calls) > limits.CALLS_MAX:
        raise EnvelopeError(f"`calls` has more than {limits.CALLS_MAX} entries")
    found = []
    for number, one in enumerate(calls):
        try:
            found.append(_read(one))
        except EnvelopeError as error:
            raise EnvelopeError(f"calls[{number}]: {error}") from None
    return found


def _base_of(one: socket.socket) -> str:
    """Return the URL of a TCP socket; with a `public_url` it is not asked for."""
    host, port = one.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _source(request: BaseRequest) -> str:
    return "tcp" if peer_ip(request) else "unix"
