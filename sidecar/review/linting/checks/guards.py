"""Reads that may err: a field of a party, a resource or an entity that nobody asked for first.

So is the block of a protocol, in a rule that meets calls of others too.

An error in an allow rule permits nothing and is harmless; in any other rule it denies, so a field
that is absent for somebody denies everything to them.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from sidecar.policy.language.tree import Call, Constant, Select, Tree
from sidecar.policy.language.walk import nodes
from sidecar.policy.rules import Rule
from sidecar.review.clauses import ABSENT, Clause, clauses_of
from sidecar.review.clauses.conflict import satisfies
from sidecar.review.finding import Finding
from sidecar.review.linting.looked import Looked, finding_of
from sidecar.review.trees import linked, spelt

# Below these nothing is sure to be there.
_OPEN: Final = re.compile(r"(?:(?:subject|actor|resource)\.properties|entity\(.*?\))\..+")

_PARTIES: Final = ("subject.properties", "actor.properties", "entity(")


def unguarded_reads(looked: Looked) -> Iterator[Finding]:
    """Yield a finding for each field that a rule other than an allow reads and does not ask for."""
    for rule in looked.rules:
        if rule.effect != "allow":
            for path in _unguarded(looked.trees(rule), _blocks(rule, looked)):
                text = (
                    f" reads `{path}` without `has()` or `.?`: "
                    "where it is absent the rule errs and the call is denied"
                )
                yield finding_of("unguarded-read", rule, text)


def _blocks(rule: Rule, looked: Looked) -> frozenset[str]:
    """Return the blocks of which a call that the rule meets has one."""
    calls = looked.bundle.vocabulary.calls((rule.policy_filter, rule.filter), rule.phases)
    blocks = frozenset(f"request.{protocol}" for protocol, _ in calls)
    return blocks if len(blocks) > 1 else frozenset()


def _unguarded(trees: Mapping[str, Tree], blocks: frozenset[str]) -> list[str]:
    """Return the open paths that are read outright and asked for nowhere in the rule."""
    read: set[str] = set()
    asked: set[str] = set()
    aliases: dict[str, str] = {}
    for name, tree in trees.items():
        for node in nodes(tree):
            asked.update(_asked(node, aliases))
            path = _read(node, aliases, blocks)
            if path is not None:
                read.add(path)
        stands_for = spelt(tree, aliases)
        if stands_for is not None:
            aliases[name] = stands_for
    return sorted(read - asked)


def _read(node: Tree, aliases: dict[str, str], blocks: frozenset[str]) -> str | None:
    """Return the open path that a node reads, None where it asks or reads none."""
    if linked(node) is None or _asks(node) or _is_optional(node):
        return None
    path = spelt(node, aliases)
    return path if path is not None and (path in blocks or _OPEN.fullmatch(path)) else None


def _asks(node: Tree) -> bool:
    return isinstance(node, Select) and node.test


def _is_optional(node: Tree) -> bool:
    """Return whether a chain goes through `.?` or `[?…]`: what follows is optional too."""
    rest: Tree = node
    while (link := linked(rest)) is not None:
        if (isinstance(rest, Select) and rest.optional) or (
            isinstance(rest, Call) and rest.function == "_[?_]"
        ):
            return True
        rest = link[0]
    return False


def _asked(node: Tree, aliases: dict[str, str]) -> Iterator[str]:
    """Yield the path that a node asks for: `has(a.b)`, `'b' in a`, `request.protocol == 'sql'`."""
    path: str | None = None
    if _asks(node):
        path = spelt(node, aliases)
    elif isinstance(node, Call) and node.function == "@in":
        key, owner = node.args
        above = spelt(owner, aliases)
        if isinstance(key, Constant) and isinstance(key.value, str) and above is not None:
            path = f"{above}.{key.value}"
    elif isinstance(node, Call) and node.function == "_==_":
        path = _block_asked(node, aliases)
    if path is not None:
        yield path


def _block_asked(node: Call, aliases: dict[str, str]) -> str | None:
    """Return the block that `request.protocol == 'sql'` asks for."""
    for side, other in (node.args, node.args[::-1]):
        if isinstance(other, Constant) and spelt(side, aliases) == "request.protocol":
            return f"request.{other.value!s}"
    return None


def absent_permits(looked: Looked) -> Iterator[Finding]:
    """Yield a finding for each clause of an allow rule that an absent attribute makes true."""
    for rule in looked.rules:
        asks = clauses_of(looked.asks(rule)) if rule.effect == "allow" else ()
        for clause in filter(_permits_absent, asks):
            text = (
                f" permits where `{clause.field}` is absent: "
                "the default that stands in for it makes the clause true"
            )
            yield finding_of("absent-permits", rule, text)


def _permits_absent(clause: Clause) -> bool:
    """Return whether a clause holds for the default of a party's attribute.

    Why not of every field: what a call does not say (a limit, a flag) is often rightly nothing.
    """
    is_party = clause.field.lstrip("(").startswith(_PARTIES) or "(subject." in clause.field
    if clause.default is ABSENT or not is_party or clause.kind in {"opaque", "has", "same"}:
        return False
    if clause.kind == "true":
        return clause.default is clause.positive
    # A list that is empty holds nothing: whether that was meant shows in the `!` alone.
    return satisfies(clause.default, clause)
