"""What there is to be reached: the resources that catalogues list and that rules speak of.

Tables and their columns, routes, tools come from the catalogues, each with the labels that its
parser would give it; where there is no list (clusters, accounts, models) the patterns of rules and
of labels stand for what there may be. What neither names is one thing more: everything else.
"""

from collections.abc import Collection, Iterator
from typing import Any, Final

import msgspec

from sidecar import flow
from sidecar.intercept.envelope import Seen, operator_call, read_envelope
from sidecar.policy.bundle import Bundle
from sidecar.policy.rules import Rule
from sidecar.review.clauses.patterns import covers, overlap
from sidecar.syntax.yaml12 import load_documents
from sidecar.terms.errors import EnvelopeError, PolicyError
from sidecar.terms.words import CLASSES, CallId

_TABLE_CLASSES: Final = ("read", "write", "delete")
_SEEN: Final = Seen(CallId("surface"), "2026-01-01T00:00:00.000000Z", "surface")
_NOBODY: Final = {"type": "service", "id": "nobody"}
# Of each protocol, where no catalogue lists what there is.
_KINDS: Final = {
    "k8s": ("k8s/*",),
    "aws": ("aws/*",),
    "terraform": ("tf/*",),
    "mcp": ("tool", "mcp_server"),
    "llm": ("model",),
    "rag": ("collection", "document"),
    "a2a": ("agent",),
    "sql": ("database",),
}
_CLASSES_OF: Final = {
    "sql": ("read", "write", "delete", "admin"),
    "http": ("read", "write", "delete"),
    "k8s": ("list", "read", "write", "delete", "execute"),
    "aws": ("list", "read", "write", "delete"),
    "terraform": ("read", "write", "delete"),
    "mcp": ("list", "read", "execute"),
    "llm": ("list", "execute"),
    "rag": ("read",),
    "a2a": ("execute",),
    "authzen": ("execute",),
}


class Thing(msgspec.Struct, frozen=True):
    r"""A resource, or a pattern of resources, and a class of what is done to it.

    Args:
        resource: A glob over `type:id`; a `*` that stands for itself is written `\*`.
        action: The name of the action, where it is known.
        labels: Those that it has.
        is_open: Whether it may have others.
        upstream: Where it lives, None where that is not known.
        is_listed: Whether a catalogue lists it.
    """

    domain: str
    protocol: str
    cls: str
    resource: str
    action: str | None = None
    labels: tuple[str, ...] = ()
    is_open: bool = False
    upstream: str | None = None
    is_listed: bool = False

    @property
    def is_pattern(self) -> bool:
        """Return whether it stands for many resources."""
        return "*" in self.resource.replace("\\*", "")


def things_of(bundle: Bundle) -> list[Thing]:
    """Return what there is to be reached under `bundle`, by domain, protocol and resource."""
    specs = list(_specs(bundle))
    found: dict[tuple[str, str, str], Thing] = {}
    listed = list(_listed(bundle, specs))
    # A route, a tool: what is listed is of one class, which its catalogue says.
    named = {(one.protocol, one.resource) for one in listed if one.action is not None}
    for thing in (*listed, *_spoken(bundle, specs), *_else(bundle)):
        if thing.is_listed or (thing.protocol, thing.resource) not in named:
            found.setdefault((thing.protocol, thing.resource, thing.cls), thing)
    return sorted(found.values(), key=_order)


def _order(thing: Thing) -> tuple[str, str, bool, str, int]:
    place = CLASSES.index(thing.cls)
    return thing.domain, thing.protocol, not thing.is_listed, thing.resource, place


def _specs(bundle: Bundle) -> Iterator[dict[str, Any]]:
    for path, data in bundle.files.items():
        if not path.endswith((".yaml", ".yml")):
            continue
        try:
            values = [document.value for document in load_documents(path, data)]
        except PolicyError:
            continue
        yield from (
            one["spec"] for one in values if isinstance(one, dict) and one.get("kind") == "Catalog"
        )


# --- what catalogues list ---


def _listed(bundle: Bundle, specs: list[dict[str, Any]]) -> Iterator[Thing]:
    for spec in specs:
        match spec.get("protocol"):
            case "sql":
                yield from _tables(bundle, spec)
            case "http":
                yield from _routes(bundle, spec)
            case "mcp":
                yield from _tools(bundle, spec)
            case _:
                pass


def _tables(bundle: Bundle, spec: dict[str, Any]) -> Iterator[Thing]:
    for schema, said in (spec.get("schemas") or {}).items():
        for table in (said or {}).get("tables") or {}:
            text = " ".join(("SELECT * FROM", _relation(schema, table)))
            call = {"dialect": "postgres", "text": text}
            yield from _done(_parsed(bundle, "sql", call, spec))


def _done(read: Iterator[Thing]) -> Iterator[Thing]:
    """Yield what may be done to what is read; a row is deleted, not a column."""
    for thing in read:
        classes = ("read", "write") if thing.resource.startswith("column:") else _TABLE_CLASSES
        for cls in classes:
            yield msgspec.structs.replace(thing, cls=cls, action=None)


