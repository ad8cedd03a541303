"""An explained evaluation, told: as lines for a person, and whole as JSON for a program.

A person reads why: of `a && b` that is false the clause that was false, of a macro the element that
decided, of a comparison what its sides were. JSON has every part that is no literal.
"""

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from sidecar.policy.language.brief import brief, quoted, written
from sidecar.policy.language.running.explain import Part, Round, RoundKind, Rounds
from sidecar.policy.language.tree import Bind, Call, Constant, Fold, Name, Select, Tree
from sidecar.policy.language.walk import nodes
from sidecar.terms.call import Json

# Of one expression; what is longer has its causes near the top.
LINES_MAX: Final = 40
PARTS_MAX: Final = 400
_DECIDES: Final = {"_&&_": False, "_||_": True}
# Which rounds tell why a macro came to this value; what is not here shows its first round.
_TELLING: Final[dict[tuple[str, object], RoundKind]] = {
    ("all", False): "false",
    ("exists", True): "true",
    ("exists", False): "false",
    ("exists_one", True): "true",
    ("exists_one", False): "true",
}
_NO_CHILDREN: Final = (Name, Select)


class Explanation(msgspec.Struct, frozen=True):
    """An expression and what it came to."""

    source: str
    part: Part

    def text(self, part: Part) -> str:
        """Return a part as it stands in the source."""
        return quoted(self.source[part.tree.start : part.tree.end])


def lines(told: Explanation, variables: Mapping[str, Explanation]) -> list[str]:
    """Return why an expression came to its value, indented by two blanks a level.

    Args:
        told: The expression.
        variables: What the variables that it names came to, by their full names; each is told
            once, below the first clause that read it.
    """
    found: list[str] = []
    for line in _Lines(variables).of(told, told.part, 0):
        if len(found) == LINES_MAX:
            return [*found, "…"]
        found.append(line)
    return found


class _Lines:
    def __init__(self, variables: Mapping[str, Explanation]) -> None:
        self._variables = dict(variables)

    def of(self, told: Explanation, part: Part, depth: int) -> Iterator[str]:
        """Yield a part with what it came to, and below it the parts that made it so."""
        if isinstance(part.tree, Name) and part.tree.name in self._variables:
            yield from self._variable(part, depth)
            return
        yield f"{'  ' * depth}{told.text(part)} → {_outcome(part)}"
        yield from self._below(told, part, depth + 1)

    def _below(self, told: Explanation, part: Part, depth: int) -> Iterator[str]:
        if isinstance(part.tree, _NO_CHILDREN):
            yield from self._variable(part, depth)
        for cause in _causes(part):
            if not _is_said(cause, part):
                yield from self.of(told, cause, depth)
        if part.rounds is not None and isinstance(part.tree, Fold):
            yield from self._rounds(told, part, part.tree, part.rounds, depth)

    def _rounds(
        self, told: Explanation, part: Part, tree: Fold, rounds: Rounds, depth: int
    ) -> Iterator[str]:
        blank = "  " * depth
        counted = ", ".join(f"{count} {kind}" for kind, count in rounds.counts.items())
        yield f"{blank}elements asked: {counted or 'none'}"
        for one in _deciding(part, tree, rounds):
            named = ", ".join(f"{name} = {written(value)}" for name, value in one.names.items())
            yield f"{blank}with {named}:"
            for inner in one.parts:
                if inner.state != "not_evaluated":
                    yield from self.of(told, inner, depth + 1)

    def _variable(self, part: Part, depth: int) -> Iterator[str]:
        root = _root(part.tree)
        told = self._variables.pop(root, None) if root is not None else None
        if told is not None:
            yield f"{'  ' * depth}{root} is {told.text(told.part)} → {_outcome(told.part)}"
            yield from self._below(told, told.part, depth + 1)


def _outcome(part: Part) -> str:
    if part.state == "value":
        return written(part.value)
    return f"error: {part.error}" if part.state == "error" else "not evaluated"


