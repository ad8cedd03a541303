"""What CEL sees of a request: plain JSON values under the roots of DESIGN §3, per target."""

import msgspec
import orjson

from sidecar.policy.bundle import Bundle
from sidecar.syntax.json import holds_nul
from sidecar.terms.call import Json
from sidecar.terms.errors import ParseError
from sidecar.terms.reasons import reason
from sidecar.terms.request import Request, Target, each_request

# The engine takes dict, list, str, int, float, bool, None and nothing else: one trip through JSON
# turns structs and tuples into those.
_encode = msgspec.json.Encoder().encode


def plain(value: object) -> Json:
    """Return `value` as plain JSON values.

    Raises:
        ParseError: A text holds a NUL, at which the engine ends it: rules would see another value
            than the one that is sent.
    """
    raw = _encode(value)
    if holds_nul(raw):
        raise ParseError(reason("parse.encoding"), "a NUL in a text, where some readers stop")
    return orjson.loads(raw)


def call_view(request: Request, part: Request, bundle: Bundle) -> dict[str, Json]:
    """Return the roots that all targets of a part share; identity is the whole call's."""
    actors = plain(request.actors)
    subject = plain(request.subject)
    everything = [
        plain({"action": t.action, "resource": t.resource, "role": t.role})
        for one in each_request(request)
        for t in one.targets
    ]
    return {
        "subject": subject,
        "actor": actors[0] if actors else subject,
        "actors": actors,
        "delegated": bool(actors),
        "targets": everything,
        "context": plain(request.context),
        "request": {
            "domain": part.domain,
            "protocol": part.protocol,
            "phase": part.phase,
            "listener": part.listener,
            "upstream": part.upstream,
            **plain(part.request),
        },
        "session": plain(request.context.get("session_state") or {}),
        "parse": {
            "status": part.parse.status,
            "parser": part.parse.parser,
            "missing": list(part.parse.missing),
            "ambiguities": list(part.parse.ambiguities),
        },
        "params": bundle.params,
    }


def target_view(target: Target) -> dict[str, Json]:
    """Return the roots of one target under evaluation."""
    return {"action": plain(target.action), "resource": plain(target.resource)}
