"""A Request: what a Call means. Targets carry their own action; parts are calls found inside.

The parser returns `Parsed`; `flow` joins it with the Call's identity into a Request and parses the
inner calls with their own domains, at most three deep.
"""

from typing import Literal

import msgspec

from sidecar.terms.call import Call, Json, Party
from sidecar.terms.reasons import Reason
from sidecar.terms.words import ActionClass, CallId, Combine, Phase


class Action(msgspec.Struct, frozen=True):
    """What is done: the protocol's own name, the class that every protocol shares, properties."""

    name: str
    cls: ActionClass = msgspec.field(name="class")
    properties: dict[str, Json] = {}


class Resource(msgspec.Struct, frozen=True):
    """What it is done to; `labels` is always there, `[]` when none."""

    type: str
    id: str
    upstream: str = "default"
    labels: tuple[str, ...] = ()
    properties: dict[str, Json] = {}

    @property
    def key(self) -> str:
        """Return `type:id`, what `match.resources` is written against."""
        return f"{self.type}:{self.id}"


class Target(msgspec.Struct, frozen=True):
    """One resource with the action done to *it*: a column read inside an INSERT is a read."""

    action: Action
    resource: Resource
    role: str = "target"


class ParseProblem(msgspec.Struct, frozen=True):
    """Why a call was not understood: a reason code and a text without literals."""

    reason: Reason
    text: str


class ParseStatus(msgspec.Struct, frozen=True):
    """How completely the call was read; `failed` is denied before the PDP and recorded."""

    status: Literal["complete", "partial", "failed"]
    parser: str
    missing: tuple[str, ...] = ()
    ambiguities: tuple[str, ...] = ()
    error: ParseProblem | None = None


class Place(msgspec.Struct, frozen=True):
    """Where the text of a call inside stands, so that another may be put there.

    Args:
        steps: Keys and indexes from the outer payload; JSON held as text is walked through.
        word: What the text is called in the inner payload.
    """

    steps: tuple[str | int, ...]
    word: str


class Inner(msgspec.Struct, frozen=True):
    """A call found inside a call: SQL in a tool argument, an element of a batch.

    Args:
        at: Where, for people (`params.arguments.sql`).
        protocol: Of the call.
        payload: Its own.
        upstream: Where it lives, None for the outer's.
        place: Where, for what is sent of it; None where it is not said for sure what it is, so that
            nothing can be sent in its place.
    """

    at: str
    protocol: str
    payload: dict[str, Json]
    upstream: str | None = None
    place: Place | None = None


class Parsed(msgspec.Struct, frozen=True):
    """What a domain's parser returns; `native` is what CEL sees as `request.<protocol>`.

    `targets[0]` is the primary. `inner` are read by `flow` with their own domains.
    """

    targets: tuple[Target, ...]
    native: dict[str, Json]
    parse: ParseStatus
    phase: Phase = "call"
    combine: Combine = "all"
    inner: tuple[Inner, ...] = ()


class Request(msgspec.Struct, frozen=True):
    """What is decided. `targets` are its own; `parts` are the requests found inside."""

    id: CallId
    time: str
    listener: str
    upstream: str
    domain: str
    phase: Phase
    protocol: str
    subject: Party
    actors: tuple[Party, ...]
    targets: tuple[Target, ...]
    context: dict[str, Json]
    request: dict[str, Json]
    parse: ParseStatus
    combine: Combine = "all"
    parts: tuple["Request", ...] = ()
    at: str | None = None
    parent: CallId | None = None

    @property
    def actor(self) -> Party:
        """Return who acts: the nearest of `actors`, else the subject."""
        return self.actors[0] if self.actors else self.subject


def each_request(request: Request) -> tuple[Request, ...]:
    """Return `request` and every part below it, outermost first: all that must be permitted."""
    found = [request]
    for part in request.parts:
        found.extend(each_request(part))
    return tuple(found)


def unread(call: Call, domain: str, why: Reason, text: str) -> Request:
    """Return what is decided of a call that was not understood."""
    return Request(
        id=call.id,
        time=call.time,
        listener=call.listener,
        upstream=call.upstream,
        domain=domain,
        phase="call",
        protocol=call.protocol,
        subject=call.identity.subject,
        actors=call.identity.actors,
        targets=(),
        context=context_of(call),
        request={},
        parse=ParseStatus("failed", call.protocol, error=ParseProblem(why, text)),
        parent=call.parent,
    )


def context_of(call: Call) -> dict[str, Json]:
    """Return the context that rules see."""
    return {**call.context, "time": call.time}


def inner_call(call: Call, inner: Inner) -> Call:
    """Return the call that was found inside of `call`."""
    return msgspec.structs.replace(
        call,
        protocol=inner.protocol,
        payload=inner.payload,
        upstream=inner.upstream or call.upstream,
        parent=call.id,
        depth=call.depth + 1,
    )


def joined(outer: ParseStatus, parts: tuple[Request, ...]) -> ParseStatus:
    """Return the status of the whole: no better than the worst of what is found inside."""
    for part in parts:
        if part.parse.status == "failed":
            problem = part.parse.error
            assert problem is not None
            told = ParseProblem(problem.reason, f"{part.at}: {problem.text}")
            return msgspec.structs.replace(outer, status="failed", error=told)
    missing = tuple(f"{part.at}.{path}" for part in parts for path in part.parse.missing)
    if missing:
        return msgspec.structs.replace(outer, status="partial", missing=(*outer.missing, *missing))
    return outer
