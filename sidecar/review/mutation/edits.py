"""The mistakes that can be made in one expression, each as the text with one place changed.

A clause that is dropped stands for what leaves the others to decide: `true` beside `&&`, `false`
beside `||`. No more parentheses are needed: a constant and `!(…)` bind tighter than any operator.
"""

import re
from collections.abc import Iterator
from typing import Final

import msgspec

from sidecar.policy.language.tree import Call, Constant, Fold, ListOf, Tree
from sidecar.policy.language.walk import nodes
from sidecar.review.coverage.clauses import Span, clauses

# A comparison, and the one that differs from it on the boundary alone.
_BOUNDARY: Final = {
    "_<_": ("<", "<="),
    "_<=_": ("<=", "<"),
    "_>_": (">", ">="),
    "_>=_": (">=", ">"),
}
_SWAPPED: Final = {"_&&_": ("&&", "||"), "_||_": ("||", "&&")}
_QUANTIFIED: Final = {"exists": "all", "all": "exists"}


class Edit(msgspec.Struct, frozen=True):
    """One mistake: what was done, where in the text it begins, and the text that comes of it."""

    what: str
    at: int
    text: str


def edits(source: str, tree: Tree, *, decides: bool) -> Iterator[Edit]:
    """Yield every mistake in an expression, each a text of its own, in the order of the text.

    Args:
        source: Of the expression.
        tree: As the checker returns it.
        decides: Whether the whole is a condition.
    """
    spans = {(clause.start, clause.end) for clause in clauses(tree, decides=decides)}
    found = [*_of_clauses(source, tree, spans), *_of_operators(source, tree)]
    seen = {source}
    for edit in sorted(found, key=lambda one: one.at):
        if edit.text not in seen:
            seen.add(edit.text)
            yield edit


def _of_clauses(source: str, tree: Tree, spans: set[Span]) -> Iterator[Edit]:
    neutral = dict(_neutral(tree))
    for start, end in sorted(spans):
        text = source[start:end]
        kept = neutral.get((start, end), "true")
        yield Edit("clause dropped", start, f"{source[:start]}{kept}{source[end:]}")
        yield Edit("clause negated", start, f"{source[:start]}!({text}){source[end:]}")


def _neutral(tree: Tree) -> Iterator[tuple[Span, str]]:
    """Yield, of each operand of `||`, what leaves the other to decide."""
    for node in nodes(tree):
        if isinstance(node, Call) and node.function == "_||_":
            yield from (((arg.start, arg.end), "false") for arg in node.args)


def _of_operators(source: str, tree: Tree) -> Iterator[Edit]:
    for node in nodes(tree):
        match node:
            case Call(function=function, args=(left, right)) if function in _BOUNDARY:
                edit = _operator(source, left, right, _BOUNDARY[function])
                yield from _as(edit, "boundary moved")
            case Call(function=function, args=(left, right)) if function in _SWAPPED:
                edit = _operator(source, left, right, _SWAPPED[function])
                yield from _as(edit, "and and or swapped")
            case Call(function="@in", args=(_, ListOf(items=items))) if len(items) > 1:
                yield from _elements(source, items)
            case Fold(kind=kind, range=range_) if kind in _QUANTIFIED:
                yield from _quantifier(source, range_.end, kind)
            case _:
                pass


def _as(edit: tuple[int, str] | None, what: str) -> Iterator[Edit]:
    if edit is not None:
        yield Edit(what, *edit)


def _operator(
    source: str, left: Tree, right: Tree, words: tuple[str, str]
) -> tuple[int, str] | None:
    """Return the text with the operator between two operands replaced."""
    at = source.find(words[0], left.end, right.start)
    if at < 0:
        return None
    return at, f"{source[:at]}{words[1]}{source[at + len(words[0]) :]}"


def _elements(source: str, items: tuple[Tree, ...]) -> Iterator[Edit]:
    """Yield the text without each literal of a list, in turn."""
    for number, item in enumerate(items):
        if isinstance(item, Constant):
            start = item.start if number == 0 else items[number - 1].end
            end = items[1].start if number == 0 else item.end
            yield Edit("element dropped", item.start, source[:start] + source[end:])


def _quantifier(source: str, start: int, kind: str) -> Iterator[Edit]:
    found = re.compile(rf"\.\s*{kind}\s*\(").search(source, start)
    if found is not None:
        name = found[0].replace(kind, _QUANTIFIED[kind])
        text = source[: found.start()] + name + source[found.end() :]
        yield Edit(f"{kind} made {_QUANTIFIED[kind]}", found.start(), text)
