"""Kubernetes API requests, read as the API server's own RequestInfo reads them.

The path alone says group, version, resource, namespace, name and subresource; the method says the
verb, and `exec` over a WebSocket is a GET. So the class follows from verb *and* subresource: a
shell, a tunnel or a proxy is `execute`, minting tokens and changing who may do what is `admin`.

Where the API server is lenient (empty segments, `%2F`, a second value of a single-valued option,
bodies that silently overrule the query) the call is refused: leniency is where two readers part.

Source: k8s.io/apiserver pkg/endpoints/request/requestinfo.go; kubernetes.io, API concepts.
"""

import re
from typing import Final

import msgspec

from sidecar.domains.infrastructure.catalogue import InfrastructureCatalogue
from sidecar.domains.infrastructure.limits import LABEL_CHARS_MAX, NAME_CHARS_MAX
from sidecar.domains.infrastructure.parse.payload import (
    body_bytes,
    check_fields,
    query_pairs,
    refuse,
    required_text,
    single_valued,
)
from sidecar.domains.infrastructure.parse.selector import exact_name
from sidecar.syntax import json, rawpath
from sidecar.terms.call import Call, Json
from sidecar.terms.errors import ParseError
from sidecar.terms.request import Action, Parsed, ParseStatus, Resource, Target
from sidecar.terms.words import ActionClass, path_component

PARSER: Final = "k8s-requestinfo/1"
NONE: Final = "-"

_VERBS: Final = {
    "GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch",
    "DELETE": "delete",
}  # fmt: skip
_VERB_CLASSES: Final[dict[str, ActionClass]] = {
    "get": "read", "head": "read", "list": "list", "watch": "list", "proxy": "execute",
    "create": "write", "update": "write", "patch": "write", "post": "write", "put": "write",
    "delete": "delete", "deletecollection": "delete",
}  # fmt: skip
_SUBRESOURCE_CLASSES: Final[dict[str, ActionClass]] = {
    "exec": "execute",
    "attach": "execute",
    "portforward": "execute",
    "proxy": "execute",
    "ephemeralcontainers": "execute",
}
# What a write to these really does, whatever the verb says.
_WRITE_CLASSES: Final[dict[tuple[str, str], ActionClass]] = {
    ("pods", "eviction"): "delete",
    ("namespaces", "finalize"): "delete",
    ("serviceaccounts", "token"): "admin",
    ("certificatesigningrequests", "approval"): "admin",
    ("certificatesigningrequests", "status"): "admin",
}
# Who may do what, and who is asked about it: every write here changes the rules for others.
_ADMIN_GROUPS: Final = frozenset(
    ("rbac.authorization.k8s.io", "admissionregistration.k8s.io", "apiregistration.k8s.io")
)
_NAMESPACE_SUBRESOURCES: Final = frozenset(("status", "finalize"))
_PROXIED: Final = frozenset(("pods", "services", "nodes"))
_REPEATABLE: Final = frozenset(("command", "ports"))
_SELECTING: Final = frozenset(("list", "watch", "deletecollection"))

_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?\Z")
_GROUP: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\Z")
_NAME: Final = re.compile(r"[A-Za-z0-9._~!$&'()+,:@=-]+\Z")
_FALSE: Final = frozenset(("false", "0"))


class Info(msgspec.Struct, frozen=True):
    """What the path and the method say; the fields of the API server's RequestInfo."""

    verb: str
    path: str
    resource_request: bool = False
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""


def parse_kubernetes(call: Call, catalogue: InfrastructureCatalogue) -> Parsed:
    """Return what a `k8s` call means: one target, its resource or its non-resource path."""
    payload = call.payload
    check_fields(payload, ("method", "path", "query", "body"))
    raw_query = payload.get("query", "")
    if not isinstance(raw_query, str):
        raise refuse("parse.envelope", "`query` is a text")
    pairs = query_pairs(raw_query)
    options = single_valued(pairs, repeatable=_REPEATABLE)
    info = request_info(required_text(payload, "method"), required_text(payload, "path"), options)
    found, missing = _object(payload, info)
    info = _named(info, found)
    command = [value or "" for key, value in pairs if key == "command"]
    dry_run = _is_dry_run(info, options, found, has_body=bool(missing) or found is not None)
    native = _native(info, options, dry_run=dry_run)
    if command:
        native["command"] = command
    if found is not None:
        native["object"] = found
    status = ParseStatus("partial" if missing else "complete", PARSER, missing=missing)
    target = _target(call, info, command, catalogue, dry_run=dry_run)
    return Parsed(targets=(target,), native=native, parse=status)


