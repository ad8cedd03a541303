"""What an expression may cost, told before it runs: steps of its macros as a polynomial in n.

How long a literal list is, or one of the bundle's parameters, is known; of everything else the
length is n, one for all. Where macros stand in each other their lengths multiply, each with the
weight of its body (`running/ahead/weights.py`); calls inside of
them that go through a list pay as `running/cost.py` says, if n is not small. Texts are not counted,
for they have no n, and what `==` compares is taken for a value without parts.

`high` is the worst case. `low` is what every evaluation pays that reaches the part at all, so that
an expression whose `low` is beyond the budget has no value, whatever is asked.
"""

from collections.abc import Callable, Collection
from fractions import Fraction
from typing import Final, TypeAlias

import msgspec

from sidecar.policy.language import tree as cel
from sidecar.policy.language.running import cost
from sidecar.policy.language.running.ahead.constants import constants
from sidecar.policy.language.running.ahead.weights import weight
from sidecar.policy.language.running.state import STEPS_MAX
from sidecar.policy.language.walk import children

# The length of a dotted path, where that is known.
Lengths: TypeAlias = Callable[[str], int | None]
# Coefficients, that of 1 first.
Polynomial: TypeAlias = tuple[Fraction, ...]

# The longest that lists of a call are taken to be: targets, labels, groups, rows of an insert.
ASSUMED: Final = 500
_SEARCHED_END: Final = 10_000_000
_UNKNOWN: Final[Polynomial] = (Fraction(0), Fraction(1))
_NOTHING: Final[Polynomial] = (Fraction(0),)
# As long as what they go over, or shorter; of these a lower bound is not known.
_SHORTER: Final = frozenset({"distinct", "sort", "reverse", "slice", "flatten"})
_EVERY: Final = frozenset({"map", "transformList", "transformMap", "transformMapEntry"})
_ALL_ASKED: Final = _EVERY | {"exists_one", "filter"}
_OPTIONAL: Final = frozenset({"optMap", "optFlatMap"})


class Estimate(msgspec.Struct, frozen=True):
    """What one expression may cost.

    Attributes:
        steps: The worst case in words: `2 + 3n + n²`.
        worst: The same for lists of `ASSUMED` elements.
        exceeds_from: The smallest n for which the worst case is beyond the budget.
        is_certain: Whether no evaluation that reaches its macros stays within the budget.
    """

    steps: str
    worst: int
    exceeds_from: int | None
    is_certain: bool

    @property
    def may_exceed(self) -> bool:
        """Return whether lists of a likely length exceed the budget."""
        return self.is_certain or self.worst > STEPS_MAX


def estimate(tree: cel.Tree, lengths: Lengths = lambda _: None) -> Estimate:
    """Return what `tree`, checked, may cost.

    Args:
        tree: As the checker returns it.
        lengths: How long what stands at a path is, as far as it is known.
    """
    reader = _Reader(lengths, constants(tree))
    low, high = reader.visit(tree, inside=False)
    certain = max(low, reader.lowest) > STEPS_MAX
    return Estimate(_text(high), int(_at(high, ASSUMED)), _exceeds_from(high), certain)


def length_of(tree: cel.Tree, lengths: Lengths) -> int | None:
    """Return how many elements the value of `tree` has, where that is known."""
    low, high = _Reader(lengths, ()).length(tree)
    return int(low) if high == (low,) else None


_Bounds: TypeAlias = tuple[Fraction, Polynomial]


