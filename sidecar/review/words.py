"""Words of rules that may lead nowhere: labels and types that nothing has, attributes of no type.

What a bundle can say about itself is compared with what its rules ask for; what a caller may bring
along (AuthZEN's own types, a store's labels) is not known here and is left alone. A field that can
not be there does not load in the first place.
"""

from collections.abc import Iterator
from typing import Final

from sidecar.facts.identity import OWNED_CONTEXT
from sidecar.policy.bundle import Bundle
from sidecar.policy.language.tree import Call, Constant, Tree
from sidecar.policy.language.walk import nodes
from sidecar.policy.rules import Rule
from sidecar.policy.vocabulary.untyped import is_untyped
from sidecar.review.closed import never_equal
from sidecar.review.finding import Finding
from sidecar.review.trees import spelt, trees_of
from sidecar.syntax.yaml12 import Document, Step, load_documents
from sidecar.terms.call import Json

# README, "Resources"; a type that ends with `/` begins many. AuthZEN's types are the caller's own.
TYPES: Final = {
    "sql": ("table", "column", "database"),
    "http": ("route", "path"),
    "k8s": ("k8s/",),
    "aws": ("aws/",),
    "terraform": ("tf/",),
    "mcp": ("mcp_server", "tool", "resource", "prompt", "task"),
    "llm": ("model_provider", "model", "tool"),
    "rag": ("collection", "document"),
    "a2a": ("agent",),
}


def unknown_words(bundle: Bundle) -> Iterator[Finding]:
    """Yield a finding for each word of a rule that leads nowhere, rule by rule."""
    catalogues = list(_catalogues(bundle))
    labels = frozenset(label for spec in catalogues for label in _labels(spec))
    told: set[str] = set()
    for rule in bundle.rules:
        for path in sorted(rule.paths):
            yield from _context(rule, path)
            yield from _untyped(rule, path, bundle, told)
        # A store brings labels of its own along with its documents.
        if protocols_of(rule, bundle) != {"rag"}:
            yield from _unknown_labels(rule, labels)
    objects = frozenset(kind for spec in catalogues for kind in _route_objects(spec))
    yield from _unknown_types(bundle, objects)
    yield from never_equal(bundle)


def protocols_of(rule: Rule, bundle: Bundle) -> frozenset[str]:
    """Return the protocols whose calls a rule can meet."""
    return frozenset(
        protocol
        for protocol, domain in bundle.domains.items()
        if all(one.speaks(domain.name, protocol) for one in (rule.policy_filter, rule.filter))
    )


def _warned(rule: Rule, code: str, text: str) -> Finding:
    return Finding(code, "warning", rule.where, f"`{rule.key}`: {text}")


def _context(rule: Rule, path: str) -> Iterator[Finding]:
    root, *rest = path.split(".")
    if root == "context" and rest and rest[0] not in OWNED_CONTEXT:
        key = rest[0]
        text = f"`context.{key}` is absent unless the calling workload may assert `{key}`"
        yield _warned(rule, "context-asserted", text)


def _untyped(rule: Rule, path: str, bundle: Bundle, told: set[str]) -> Iterator[Finding]:
    """Yield a finding where a misspelt attribute would load; each attribute is told once."""
    section = path.partition(".")[0]
    calls = bundle.vocabulary.calls((rule.policy_filter, rule.filter), rule.phases)
    if path not in told and is_untyped(path, bundle.vocabulary.seen(calls)):
        told.add(path)
        text = f"nothing says what `{path}` is: declare it in an Attributes file, under `{section}`"
        yield _warned(rule, "untyped-attribute", text)


def _unknown_labels(rule: Rule, known: frozenset[str]) -> Iterator[Finding]:
    asked = {label for tree in trees_of(rule).values() for label in _asked(tree)}
    for label in sorted(asked - known):
        text = f"no catalogue of this bundle gives the label `{label}`"
        yield _warned(rule, "unknown-label", text)


def _asked(tree: Tree) -> Iterator[str]:
    """Yield each constant text that is looked for in `resource.labels`."""
    for node in nodes(tree):
        if isinstance(node, Call) and node.function == "@in":
            sought, among = node.args
            if isinstance(sought, Constant) and spelt(among) == "resource.labels":
                yield str(sought.value)


def _catalogues(bundle: Bundle) -> Iterator[dict[str, Json]]:
    """Yield the `spec` of each Catalog document; all of them were read when the bundle was."""
    read = (
        document
        for path, data in bundle.files.items()
        if path.endswith((".yaml", ".yml"))
        for document in load_documents(path, data)
    )
    for document in read:
        if isinstance(document.value, dict) and document.value.get("kind") == "Catalog":
            yield document.value["spec"]


def _labels(value: Json) -> Iterator[str]:
    """Yield every label that stands anywhere below `value`."""
    if isinstance(value, list):
        for one in value:
            yield from _labels(one)
    elif isinstance(value, dict):
        for key, one in value.items():
            if key == "labels" and isinstance(one, list):
                yield from (label for label in one if isinstance(label, str))
            else:
                yield from _labels(one)


def _route_objects(spec: dict[str, Json]) -> Iterator[str]:
    """Yield the types of what stands behind routes (`resource: "expense:{id}"`)."""
    for route in spec.get("routes") or ():
        if isinstance(route, dict) and isinstance(route.get("resource"), str):
            yield route["resource"].partition(":")[0]


def _unknown_types(bundle: Bundle, objects: frozenset[str]) -> Iterator[Finding]:
    rules = {rule.key: rule for rule in bundle.rules}
    for document in bundle.policy_documents:
        spec, name = document.value["spec"], document.value["metadata"]["name"]
        for index, written in enumerate(spec["rules"]):
            spoken = protocols_of(rules[f"{name}/{written['id']}"], bundle)
            at: tuple[Step, ...] = ("spec", "rules", index, "match", "resources")
            yield from _types(document, at, written.get("match"), spoken, objects)
        everywhere = frozenset().union(
            *(protocols_of(rules[f"{name}/{written['id']}"], bundle) for written in spec["rules"])
        )
        at = ("spec", "match", "resources")
        yield from _types(document, at, spec.get("match"), everywhere, objects)


def _types(
    document: Document,
    at: tuple[Step, ...],
    match: Json,
    spoken: frozenset[str],
    objects: frozenset[str],
) -> Iterator[Finding]:
    if "authzen" in spoken:
        return
    known = {kind for protocol in spoken for kind in TYPES.get(protocol, ())}
    if "http" in spoken:
        known |= objects
    for number, pattern in enumerate((match or {}).get("resources") or ()):
        kind = pattern.partition(":")[0]
        if "*" in kind or kind in known or kind.partition("/")[0] + "/" in known:
            continue
        offered = ", ".join(sorted(known)) or "none"
        text = f"`{pattern}`: no call that `match` takes has a `{kind}`; types are {offered}"
        yield Finding("unknown-type", "warning", document.where(*at, number), text)
