"""Reads that may err: a field of a party, a resource or an entity that nobody asked for first.

So is the block of a protocol, in a rule that meets calls of others too.

An error in an allow rule permits nothing and is harmless; in any other rule it denies, so a field
that is absent for somebody denies everything to them.
"""

import re
from collections.abc import Iterator
from typing import Final

from sidecar.policy.bundle import Bundle
from sidecar.policy.language.tree import Call, Constant, Select, Tree
from sidecar.policy.language.walk import nodes
from sidecar.policy.rules import Rule
from sidecar.review.finding import Finding
from sidecar.review.trees import linked, spelt, trees_of

# Below these nothing is sure to be there.
_OPEN: Final = re.compile(r"(?:(?:subject|actor|resource)\.properties|entity\(.*?\))\..+")


def unguarded_reads(bundle: Bundle) -> Iterator[Finding]:
    """Yield a finding for each field that a rule other than an allow reads and does not ask for."""
    for rule in bundle.rules:
        if rule.effect != "allow":
            for path in _unguarded(rule, _blocks(rule, bundle)):
                text = (
                    f"`{rule.key}` reads `{path}` without `has()` or `.?`: "
                    "where it is absent the rule errs and the call is denied"
                )
                yield Finding("unguarded-read", "warning", rule.where, text)


def _blocks(rule: Rule, bundle: Bundle) -> frozenset[str]:
    """Return the blocks of which a call that the rule meets has one."""
    calls = bundle.vocabulary.calls((rule.policy_filter, rule.filter), rule.phases)
    blocks = frozenset(f"request.{protocol}" for protocol, _ in calls)
    return blocks if len(blocks) > 1 else frozenset()


def _unguarded(rule: Rule, blocks: frozenset[str]) -> list[str]:
    """Return the open paths that are read outright and asked for nowhere in the rule."""
    read: set[str] = set()
    asked: set[str] = set()
    aliases: dict[str, str] = {}
    for name, tree in trees_of(rule).items():
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
