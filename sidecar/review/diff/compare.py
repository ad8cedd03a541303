"""Which requests gain or lose permission between two bundles: asked, not read off their lines.

Three sources of requests: a corpus that is given; the calls of both bundles' suites and catalogues,
sent by everybody whom some rule tells apart; and for each rule that is not the same in both,
requests that make it hold, and that lie where the one holds and the other does not. A request that
some other rule denies is changed until that rule is silent, if it can be.
"""

import hmac
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import chain, islice, product
from typing import Final, NamedTuple

import msgspec

from sidecar.policy.bundle import Bundle
from sidecar.policy.rules import Rule
from sidecar.review.clauses import AllOf, Formula, conflicts, ways
from sidecar.review.clauses.conflict import Closed
from sidecar.review.clauses.formula import Way
from sidecar.review.clauses.witness import witness
from sidecar.review.diff.calls import Asked, of_cells, suggested
from sidecar.review.diff.covered import covered
from sidecar.review.diff.deciding import Change, changes, decided
from sidecar.review.diff.made import dressed, fitting, invented
from sidecar.review.diff.people import ROOTS, Person, person, usual
from sidecar.review.linting import Looked
from sidecar.review.linting.looked import Reach
from sidecar.review.linting.reach import both, meets
from sidecar.terms.call import Json
from sidecar.terms.decision import Decision

REQUESTS_MAX: Final = 40_000
_PEOPLE_MAX: Final = 400
_WAYS_MAX: Final = 24
_PARTNERS_MAX: Final = 12
_REPAIRS_MAX: Final = 4
_BASES_MAX: Final = 4
_CELLS_MAX: Final = 10_000
_NOBODY: Final[Way] = ()


class Group(msgspec.Struct):
    """Requests that change alike, for the same rules."""

    change: Change
    count: int
    example: dict[str, Json]


class Difference(msgspec.Struct, frozen=True):
    """What changes between two bundles.

    Args:
        groups: The largest first, gains before losses.
        asked: How many requests both were asked.
        undecided: What no request was found for, and why; there something may change unseen.
    """

    before: str
    after: str
    groups: list[Group]
    asked: int
    undecided: list[str]

    def counts(self, kind: str) -> int:
        """Return how many requests gain, or lose."""
        return sum(group.count for group in self.groups if group.change.kind == kind)


def compare(before: Bundle, after: Bundle, corpus: Iterable[Asked] = ()) -> Difference:
    """Return which requests gain or lose permission."""
    comparison = _Comparison(Looked(before), Looked(after))
    for asked in corpus:
        comparison.ask(asked)
    # What tests say changes no decision, and the digest is not over them.
    if not _is_same(before.digest, after.digest):
        comparison.run()
    return comparison.difference()


def _is_same(one: str, other: str) -> bool:
    """Return whether two digests are one."""
    return hmac.compare_digest(one.encode(), other.encode())


class _Goal(NamedTuple):
    """Where requests are looked for: what `match` takes, and the fields that it closes."""

    reach: Reach
    closed: Closed


