"""Slips of the pen in conditions: `in` the wrong way round, loose patterns, units, times.

Each looks at one node of a tree and says what is odd about it, or nothing.
"""

import re
from collections.abc import Callable, Iterator
from typing import Final

from sidecar.policy.language.tree import Call, Constant, ListOf, Tree
from sidecar.policy.language.walk import nodes
from sidecar.review.clauses import clauses_of
from sidecar.review.finding import Finding
from sidecar.review.linting.looked import Looked, finding_of
from sidecar.review.trees import spelt

_LISTS: Final = frozenset({"resource.labels", "actors", "targets", "parse.missing"})
_COMPARES: Final = frozenset({"_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_", "_+_", "_-_"})
_ORDERS: Final = frozenset({"_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_"})
_UNIT: Final = re.compile(
    r"[_.](ns|us|ms|s|sec|secs|seconds|min|mins|minutes|h|hours|days|"
    r"b|bytes|kb|kib|mb|mib|gb|gib|cents|eur|usd)\Z",
    re.IGNORECASE,
)
_ALIKE: Final = {
    "sec": "s",
    "secs": "s",
    "seconds": "s",
    "mins": "min",
    "minutes": "min",
    "b": "bytes",
}
_TIME: Final = re.compile(
    r"\d{4}(-\d\d(-\d\d(T\d\d(:\d\d(:\d\d(\.\d{1,6})?Z?)?)?)?)?)?\Z", re.ASCII
)
_CLOCKS: Final = frozenset(
    {
        "getHours",
        "getMinutes",
        "getDayOfWeek",
        "getDate",
        "getDayOfMonth",
        "getMonth",
        "getFullYear",
    }
)
# What each of these can be; CEL counts months, weekdays and `getDayOfMonth` from zero.
_RANGES: Final = {
    "getHours": (0, 23),
    "getDayOfWeek": (0, 6),
    "getMonth": (0, 11),
    "getMinutes": (0, 59),
}


def slips(looked: Looked) -> Iterator[Finding]:
    """Yield a finding for each slip of the pen in a condition."""
    lists = _LISTS | _used_as_lists(looked)
    told: set[tuple[str, str]] = set()
    for rule in looked.rules:
        for name, tree in looked.trees(rule).items():
            # A variable is told once, not by each of its readers.
            about = rule.key if name == "when" else f"{rule.policy} {name}"
            said = {(code, text) for code, text in _slips(tree, lists) if (about, text) not in told}
            told.update((about, text) for _, text in said)
            yield from (finding_of(code, rule, f": {text}") for code, text in sorted(said))


def loose_patterns(looked: Looked) -> Iterator[Finding]:
    """Yield a finding for each regular expression that permits more than it seems to.

    Why not each: what a denial looks for, it should find anywhere.
    """
    for rule in looked.rules:
        patterns = (
            _loose(str(clause.value))
            for clause in clauses_of(looked.asks(rule))
            if clause.kind == "matches" and clause.positive is (rule.effect == "allow")
        )
        yield from (
            finding_of("loose-pattern", rule, f": {said}") for said in filter(None, patterns)
        )


def _slips(tree: Tree, lists: frozenset[str]) -> Iterator[tuple[str, str]]:
    for node in nodes(tree):
        if isinstance(node, Call):
            swapped = _swapped(node, lists)
            if swapped is not None:
                yield "swapped", swapped
            looked_at = ((code, look(node)) for code, look in _LOOKS)
            yield from ((code, said) for code, said in looked_at if said is not None)


def _used_as_lists(looked: Looked) -> frozenset[str]:
    """Return the attributes in which some rule looks for a text."""
    return frozenset(
        clause.field
        for rule in looked.rules
        for clause in clauses_of(looked.asks(rule))
        if clause.kind == "member" and ".properties." in clause.field
    )


def _path(tree: Tree) -> str | None:
    """Return the path that is read, also behind `.orValue()`."""
    if isinstance(tree, Call) and tree.function == "orValue" and tree.target is not None:
        return spelt(tree.target)
    return spelt(tree)


def _swapped(node: Call, lists: frozenset[str]) -> str | None:
    if node.function == "@in":
        sought, among = node.args
        path = _path(sought)
        if path in lists and isinstance(among, ListOf) and _are_texts(among):
            return f"`{path}` is a list, and no list is in a list of texts; look for each in it"
        if path is not None and isinstance(among, Constant):
            return f"`in` looks for `{path}` in a text; the list stands on the right"
    if node.function in {"_==_", "_!=_"}:
        for side, other in (node.args, node.args[::-1]):
            path = _path(side)
            if path in lists and isinstance(other, Constant) and isinstance(other.value, str):
                return (
                    f"`{path}` is a list, and no list is a text; write `{other.value!r} in {path}`"
                )
    return None


def _are_texts(among: ListOf) -> bool:
    return bool(among.items) and all(
        isinstance(item, Constant) and isinstance(item.value, str) for item in among.items
    )


def _loose(text: str) -> str | None:
    """Say where a regular expression finds more than it seems to."""
    # What stands for anything at an end says that the end was thought of.
    is_begun = text.startswith(("^", "\\A", ".*", "(?"))
    is_ended = text.endswith(("$", "\\z", ".*"))
    if not (is_begun and is_ended):
        where = "anywhere in a text" if not (is_begun or is_ended) else "in longer texts too"
        return f"`matches('{text}')` finds it {where}; `^…$` is the whole text"
    if re.search(r"[A-Za-z0-9]\.[A-Za-z0-9]", text):
        return f"`.` in `matches('{text}')` is any character; `\\\\.` is a dot"
    return None


def _mixed_units(node: Call) -> str | None:
    if node.function not in _COMPARES or len(node.args) != 2:
        return None
    paths = [_path(side) for side in node.args]
    units = [_unit(path) for path in paths]
    if None in units or units[0] == units[1]:
        return None
    return f"`{paths[0]}` and `{paths[1]}` are of different units, {units[0]} and {units[1]}"


def _unit(path: str | None) -> str | None:
    found_unit = _UNIT.search(path) if path is not None else None
    if found_unit is None:
        return None
    unit = found_unit[1].lower()
    return _ALIKE.get(unit, unit)


def _odd_time(node: Call) -> str | None:
    if node.function in _CLOCKS and not node.args:
        return f"`{node.function}()` is of UTC; say whose clock it is: `{node.function}('UTC')`"
    if node.function not in _ORDERS or len(node.args) != 2:
        return None
    said = (
        _text_time(side, other) or _out_of_range(side, other)
        for side, other in (node.args, node.args[::-1])
        if isinstance(other, Constant)
    )
    return next(filter(None, said), None)


def _text_time(side: Tree, other: Constant) -> str | None:
    if spelt(side) != "context.time" or not isinstance(other.value, str):
        return None
    if _TIME.match(other.value):
        return None
    return (
        f"`context.time` is compared as text, which `{other.value}` is no beginning of; "
        "write `2026-01-31T09:00:00Z`, in UTC, or compare `timestamp(context.time)`"
    )


def _out_of_range(side: Tree, other: Constant) -> str | None:
    if not (isinstance(side, Call) and side.function in _RANGES and isinstance(other.value, int)):
        return None
    low, high = _RANGES[side.function]
    if low <= other.value <= high:
        return None
    return f"`{side.function}()` is from {low} to {high}, never {other.value}"


_LOOKS: Final[tuple[tuple[str, Callable[[Call], str | None]], ...]] = (
    ("mixed-units", _mixed_units),
    ("time-form", _odd_time),
)
