"""Requests made up for a rule: a target that its `match` takes, and what its condition asks for.

Where a call that was read fits, its target is taken, with the labels that each bundle gives it;
only where none does is a target invented, alike under both.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice, product
from typing import Final

import msgspec

from sidecar.policy.bundle import Bundle
from sidecar.review.clauses import ABSENT, Clause, meet
from sidecar.review.clauses.formula import Way
from sidecar.review.clauses.witness import Witness, fits
from sidecar.review.diff.calls import Asked
from sidecar.review.diff.people import Person, put
from sidecar.review.linting.looked import Reach
from sidecar.syntax.glob import glob
from sidecar.terms.call import Json, Party
from sidecar.terms.request import Action, ParseStatus, Request, Resource, Target
from sidecar.terms.words import CallId, Phase

_KEYS_MAX: Final = 6
# What a target is called where nothing says so.
_KINDS: Final[Mapping[str, str]] = {
    "sql": "table:public.things",
    "http": "route:/things",
    "graphql": "route:/graphql",
    "jsonrpc": "route:/rpc",
    "k8s": "k8s/pods:default/x",
    "aws": "aws/s3/object:bucket/key",
    "terraform": "tf/aws_instance:aws_instance.x",
    "mcp": "tool:server/tool",
    "llm": "model:provider/model",
    "rag": "document:collection/x",
    "a2a": "agent:other",
    "authzen": "thing:1",
}
_BELONGS: Final[Mapping[str, str]] = {
    "table": "sql", "column": "sql", "database": "sql", "route": "http", "path": "http",
    "tool": "mcp", "mcp_server": "mcp", "model": "llm", "model_provider": "llm",
    "collection": "rag", "document": "rag", "agent": "a2a",
}  # fmt: skip
_ACTIONS: Final[Mapping[tuple[str, str], str]] = {
    ("sql", "read"): "select",
    ("sql", "write"): "insert",
    ("sql", "delete"): "delete",
    ("mcp", "list"): "tools/list",
    ("mcp", "connect"): "initialize",
}
_EMPTY: Final[Mapping[str, Json]] = {
    "string": "",
    "int": 0,
    "double": 0.0,
    "bool": False,
    "dyn": None,
}


def dressed(asked: Asked, who: Person) -> Asked:
    """Return a request as somebody sends it."""
    told = {
        **asked.told,
        "subject": msgspec.to_builtins(who.subject),
        "actors": msgspec.to_builtins(who.actors),
    }
    context = {key: value for key, value in who.context.items() if key != "claimed"}
    if context:
        told["context"] = {**asked.told.get("context", {}), **context}
    entity = who.entity or None
    before, after = _sent(asked.before, who), _sent(asked.after, who)
    return Asked(told, before, after, entity, asked.facts)


def _sent(request: Request, who: Person) -> Request:
    time = str(who.context.get("time", request.time))
    return msgspec.structs.replace(
        request,
        subject=who.subject,
        actors=who.actors,
        time=time,
        context={**request.context, **who.context},
        parts=tuple(_sent(part, who) for part in request.parts),
    )


def fitting(reach: Reach, way: Way, calls: Iterable[Asked]) -> Iterator[Asked]:
    """Yield the calls with a target that `match` takes and of which the clauses on it hold."""
    about = [
        clause
        for clause in way
        if clause.field.partition(".")[0] in {"action", "resource", "request"}
    ]
    for asked in calls:
        if any(_fits_one(reach, about, each) for each in (asked.before, asked.after)):
            yield asked


def _fits_one(reach: Reach, about: list[Clause], request: Request) -> bool:
    if request.phase not in reach.phases or request.protocol not in reach.protocols:
        return False
    return any(
        takes(reach, target) and all(fits(_read(request, target, c.field), c) for c in about)
        for target in request.targets
    )


def takes(reach: Reach, target: Target) -> bool:
    """Return whether a `match` takes a target."""
    key = target.resource.key
    return (
        target.action.cls in reach.classes
        and all(_any(each, key) for each in reach.resources)
        and all(_any(each, target.action.name) for each in reach.actions)
        and all(_any(each, target.resource.upstream) for each in reach.upstreams)
        and not _any(reach.excepted, key)
    )


def _any(patterns: Iterable[str], text: str) -> bool:
    return any(glob(pattern, text) for pattern in patterns)


def _read(request: Request, target: Target, field: str) -> object:
    """Return what stands at a path of a target or of the native block."""
    value: Json = {
        "action": msgspec.to_builtins(target.action),
        "resource": msgspec.to_builtins(target.resource),
        "request": {
            **request.request,
            "protocol": request.protocol,
            "domain": request.domain,
            "phase": request.phase,
            "upstream": request.upstream,
            "listener": request.listener,
        },
    }
    for step in field.split("."):
        if not isinstance(value, dict) or step not in value:
            return ABSENT
        value = value[step]
    return value


def invented(
    reach: Reach, witness: Witness, bundles: tuple[Bundle, Bundle], who: Person
) -> Iterator[Asked]:
    """Yield requests with one invented target each that `match` takes and a witness describes."""
    for key in islice(_keys(reach, witness.values), _KEYS_MAX):
        for cls in _classes(reach, witness.values):
            protocol = _protocol(reach, key, witness.values)
            if protocol is None or protocol not in bundles[0].domains:
                continue
            target = _target(key, cls, protocol, reach, witness.values)
            request = _filled(_request(protocol, target, witness, reach), witness, bundles[1])
            if request is not None:
                told = {
                    "protocol": protocol,
                    "targets": msgspec.to_builtins(request.targets),
                    "request": request.request,
                }
                yield dressed(Asked(told, request, request), who)


def _keys(reach: Reach, values: Mapping[str, Json]) -> Iterator[str]:
    """Yield names of resources that every list of patterns takes and no exception does."""
    if not reach.resources:
        protocol = min(reach.protocols, key=list(_KINDS).index, default="sql")
        protocol = str(values.get("request.protocol", protocol))
        yield _named(_KINDS.get(protocol, _KINDS["authzen"]), values)
        return
    for patterns in product(*reach.resources):
        key: str | None = "*"
        for pattern in patterns:
            key = meet(key, pattern) if key is not None else None
        if key is not None and ":" not in key:
            key = _KINDS[min(reach.protocols)]
        tried = (_named(key, values), key) if key is not None else ()
        taken = (one for one in tried if _is_taken(reach, one))
        yield from islice(taken, 1)


def _is_taken(reach: Reach, key: str) -> bool:
    return all(_any(each, key) for each in reach.resources) and not _any(reach.excepted, key)


def _named(key: str, values: Mapping[str, Json]) -> str:
    kind, _, name = key.partition(":")
    return f"{values.get('resource.type', kind)}:{values.get('resource.id', name)}"


def _classes(reach: Reach, values: Mapping[str, Json]) -> list[str]:
    stated = values.get("action.class")
    if isinstance(stated, str):
        return [stated] if stated in reach.classes else []
    # Where nobody says which, two stand for all.
    named = sorted(reach.classes)
    return named if len(named) < _KEYS_MAX else ["read", "write"]


def _protocol(reach: Reach, key: str, values: Mapping[str, Json]) -> str | None:
    stated = values.get("request.protocol")
    if isinstance(stated, str):
        return stated if stated in reach.protocols else None
    kind = key.partition(":")[0]
    prefix = kind.partition("/")[0]
    likely = _BELONGS.get(kind) or {"k8s": "k8s", "aws": "aws", "tf": "terraform"}.get(prefix)
    if likely in reach.protocols:
        return likely
    named = [
        path.split(".")[1] for path in values if path.startswith("request.") and path.count(".") > 1
    ]
    left = [each for each in (*named, *sorted(reach.protocols)) if each in reach.protocols]
    return left[0] if left else None


def _target(key: str, cls: str, protocol: str, reach: Reach, values: Mapping[str, Json]) -> Target:
    kind, _, name = key.partition(":")
    action = values.get("action.name")
    if not isinstance(action, str):
        patterns = [each[0] for each in reach.actions]
        action = meet(patterns[0], "*") if patterns else _ACTIONS.get((protocol, cls), cls)
    properties: dict[str, dict[str, Json]] = {"action": {}, "resource": {}}
    for path, value in values.items():
        root, _, rest = path.partition(".properties.")
        if root in properties and rest:
            put(properties[root], rest, value)
    upstreams = [each[0] for each in reach.upstreams]
    upstream = str(
        values.get("resource.upstream", (upstreams and meet(upstreams[0], "*")) or "default")
    )
    labels = values.get("resource.labels", [])
    resource = Resource(
        kind,
        name,
        upstream,
        tuple(labels) if isinstance(labels, list) else (),
        properties["resource"],
    )
    return Target(
        msgspec.convert({"name": action, "class": cls, "properties": properties["action"]}, Action),
        resource,
    )


def _request(protocol: str, target: Target, found: Witness, reach: Reach) -> Request:
    stated = found.values.get("request.phase")
    usual = "call" if "call" in reach.phases else min(reach.phases)
    phase = msgspec.convert(stated if stated in reach.phases else usual, Phase)
    return Request(
        id=CallId("diff"),
        time="",
        listener=str(found.values.get("request.listener", "diff")),
        upstream=target.resource.upstream,
        domain="",
        phase=phase,
        protocol=protocol,
        subject=Party("user", "somebody"),
        actors=(),
        targets=(target,),
        context={},
        request={protocol: {}},
        parse=ParseStatus("complete", protocol),
    )


def _filled(request: Request, found: Witness, bundle: Bundle) -> Request | None:
    """Return a request whose native block has every word, each with a value that says nothing."""
    domain = bundle.domains.get(request.protocol)
    if domain is None:
        return None
    block: dict[str, Json] = {}
    prefix = f"request.{request.protocol}."
    for word in domain.vocabulary.words[request.protocol]:
        if word.path.startswith(prefix) and word.path not in found.absent:
            kind = word.type.partition("(")[0]
            empty: Json = [] if kind == "list" else {} if kind == "map" else _EMPTY.get(kind)
            put(block, word.path.removeprefix(prefix), empty)
    for path, value in found.values.items():
        if path.startswith(prefix):
            put(block, path.removeprefix(prefix), value)
    return msgspec.structs.replace(request, domain=domain.name, request={request.protocol: block})
