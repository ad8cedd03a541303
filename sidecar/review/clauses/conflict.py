"""Whether clauses can hold together. "No" is certain, "yes" is not: what is opaque may do anything.

An error is not a truth: where one clause needs a field and another says that it is absent, they do
not hold together.
"""

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from sidecar.review.clauses.formula import ABSENT, Clause, Formula, Instant, Way, ways
from sidecar.syntax.glob import glob

# Which values a field may have at all; a field that is not named may have any.
Closed = Mapping[str, frozenset[str]]

_NOTHING_CLOSED: Final[Closed] = {}


def may_hold(formula: Formula, closed: Closed = _NOTHING_CLOSED) -> bool:
    """Return whether something may make it true."""
    found = ways(formula)
    return found is None or any(not conflicts(way, closed) for way in found)


def conflicts(way: Way, closed: Closed = _NOTHING_CLOSED) -> bool:
    """Return whether these clauses certainly never hold at once."""
    by_field: dict[str, list[Clause]] = defaultdict(list)
    for clause in way:
        if clause.kind != "opaque":
            by_field[clause.field].append(clause)
    return any(_clash(clauses, closed.get(field)) for field, clauses in by_field.items())


def _clash(clauses: list[Clause], words: frozenset[str] | None) -> bool:
    """Return whether no value of one field satisfies all of its clauses."""
    signs: dict[tuple[object, ...], bool] = {}
    for clause in clauses:
        # With another default the same comparison comes out otherwise where the field is absent.
        key = (clause.kind, _key(clause.value), clause.default)
        if signs.setdefault(key, clause.positive) is not clause.positive:
            return True
    needed = [clause for clause in clauses if clause.positive and _needs_value(clause)]
    if signs.get(("has", _key(None), ABSENT)) is False and needed:
        return True
    wanted = {_key(one.value): one.value for one in needed if one.kind == "equal"}
    if len(wanted) > 1:
        return True
    if wanted:
        (value,) = wanted.values()
        outside = words is not None and value not in words
        return outside or any(not satisfies(value, one) for one in clauses)
    if words is not None:
        return not any(all(satisfies(word, one) for one in clauses) for word in words)
    return any(
        _out_of_range(alike) or _parts_denied(alike) for alike in _by_default(clauses)
    ) or _beginnings_differ(clauses)


def _by_default(clauses: Iterable[Clause]) -> Iterable[list[Clause]]:
    """Return the clauses that read one value, there or not: those with the same default."""
    found: dict[object, list[Clause]] = defaultdict(list)
    for clause in clauses:
        found[_key(clause.default)].append(clause)
    return found.values()


def _needs_value(clause: Clause) -> bool:
    """Return whether a clause that holds says of the field that it is there."""
    if clause.kind in {"has", "opaque"}:
        return False
    # Where the default alone makes it true, an absent field does.
    return clause.default is ABSENT or not satisfies(clause.default, clause)


def satisfies(value: object, clause: Clause) -> bool:
    """Return whether a field of this value may make a clause come out as it must; in doubt, yes."""
    test = _TESTS.get(clause.kind)
    if test is None:
        return True
    found = test(value, clause.value)
    return found is None or found is clause.positive


def _key(value: object) -> object:
    """Return what tells values apart: `1` and `1.0` are one number, `true` is none."""
    return (isinstance(value, bool), isinstance(value, str), value)


def _equals(value: object, other: object) -> bool | None:
    return _key(value) == _key(other)


def _less(value: object, other: object) -> bool | None:
    pair = _comparable(value, other)
    return None if pair is None else pair[0] < pair[1]


def _at_most(value: object, other: object) -> bool | None:
    pair = _comparable(value, other)
    return None if pair is None else pair[0] <= pair[1]


def _comparable(value: object, other: object) -> tuple[float, float] | None:
    if isinstance(value, bool) or isinstance(other, bool):
        return None
    if isinstance(value, int | float) and isinstance(other, int | float):
        return value, other
    return None


def _member(value: object, sought: object) -> bool | None:
    return sought in value if isinstance(value, tuple) else None


def _texts(test: Callable[[str, str], bool]) -> Callable[[object, object], bool | None]:
    def tested(value: object, other: object) -> bool | None:
        return test(value, other) if isinstance(value, str) and isinstance(other, str) else None

    return tested


_TESTS: Final[Mapping[str, Callable[[object, object], bool | None]]] = {
    "equal": _equals,
    "less": _less,
    "most": _at_most,
    "member": _member,
    "starts": _texts(str.startswith),
    "ends": _texts(str.endswith),
    "contains": _texts(str.__contains__),
    "glob": _texts(lambda value, pattern: glob(pattern, value)),
}

_PARTS: Final = frozenset({"starts", "ends", "contains"})


def _out_of_range(clauses: Iterable[Clause]) -> bool:
    """Return whether a number, a text or a time would have to be above what it is below.

    All clauses read one value: they have the same default.
    """
    lower: list[tuple[object, bool]] = []
    upper: list[tuple[object, bool]] = []
    for clause in clauses:
        if clause.kind in {"less", "most"}:
            # `less` held and `most` denied are strict: `<` and `>`.
            is_strict = (clause.kind == "less") is clause.positive
            (upper if clause.positive else lower).append((clause.value, is_strict))
        if clause.kind in {"less", "most"} and clause.field.startswith("size("):
            lower.append((0, False))
    return any(
        _crossed(low, high, strict=strict or is_strict)
        for low, strict in lower
        for high, is_strict in upper
    )


def _crossed(low: object, high: object, *, strict: bool) -> bool:
    pair = _comparable(low, high)
    if pair is not None:
        return pair[0] > pair[1] or (strict and pair[0] == pair[1])
    if isinstance(low, str) and isinstance(high, str):
        return low > high or (strict and low == high)
    if isinstance(low, Instant) and isinstance(high, Instant):
        # Texts of one form alone sort as their times do.
        is_alike = len(low.text) == len(high.text) and low.text[-1:] == high.text[-1:] == "Z"
        return is_alike and (low > high or (strict and low == high))
    return False


def _parts_denied(clauses: Iterable[Clause]) -> bool:
    """Return whether a text would have a beginning, end or part, and not what lies within that."""
    held = [clause for clause in clauses if clause.kind in _PARTS and clause.positive]
    denied = [clause for clause in clauses if clause.kind in _PARTS and not clause.positive]
    return any(
        other.kind in {one.kind, "contains"} and _TESTS[other.kind](one.value, other.value) is True
        for one in held
        for other in denied
    )


def _beginnings_differ(clauses: Iterable[Clause]) -> bool:
    begun = [
        clause.value
        for clause in clauses
        if clause.kind == "starts" and clause.positive and _needs_value(clause)
    ]
    texts = sorted(text for text in begun if isinstance(text, str))
    return any(not other.startswith(one) for one, other in itertools.pairwise(texts))
