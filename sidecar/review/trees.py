"""The conditions of rules as trees, and how a chain of fields in one is spelt."""

from functools import lru_cache
from typing import Final

from sidecar.policy.cel import ROOTS
from sidecar.policy.language import environment
from sidecar.policy.language.checking.checker import check
from sidecar.policy.language.checking.names import Environment
from sidecar.policy.language.limits import Limits
from sidecar.policy.language.reading.parser import parse
from sidecar.policy.language.tree import Call, Constant, Name, Select, Tree
from sidecar.policy.language.types import DYN
from sidecar.policy.limits import EXPRESSION_CHARS_MAX, EXPRESSION_NESTING_MAX
from sidecar.policy.rules import Rule

_LIMITS: Final = Limits(EXPRESSION_CHARS_MAX, EXPRESSION_NESTING_MAX)
WHEN: Final = "when"


def trees_of(rule: Rule) -> dict[str, Tree]:
    """Return the checked trees of a rule's variables by `variables.<name>`, then of its `when`."""
    sources = {f"variables.{name}": expression.source for name, expression in rule.variables}
    known = _known(tuple(sources))
    if rule.when is not None:
        sources[WHEN] = rule.when.source
    return {name: check(parse(source, _LIMITS), known).tree for name, source in sources.items()}


@lru_cache(maxsize=256)
def _known(variables: tuple[str, ...]) -> Environment:
    return environment(dict.fromkeys((*ROOTS, *variables), DYN))


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
