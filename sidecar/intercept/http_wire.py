"""The pure half of the HTTP proxy: which headers are judged, sent and given back; refusals.

What belongs to one connection ends here (RFC 9110 §7.6.1), and so does every header by which an app
could say who it is, where it comes from, or to whom it speaks. What is judged is what is sent: the
Call's payload is built first, and the request is built from the payload.
"""

import asyncio
from collections.abc import Iterable, Mapping

import msgspec
from aiohttp import web

from sidecar.domains.application.parse.override import may_override
from sidecar.terms.answer import Refusal
from sidecar.terms.call import Json

HOP_BY_HOP = frozenset((
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection",
    "te", "trailer", "trailers", "transfer-encoding", "upgrade",
))  # fmt: skip
# Said by us or by nobody: an upstream may take any of these for an identity that was checked.
OWNED = frozenset((
    "expect", "forwarded", "host", "remote-user", "x-forwarded-user", "x-real-ip", "x-remote-user",
))  # fmt: skip
OWNED_PREFIXES = ("sidecar-", "x-forwarded-")
# Of these the parser must see that they were sent: it refuses the call for them.
REFUSED_BY_PARSER = frozenset(("x-forwarded-method", "x-forwarded-prefix", "x-forwarded-uri"))
# They frame the body on the wire before us; on the wire behind us the client library frames it.
FRAMING = frozenset(("content-length", "transfer-encoding"))

Pairs = Iterable[tuple[str, str]]


def judged_headers(pairs: Pairs) -> dict[str, Json]:
    """Return the request headers that the Call holds: what will be sent, and what frames the body.

    A repeated name is a list, each spelling of it under the first, so that no parser sees fewer.
    """
    said = list(pairs)
    nominated = _nominated(said)
    found: dict[str, list[str]] = {}
    for name, value in said:
        lower = name.lower()
        if lower in FRAMING or _goes_on(lower, nominated):
            found.setdefault(lower, []).append(value)
    return {name: values if len(values) > 1 else values[0] for name, values in found.items()}


def _goes_on(lower: str, nominated: frozenset[str]) -> bool:
    if lower in REFUSED_BY_PARSER:
        return True
    # `X_Forwarded_User` becomes `X-Forwarded-User` in servers that hand headers on as variables.
    return not (
        "_" in lower
        or lower in HOP_BY_HOP
        or lower in nominated
        or lower in OWNED
        or lower.startswith(OWNED_PREFIXES)
    )


def _nominated(pairs: Pairs) -> frozenset[str]:
    """Return the names that `Connection` gives to this connection alone (RFC 9110 §7.6.1)."""
    listed = (value for name, value in pairs if name.lower() == "connection")
    return frozenset(one.strip().lower() for value in listed for one in value.split(","))


def says_maybe_another(payload: Mapping[str, Json]) -> bool:
    """Return whether the body may say another method, by the headers as they will be sent.

    A repeated type is refused by the parser, whoever reads which of them.
    """
    said: Json = payload["headers"].get("content-type")
    return may_override(payload["method"], said if isinstance(said, str) else None)


def sent_headers(payload: Mapping[str, Json], authorization: str | None) -> list[tuple[str, str]]:
    """Return the headers to send, from the payload that was permitted.

    Args:
        payload: Of the Forward; its framing headers are left to the client library.
        authorization: The upstream's credential, which the app does not know and cannot replace.
    """
    said: dict[str, Json] = dict(payload.get("headers") or {})
    if authorization is not None:
        said = {name: value for name, value in said.items() if name.lower() != "authorization"}
        said["authorization"] = authorization
    return [
        (name, value)
        for name, values in said.items()
        if name.lower() not in FRAMING
        for value in (values if isinstance(values, list) else [values])
    ]


def released_headers(pairs: Pairs) -> list[tuple[str, str]]:
    """Return the response headers that go back to the app."""
    said = list(pairs)
    nominated = _nominated(said)
    return [
        (name, value)
        for name, value in said
        if name.lower() not in HOP_BY_HOP and name.lower() not in nominated
    ]


class Crowded(asyncio.Protocol):
    """A connection too many: closed as it comes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Close it."""
        transport.close()


class Rejected(msgspec.Struct, frozen=True):
    """A refusal that is no decision: nothing was judged, or nothing could be recorded."""

    status: int
    code: str
    text: str
    headers: dict[str, str] = {}

    def response(self) -> web.Response:
        """Return it as an answer in RFC 9457's shape."""
        body = {
            "type": f"urn:doorward:problem:{self.code}",
            "title": self.text,
            "status": self.status,
            "reason": self.code,
        }
        return refusal_response(Refusal(self.status, body, self.headers))


_LATER = {"Retry-After": "1"}
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="sidecar"'}

UNPROVEN = Rejected(401, "identity.unproven", "a workload key is needed", _CHALLENGE)
BUSY = Rejected(503, "busy", "too many calls in flight", _LATER)
LOST = Rejected(503, "record.lost", "the decision cannot be recorded", _LATER)
TOO_LARGE = Rejected(413, "too_large", "a body over the limit")
TIMED_OUT = Rejected(408, "timeout", "a body that does not come")
CUT_SHORT = Rejected(400, "framing", "a body that does not end as it should")
CHANGED_TARGET = Rejected(400, "target", "a target that cannot be sent unchanged")
NO_UPSTREAM = Rejected(502, "upstream.failed", "the upstream did not answer")
CHANGED_PROTOCOL = Rejected(502, "upstream.failed", "the upstream changed the protocol")


def malformed(request: web.BaseRequest) -> Rejected | None:
    """Return why this is no request to a reverse proxy, None when it is one."""
    encoding = request.headers.getall("transfer-encoding", [])
    if not request.raw_path.startswith("/"):
        return Rejected(400, "target", "a request target that is no path")
    if "host" not in request.headers:
        return Rejected(400, "host", "a request without Host")
    if encoding and encoding != ["chunked"]:
        return Rejected(400, "framing", "a Transfer-Encoding other than `chunked`")
    if "upgrade" in request.headers:
        return Rejected(501, "upgrade", "no change of protocol is let through")
    if request.headers.get("expect", "100-continue").lower() != "100-continue":
        return Rejected(417, "expect", "an expectation that is not known")
    return None


def refusal_response(refusal: Refusal) -> web.Response:
    """Return a refusal as an answer; the connection closes, for its body may be half read."""
    body = refusal.body
    response = web.Response(
        status=refusal.status,
        body=body.encode() if isinstance(body, str) else msgspec.json.encode(body),
        headers={**refusal.headers, "Cache-Control": "no-store"},
        content_type=refusal.content_type,
    )
    response.force_close()
    return response
