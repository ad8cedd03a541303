"""Ways over a syntax tree that every reader of it shares."""

from collections.abc import Iterator
from typing import assert_never

from sidecar.policy.language import tree as cel


def children(tree: cel.Tree) -> tuple[cel.Tree, ...]:
    """Return the nodes directly below `tree`, in the order of the text."""
    match tree:
        case cel.Constant() | cel.Name():
            return ()
        case cel.Select(operand=operand):
            return (operand,)
        case cel.Call(args=args, target=target):
            return args if target is None else (target, *args)
        case cel.Bind(init=init, body=body):
            return (init, body)
        case cel.Fold(range=range_, condition=condition, body=body):
            return (range_, body) if condition is None else (range_, condition, body)
        case _:
            return _elements(tree)


def _elements(tree: cel.ListOf | cel.MapOf | cel.MessageOf) -> tuple[cel.Tree, ...]:
    match tree:
        case cel.ListOf(items=items):
            return items
        case cel.MapOf(entries=entries):
            return tuple(side for entry in entries for side in entry)
        case cel.MessageOf(fields=fields):
            return tuple(value for _, value in fields)
        case _:
            assert_never(tree)


def nodes(tree: cel.Tree) -> Iterator[cel.Tree]:
    """Yield `tree` and every node below it, outer before inner."""
    rest = [tree]
    while rest:
        node = rest.pop()
        yield node
        rest += reversed(children(node))
