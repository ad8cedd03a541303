"""Words of rules that may lead nowhere: labels and types that nothing has, attributes of no type.

What a bundle can say about itself is compared with what its rules ask for; what a caller may bring
along (AuthZEN's own types, a store's labels) is not known here and is left alone. A field that can
not be there does not load in the first place.
"""

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Final

from sidecar.facts.identity import OWNED_CONTEXT
from sidecar.policy.language.tree import Call, Constant, Tree
from sidecar.policy.language.walk import nodes
from sidecar.policy.rules import Rule
from sidecar.policy.vocabulary.untyped import is_untyped
from sidecar.review.clauses import clauses_of, overlap
from sidecar.review.finding import Finding
from sidecar.review.linting.looked import Looked, Reach, finding_of, protocols_of
from sidecar.review.linting.places import Place, patterns_of
from sidecar.review.trees import spelt
from sidecar.syntax.yaml12 import Step
from sidecar.terms.call import Json

# How alike a word is to one that there is.
_NEAR: Final = 0.75
# README, "Resources"; a type that ends with `/` begins many. AuthZEN's types are the caller's own.
TYPES: Final = {
    "sql": (
        "table",
        "column",
        "database",
        "schema",
        "sequence",
        "index",
        "channel",
        "setting",
    ),
    "http": ("route", "path"),
    "k8s": ("k8s/",),
    "aws": ("aws/",),
    "terraform": ("tf/",),
    "mcp": ("mcp_server", "tool", "resource", "prompt", "task"),
    "llm": ("model_provider", "model", "tool"),
    "rag": ("collection", "document"),
    "a2a": ("agent",),
}


def unknown_words(looked: Looked) -> Iterator[Finding]:
    """Yield a finding for each word of a rule that leads nowhere, rule by rule."""
    labels = labels_of(looked)
    told: set[str] = set()
    for rule in looked.rules:
        for path in sorted(rule.paths):
            yield from _context(rule, path)
            yield from _untyped(rule, path, looked, told)
        # A store brings labels of its own along with its documents.
        if protocols_of(rule, looked.bundle) != {"rag"}:
            yield from _unknown_labels(rule, looked, labels)
    yield from _unknown_types(looked)


def unused_labels(looked: Looked) -> Iterator[Finding]:
    """Yield a finding for each label that no rule asks for, where rules ask for others."""
    if any(_asks_for_any(rule, looked) for rule in looked.rules):
        return
    asked = {label for rule in looked.rules for label in labels_asked(rule, looked)}
    told: set[str] = set()
    for document in looked.documents("Catalog") if asked else ():
        for path, label in _labelled(document.value["spec"], ("spec",)):
            if label not in asked and label not in told:
                told.add(label)
                text = f"no rule asks for the label `{label}`"
                name = document.value["metadata"]["name"]
                yield Finding("unused-label", "warning", document.where(*path), text, name)


def labels_of(looked: Looked) -> frozenset[str]:
    """Return every label that a catalogue gives."""
    return frozenset(label for spec in looked.catalogues for _, label in _labelled(spec, ()))


def labels_asked(rule: Rule, looked: Looked) -> set[str]:
    """Return every constant text that a rule looks for in `resource.labels`."""
    if "resource" not in rule.roots:
        return set()
    member = {
        str(clause.value)
        for clause in clauses_of(looked.asks(rule))
        if clause.kind == "member" and clause.field == "resource.labels"
    }
    return member.union(*(_asked(tree) for tree in looked.trees(rule).values()))


def _asks_for_any(rule: Rule, looked: Looked) -> bool:
    """Return whether a rule may mean labels that it does not name: `params.closed.exists(…)`."""
    return any(path.startswith("resource.labels") for path in rule.paths) and any(
        clause.kind == "opaque" for clause in clauses_of(looked.asks(rule))
    )


def _warned(rule: Rule, code: str, text: str) -> Finding:
    return finding_of(code, rule, f": {text}")


def _context(rule: Rule, path: str) -> Iterator[Finding]:
    root, *rest = path.split(".")
    if root == "context" and rest and rest[0] not in OWNED_CONTEXT:
        key = rest[0]
        text = f"`context.{key}` is absent unless the calling workload may assert `{key}`"
        yield _warned(rule, "context-asserted", text)


