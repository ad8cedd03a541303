"""A condition as far as it can be known: true, false, an error, or what remains of it in words.

Three-valued logic (Kleene 1952, §64) over `!`, `&&`, `||` and `?:`; whatever stands below these is
evaluated where all that it reads is known, and remains as it is written where it is not.
"""

from functools import lru_cache
from typing import Final, TypeAlias

import msgspec

from sidecar.policy.cel import Compiler, EvaluationError, Expression, ExpressionError, MissingFacts
from sidecar.policy.explained import tree_of
from sidecar.policy.language.tree import Call, Name, Tree
from sidecar.policy.language.types import DYN
from sidecar.policy.rules import Rule
from sidecar.terms.call import Json

_CHARS_MAX: Final = 400


class Rest(msgspec.Struct, frozen=True):
    """What remains: a text of CEL, and the paths in it that are not known."""

    text: str
    paths: frozenset[str]
    is_joined: bool = False


class Erred(msgspec.Struct, frozen=True):
    """It cannot be evaluated, whatever the call."""


Truth: TypeAlias = bool | Erred | Rest


class Known(msgspec.Struct, frozen=True):
    """What is known of a call.

    Args:
        data: The roots, as far as they are known.
        paths: What of them is: `subject`, `action.class`.
        labels_open: Whether the resource may have labels beside those in `data`.
    """

    data: dict[str, Json]
    paths: frozenset[str]
    labels_open: bool = False

    def has(self, path: str) -> bool:
        """Return whether all at and below `path` is known."""
        return any(path == known or path.startswith(f"{known}.") for known in self.paths)


def truth_of(rule: Rule, known: Known) -> Truth:
    """Return what the condition of `rule` comes to, for every call of which this is known."""
    if rule.when is None:
        return True
    return _Partial(rule, known).of(rule.when.source)


class _Partial:
    """One rule on what is known."""

    def __init__(self, rule: Rule, known: Known) -> None:
        self._known = known
        self._names = tuple(f"variables.{name}" for name, _ in rule.variables)
        self._variables = {f"variables.{name}": each for name, each in rule.variables}

    def of(self, source: str) -> Truth:
        return self._tree(tree_of(source, self._names), source)

    def _tree(self, tree: Tree, source: str) -> Truth:
        if isinstance(tree, Call):
            match tree.function:
                case "!_":
                    return _not(self._tree(tree.args[0], source))
                case "_&&_":
                    one, other = (self._tree(arg, source) for arg in tree.args)
                    return _and(one, other)
                case "_||_":
                    one, other = (self._tree(arg, source) for arg in tree.args)
                    return _or(one, other)
                case "_?_:_":
                    return self._choice(tree, source)
                case _:
                    pass
        if isinstance(tree, Name) and tree.name in self._variables:
            return self.of(self._variables[tree.name].source)
        return self._leaf(source[tree.start : tree.end])

    def _choice(self, tree: Call, source: str) -> Truth:
        asked, then, other = tree.args
        found = self._tree(asked, source)
        if isinstance(found, bool):
            return self._tree(then if found else other, source)
        return found if isinstance(found, Erred) else self._rest(source[tree.start : tree.end])

    def _leaf(self, text: str) -> Truth:
        expression = _compiled(text, self._names)
        if expression is None:
            return self._rest(text)
        open_ = self._open(expression)
        if open_:
            return Rest(text, open_)
        try:
            found = expression.native(self._data(expression), {})
        except MissingFacts as asked:
            return Rest(text, frozenset(f"the fact {key.function}" for key in asked.keys))
        except EvaluationError:
            return Erred()
        if not isinstance(found, bool):
            return Erred()
        if self._known.labels_open and not expression.paths.isdisjoint(_OF_LABELS):
            # More labels make a membership no less true; of anything else they may change all.
            return True if found and _is_membership(text) else Rest(text, _LABELS)
        return found

    def _open(self, expression: Expression) -> frozenset[str]:
        found: set[str] = set()
        for path in expression.paths:
            variable = self._variable(path)
            if variable is not None:
                found |= self._open(variable)
            elif not self._known.has(path):
                found.add(path)
        return frozenset(found)

    def _variable(self, path: str) -> Expression | None:
        head = ".".join(path.split(".")[:2])
        return self._variables.get(head)

    def _data(self, expression: Expression) -> dict[str, object]:
        data: dict[str, object] = dict(self._known.data)
        for name, variable in self._variables.items():
            if any(path == name or path.startswith(f"{name}.") for path in expression.paths):
                data[name] = variable.native(self._data(variable), {})
        return data

    def _rest(self, text: str) -> Rest:
        expression = _compiled(text, self._names)
        return Rest(text, frozenset() if expression is None else self._open(expression))


_LABELS: Final = frozenset(("resource.labels",))
_OF_LABELS: Final = frozenset(("resource.labels", "resource"))


def _is_membership(text: str) -> bool:
    return text.replace(" ", "").endswith("inresource.labels") and "!" not in text


@lru_cache(maxsize=4096)
def _compiled(text: str, names: tuple[str, ...]) -> Expression | None:
    variables = {name.partition(".")[2]: DYN for name in names}
    try:
        return Compiler(variables).compile(text)
    except ExpressionError:
        # A part of a macro's body, which stands for nothing by itself.
        return None


def _not(one: Truth) -> Truth:
    if isinstance(one, bool):
        return not one
    return one if isinstance(one, Erred) else Rest(f"!({one.text})", one.paths)


def _and(one: Truth, other: Truth) -> Truth:
    return _joined(one, other, "&&", neutral=True)


def _or(one: Truth, other: Truth) -> Truth:
    return _joined(one, other, "||", neutral=False)


def _joined(one: Truth, other: Truth, sign: str, *, neutral: bool) -> Truth:
    """Return `one && other` or `one || other`; an error yields to what decides alone."""
    if (not neutral) in (one, other):
        return not neutral
    if one is neutral:
        return other
    if other is neutral:
        return one
    if isinstance(one, Rest) and isinstance(other, Rest):
        return rest_of([one, other], sign)
    if isinstance(one, Erred) and isinstance(other, Erred):
        return one
    # An error and what remains: the error stands unless the rest decides alone.
    return one if isinstance(one, Rest) else other


def rest_of(rests: list[Rest], sign: str) -> Rest:
    """Return several conditions as one."""
    if len(rests) == 1:
        return rests[0]
    texts = dict.fromkeys(f"({one.text})" if one.is_joined else one.text for one in rests)
    text = f" {sign} ".join(" ".join(each.split()) for each in texts)
    paths = frozenset().union(*(one.paths for one in rests))
    return Rest(text, paths, is_joined=len(texts) > 1)


def cut(text: str) -> str:
    """Return a condition at a length that a person reads."""
    flat = " ".join(text.split())
    return flat if len(flat) <= _CHARS_MAX else f"{flat[:_CHARS_MAX]}…"
