"""The clauses of an expression: the smallest parts that decide, each to be seen true and false.

They are the operands of `&&`, `||` and `!`, the condition of `?:`, its branches where the whole is
a condition, the bodies of macros that test their elements, and a condition that is one clause
itself. A literal is none: it has one side only.
"""

from collections.abc import Iterator
from typing import Final

from sidecar.policy.language.tree import Bind, Call, Constant, Fold, Tree
from sidecar.policy.language.walk import children

LOGIC: Final = frozenset({"_&&_", "_||_", "!_"})
CHOICE: Final = "_?_:_"
# The macros whose body says yes or no of an element.
_TESTING: Final = frozenset({"all", "exists", "exists_one", "filter"})

Span = tuple[int, int]


def clauses(tree: Tree, *, decides: bool = True) -> Iterator[Tree]:
    """Yield the clauses of a tree, in the order of the text.

    Args:
        tree: As the checker returns it.
        decides: Whether the whole is a condition; a variable may be any value.
    """
    match tree:
        case Constant():
            return
        case Call(function=function, args=args) if function in LOGIC:
            for arg in args:
                yield from clauses(arg)
        case Call(function=function, args=(condition, *branches)) if function == CHOICE:
            yield from clauses(condition)
            for branch in branches:
                yield from clauses(branch, decides=decides)
        case Bind(init=init, body=body):
            yield from clauses(init, decides=False)
            yield from clauses(body, decides=decides)
        case _:
            if decides:
                yield tree
            yield from _inside(tree)


def _inside(tree: Tree) -> Iterator[Tree]:
    if not isinstance(tree, Fold):
        for below in children(tree):
            yield from clauses(below, decides=False)
        return
    yield from clauses(tree.range, decides=False)
    if tree.condition is not None:
        yield from clauses(tree.condition)
    yield from clauses(tree.body, decides=tree.kind in _TESTING)
