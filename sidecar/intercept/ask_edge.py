"""The HTTP edge of the ask listener: whose request it is, whether it may be read, what goes back.

Everything here is said before a Call exists, so nothing of it is a decision. The order is that of
suspicion: where the request thinks it is (Host, Origin), who sends it, only then what it says. A
web page cannot reach the listener through a rebound name, for its Host is not ours and it sends an
Origin; a local process cannot by being local, for it still needs a credential.
"""

import re
import socket
from typing import Final, Protocol
from urllib.parse import urlsplit

import msgspec
import orjson

from sidecar.facts.identity import AssertionRefused, Caller, Workloads
from sidecar.intercept import limits
from sidecar.intercept.hot.answers import Reply
from sidecar.intercept.hot.head import Head
from sidecar.intercept.hot.limits import REQUEST_ID_CHARS_MAX
from sidecar.intercept.hot.seam import Peer, Refused
from sidecar.intercept.hot.shared import Bounds
from sidecar.syntax import json
from sidecar.terms.call import Json
from sidecar.terms.decision import Decision
from sidecar.terms.errors import EnvelopeError, ParseError, RecordError

_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(:[0-9]{1,5})?\Z")
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
_JSON: Final = re.compile(
    r"application/json\s*(;\s*charset\s*=\s*\"?utf-8\"?\s*)?\Z", re.IGNORECASE
)
_LATER: Final = {"Retry-After": "1"}
# Decided, perhaps, but not on the record: so it is not said.
_LOST: Final = Refused(503, RecordError.code, "the decision cannot be recorded", _LATER)


class AskSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `sidecar.yaml` says of this listener; the bounds' reasons stand in `limits.py`."""

    name: str = "ask"
    public_url: str | None = None
    body_bytes_max: int = limits.ASK_BODY_BYTES_MAX
    body_s_max: float = limits.ASK_BODY_S_MAX
    connections_max: int = limits.ASK_CONNECTIONS_MAX
    peer_connections_max: int = limits.ASK_PEER_CONNECTIONS_MAX
    in_flight_max: int = limits.ASK_IN_FLIGHT_MAX
    idle_s_max: float = limits.ASK_IDLE_S_MAX

    @property
    def bounds(self) -> Bounds:
        """Return what connections are held to."""
        return Bounds(
            connections_max=self.connections_max,
            peer_connections_max=self.peer_connections_max,
            in_flight_max=self.in_flight_max,
            body_bytes_max=self.body_bytes_max,
            body_s_max=self.body_s_max,
            idle_s_max=self.idle_s_max,
        )


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


class Counters(Protocol):
    """What the runtime counts of this listener."""

    def refused(self, listener: str, code: str, source: str) -> None:
        """Count a request that was refused before there was a Call; `source` is `tcp` or `unix`."""
        ...

    def decided(self, listener: str, protocol: str, decision: Decision, count: int = 1) -> None:
        """Count a decision that was answered, or so many that say the same."""
        ...


def json_reply(body: Json) -> Reply:
    """Return `body` as JSON, on a line of its own: people ask by hand as well."""
    return Reply(200, orjson.dumps(body, option=orjson.OPT_APPEND_NEWLINE))


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


def refused_of(error: Refused | EnvelopeError | RecordError) -> Refused:
    """Return the refusal that `error` comes to."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, AssertionRefused):
        return Refused(403, error.code, str(error))
    return _LOST if isinstance(error, RecordError) else Refused(400, error.code, str(error))


def request_id_of(head: Head) -> str | None:
    """Return the caller's X-Request-ID if it is fit to repeat."""
    told = head.all("x-request-id")
    if len(told) == 1 and len(told[0]) <= REQUEST_ID_CHARS_MAX and _is_visible(told[0]):
        return told[0]
    return None


def check_place(head: Head, peer: Peer, public_url: str | None) -> None:
    """Refuse a request that was meant for another host, or that a web page sent."""
    if head.all("origin"):
        raise Refused(403, "origin", "requests of web pages are not answered")
    if peer.source == "unix":
        return
    told = head.all("host")
    found = _HOST.match(told[0]) if len(told) == 1 else None
    if found is None:
        raise Refused(400, "host", "expected one Host header of a host and a port")
    if found[1].lower() not in _LOOPBACK | _own_hosts(peer, public_url):
        raise Refused(403, "host", "this host is not served here; see `public_url`")


def _own_hosts(peer: Peer, public_url: str | None) -> set[str]:
    """Return the names besides loopback's: the address it came in on, the host of `public_url`."""
    hosts = {f"[{peer.here}]" if ":" in peer.here else peer.here}
    if public_url is not None:
        name = urlsplit(public_url).hostname or ""
        hosts.add(f"[{name}]" if ":" in name else name)
    return hosts


def base_of(one: socket.socket) -> str:
    """Return the URL of a TCP socket; with a `public_url` it is not asked for."""
    host, port = one.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def identify(head: Head, peer: Peer, workloads: Workloads) -> Caller:
    """Return who sends a request. Raises Refused (401) when nobody is proven.

    A credential that is sent is the one that counts: a wrong key on a Unix socket is not made good
    by the user that sent it.
    """
    told = head.all("sidecar-authorization") or head.all("authorization")
    if not told:
        return _of_peer(peer, workloads)
    scheme, _, token = told[0].partition(" ")
    if len(told) == 1 and scheme.lower() == "bearer":
        workload = workloads.identify_bearer(token.strip(" "))
        if workload is not None:
            return Caller(workload, "key")
    raise _unknown('Bearer realm="sidecar", error="invalid_token"')


def _of_peer(peer: Peer, workloads: Workloads) -> Caller:
    workload = workloads.identify_peer(peer.uid) if peer.uid is not None else None
    if workload is None:
        raise _unknown('Bearer realm="sidecar"')
    return Caller(workload, "peer")


def _unknown(challenge: str) -> Refused:
    return Refused(401, "credential", "a workload's key is needed", {"WWW-Authenticate": challenge})


def check_json(head: Head) -> None:
    """Refuse a body that is not said to be plain JSON."""
    types = head.all("content-type")
    # Why 400: AuthZEN 1.0 §10.1.2 knows no 415.
    if len(types) != 1 or not _JSON.match(types[0]):
        raise Refused(400, "content_type", "expected Content-Type: application/json")
    if head.all("content-encoding"):
        raise Refused(400, "content_encoding", "an encoded body is not read")


def read_json(body: bytes, bytes_max: int) -> Json:
    """Return the strictly read JSON body. Raises Refused (400) for a text that is not read."""
    if not body:
        raise Refused(400, "body", "expected a JSON body")
    try:
        return json.loads(body, bytes_max=bytes_max)
    except ParseError as error:
        raise Refused(400, str(error.reason), str(error)) from None


def _is_visible(text: str) -> bool:
    return bool(text) and all(0x21 <= ord(char) <= 0x7E for char in text)
