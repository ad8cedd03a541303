"""Comparisons that never hold: a text beside a word of a closed list that has no such word.

`action.class == 'wirte'` in a deny rule is a door left open, and nothing else would say so.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from sidecar.policy.bundle import Bundle
from sidecar.policy.language.tree import Call, Constant, ListOf, Tree
from sidecar.policy.language.walk import nodes
from sidecar.review.finding import Finding
from sidecar.review.trees import spelt, trees_of
from sidecar.terms.words import CLASSES, DOMAINS, PHASES, PROTOCOLS

_CLOSED: Final[Mapping[str, tuple[str, ...]]] = {
    "action.class": CLASSES,
    "request.domain": DOMAINS,
    "request.phase": PHASES,
    "request.protocol": PROTOCOLS,
    # What failed to be read is refused before any rule is asked.
    "parse.status": ("complete", "partial"),
}


def never_equal(bundle: Bundle) -> Iterator[Finding]:
    """Yield a finding for each text that a closed list of words does not have."""
    for rule in bundle.rules:
        compared = (pair for tree in trees_of(rule).values() for pair in _compared(tree))
        for path, text in sorted(set(compared)):
            words = _CLOSED[path]
            if text not in words:
                said = f"`{rule.key}`: `{path}` is never `{text}`; one of {', '.join(words)}"
                yield Finding("never-equal", "warning", rule.where, said)


def _compared(tree: Tree) -> Iterator[tuple[str, str]]:
    """Yield each closed path of a tree with a text that it is compared with."""
    for node in nodes(tree):
        for side, against in _pairs(node):
            path = spelt(side)
            if path is not None and path in _CLOSED and isinstance(against, Constant):
                yield path, str(against.value)


def _pairs(node: Tree) -> list[tuple[Tree, Tree]]:
    if isinstance(node, Call) and node.function in {"_==_", "_!=_"}:
        one, other = node.args
        return [(one, other), (other, one)]
    if isinstance(node, Call) and node.function == "@in":
        sought, among = node.args
        return [(sought, item) for item in among.items] if isinstance(among, ListOf) else []
    return []