def _untyped(rule: Rule, path: str, looked: Looked, told: set[str]) -> Iterator[Finding]:
    """Yield a finding where a misspelt attribute would load; each attribute is told once."""
    section = path.partition(".")[0]
    vocabulary = looked.bundle.vocabulary
    calls = vocabulary.calls((rule.policy_filter, rule.filter), rule.phases)
    if path not in told and is_untyped(path, vocabulary.seen(calls)):
        told.add(path)
        text = f"nothing says what `{path}` is: declare it in an Attributes file, under `{section}`"
        yield _warned(rule, "untyped-attribute", text)


def _unknown_labels(rule: Rule, looked: Looked, known: frozenset[str]) -> Iterator[Finding]:
    for label in sorted(labels_asked(rule, looked) - known):
        near = get_close_matches(label.lower(), known, 1, _NEAR)
        hint = f"; did you mean `{near[0]}`" if near else ""
        text = f"no catalogue of this bundle gives the label `{label}`{hint}"
        yield _warned(rule, "unknown-label", text)


def _asked(tree: Tree) -> Iterator[str]:
    """Yield each constant text that is looked for in `resource.labels`."""
    for node in nodes(tree):
        if isinstance(node, Call) and node.function == "@in":
            sought, among = node.args
            if isinstance(sought, Constant) and spelt(among) == "resource.labels":
                yield str(sought.value)


def _labelled(value: Json, at: tuple[Step, ...]) -> Iterator[tuple[tuple[Step, ...], str]]:
    """Yield every label that stands anywhere below `value`, with its place."""
    if isinstance(value, list):
        for number, one in enumerate(value):
            yield from _labelled(one, (*at, number))
    elif isinstance(value, dict):
        for key, one in value.items():
            if key == "labels" and isinstance(one, list):
                yield from (
                    ((*at, key, number), label)
                    for number, label in enumerate(one)
                    if isinstance(label, str)
                )
            else:
                yield from _labelled(one, (*at, key))


def _route_objects(spec: dict[str, Json]) -> Iterator[str]:
    """Yield the types of what stands behind routes (`resource: "expense:{id}"`)."""
    for route in spec.get("routes") or ():
        if isinstance(route, dict) and isinstance(route.get("resource"), str):
            yield route["resource"].partition(":")[0]


def protocols_with(reach: Reach, looked: Looked) -> frozenset[str]:
    """Return the protocols that `match` takes and that may have what its `resources` name."""
    objects = _objects(looked)
    return frozenset(
        protocol
        for protocol in reach.protocols
        if protocol not in TYPES
        or all(_names_some(patterns, protocol, objects) for patterns in reach.resources)
    )


def _names_some(patterns: Iterable[str], protocol: str, objects: frozenset[str]) -> bool:
    known = {*TYPES[protocol], *(objects if protocol == "http" else ())}
    return any(_may_be(pattern.partition(":")[0], known) for pattern in patterns)


def _objects(looked: Looked) -> frozenset[str]:
    return frozenset(kind for spec in looked.catalogues for kind in _route_objects(spec))


def _unknown_types(looked: Looked) -> Iterator[Finding]:
    objects = _objects(looked)
    for place in patterns_of(looked, "resources"):
        yield from _type(place, objects)


def _type(place: Place, objects: frozenset[str]) -> Iterator[Finding]:
    if "authzen" in place.spoken:
        return
    known = {kind for protocol in place.spoken for kind in TYPES.get(protocol, ())}
    if "http" in place.spoken:
        known |= objects
    kind = place.pattern.partition(":")[0]
    if _may_be(kind, known):
        return
    offered = ", ".join(sorted(known)) or "none"
    text = f"`{place.pattern}`: no call that `match` takes has a `{kind}`; types are {offered}"
    yield place.finding("unknown-type", text)


def _may_be(kind: str, known: Iterable[str]) -> bool:
    """Return whether a type, or one that begins as it does up to its `*`, is among those known."""
    begun, star, _ = kind.partition("*")
    wanted = f"{begun}{star}"
    return any(overlap(wanted, f"{one}*" if one.endswith("/") else one) for one in known)