def request_info(method: str, path: str, options: dict[str, str]) -> Info:
    """Return the RequestInfo of a method and raw path with its query's options."""
    if method not in _VERBS:
        raise refuse("parse.method", "not a method of the Kubernetes API")
    if "?" in path:
        raise refuse("parse.path", "a `?` in the path; the query goes into `query`")
    segments = rawpath.segments(path, trailing_slash=True)
    decoded = "/" + "/".join(segments)
    parts = _resource_parts(segments)
    if parts is None:
        if segments and segments[-1] == "":
            raise refuse("parse.path", "an empty path segment")
        return Info(verb=method.lower(), path=decoded)
    group, version, rest = parts
    verb, rest = _verb(method, rest)
    namespace, rest = _namespace(rest)
    _check_rest(rest, verb)
    has_subresource = len(rest) > 2 and verb != "proxy"
    info = Info(
        verb=verb,
        path=decoded,
        resource_request=True,
        group=group,
        version=version,
        resource=rest[0],
        subresource=rest[2] if has_subresource else "",
        namespace=namespace,
        name=rest[1] if len(rest) > 1 else "",
    )
    return _checked(_without_name(info, options))


def _resource_parts(segments: tuple[str, ...]) -> tuple[str, str, tuple[str, ...]] | None:
    """Return group, version and what follows, None for a path that names no resource."""
    if len(segments) < 3 or segments[0] not in ("api", "apis"):
        return None
    if segments[0] == "api":
        return "", segments[1], segments[2:]
    if len(segments) < 4:
        return None
    return segments[1], segments[2], segments[3:]


