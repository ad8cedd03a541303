"""What CEL sees of a request: plain JSON values under the roots of DESIGN §3, per target.

Roots are made when a rule reads them, from the terms directly. INVARIANT: what stands below a root
is dict, list, str, int, float, bool or None: domains, listeners and identities give nothing else.
"""

from collections.abc import Callable, Iterable
from typing import Final

import msgspec
import orjson

from sidecar.policy.bundle import Bundle
from sidecar.syntax.json import holds_nul
from sidecar.terms.call import Json
from sidecar.terms.errors import ParseError
from sidecar.terms.reasons import reason
from sidecar.terms.request import Request, Target, each_request

_encode = msgspec.json.Encoder().encode
_BACKSLASH: Final = ord("\\")


def plain(value: object) -> Json:
    """Return `value` as plain JSON values; structs and tuples become dicts and lists."""
    return orjson.loads(_encode(value))


def check_texts(request: Request, parts: tuple[Request, ...]) -> None:
    """Refuse a call that holds a text which many readers end early.

    Raises:
        ParseError: A text holds a NUL: rules would see another value than those who act on it.
    """
    # Structs are told by name: what is free in form is written by who knows nothing but JSON, so
    # that anything else there ends as our own mistake, which is a denial.
    subject = request.subject
    found = [subject.type, subject.id, subject.properties, request.context, request.request]
    if len(parts) > 1:
        found += [part.request for part in parts]
    if len(parts) == len(request.targets) == 1 and not request.actors:
        target = request.targets[0]
        action, resource = target.action, target.resource
        found += (target.role, action.name, action.properties, resource.type, resource.id)
        found += (resource.upstream, resource.labels, resource.properties)
        raw = orjson.dumps(found)
    else:
        raw = orjson.dumps(found) + _encode((request.actors, [part.targets for part in parts]))
    # One byte is looked for many times faster than several are.
    if _BACKSLASH in raw and holds_nul(raw):
        raise ParseError(reason("parse.encoding"), "a NUL in a text, where some readers stop")


class View:
    """What the rules see of one part of a call."""

    __slots__ = ("bundle", "part", "request", "targets")

    def __init__(self, request: Request, part: Request, bundle: Bundle) -> None:
        self.request = request
        self.part = part
        self.bundle = bundle
        # Long in a list of documents, and the same for each of them.
        self.targets: Json = None

    def of(self, roots: Iterable[str], target: Target) -> dict[str, Json]:
        """Return these roots; a word that is none is left out."""
        seen: dict[str, Json] = {}
        for root in roots:
            make = _MAKERS.get(root)
            if make is not None:
                seen[root] = make(self, target)
        return seen

    def add(self, seen: dict[str, Json], roots: Iterable[str], target: Target) -> dict[str, Json]:
        """Return `seen` with those of these roots that it lacks; they are roots."""
        for root in roots:
            if root not in seen:
                seen[root] = _MAKERS[root](self, target)
        return seen


def _subject(view: View, _target: Target) -> Json:
    party = view.request.subject
    return {"type": party.type, "id": party.id, "properties": party.properties}


def _actor(view: View, _target: Target) -> Json:
    party = view.request.actor
    return {"type": party.type, "id": party.id, "properties": party.properties}


def _actors(view: View, _target: Target) -> Json:
    return [
        {"type": party.type, "id": party.id, "properties": party.properties}
        for party in view.request.actors
    ]


def _action(_view: View, target: Target) -> Json:
    action = target.action
    return {"name": action.name, "class": action.cls, "properties": action.properties}


def _resource(_view: View, target: Target) -> Json:
    resource = target.resource
    return {
        "type": resource.type,
        "id": resource.id,
        "upstream": resource.upstream,
        "labels": list(resource.labels),
        "properties": resource.properties,
    }


def _targets(view: View, _target: Target) -> Json:
    if view.targets is None:
        view.targets = [
            {"action": _action(view, one), "resource": _resource(view, one), "role": one.role}
            for part in each_request(view.request)
            for one in part.targets
        ]
    return view.targets


def _request(view: View, _target: Target) -> Json:
    part = view.part
    return {
        "domain": part.domain,
        "protocol": part.protocol,
        "phase": part.phase,
        "listener": part.listener,
        "upstream": part.upstream,
        **part.request,
    }


def _parse(view: View, _target: Target) -> Json:
    parse = view.part.parse
    return {
        "status": parse.status,
        "parser": parse.parser,
        "missing": list(parse.missing),
        "ambiguities": list(parse.ambiguities),
    }


_MAKERS: Final[dict[str, Callable[[View, Target], Json]]] = {
    "subject": _subject,
    "actor": _actor,
    "actors": _actors,
    "delegated": lambda view, _: bool(view.request.actors),
    "action": _action,
    "resource": _resource,
    "targets": _targets,
    "context": lambda view, _: view.request.context,
    "request": _request,
    "session": lambda view, _: view.request.context.get("session_state") or {},
    "parse": _parse,
    "params": lambda view, _: view.bundle.params,
}
