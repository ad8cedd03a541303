"""The conditions of rules as trees, and how a chain of fields in one is spelt."""

from typing import Final

from sidecar.policy.explained import tree_of
from sidecar.policy.language.tree import Call, Constant, Name, Select, Tree
from sidecar.policy.rules import Rule

WHEN: Final = "when"


def trees_of(rule: Rule) -> dict[str, Tree]:
    """Return the checked trees of a rule's variables by `variables.<name>`, then of its `when`."""
    return {name: tree_of(source, _names(rule)) for name, source in sources_of(rule).items()}


def sources_of(rule: Rule) -> dict[str, str]:
    """Return the texts of a rule's variables by `variables.<name>`, then of its `when`."""
    found = {f"variables.{name}": expression.source for name, expression in rule.variables}
    if rule.when is not None:
        found[WHEN] = rule.when.source
    return found


def _names(rule: Rule) -> tuple[str, ...]:
    return tuple(f"variables.{name}" for name, _ in rule.variables)


def spelt(tree: Tree, aliases: dict[str, str] | None = None) -> str | None:
    """Return a chain of fields as text: `resource.properties.owner`, `entity(user, subject.id).x`.

    Args:
        tree: As the checker returns it.
        aliases: What variables stand for, by their full names.
    """
    if isinstance(tree, Name):
        return (aliases or {}).get(tree.name, tree.name) if tree.rooted else None
    link = linked(tree)
    if link is not None:
        above = spelt(link[0], aliases)
        return None if above is None else f"{above}.{link[1]}"
    if isinstance(tree, Call) and tree.function == "entity":
        return f"entity({', '.join(_argument(arg, aliases) for arg in tree.args)})"
    return None


def linked(tree: Tree) -> tuple[Tree, str] | None:
    """Return what a field is read from and its name, None where `tree` reads no named field."""
    if isinstance(tree, Select):
        return tree.operand, tree.field
    if isinstance(tree, Call) and tree.function in {"_[_]", "_[?_]"}:
        above, key = tree.args
        if isinstance(key, Constant) and isinstance(key.value, str):
            return above, key.value
    return None


def _argument(tree: Tree, aliases: dict[str, str] | None) -> str:
    if isinstance(tree, Constant):
        return repr(tree.value)
    return spelt(tree, aliases) or f"at {tree.start}"