def _causes(part: Part) -> list[Part]:
    """Return the parts below that explain a part, as far as the text does not say it."""
    tree = part.tree
    if isinstance(tree, Call) and tree.function in _DECIDES:
        return _clauses(part, decides=_DECIDES[tree.function], function=tree.function)
    if isinstance(tree, Select) and tree.test:
        return list(part.parts)
    if isinstance(tree, _NO_CHILDREN):
        return []
    asked = [each for each in part.parts if each.state != "not_evaluated"]
    if isinstance(tree, Fold | Bind):
        return [each for each in asked if not _is_literal(each.tree)]
    failed = [each for each in asked if each.state == "error"]
    return failed or [each for each in asked if not _is_literal(each.tree)]


def _is_said(cause: Part, above: Part) -> bool:
    """Return whether the lines above tell a part already: an element, the field that is absent."""
    if isinstance(cause.tree, Name) and not cause.tree.rooted:
        return True
    is_variable = (_root(cause.tree) or "").startswith("variables.")
    return (
        cause.error is not None
        and cause.error == above.error
        and (isinstance(cause.tree, Select) and not is_variable)
    )


def _clauses(part: Part, *, decides: bool, function: str) -> list[Part]:
    """Return the clauses of a chain of `&&` or `||` that made it what it came to."""
    chain = [
        each for each in _flat(part, function) if each.state != "not_evaluated" or each is part
    ]
    if part.state == "error":
        return [each for each in chain if each.state == "error" or type(each.value) is not bool]
    if part.value is decides:
        return [each for each in chain if each.value is decides]
    return chain


def _flat(part: Part, function: str) -> Iterator[Part]:
    for each in part.parts:
        if isinstance(each.tree, Call) and each.tree.function == function:
            yield from _flat(each, function)
        else:
            yield each


def _deciding(part: Part, tree: Fold, rounds: Rounds) -> list[Round]:
    if part.state == "error":
        return [one for one in rounds.kept if one.kind == "error"][:1]
    kind = _TELLING.get((tree.kind, part.value if type(part.value) is bool else None))
    if kind is None:
        return list(rounds.kept[:1])
    found = [one for one in rounds.kept if one.kind == kind]
    return found if tree.kind == "exists_one" else found[:1]


def _is_literal(tree: Tree) -> bool:
    return not any(isinstance(node, Name | Fold | Bind | Call) for node in nodes(tree))


def _is_read(part: Part) -> bool:
    return part.state == "value" and isinstance(part.tree, Select) and _root(part.tree) is not None


def _root(tree: Tree) -> str | None:
    while isinstance(tree, Select):
        tree = tree.operand
    return tree.name if isinstance(tree, Name) and tree.rooted else None


def as_json(told: Explanation) -> dict[str, Json]:
    """Return every part of an expression that is no literal, with what it came to."""
    return _Json(told).of(told.part)


class _Json:
    def __init__(self, told: Explanation) -> None:
        self._told = told
        self._left = PARTS_MAX

    def of(self, part: Part) -> dict[str, Json]:
        """Return a part and those below it."""
        self._left -= 1
        found: dict[str, Json] = {
            "text": self._told.text(part),
            "span": [part.tree.start, part.tree.end],
        }
        if part.state == "value":
            found["value"] = brief(part.value)
        elif part.state == "error":
            found["error"] = part.error
        else:
            found["not_evaluated"] = True
        # The text of a path that was read says of what it is a part.
        below = [] if _is_read(part) else self._all(part.parts)
        if below:
            found["parts"] = below
        if part.rounds is not None:
            found["elements"] = self._rounds(part.rounds)
        return found

    def _all(self, parts: tuple[Part, ...]) -> list[Json]:
        shown = (each for each in parts if not isinstance(each.tree, Constant))
        return [self.of(each) for each in shown if self._left > 0]

    def _rounds(self, rounds: Rounds) -> dict[str, Json]:
        shown = [
            {
                "kind": one.kind,
                "names": {name: brief(value) for name, value in one.names.items()},
                "parts": self._all(one.parts),
            }
            for one in rounds.kept
            if self._left > 0
        ]
        return {"counts": dict(rounds.counts), "shown": shown}
