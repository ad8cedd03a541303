"""The ask listener: `POST /v1/decide` and AuthZEN for apps that are their own enforcement point.

Open to whoever reaches the socket: `/healthz` and `/readyz` (no content) and the AuthZEN discovery
document. Everything else needs a workload's key, or on a Unix socket a peer that a workload lists.
Whatever is decided is 200, a denial too; it is answered once its record is durable. A Call that is
asked about has no outcome record: what the app then did is not ours to know.

A batch is read whole before any of it is decided, so a request is either refused or decided, never
half of each; AuthZEN's evaluations answer each entry by itself, as its specification has it.

One call whose facts are at hand has no task: it is judged where it was read, its answer is made
while its record is on the way to the disk, and given by a callback of the record.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Final, TypeAlias

import msgspec

from sidecar import flow
from sidecar.facts.identity import AssertionRefused, Caller, Workloads
from sidecar.intercept import authzen, limits
from sidecar.intercept.ask_edge import (
    AskSettings,
    Counters,
    Health,
    base_of,
    check_json,
    check_place,
    error_text,
    identify,
    json_reply,
    problem,
    read_json,
    refused_of,
    request_id_of,
)
from sidecar.intercept.envelope import (
    Envelope,
    Seen,
    asked_call,
    decided,
    read_calls,
    read_envelope,
)
from sidecar.intercept.hot.answers import Reply
from sidecar.intercept.hot.head import Head
from sidecar.intercept.hot.places.batches import Batches
from sidecar.intercept.hot.seam import Alike, Answer, Held, Peer, Refused, Steps, Together
from sidecar.intercept.hot.server import Server
from sidecar.intercept.hot.spread.counts import Spread
from sidecar.intercept.known import Asked, Known, once_more, once_more_all
from sidecar.record.inputs.again import Again, Given, Outcome, Shape
from sidecar.terms.call import Call, Json
from sidecar.terms.decision import Decision
from sidecar.terms.errors import EnvelopeError, RecordError

_METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


_Handler: TypeAlias = Callable[[Asked, bytes], Answer]
_Room: TypeAlias = AbstractAsyncContextManager[None]


class _Route(msgspec.Struct, frozen=True):
    """One path that a credential opens: its method, its handler, and how it says no."""

    method: str
    handler: _Handler
    refusal: Callable[[Refused], Reply] = problem
    reads: bool = False
    # The calls that were asked before, and how each is answered.
    known: tuple[Known, Shape] | None = None


class AskListener:
    """Serves the ask API on sockets that somebody else has bound."""

    def __init__(
        self,
        settings: AskSettings,
        path: flow.Path,
        workloads: Workloads,
        counters: Counters,
        health: Health,
        spread: Spread | None = None,
    ) -> None:
        self._settings = settings
        self._path = path
        self._workloads = workloads
        self._counters = counters
        self._health = health
        self._server = Server(self, settings.bounds, spread)
        self._base = settings.public_url.rstrip("/") if settings.public_url else None
        self._known = Known()
        self._known_evaluations = Known()
        self._batches = Batches()
        self._routes: Mapping[str, _Route] = self._routed()
        self._nowhere = _Route("", self._search)

    def _routed(self) -> dict[str, _Route]:
        decide = (self._known, decided)
        evaluate = (self._known_evaluations, authzen.evaluation_json)
        routes = {
            "/v1/decide": _Route("POST", self._decide, reads=True, known=decide),
            "/v1/status": _Route("GET", self._status),
            "/metrics": _Route("GET", self._metrics),
            authzen.EVALUATION_PATH: _Route(
                "POST", self._evaluation, error_text, reads=True, known=evaluate
            ),
            authzen.EVALUATIONS_PATH: _Route("POST", self._evaluations, error_text, reads=True),
        }
        search = _Route("POST", self._search, error_text)
        return {**routes, **dict.fromkeys(authzen.SEARCH_PATHS, search)}

    async def serve(self, sockets: Sequence[socket.socket]) -> None:
        """Start to serve on bound sockets and return."""
        for one in sockets:
            if one.family != socket.AF_UNIX:
                self._base = self._base or base_of(one)
        await self._server.serve(sockets)

    async def drain(self, timeout_s: float) -> None:
        """Take no more connections, end what was begun, close the rest after `timeout_s`."""
        await self._server.drain(timeout_s)

    # --- requests, by their heads ---

    def admit(self, head: Head, peer: Peer) -> "_Admitted":
        """Return the request, or what is answered without its body."""
        target = head.target.partition("?")[0]
        route = self._routes.get(target, self._nowhere)
        admitted = _Admitted(head, request_id_of(head), self, route)
        try:
            at_once = self._open(head, peer, target)
            caller = self._identified(head, peer, route) if at_once is None else None
        except Refused as refused:
            at_once, caller = admitted.refuse(refused, peer), None
        return msgspec.structs.replace(admitted, at_once=at_once, caller=caller)

    def refuse(self, refused: Refused, peer: Peer) -> Reply:
        """Return the refusal of what is no request, and count it."""
        self.count_refused(refused.code, peer)
        return problem(refused)

    def count_refused(self, code: str, peer: Peer) -> None:
        """Count a request that is refused before there is a Call."""
        self._counters.refused(self._settings.name, code, peer.source)

    def _open(self, head: Head, peer: Peer, target: str) -> Reply | None:
        """Return the answer to a request that needs no credential, None when it does."""
        if target == "/healthz":
            return Reply(200)
        if target == "/readyz":
            return Reply(200 if self._health.is_ready() else 503)
        check_place(head, peer, self._settings.public_url)
        if target == authzen.DISCOVERY_PATH and head.method in {"GET", "HEAD"}:
            return json_reply(authzen.discovery(self._base or "http://localhost"))
        return None

    def _identified(self, head: Head, peer: Peer, route: _Route) -> Caller:
        """Return who sends a request that needs a credential."""
        # Before anything else: who is nobody learns not even which paths there are.
        caller = identify(head, peer, self._workloads)
        if route is self._nowhere:
            raise Refused(404, "path", "nothing is served at this path")
        if head.method != route.method:
            allow = {"Allow": route.method}
            raise Refused(405, "method", f"this path takes {route.method}", allow)
        if route.reads:
            check_json(head)
        return caller

    # --- answers ---

    def _decide(self, asked: Asked, body: bytes) -> Answer:
        again = self._known.get(asked, body)
        if again is not None:
            return self.once_more(again, decided)
        return self._read(self._decide_read, asked, body)

    def _read(self, answer: _Handler, asked: Asked, body: bytes) -> Answer:
        if len(body) <= limits.READ_AT_ONCE_BYTES_MAX:
            return answer(asked, body)
        return self._batches.later(asked.caller.workload.id, partial(answer, asked, body))

    def _decide_read(self, asked: Asked, body: bytes) -> Answer:
        value = self._json(body)
        if not (isinstance(value, dict) and "calls" in value):
            call = self._call(asked, _read(value))
            return self._one(call, decided, self._known.keep(asked, body, call))
        envelopes = read_calls(value)
        return self._batch(asked, envelopes, self._room(asked, body, len(envelopes)))

    def _room(self, asked: Asked, body: bytes, calls: int) -> _Room:
        is_large = len(body) > limits.READ_AT_ONCE_BYTES_MAX
        return self._batches.room(asked.caller.workload.id, calls, is_large=is_large)

    async def _batch(self, asked: Asked, envelopes: Sequence[Envelope], room: _Room) -> Reply:
        async with room:
            calls = [self._call(asked, envelope) for envelope in envelopes]
            begun, turns = [], authzen.Turns()
            for call in calls:
                begun.append(self._begun(call))
                await turns.next()
            decisions = await authzen.every(begun)
        return json_reply({"decisions": [decided(decision) for decision in decisions]})

    def _evaluation(self, asked: Asked, body: bytes) -> Answer:
        again = self._known_evaluations.get(asked, body)
        if again is not None:
            return self.once_more(again, authzen.evaluation_json)
        call = self._call(asked, authzen.read_evaluation(self._json(body)))
        again = self._known_evaluations.keep(asked, body, call)
        return self._one(call, authzen.evaluation_json, again)

    def _evaluations(self, asked: Asked, body: bytes) -> Answer:
        return self._read(self._evaluations_read, asked, body)

    def _evaluations_read(self, asked: Asked, body: bytes) -> Answer:
        read = authzen.read_evaluations(self._json(body))
        if isinstance(read, Envelope):
            return self._one(self._call(asked, read), authzen.evaluation_json, None)
        return self._all(asked, read, self._room(asked, body, read.at_a_time))

    async def _all(self, asked: Asked, batch: authzen.Batch, room: _Room) -> Reply:
        def judge(envelope: Envelope) -> Awaitable[Decision]:
            try:
                return self._begun(self._call(asked, envelope))
            except AssertionRefused as error:
                # Its batch is answered all the same.
                self.count_refused(error.code, asked.peer)
                raise

        async with room:
            answers = await authzen.evaluate_all(batch, judge)
        return json_reply(answers)

    def _search(self, asked: Asked, body: bytes) -> Answer:
        raise Refused(501, "search", "search is not offered yet")

    async def _status(self, asked: Asked, body: bytes) -> Reply:
        return json_reply(await self._health.status())

    async def _metrics(self, asked: Asked, body: bytes) -> Reply:
        return Reply(200, await self._health.metrics(), _METRICS_TYPE)

    def _json(self, body: bytes) -> Json:
        return read_json(body, self._settings.body_bytes_max)

    def _call(self, asked: Asked, envelope: Envelope) -> Call:
        seen = Seen(
            id=self._path.new_id(),
            time=self._path.now(),
            listener=self._settings.name,
            ip=asked.peer.ip,
        )
        return asked_call(envelope, asked.caller, seen)

    def once_more(self, again: Again, shape: Shape) -> Answer:
        """Return the answer to a call that an equal one was asked before."""
        found = once_more(again, self._path)
        if found is None:
            call = again.call(self._path.new_id(), self._path.now())
            return self._one(call, shape, again)
        outcome = found.outcome
        given = outcome.given or self._given(again, outcome)
        return Held(found.written, Reply(200, outcome.answer_to(found.id)), given)

    def all_once_more(self, again: Again, count: int) -> Together | None:
        """Return the answers to the first of so many such calls, None where each goes alone."""
        found = once_more_all(again, self._path, count)
        if found is None:
            return None
        outcome = found.outcome
        given = outcome.given or self._given(again, outcome)
        return Together(found.written, found.answers, given)

    def _given(self, again: Again, outcome: Outcome) -> Given:
        told = (self._settings.name, again.like.protocol, outcome.decision)
        outcome.given = partial(self._counters.decided, *told)
        return outcome.given

    def turning(self) -> None:
        """Have what is recorded from here on gathered."""
        if self._path.gathers is not None:
            self._path.gathers.hold()

    def turned(self) -> None:
        """Have it sent at once."""
        if self._path.gathers is not None:
            self._path.gathers.flush()

    def _one(self, call: Call, shape: Shape, again: Again | None) -> Steps:
        """Return the answer to one call, which waits for its record alone where it can.

        Its steps are what is done with one call as well as with another; no one waits in between.
        """
        gone = flow.go(call, self._path, again)
        if isinstance(gone, flow.Waits):
            return self._one_later(gone, shape)
        yield
        begun = flow.record(gone, self._path)
        yield
        decision, outcome = begun.answer.decision, begun.outcome
        # Made while the record is on its way; not said before it is there.
        if outcome is None:
            reply = json_reply(shape(decision))
        else:
            reply = Reply(200, outcome.answer(decision, shape))
        return Held(begun.written, reply, lambda: self._count(call.protocol, decision))

    async def _one_later(self, waits: flow.Waits, shape: Shape) -> Reply:
        return json_reply(shape(await self._finished(waits)))

    def _begun(self, call: Call) -> Awaitable[Decision]:
        """Begin to carry `call`, and return what its decision is awaited by."""
        try:
            begun = flow.begin(call, self._path)
        except RecordError as error:
            # Told where it is awaited: what was begun before it is to end first.
            return _lost(error)
        finished = self._finished(begun)
        # Who waits for a fact waits beside the others; who waits for the disk is in its queue.
        return asyncio.ensure_future(finished) if isinstance(begun, flow.Waits) else finished

    async def _finished(self, begun: flow.Begun | flow.Waits) -> Decision:
        decision = (await flow.finish(begun)).decision
        self._count(begun.call.protocol, decision)
        return decision

    def _count(self, protocol: str, decision: Decision) -> None:
        self._counters.decided(self._settings.name, protocol, decision)


class _Admitted(msgspec.Struct, frozen=True):
    """One request whose head was read; `caller` sends it, unless it is answered at once."""

    head: Head
    request_id: str | None
    listener: AskListener
    route: _Route
    caller: Caller | None = None
    at_once: Reply | None = None

    @property
    def who(self) -> str | None:
        """Return which workload sends it."""
        return None if self.caller is None else self.caller.workload.id

    def answer(self, body: bytes, peer: Peer) -> Answer:
        """Return the answer to the request with this body."""
        assert self.caller is not None
        try:
            return self.route.handler(Asked(self.caller, peer), body)
        except (Refused, EnvelopeError, RecordError) as error:
            return self.refuse(refused_of(error), peer)

    def alike(self, body: bytes, peer: Peer) -> Alike | None:
        """Return what answers a call that was asked before, None where this was not."""
        if self.route.known is None or self.caller is None:
            return None
        known, shape = self.route.known
        again = known.get(Asked(self.caller, peer), body)
        if again is None:
            return None

        def one(peer: Peer) -> Answer:  # which Python calls for less than a `partial`
            try:
                return self.listener.once_more(again, shape)
            except (Refused, EnvelopeError, RecordError) as error:
                return self.refuse(refused_of(error), peer)

        return Alike(again, one, partial(self.listener.all_once_more, again))

    def failed(self, error: BaseException, peer: Peer) -> Reply | None:
        """Return the refusal that `error` comes to, None when it is a mistake of ours."""
        if isinstance(error, Refused | EnvelopeError | RecordError):
            return self.refuse(refused_of(error), peer)
        return None

    def refuse(self, refused: Refused, peer: Peer) -> Reply:
        """Return a refusal in the words of what was asked, and count it."""
        self.listener.count_refused(refused.code, peer)
        return self.route.refusal(refused)


def _read(body: Json) -> Envelope:
    return read_envelope(body, trusted=False)


async def _lost(error: RecordError) -> Decision:
    raise error