def _verb(method: str, rest: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """Return the verb and the path without a legacy verb in it (`/api/v1/watch/…`)."""
    if rest[0] not in ("watch", "proxy"):
        return _VERBS[method], rest
    if len(rest) < 2:
        raise refuse("parse.path", "a verb in the path and no resource behind it")
    if rest[0] == "watch" and method != "GET":
        raise refuse("parse.method", "a watch is a GET")
    return rest[0], rest[1:]


def _namespace(rest: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """Return the namespace and the path from the resource on."""
    if rest[0] != "namespaces" or len(rest) < 2:
        return "", rest
    if len(rest) > 2 and rest[2] not in _NAMESPACE_SUBRESOURCES:
        return rest[1], rest[2:]
    return rest[1], rest


def _check_rest(rest: tuple[str, ...], verb: str) -> None:
    """Refuse what stands behind a subresource, unless it belongs to whatever is proxied to."""
    if verb == "proxy" or (len(rest) > 2 and rest[2] == "proxy"):
        return
    if "" in rest:
        raise refuse("parse.path", "an empty path segment")
    if len(rest) > 3:
        raise refuse("parse.path", "more path segments than a subresource has")


def _without_name(info: Info, options: dict[str, str]) -> Info:
    """Return `info` with the verb that a request for a whole collection has."""
    if info.name:
        return info
    if info.verb == "delete":
        return msgspec.structs.replace(info, verb="deletecollection")
    if info.verb in ("update", "patch"):
        raise refuse("parse.method", "a collection can be neither updated nor patched")
    if info.verb != "get":
        return info
    # The server reads `watch` so: whatever is neither `false` nor `0` asks for a watch.
    watching = "watch" in options and options["watch"].lower() not in _FALSE
    named = exact_name(options.get("fieldSelector", ""))
    return msgspec.structs.replace(info, verb="watch" if watching else "list", name=named)


def _checked(info: Info) -> Info:
    """Return `info` if each of its parts is spelt as the API server's names are."""
    if not (_LABEL.match(info.version) and _LABEL.match(info.resource)):
        raise refuse("parse.path", "a version or resource that Kubernetes cannot have")
    if info.group and not _GROUP.match(info.group):
        raise refuse("parse.path", "a group that Kubernetes cannot have")
    if len(info.namespace) > LABEL_CHARS_MAX or (
        info.namespace and not _LABEL.match(info.namespace)
    ):
        raise refuse("parse.path", "a namespace that Kubernetes cannot have")
    if info.subresource and not _LABEL.match(info.subresource):
        raise refuse("parse.path", "a subresource that Kubernetes cannot have")
    if info.subresource == "proxy" or info.verb == "proxy":
        info = msgspec.structs.replace(info, name=_proxied_name(info))
    _check_name(info.name)
    return info


def _check_name(name: str) -> None:
    if not name:
        return
    if name == NONE or len(name) > NAME_CHARS_MAX or not _NAME.match(name):
        raise refuse("parse.path", "a name that Kubernetes cannot have")


def _proxied_name(info: Info) -> str:
    """Return the name out of `[scheme:]name[:port]`: a port makes no other resource."""
    parts = info.name.split(":")
    if info.resource not in _PROXIED or len(parts) == 1:
        return info.name
    if len(parts) > 3 or (len(parts) == 3 and parts[0] not in ("http", "https", "")):
        raise refuse("parse.path", "not `[scheme:]name[:port]`")
    name = parts[1] if len(parts) == 3 else parts[0]
    if not name:
        raise refuse("parse.path", "not `[scheme:]name[:port]`")
    return name


def _object(payload: dict[str, Json], info: Info) -> tuple[Json | None, tuple[str, ...]]:
    """Return the JSON body and what of the call stays unread (YAML and protobuf bodies do)."""
    body = body_bytes(payload)
    if not body:
        return None, ()
    if info.verb in ("get", "list", "watch"):
        raise refuse("parse.unexpected", "a body on a request that has none")
    if info.subresource == "proxy" or info.verb == "proxy":
        # It belongs to whatever stands behind the proxy and is no Kubernetes object.
        return None, ("request.k8s.object",)
    try:
        return json.loads(body), ()
    except ParseError as error:
        if error.reason != "parse.syntax":
            raise
        return None, ("request.k8s.object",)


def _named(info: Info, found: Json | None) -> Info:
    """Return `info` with the name that a created object gives itself; refuse contradictions."""
    metadata = found.get("metadata") if isinstance(found, dict) else None
    if not info.resource_request or not isinstance(metadata, dict):
        return info
    name, namespace = metadata.get("name"), metadata.get("namespace")
    if info.verb not in ("create", "update"):
        return info
    if not all(value is None or isinstance(value, str) for value in (name, namespace)):
        raise refuse("parse.syntax", "metadata.name and metadata.namespace are texts")
    if name and info.name and name != info.name:
        raise refuse("parse.ambiguous", "the body names another object than the path")
    if namespace and namespace != info.namespace:
        raise refuse("parse.ambiguous", "the body names another namespace than the path")
    if name and not info.name:
        _check_name(name)
        return msgspec.structs.replace(info, name=name)
    return info


def _is_dry_run(info: Info, options: dict[str, str], found: Json | None, *, has_body: bool) -> bool:
    """Return whether the server is sure to persist nothing.

    A DELETE with a body takes its options from the body alone and ignores the query's, so `dryRun`
    in the query of such a call is a real deletion.
    """
    if "dryRun" in options and options["dryRun"] != "All":
        raise refuse("parse.ambiguous", "`dryRun` is `All` or absent")
    asked = "dryRun" in options
    if info.verb in ("delete", "deletecollection") and has_body:
        in_body = isinstance(found, dict) and found.get("dryRun") == ["All"]
        if asked and not in_body:
            raise refuse("parse.ambiguous", "`dryRun` in the query, which the body overrules")
        asked = in_body
    changes = info.verb in ("create", "update", "patch", "delete", "deletecollection")
    return asked and changes and info.resource_request and not info.subresource


def class_of(info: Info) -> ActionClass:
    """Return the class of what is done; in doubt the severer one."""
    by_verb = _VERB_CLASSES[info.verb]
    if not info.resource_request:
        return by_verb
    if info.subresource in _SUBRESOURCE_CLASSES:
        return _SUBRESOURCE_CLASSES[info.subresource]
    if by_verb in ("read", "list", "execute"):
        return by_verb
    if info.group in _ADMIN_GROUPS:
        return "admin"
    return _WRITE_CLASSES.get((info.resource, info.subresource), by_verb)


def resource_of(info: Info) -> tuple[str, str]:
    """Return type and id (`k8s/pods`, `prod/p1/log`); `-` is no namespace, or no name."""
    if not info.resource_request:
        return "k8s/nonresource", path_component(info.path)
    kind = f"k8s/{info.resource}.{info.group}" if info.group else f"k8s/{info.resource}"
    where = f"{info.namespace or NONE}/{path_component(info.name or NONE)}"
    return kind, f"{where}/{info.subresource}" if info.subresource else where


def _target(
    call: Call, info: Info, command: list[str], catalogue: InfrastructureCatalogue, *, dry_run: bool
) -> Target:
    done: dict[str, Json] = {"dry_run": dry_run}
    if command:
        done["command"] = command
    kind, identity = resource_of(info)
    properties = {"namespace": info.namespace, "name": info.name} if info.resource_request else {}
    resource = Resource(kind, identity, call.upstream, properties=properties)
    return Target(
        Action(info.verb, class_of(info), done),
        catalogue.resource("k8s", call.upstream, resource),
    )


def _native(info: Info, options: dict[str, str], *, dry_run: bool) -> dict[str, Json]:
    native: dict[str, Json] = msgspec.to_builtins(info)
    selects = info.verb in _SELECTING
    native["label_selector"] = options.get("labelSelector", "") if selects else ""
    native["field_selector"] = options.get("fieldSelector", "") if selects else ""
    native["dry_run"] = dry_run
    return native