def _relation(schema: str, table: str) -> str:
    return f"{_identifier(schema)}.{_identifier(table)}"


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _routes(bundle: Bundle, spec: dict[str, Any]) -> Iterator[Thing]:
    routes = [(one["method"], one["path"]) for one in spec.get("routes") or ()]
    for method, template in (*routes, *_described(bundle, spec)):
        path = "/".join("x" if part.startswith("{") else part for part in template.split("/"))
        call = {"method": method, "url": f"http://surface.invalid{path}"}
        yield from _parsed(bundle, "http", call, spec)


def _described(bundle: Bundle, spec: dict[str, Any]) -> Iterator[tuple[str, str]]:
    data = bundle.files.get(str(spec.get("openapi")))
    if data is None:
        return
    for document in load_documents(str(spec["openapi"]), data):
        for path, said in (document.value.get("paths") or {}).items():
            yield from ((method.upper(), path) for method in said if method in _METHODS)


_METHODS: Final = ("get", "put", "post", "delete", "patch", "head", "options")


def _tools(bundle: Bundle, spec: dict[str, Any]) -> Iterator[Thing]:
    for server, said in (spec.get("servers") or {}).items():
        for tool in (said or {}).get("tools") or {}:
            params = {"name": tool, "arguments": {}}
            message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
            call = {"server": server, "message": message}
            yield from (
                one for one in _parsed(bundle, "mcp", call, spec) if one.resource[:5] == "tool:"
            )


def _parsed(
    bundle: Bundle, protocol: str, call: dict[str, Any], spec: dict[str, Any]
) -> Iterator[Thing]:
    """Yield what the parser finds in a call, with the labels that it gives."""
    upstream = spec.get("upstream")
    envelope: dict[str, Any] = {"protocol": protocol, "subject": _NOBODY, "call": call}
    if isinstance(upstream, str):
        envelope["upstream"] = upstream
    try:
        made = operator_call(read_envelope(envelope, trusted=True), _SEEN)
    except EnvelopeError:
        return
    request = flow.understand(made, bundle)
    for target in request.targets:
        yield Thing(
            request.domain,
            protocol,
            target.action.cls,
            literal(target.resource.key),
            target.action.name,
            target.resource.labels,
            upstream=upstream if isinstance(upstream, str) else None,
            is_listed=True,
        )


def literal(text: str) -> str:
    """Return the pattern that matches `text` alone."""
    return text.replace("\\", "\\\\").replace("*", "\\*")


# --- what rules and labels speak of ---


def _spoken(bundle: Bundle, specs: list[dict[str, Any]]) -> Iterator[Thing]:
    labelled = _labels(specs)
    for protocol, patterns in labelled.items():
        for pattern, labels in patterns.items():
            yield from _patterned(bundle, protocol, pattern, labels, CLASSES, labelled)
    for rule in bundle.rules:
        classes = rule.filter.classes or rule.policy_filter.classes or CLASSES
        for protocol in bundle.domains:
            spoken = _patterns(rule) if _speaks(rule, bundle, protocol) else []
            for pattern in (one for one in spoken if _may_have(protocol, one)):
                yield from _patterned(bundle, protocol, pattern, (), classes, labelled)


def _patterned(
    bundle: Bundle,
    protocol: str,
    pattern: str,
    labels: tuple[str, ...],
    classes: Collection[str],
    labelled: dict[str, dict[str, tuple[str, ...]]],
) -> Iterator[Thing]:
    others = labelled.get(protocol, {})
    sure = {*labels, *(one for glob, its in others.items() if covers(glob, pattern) for one in its)}
    is_open = protocol not in ("k8s", "aws", "terraform") or any(
        overlap(glob, pattern) and not covers(glob, pattern) for glob in others
    )
    for cls in _CLASSES_OF.get(protocol, CLASSES):
        if cls in classes:
            domain = bundle.domains[protocol].name
            yield Thing(domain, protocol, cls, pattern, None, tuple(sorted(sure)), is_open=is_open)


def _labels(specs: list[dict[str, Any]]) -> dict[str, dict[str, tuple[str, ...]]]:
    """Return the labels that catalogues give to patterns, by protocol."""
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for spec in specs:
        patterns = found.setdefault(str(spec.get("protocol")), {})
        for pattern, said in (spec.get("resources") or {}).items():
            if isinstance(said, dict):
                patterns[pattern] = tuple(said.get("labels") or ())
    return found


def _speaks(rule: Rule, bundle: Bundle, protocol: str) -> bool:
    domain = bundle.domains[protocol].name
    return rule.policy_filter.speaks(domain, protocol) and rule.filter.speaks(domain, protocol)


def _patterns(rule: Rule) -> list[str]:
    written = [one.written for one in (rule.filter, rule.policy_filter) if one.written is not None]
    return next((list(one.resources) for one in written if one.resources), [])


def _may_have(protocol: str, pattern: str) -> bool:
    """Return whether a call of `protocol` can have what `pattern` names by its type."""
    kinds = _KINDS.get(protocol, ())
    kind = pattern.partition(":")[0]
    return ":" in pattern and any(overlap(one, kind) for one in kinds)


def _else(bundle: Bundle) -> Iterator[Thing]:
    """Yield what nobody lists: anything of a kind that the protocol has."""
    for protocol, kinds in _KINDS.items():
        domain = bundle.domains.get(protocol)
        if domain is None:
            continue
        classes = ("connect",) if protocol == "sql" else _CLASSES_OF[protocol]
        for kind in kinds:
            for cls in classes:
                yield Thing(domain.name, protocol, cls, f"{kind}:*", is_open=True)
