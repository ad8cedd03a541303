"""Which rules of a large set can hold, by the texts that their conditions compare paths with.

Each rule stands under at most one guard (`guards`); the paths that tell most rules
apart are looked at. A value that is not what a guard expects (absent, another type, a long list)
chooses every rule of its path, so that whoever errs on it is asked and errs.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import Final, TypeAlias

from sidecar.policy.index.block import asks_facts
from sidecar.policy.index.guards import Guard, GuardKind, guards
from sidecar.policy.limits import (
    GUARD_ELEMENTS_MAX,
    GUARD_LENGTHS_MAX,
    GUARDED_MIN,
    GUARDED_PATHS_MAX,
    GUARDED_RULES_MIN,
)
from sidecar.policy.rules import Rule
from sidecar.terms.call import Json

_Place: TypeAlias = tuple[GuardKind, tuple[str, ...]]
_Placed: TypeAlias = dict[_Place, list[tuple[int, Guard]]]
# Which texts of a table a value meets, one (the empty text for none) or several; `_ALL` where the
# value cannot say.
_Texts: TypeAlias = str | frozenset[str] | None
_ALL: Final = None
# The same of the one path that is looked at, or of each of several.
Met: TypeAlias = _Texts | tuple[_Texts, ...]


class Choice:
    """Chooses among rules, by number.

    Attributes:
        met: Returns what decides the choice, of data, which has `roots`.
        roots: What is looked at.
    """

    __slots__ = ("_always", "_tables", "met", "roots")

    def __init__(self, count: int, placed: _Placed) -> None:
        self._tables = tuple(_Table(place, found) for place, found in placed.items())
        guarded = {number for found in placed.values() for number, _ in found}
        self._always = frozenset(range(count)) - guarded
        self.roots = tuple(dict.fromkeys(table.path[0] for table in self._tables))
        self.met: Callable[[Mapping[str, Json]], Met] = (
            self._tables[0].met if len(self._tables) == 1 else self._met
        )

    def _met(self, data: Mapping[str, Json]) -> Met:
        return tuple([table.met(data) for table in self._tables])

    def looks_at(self, path: tuple[str, ...]) -> bool:
        """Return whether what stands at `path` has a part in the choice."""
        return any(table.path[: len(path)] == path for table in self._tables)

    def numbers(self, met: Met) -> frozenset[int]:
        """Return the rules that can hold where `met` is met."""
        each = met if isinstance(met, tuple) else (met,)
        found = (table.rules(texts) for table, texts in zip(self._tables, each, strict=True))
        return self._always.union(*found)


def choice_of(rules: tuple[Rule, ...], among: Collection[int]) -> Choice | None:
    """Return the choice among rules, None where it is not worth it.

    Args:
        rules: All of them.
        among: Those that nothing else tells apart.
    """
    placed = _placed(rules, among) if len(among) >= GUARDED_RULES_MIN else {}
    return Choice(len(rules), placed) if placed else None


def _placed(rules: tuple[Rule, ...], among: Collection[int]) -> _Placed:
    """Return the paths to look at, each with the rules that stand under it."""
    offered = {number: _guards(rules[number]) for number in among}
    texts: dict[_Place, set[str]] = {}
    for found in offered.values():
        for guard in found:
            texts.setdefault((guard.kind, guard.path), set()).update(guard.texts)
    places = {place for place, held in texts.items() if _is_short(place, held)}
    best = [_best(found, places, texts) for found in offered.values()]
    counts = Counter((guard.kind, guard.path) for guard in best if guard is not None)
    kept = {place for place, count in counts.most_common(GUARDED_PATHS_MAX) if count >= GUARDED_MIN}
    placed: _Placed = {}
    for number, found in offered.items():
        chosen = _best(found, kept, texts)
        if chosen is not None:
            placed.setdefault((chosen.kind, chosen.path), []).append((number, chosen))
    return placed if sum(map(len, placed.values())) >= GUARDED_RULES_MIN else {}


def _guards(rule: Rule) -> list[Guard]:
    if rule.when is None or any(asks_facts(each.tree) for _, each in rule.variables):
        # What a variable lacks is asked for, whatever the condition says.
        return []
    return guards(rule.when.tree)


def _is_short(place: _Place, texts: set[str]) -> bool:
    return place[0] != "begins" or len({len(text) for text in texts}) <= GUARD_LENGTHS_MAX


def _best(found: list[Guard], places: set[_Place], texts: dict[_Place, set[str]]) -> Guard | None:
    """Return the guard whose path tells most rules apart."""
    usable = [guard for guard in found if (guard.kind, guard.path) in places]
    return max(usable, key=lambda guard: len(texts[guard.kind, guard.path]), default=None)


class _Table:
    """The rules under one path."""

    __slots__ = (
        "_all",
        "_fields",
        "_lengths",
        "_meets",
        "_root",
        "_rules",
        "_texts",
        "path",
    )

    def __init__(self, place: _Place, found: list[tuple[int, Guard]]) -> None:
        kind, self.path = place
        self._root, *fields = self.path
        self._fields = tuple(fields)
        self._meets = {"is": self._is, "begins": self._begins, "has": self._has}[kind]
        self._rules: dict[str, set[int]] = {}
        self._all = {number for number, _ in found}
        for number, guard in found:
            for text in guard.texts:
                self._rules.setdefault(text, set()).add(number)
        self._texts = frozenset(self._rules)
        self._lengths = sorted({len(text) for text in self._rules})

    def met(self, data: Mapping[str, Json]) -> _Texts:
        """Return the texts that the value at the path meets."""
        value: Json = data[self._root]
        try:
            for field in self._fields:
                value = value[field]
            return self._meets(value)
        except (LookupError, TypeError):
            return _ALL

    def _is(self, value: Json) -> _Texts:
        if type(value) is str:
            return value if value in self._rules else ""
        return _ALL

    def _begins(self, value: Json) -> _Texts:
        if type(value) is str:
            return self._texts.intersection([value[:length] for length in self._lengths]) or ""
        return _ALL

    def _has(self, value: Json) -> _Texts:
        if (type(value) is list or type(value) is dict) and len(value) <= GUARD_ELEMENTS_MAX:
            # Lists and maps have no place in a set: every rule is asked where one is an element.
            return self._texts.intersection(value) or ""
        return _ALL

    def rules(self, met: _Texts) -> set[int]:
        """Return the rules that meet one of these texts."""
        if met is _ALL:
            return self._all
        texts = (met,) if type(met) is str else met
        return set[int]().union(*(self._rules.get(text, ()) for text in texts))
