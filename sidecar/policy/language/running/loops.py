"""Macros as Python loops: each a function of its own, with what it reads as parameters."""

from typing import Final, NamedTuple

from sidecar.policy.language.running.ahead.weights import weight
from sidecar.policy.language.running.cost import LIGHT
from sidecar.policy.language.running.scope import BUDGET, Piece, Unsure, Writer
from sidecar.policy.language.tree import Bind, Call, Constant, Fold, FoldKind, Name

# What stands before the loop, in it, and after it; `{0}` is the body and `{1}` the name.
_FORMS: Final[dict[FoldKind, tuple[str, str, str]]] = {
    "all": ("pass", "if not {0}: return False", "return True"),
    "exists": ("pass", "if {0}: return True", "return False"),
    "exists_one": ("count = 0", "if {0}: count += 1", "return count == 1"),
    "filter": ("out = []", "if {0}: out.append({1})", "return out"),
    "map": ("out = []", "out.append({0})", "return out"),
    "transformList": ("out = []", "out.append({0})", "return out"),
}
_TRANSFORMS: Final = frozenset({"map", "transformList"})


class _Loop(NamedTuple):
    """The code of a loop's parts."""

    names: list[str]
    paid: str
    condition: str | None
    body: str


def loop(writer: Writer, tree: Fold) -> Piece:
    """Return the call of a loop that is written beside it. Raises Unsure for the rarer macros."""
    if tree.kind not in _FORMS:
        raise Unsure
    over = writer.visit(tree.range)
    text = _sought(tree)
    if text is not None:
        return _found(writer, over, text)
    scope = writer.scope
    scope.enter()
    outer, names = scope.bind(tree.names)
    condition = writer.condition(tree.condition) if tree.condition is not None else None
    is_test = tree.kind not in _TRANSFORMS
    body = writer.condition(tree.body) if is_test else writer.visit(tree.body).code
    scope.restore(outer)
    parts = _Loop(names, _paid(writer, weight(tree, writer.constants)), condition, body)
    free = scope.leave()
    name = scope.fresh("loop")
    head = f"def {name}({', '.join(['over', *free])}):"
    scope.functions.append("\n".join([head, *_lines(tree.kind, parts)]))
    is_list = tree.kind == "filter" or not is_test
    return Piece(f"{name}({', '.join([over.code, *free])})", "list" if is_list else "bool")


def _lines(kind: FoldKind, parts: _Loop) -> list[str]:
    before, step, after = _FORMS[kind]
    is_pair = len(parts.names) == 2
    taken = "over = pairs(over)" if is_pair else "if type(over) is not list: over = singles(over)"
    skipped = [f"  if not {parts.condition}: continue"] if parts.condition else []
    return [
        f" {taken}",
        f" {parts.paid}",
        f" {before}",
        f" for {', '.join(parts.names)} in over:",
        *skipped,
        f"  {step.format(parts.body, parts.names[0])}",
        f" {after}",
    ]


def _paid(writer: Writer, each: float) -> str:
    if writer.folds == 1:
        return f"if len(over) > {int(BUDGET / each)}: give_up()"
    return f"spend({writer.scope.read('b')}, over, {each})"


def _sought(tree: Fold) -> str | None:
    """Return the text of `l.exists(x, x == 'text')`: Python's own search finds it."""
    body = tree.body
    if tree.kind != "exists" or len(tree.names) != 1:
        return None
    if not isinstance(body, Call) or body.function != "_==_":
        return None
    for name, text in (body.args, body.args[::-1]):
        is_name = isinstance(name, Name) and not name.rooted and name.name == tree.names[0]
        if is_name and isinstance(text, Constant) and isinstance(text.value, str):
            return text.value if len(text.value) < LIGHT else None
    return None


def _found(writer: Writer, over: Piece, text: str) -> Piece:
    first, again = writer.scope.once(over)
    is_one = writer.folds == 1
    paid = f"len({again}) <= {BUDGET}" if is_one else f"spend({writer.scope.read('b')}, {again}, 1)"
    kept = f"(type({first}) is list or type({again}) is dict) and {paid}"
    return Piece(f"({text!r} in {again} if {kept} else give_up())", "bool")


def bind(writer: Writer, tree: Bind) -> Piece:
    """Return what `cel.bind` names, set before its body is asked."""
    init = writer.visit(tree.init)
    outer, (name,) = writer.scope.bind((tree.name,))
    body = writer.visit(tree.body)
    writer.scope.restore(outer)
    # What was just assigned is itself, so the left side is always true.
    return Piece(f"(({name} := {init.code}) is {name} and {body.code})", body.kind)
