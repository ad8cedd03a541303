"""Ways over a syntax tree that every reader of it shares."""

from collections.abc import Iterator
from typing import assert_never

from sidecar.policy.language.tree import (
    Bind,
    Call,
    Constant,
    Fold,
    ListOf,
    MapOf,
    MessageOf,
    Name,
    Select,
    Tree,
)


def children(tree: Tree) -> tuple[Tree, ...]:
    """Return the nodes directly below `tree`, in the order of the text."""
    match tree:
        case Constant() | Name():
            return ()
        case Select(operand=operand):
            return (operand,)
        case Call(args=args, target=target):
            return args if target is None else (target, *args)
        case Bind(init=init, body=body):
            return (init, body)
        case Fold(range=range_, condition=condition, body=body):
            return (range_, body) if condition is None else (range_, condition, body)
        case _:
            return _elements(tree)


def _elements(tree: ListOf | MapOf | MessageOf) -> tuple[Tree, ...]:
    match tree:
        case ListOf(items=items):
            return items
        case MapOf(entries=entries):
            return tuple(side for entry in entries for side in entry)
        case MessageOf(fields=fields):
            return tuple(value for _, value in fields)
        case _:
            assert_never(tree)


def nodes(tree: Tree) -> Iterator[Tree]:
    """Yield `tree` and every node below it, outer before inner."""
    rest = [tree]
    while rest:
        node = rest.pop()
        yield node
        rest += reversed(children(node))
