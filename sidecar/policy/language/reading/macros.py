"""Calls that are not calls: the macros of CEL, told by name and shape and made nodes of their own.

A macro's name with the wrong arguments is an error here, where the implementations leave an
ordinary call that no function answers: `x.all(e)` behind `||` would be a condition that holds.

Source: https://github.com/google/cel-spec/blob/master/doc/langdef.md#macros
"""

from collections.abc import Callable
from typing import Final

import msgspec

from sidecar.policy.language.reading.lexer import SyntaxProblem
from sidecar.policy.language.tree import Bind, Call, Fold, FoldKind, Name, Select, Tree


class _Shape(msgspec.Struct, frozen=True):
    """One form of a macro: how many names it begins with and how many expressions follow."""

    names: int
    bodies: int
    said: str

    @property
    def arity(self) -> int:
        return self.names + self.bodies


_TEST: Final = (
    _Shape(1, 1, "(name, condition)"),
    _Shape(2, 1, "(name, name, condition)"),
)
_TRANSFORM: Final = (
    _Shape(2, 1, "(name, name, result)"),
    _Shape(2, 2, "(name, name, condition, result)"),
)
_MAP: Final = (
    _Shape(1, 1, "(name, result)"),
    _Shape(1, 2, "(name, condition, result)"),
)
_ONE: Final = (_Shape(1, 1, "(name, result)"),)
_BIND: Final = _Shape(1, 2, "(name, value, result)")
_SORT: Final = _Shape(1, 1, "(name, key)")

_FOLDS: Final[dict[str, tuple[FoldKind, tuple[_Shape, ...]]]] = {
    "all": ("all", _TEST),
    "exists": ("exists", _TEST),
    "exists_one": ("exists_one", _TEST),
    "existsOne": ("exists_one", _TEST),
    "filter": ("filter", _TEST[:1]),
    "map": ("map", _MAP),
    "transformList": ("transformList", _TRANSFORM),
    "transformMap": ("transformMap", _TRANSFORM),
    "transformMapEntry": ("transformMapEntry", _TRANSFORM),
    "optMap": ("optMap", _ONE),
    "optFlatMap": ("optFlatMap", _ONE),
}
# No source can write these names: the first hides nothing, the second is called by nobody else.
SORTED: Final = "@sorted"
SORT: Final = "lists.@sortByAssociatedKeys"


def expanded(call: Call, at: int) -> Tree:
    """Return the node that `call` is as a macro, or `call` itself where it is none.

    Args:
        call: As written.
        at: Where the function's name stands.

    Raises:
        SyntaxProblem: The arguments are not the macro's.
    """
    if call.target is None:
        return _has(call) if call.function == "has" else call
    expand = _MEMBERS.get(call.function)
    return call if expand is None else expand(call, call.target, at)


def _has(call: Call) -> Tree:
    _count(call, (_Shape(0, 1, "(value.field)"),), call.start)
    (asked,) = call.args
    if not isinstance(asked, Select) or asked.optional or asked.test:
        text = "`has` expects a field, `has(value.field)`"
        raise SyntaxProblem(text, asked.start, asked.end)
    return Select(call.start, call.end, asked.operand, asked.field, test=True)


def _fold(call: Call, target: Tree, at: int) -> Tree:
    kind, shapes = _FOLDS[call.function]
    shape = _count(call, shapes, at)
    names = _names(call, shape)
    *condition, body = call.args[shape.names :]
    return Fold(
        *(call.start, call.end, kind, target, names, body),
        condition=condition[0] if condition else None,
    )


def _bind(call: Call, target: Tree, at: int) -> Tree:
    if not isinstance(target, Name) or target.name != "cel" or target.rooted:
        return call
    shape = _count(call, (_BIND,), min(at, target.start))
    (bound,) = _names(call, shape)
    _, init, body = call.args
    return Bind(call.start, call.end, bound, init, body)


def _sort(call: Call, target: Tree, at: int) -> Tree:
    """Return `x.sortBy(e, key)` as a sort of `x`, computed once, by the list of its keys."""
    shape = _count(call, (_SORT,), at)
    names = _names(call, shape)
    once = Name(target.start, target.end, SORTED)
    keys = Fold(call.start, call.end, "map", once, names, call.args[1])
    body = Call(call.start, call.end, SORT, (once, keys))
    return Bind(call.start, call.end, SORTED, target, body)


_MEMBERS: Final[dict[str, Callable[[Call, Tree, int], Tree]]] = {
    **dict.fromkeys(_FOLDS, _fold),
    "bind": _bind,
    "sortBy": _sort,
}


def _shown(call: Call) -> str:
    return "cel.bind" if call.function == "bind" else call.function


def _count(call: Call, shapes: tuple[_Shape, ...], start: int) -> _Shape:
    """Return the form that has as many arguments as the call."""
    for shape in shapes:
        if shape.arity == len(call.args):
            return shape
    forms = " or ".join(shape.said for shape in shapes)
    counted = f"{len(call.args)} argument{'' if len(call.args) == 1 else 's'}"
    text = f"`{_shown(call)}` expects {forms}, found {counted}"
    raise SyntaxProblem(text, start, call.end)


def _names(call: Call, shape: _Shape) -> tuple[str, ...]:
    """Return the variables that the macro declares."""
    names: list[str] = []
    for arg in call.args[: shape.names]:
        if not isinstance(arg, Name) or arg.rooted:
            text = f"`{_shown(call)}` expects a plain name here: {shape.said}"
            raise SyntaxProblem(text, arg.start, arg.end)
        if arg.name in names:
            text = f"`{_shown(call)}` expects two different names"
            raise SyntaxProblem(text, arg.start, arg.end)
        names.append(arg.name)
    return tuple(names)