class _Comparison:
    """Asks both bundles, and remembers what differs."""

    def __init__(self, before: Looked, after: Looked) -> None:
        self._before = before
        self._after = after
        self._groups: dict[tuple[object, ...], Group] = {}
        self._asked: set[bytes] = set()
        self._held: set[str] = set()
        self._apart: set[str] = set()
        self._undecided: list[str] = []
        self._usual = usual((before, after))
        self._calls: list[Asked] = []
        self._is_full = False

    def run(self) -> None:
        """Make requests up, and ask them."""
        cells = of_cells(self._before, self._after)
        for asked in islice(cells, _CELLS_MAX):
            self.ask(asked)
        if next(cells, None) is not None:
            self._undecided.append(f"of the cells of suites the first {_CELLS_MAX} were asked")
        self._calls = suggested(self._before, self._after)
        for rule, looked, other in self._different():
            for asked in self._of_rule(rule, looked, other):
                self.ask(asked)
        people = list(islice(self._people(), _PEOPLE_MAX))
        for asked in self._calls:
            for who in people:
                self.ask(dressed(asked, who))
        self._note_undecided()

    def ask(self, asked: Asked) -> tuple[Decision, Decision] | None:
        """Ask both bundles, unless they were asked the same before."""
        key = msgspec.json.encode(
            (asked.before, asked.after, asked.entity, asked.facts, sorted(asked.revoked))
        )
        if key in self._asked or len(self._asked) >= REQUESTS_MAX:
            self._is_full |= len(self._asked) >= REQUESTS_MAX
            return None
        self._asked.add(key)
        before = decided(asked.before, self._before.bundle, asked)
        after = decided(asked.after, self._after.bundle, asked)
        one, other = _held(before), _held(after)
        self._held.update((f"-{key}" for key in one), (f"+{key}" for key in other))
        # What a bundle could not read, no rule of it was asked about.
        if "failed" not in (asked.before.parse.status, asked.after.parse.status):
            self._apart.update(
                (f"-{key}" for key in one - other), (f"+{key}" for key in other - one)
            )
        for change in changes(before, after):
            self._note(change, asked)
        return before, after

    def _note(self, change: Change, asked: Asked) -> None:
        what = change.what.partition(" on ")[0]
        group = self._groups.setdefault(
            (change.kind, what, change.because), Group(change, 0, asked.told)
        )
        group.count += 1
        if len(str(asked.told)) < len(str(group.example)):
            group.example, group.change = asked.told, change

    def _different(self) -> list[tuple[Rule, Looked, Rule | None]]:
        """Return the rules that are not the same in both, with the other version of each."""
        one = {rule.key: rule for rule in self._before.rules}
        other = {rule.key: rule for rule in self._after.rules}
        is_same = self._others_are_same()
        found: list[tuple[Rule, Looked, Rule | None]] = []
        for rules, against, looked in ((one, other, self._before), (other, one, self._after)):
            for key, rule in rules.items():
                also = against.get(key)
                if also is None or not (is_same and _is_same(also.digest, rule.digest)):
                    found.append((rule, looked, also))
        return found

    def _others_are_same(self) -> bool:
        """Return whether parameters and attributes are, which rules read without changing."""
        one, other = self._before.bundle, self._after.bundle
        return one.params == other.params and one.layers == other.layers

    def _of_rule(self, rule: Rule, looked: Looked, other: Rule | None) -> Iterator[Asked]:
        """Yield requests about a rule, and where it differs from its other version."""
        against = self._after if looked is self._before else self._before
        formulas: list[Formula] = [looked.asks(rule)]
        if other is not None:
            formulas.insert(0, AllOf((looked.asks(rule), against.asks(other, positive=False))))
        formulas.append(looked.asks(rule, positive=False))
        for formula, partner in product(formulas, self._partners(rule, looked)):
            asks = formula if partner is None else AllOf((formula, partner[0]))
            reach = looked.reach(rule)
            goal = _Goal(reach if partner is None else both(reach, partner[1]), looked.closed(rule))
            for way in islice(_open_ways(asks, goal), _WAYS_MAX):
                yield from self._requests(way, goal)

    def _partners(self, rule: Rule, looked: Looked) -> list[tuple[Formula, Reach] | None]:
        """Return what else must hold for a rule to matter: something must allow what it narrows."""
        if rule.effect == "allow":
            return [None]
        reach = looked.reach(rule)
        allowing = (
            (each.asks(one), each.reach(one))
            for each in (self._before, self._after)
            for one in each.rules
            if one.effect == "allow" and meets(each.reach(one), reach)
        )
        return [*islice(allowing, _PARTNERS_MAX), None]

    def _requests(self, way: Way, goal: "_Goal") -> Iterator[Asked]:
        """Yield requests on which these clauses hold, and the same with what denies them undone."""
        for _ in range(_REPAIRS_MAX):
            made = list(self._made(way, goal))
            yield from made
            more = next(filter(None, (self._repair(asked, way) for asked in made)), None)
            if more is None:
                return
            way = more

    def _made(self, way: Way, goal: "_Goal") -> Iterator[Asked]:
        found = witness(way, goal.closed)
        who = None if found is None else person(found, self._usual)
        if found is None or who is None:
            return
        fits = islice(fitting(goal.reach, way, self._calls), _BASES_MAX)
        yield from (dressed(each, who) for each in fits)
        bundles = (self._before.bundle, self._after.bundle)
        yield from invented(goal.reach, found, bundles, who)

    def _repair(self, asked: Asked, way: Way) -> Way | None:
        """Return clauses under which what denies a request under both bundles is silent."""
        for looked, request in ((self._before, asked.before), (self._after, asked.after)):
            decision = decided(request, looked.bundle, asked)
            if decision.permitted:
                return None
            for spoke in decision.rules:
                more = self._silenced(f"{spoke.policy}/{spoke.id}", looked, way)
                if spoke.effect != "allow" and more is not None:
                    return more
        return None

    def _silenced(self, key: str, looked: Looked, way: Way) -> Way | None:
        rule = next((each for each in looked.rules if each.key == key), None)
        if rule is None:
            return None
        for more in ways(looked.asks(rule, positive=False)) or ():
            longer = (*way, *(clause for clause in more if clause not in way))
            if longer != way and not conflicts(longer) and witness(longer) is not None:
                return longer
        return None

    def _people(self) -> Iterator[Person]:
        """Yield everybody whom some rule tells apart, each once; those of changed rules first."""
        changed = [(rule, looked) for rule, looked, _ in self._different()]
        every = ((rule, looked) for looked in (self._after, self._before) for rule in looked.rules)
        seen: set[bytes] = set()
        for rule, looked in chain(changed, every):
            for way in self._telling(rule, looked):
                found = witness(way)
                who = None if found is None else person(found, self._usual)
                if who is not None and who.key not in seen:
                    seen.add(who.key)
                    yield who

    def _telling(self, rule: Rule, looked: Looked) -> Iterator[Way]:
        """Yield what ways of holding, and of being silent, say of who asks."""
        yield _NOBODY
        for positive in (True, False):
            for way in islice(ways(looked.asks(rule, positive=positive)) or (), _WAYS_MAX):
                yield tuple(
                    clause
                    for clause in way
                    if clause.field in {"delegated", "actors"} or _is_party(clause.field)
                )

    def _note_undecided(self) -> None:
        """Note the rules that differ, and for which nothing was found that shows how."""
        for rule, looked, other in self._different():
            is_before = looked is self._before
            side, name, without = ("-", "A", "B") if is_before else ("+", "B", "A")
            against = self._after if is_before else self._before
            if f"{side}{rule.key}" not in self._held:
                opaque = ways(looked.asks(rule)) is None
                why = "its condition has too many branches" if opaque else "none was found"
                self._undecided.append(f"`{rule.key}` of {name}: no request makes it hold ({why})")
            elif other is None or f"{side}{rule.key}" in self._apart:
                continue
            elif not covered((rule, looked), (other, against)):
                text = f"no request was found on which {name} has it hold and {without} has not"
                self._undecided.append(f"`{rule.key}` differs: {text}")
        if self._is_full:
            self._undecided.append(f"more requests than {REQUESTS_MAX} would have to be asked")

    def difference(self) -> Difference:
        """Return what was found."""
        groups: dict[str, list[Group]] = defaultdict(list)
        for group in self._groups.values():
            groups[group.change.kind].append(group)
        ordered = chain.from_iterable(
            sorted(groups[kind], key=lambda each: (-each.count, each.change.what))
            for kind in ("gain", "loss")
        )
        return Difference(
            before=f"{self._before.bundle.name} {self._before.bundle.version}",
            after=f"{self._after.bundle.name} {self._after.bundle.version}",
            groups=list(ordered),
            asked=len(self._asked),
            undecided=list(dict.fromkeys(self._undecided)),
        )


def _held(decision: Decision) -> set[str]:
    return {f"{rule.policy}/{rule.id}" for rule in decision.rules if rule.status == "held"}


def _open_ways(formula: Formula, goal: _Goal) -> Iterator[Way]:
    yield from (way for way in ways(formula) or () if not conflicts(way, goal.closed))


def _is_party(field: str) -> bool:
    return any(field.startswith(root) or f"({root}" in field for root in ROOTS)
