"""What must be so of one path for a condition to hold: a clause that an index can answer instead.

`subject.id == 'a' && …` is false wherever `subject.id` is another text, whatever the rest says: CEL
lets one false clause outweigh others that fail. So the rule need not be asked there. Lifted are
clauses of the outermost `&&` that compare one path with texts. What stands left of them must be
such that it neither exceeds a budget nor asks for facts, as nothing outweighs these.
INVARIANT: a guard says that a condition is false only where `exact` finds it false.
"""

from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

from sidecar.policy.language.tree import Call, Constant, Fold, ListOf, Name, Select, Tree
from sidecar.policy.language.walk import nodes

# `is`: the path is one of the texts; `begins`: with one of them; `has`: a list or map that has one.
GuardKind = Literal["is", "begins", "has"]
# These cost nothing whatever they are given, when one side is a literal.
_PLAIN: Final = frozenset({"_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_", "startsWith", "endsWith"})
_LOGIC: Final = frozenset({"_&&_", "_||_", "!_"})


class Guard(NamedTuple):
    """One clause: `path` from its root, and the texts of which one must be met."""

    kind: GuardKind
    path: tuple[str, ...]
    texts: frozenset[str]


def guards(tree: Tree) -> list[Guard]:
    """Return the guards of a condition, in the order of its clauses."""
    found = []
    for clause in _clauses(tree):
        guard = _guard(clause)
        if guard is not None:
            found.append(guard)
        # A macro spends, also one that is a guard.
        if not _is_harmless(clause):
            break
    return found


def _clauses(tree: Tree) -> Iterator[Tree]:
    rest = [tree]
    while rest:
        node = rest.pop()
        if isinstance(node, Call) and node.function == "_&&_":
            rest += reversed(node.args)
        else:
            yield node


def _guard(tree: Tree) -> Guard | None:
    if isinstance(tree, Fold):
        return _exists(tree)
    if not isinstance(tree, Call):
        return None
    args = tree.args if tree.target is None else (tree.target, *tree.args)
    match tree.function, args:
        case "_==_", (one, other):
            return _lifted("is", one, [_text(other)]) or _lifted("is", other, [_text(one)])
        case "startsWith", (one, other):
            return _lifted("begins", one, [_text(other)])
        case "@in", (one, ListOf(items=items)):
            return _lifted("is", one, [_text(item) for item in items])
        case "@in", (one, other):
            return _lifted("has", other, [_text(one)])
        case _:
            return None


def _exists(tree: Fold) -> Guard | None:
    """Return the guard of `path.exists(x, x == 'text')`."""
    body = tree.body
    if tree.kind != "exists" or len(tree.names) != 1:
        return None
    if not isinstance(body, Call) or body.function != "_==_":
        return None
    for name, other in (body.args, body.args[::-1]):
        if isinstance(name, Name) and not name.rooted and name.name == tree.names[0]:
            return _lifted("has", tree.range, [_text(other)])
    return None


def _lifted(kind: GuardKind, of: Tree, texts: list[str | None]) -> Guard | None:
    path = _path(of)
    known = frozenset(text for text in texts if text)
    # The empty text begins every text, and a path that is none of nothing is for the exact way.
    if path is None or not known or len(known) < len(set(texts)):
        return None
    return Guard(kind, path, known)


def _text(tree: Tree) -> str | None:
    return tree.value if isinstance(tree, Constant) and isinstance(tree.value, str) else None


def _path(tree: Tree) -> tuple[str, ...] | None:
    """Return the fields from a root to what is read, where each is written down."""
    fields: list[str] = []
    while not isinstance(tree, Name):
        if isinstance(tree, Select) and not tree.optional and not tree.test:
            field, tree = tree.field, tree.operand
        elif isinstance(tree, Call) and tree.function == "_[_]":
            key = _text(tree.args[1])
            if key is None:
                return None
            field, tree = key, tree.args[0]
        else:
            return None
        fields.append(field)
    # A variable of a policy is no root: what it reads may be anything.
    if not tree.rooted or "." in tree.name:
        return None
    return (tree.name, *reversed(fields))


def _is_harmless(tree: Tree) -> bool:
    """Return whether an expression neither spends a budget nor asks for facts."""
    return all(map(_is_plain, nodes(tree)))


def _is_plain(node: Tree) -> bool:
    if isinstance(node, Name | Constant | Select):
        return True
    if isinstance(node, ListOf):
        return all(isinstance(item, Constant) for item in node.items)
    if not isinstance(node, Call):
        return False
    if node.function in _LOGIC:
        return True
    args = node.args if node.target is None else (node.target, *node.args)
    if node.function == "_[_]":
        return isinstance(args[1], Constant)
    if node.function == "@in":
        return isinstance(args[1], ListOf) or _text(args[0]) is not None
    return node.function in _PLAIN and any(isinstance(arg, Constant) for arg in args)
