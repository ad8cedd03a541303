"""What CEL sees of a request: plain JSON values under the roots of DESIGN §3, per target."""

import msgspec
import orjson

from sidecar.policy.bundle import Bundle
from sidecar.syntax.json import holds_nul
from sidecar.terms.call import Json
from sidecar.terms.errors import ParseError
from sidecar.terms.reasons import reason
from sidecar.terms.request import Request, each_request

# Rules see dict, list, str, int, float, bool, None and nothing else: one trip through JSON turns
# structs and tuples into those.
_encode = msgspec.json.Encoder().encode


def plain(value: object) -> Json:
    """Return `value` as plain JSON values.

    Raises:
        ParseError: A text holds a NUL, at which many readers end it: rules would see another value
            than those who act on it.
    """
    raw = _encode(value)
    if holds_nul(raw):
        raise ParseError(reason("parse.encoding"), "a NUL in a text, where some readers stop")
    return orjson.loads(raw)


def call_view(request: Request, bundle: Bundle) -> dict[str, Json]:
    """Return the roots that the whole call shares; `targets` are all of its parts', in order."""
    parts = each_request(request)
    seen: dict[str, Json] = plain(
        {
            "subject": request.subject,
            "actors": request.actors,
            "context": request.context,
            "session": request.context.get("session_state") or {},
            "targets": [
                {"action": t.action, "resource": t.resource, "role": t.role}
                for part in parts
                for t in part.targets
            ],
        }
    )
    seen["actor"] = seen["actors"][0] if seen["actors"] else seen["subject"]
    seen["delegated"] = bool(seen["actors"])
    seen["params"] = bundle.params
    return seen


def part_view(call: dict[str, Json], part: Request) -> dict[str, Json]:
    """Return the roots that all targets of one part share."""
    return {
        **call,
        "request": {
            "domain": part.domain,
            "protocol": part.protocol,
            "phase": part.phase,
            "listener": part.listener,
            "upstream": part.upstream,
            **plain(part.request),
        },
        "parse": {
            "status": part.parse.status,
            "parser": part.parse.parser,
            "missing": list(part.parse.missing),
            "ambiguities": list(part.parse.ambiguities),
        },
    }