class _Reader:
    def __init__(self, lengths: Lengths, known: Collection[int]) -> None:
        self._lengths = lengths
        self._known = known
        # What names of `cel.bind` are as long as; those of macros are elements, unknown.
        self._bound: dict[str, _Bounds] = {}
        # The largest lower bound of any part: some parts are not always reached.
        self.lowest = Fraction(0)

    def visit(self, tree: cel.Tree, *, inside: bool) -> _Bounds:
        """Return what a node costs at least and at most."""
        if isinstance(tree, cel.Fold):
            return self._fold(tree, inside=inside)
        if isinstance(tree, cel.Bind):
            return self._bind(tree, inside=inside)
        low, high = Fraction(0), self._call(tree) if inside else _NOTHING
        is_strict = not (isinstance(tree, cel.Call) and tree.function in {"_&&_", "_||_", "_?_:_"})
        for child in children(tree):
            below, above = self.visit(child, inside=inside)
            low += below if is_strict else 0
            high = _sum(high, above)
        return low, high

    def _fold(self, tree: cel.Fold, *, inside: bool) -> _Bounds:
        low, high = self.visit(tree.range, inside=inside)
        if tree.kind in _OPTIONAL:
            _, body = self.visit(tree.body, inside=True)
            return low, _sum(high, body)
        shortest, longest = self.length(tree.range)
        first = tree.body if tree.condition is None else tree.condition
        least, each = self.visit(first, inside=True)
        if tree.condition is not None:
            each = _sum(each, self.visit(tree.body, inside=True)[1])
        heavy = Fraction(weight(tree, self._known))
        each = _sum(each, (heavy,))
        is_every = tree.kind in _ALL_ASKED and tree.condition is None
        low += shortest * heavy + (shortest if is_every else min(shortest, Fraction(1))) * least
        self.lowest = max(self.lowest, low)
        return low, _sum(high, _product(longest, each))

    def _bind(self, tree: cel.Bind, *, inside: bool) -> _Bounds:
        _, init = self.visit(tree.init, inside=inside)
        outer = self._bound
        self._bound = outer | {tree.name: self.length(tree.init)}
        low, body = self.visit(tree.body, inside=inside)
        self._bound = outer
        return low, _sum(init, body)

    def _call(self, tree: cel.Tree) -> Polynomial:
        """Return what a call pays inside of a macro, as far as lists are concerned."""
        if not isinstance(tree, cel.Call):
            return _NOTHING
        args = tree.args if tree.target is None else (tree.target, *tree.args)
        if tree.function == "@in":
            return _scaled(self.length(args[1])[1], cost.SEARCHED, cost.SEARCH_LIGHT)
        if tree.function not in cost.DEEP:
            return _NOTHING
        found = _NOTHING
        for arg in args:
            if not isinstance(arg, cel.Constant):
                found = _sum(found, _scaled(self.length(arg)[1], cost.PARTS, 0))
        return found

    def length(self, tree: cel.Tree) -> _Bounds:
        """Return how long what `tree` is must be at least, and may be at most."""
        if isinstance(tree, cel.ListOf | cel.MapOf):
            items = len(tree.items) if isinstance(tree, cel.ListOf) else len(tree.entries)
            return Fraction(items - len(tree.optional)), (Fraction(items),)
        if isinstance(tree, cel.Name | cel.Select):
            return self._named(tree)
        if isinstance(tree, cel.Fold):
            return self._made(tree)
        if isinstance(tree, cel.Bind):
            return Fraction(0), _UNKNOWN
        return self._called(tree) if isinstance(tree, cel.Call) else (Fraction(0), _UNKNOWN)

    def _named(self, tree: cel.Name | cel.Select) -> _Bounds:
        if isinstance(tree, cel.Name) and not tree.rooted:
            return self._bound.get(tree.name, (Fraction(0), _UNKNOWN))
        path = _path(tree)
        known = self._lengths(path) if path is not None else None
        return (Fraction(0), _UNKNOWN) if known is None else (Fraction(known), (Fraction(known),))

    def _made(self, tree: cel.Fold) -> _Bounds:
        low, high = self.length(tree.range)
        if tree.kind == "transformMapEntry":
            return Fraction(0), _product(high, _UNKNOWN)
        is_kept = tree.kind in _EVERY and tree.condition is None
        return low if is_kept else Fraction(0), high

    def _called(self, tree: cel.Call) -> _Bounds:
        if tree.function == "_+_":
            (one, other) = (self.length(arg) for arg in tree.args)
            return one[0] + other[0], _sum(one[1], other[1])
        if tree.function == "_?_:_":
            one, other = self.length(tree.args[1]), self.length(tree.args[2])
            return min(one[0], other[0]), _most(one[1], other[1])
        if tree.function == "lists.range" and isinstance(tree.args[0], cel.Constant):
            size = tree.args[0].value
            if isinstance(size, int) and size >= 0:
                return Fraction(size), (Fraction(size),)
        if tree.function in _SHORTER and tree.target is not None:
            return Fraction(0), self.length(tree.target)[1]
        return Fraction(0), _UNKNOWN


def _path(tree: cel.Name | cel.Select) -> str | None:
    fields: list[str] = []
    node: cel.Tree = tree
    while isinstance(node, cel.Select) and not node.optional and not node.test:
        fields.append(node.field)
        node = node.operand
    return ".".join([node.name, *reversed(fields)]) if isinstance(node, cel.Name) else None


def _sum(one: Polynomial, other: Polynomial) -> Polynomial:
    longer, shorter = (one, other) if len(one) >= len(other) else (other, one)
    return tuple(
        each + (shorter[power] if power < len(shorter) else 0) for power, each in enumerate(longer)
    )


def _product(one: Polynomial, other: Polynomial) -> Polynomial:
    found = [Fraction(0)] * (len(one) + len(other) - 1)
    for power, each in enumerate(one):
        for further, factor in enumerate(other):
            found[power + further] += each * factor
    return tuple(found)


def _most(one: Polynomial, other: Polynomial) -> Polynomial:
    """Return what is at least as much as either, for every n."""
    longer, shorter = (one, other) if len(one) >= len(other) else (other, one)
    return tuple(
        max(each, shorter[power] if power < len(shorter) else Fraction(0))
        for power, each in enumerate(longer)
    )


def _scaled(length: Polynomial, share: int, free: int) -> Polynomial:
    """Return what going through `length` elements costs at `share` elements a step."""
    if len(length) == 1 and length[0] < free:
        return _NOTHING
    return tuple(each / share for each in length)


def _at(polynomial: Polynomial, n: int) -> Fraction:
    return sum((each * n**power for power, each in enumerate(polynomial)), Fraction(0))


def _exceeds_from(polynomial: Polynomial) -> int | None:
    """Return the smallest n at which the budget is exceeded; more never costs less."""
    if _at(polynomial, _SEARCHED_END) <= STEPS_MAX:
        return None
    low, high = 0, _SEARCHED_END
    while low < high:
        middle = (low + high) // 2
        if _at(polynomial, middle) > STEPS_MAX:
            high = middle
        else:
            low = middle + 1
    return low


_POWERS: Final = {0: "", 1: "n", 2: "n²", 3: "n³"}


def _text(polynomial: Polynomial) -> str:
    terms = [
        _term(each, _POWERS.get(power, f"n^{power}"))
        for power, each in enumerate(polynomial)
        if each
    ]
    return " + ".join(terms) or "0"


def _term(factor: Fraction, power: str) -> str:
    if not power:
        return str(factor)
    over = f"/{factor.denominator}" if factor.denominator > 1 else ""
    return f"{factor.numerator if factor.numerator > 1 else ''}{power}{over}"
