"""The syntax tree of CEL: what the parser makes, the checker annotates and the emitters read.

Macros are nodes of their own (`Fold`, `Bind`), not expanded into a general comprehension: each
emitter then writes the loop that the macro means. Operators are calls under the specification's
names (`_+_`, `_&&_`, `_?_:_`, `!_`, `-_`, `_[_]`, `@in`).

Source: https://github.com/google/cel-spec/blob/master/doc/langdef.md
"""

from typing import Literal, TypeAlias

import msgspec

# The macros: `all exists exists_one map filter` in one- and two-variable form, the two-variable
# `transformList transformMap transformMapEntry`, and the optional `optMap optFlatMap`.
FoldKind = Literal[
    "all",
    "exists",
    "exists_one",
    "map",
    "filter",
    "transformList",
    "transformMap",
    "transformMapEntry",
    "optMap",
    "optFlatMap",
]
# What a literal may be; `uint` is kept apart by its kind, its value is a plain int.
LiteralKind = Literal["null", "bool", "int", "uint", "double", "string", "bytes"]


# Why gc=False: a tree has no cycles, and a bundle holds a hundred thousand nodes.
class Node(msgspec.Struct, frozen=True, gc=False):
    """What every node has: `start` and `end` are code-point offsets into the source."""

    start: int
    end: int


class Constant(Node, frozen=True, tag=True, gc=False):
    """A literal."""

    kind: LiteralKind
    value: bool | int | float | str | bytes | None


class Name(Node, frozen=True, tag=True, gc=False):
    """An identifier; `rooted` when written with a leading dot, which skips local variables."""

    name: str
    rooted: bool = False


class Select(Node, frozen=True, tag=True, gc=False):
    """`operand.field`; `optional` for `operand.?field`; `test` for `has(operand.field)`."""

    operand: "Tree"
    field: str
    optional: bool = False
    test: bool = False


class Call(Node, frozen=True, tag=True, gc=False):
    """`function(args)`, or `target.function(args)`; operators under the specification's names.

    `_[?_]` is optional indexing. A rooted or dotted function name stands whole: `strings.quote`,
    `math.greatest` are calls with `target=None` when `namespace` says so, decided by the parser's
    caller; the parser leaves `math.greatest(1)` as a member call on the name `math`.
    """

    function: str
    args: tuple["Tree", ...]
    target: "Tree | None" = None


class ListOf(Node, frozen=True, tag=True, gc=False):
    """`[a, ?b]`; `optional` holds the positions of the elements written with `?`."""

    items: tuple["Tree", ...]
    optional: frozenset[int] = frozenset()


class MapOf(Node, frozen=True, tag=True, gc=False):
    """`{k: v, ?k: v}`; `optional` holds the positions of the entries written with `?`."""

    entries: tuple[tuple["Tree", "Tree"], ...]
    optional: frozenset[int] = frozenset()


class MessageOf(Node, frozen=True, tag=True, gc=False):
    """`Type{field: value}`: parsed so that the error can say that there are no message types."""

    name: str
    fields: tuple[tuple[str, "Tree"], ...]


class Fold(Node, frozen=True, tag=True, gc=False):
    """A macro over a list or map (or an optional): `range.kind(names…, condition?, result?)`.

    `names` has one or two. `condition` is the filter of three-argument `map` and of `transform*`;
    `body` the predicate or the transformation.
    """

    kind: FoldKind
    range: "Tree"
    names: tuple[str, ...]
    body: "Tree"
    condition: "Tree | None" = None


class Bind(Node, frozen=True, tag=True, gc=False):
    """`cel.bind(name, init, body)`."""

    name: str
    init: "Tree"
    body: "Tree"


Tree: TypeAlias = Constant | Name | Select | Call | ListOf | MapOf | MessageOf | Fold | Bind
