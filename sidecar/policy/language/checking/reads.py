"""Which parts of its input an expression may read, as far as its text shows."""

from functools import lru_cache
from sys import intern
from typing import Final

from sidecar.policy.language.tree import Call, Constant, Name, Select, Tree
from sidecar.policy.language.walk import children

# What a path may end with; the most frequent other nodes are not even looked at.
_READING: Final = frozenset({Name, Select, Call})


def paths(tree: Tree) -> frozenset[str]:
    """Return every dotted path that `tree` reads from a declared variable.

    A path ends where the text no longer shows what is read (`request[x]`, a list that a macro goes
    over), so a shorter path means that anything below it may be read.

    Args:
        tree: As the checker returns it, so that a rooted name is no local.
    """
    found: set[str] = set()
    rest = [tree]
    while rest:
        node = rest.pop()
        path = _path(node) if type(node) in _READING else None
        if path is None:
            rest += children(node)
        else:
            found.add(intern(path))
    return _one(frozenset(found))


@lru_cache(maxsize=4096)
def _one(words: frozenset[str]) -> frozenset[str]:
    """Return the set that stands for all equal ones: conditions mostly read what others read."""
    return words


def _path(tree: Tree) -> str | None:
    """Return the path of a chain of fields, each by its name or by a constant text."""
    fields: list[str] = []
    while not isinstance(tree, Name):
        if isinstance(tree, Select):
            field, tree = tree.field, tree.operand
        elif isinstance(tree, Call) and tree.function in {"_[_]", "_[?_]"}:
            tree, key = tree.args
            if not isinstance(key, Constant) or not isinstance(key.value, str):
                return None
            field = key.value
        else:
            return None
        # A dot inside of a field would read as two: what is above it is read then.
        fields = [] if "." in field else [*fields, field]
    return ".".join([tree.name, *reversed(fields)]) if tree.rooted else None
