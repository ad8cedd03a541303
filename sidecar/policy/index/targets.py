"""Which rules can speak of a target, found without asking each of them.

A rule stands in the bucket of each (domain, protocol, phase, class) that its `match` can fit. In a
large bucket a rule is found by its globs: an exact text by the text, any other by the rarest run of
four letters that a text must hold to match it; those that have none are always tried. What is found
is then held against the whole `match`, so that the tables may find too much and never too little.
Answers are remembered in bounded memories, as texts come from callers.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import product
from sys import intern
from typing import Final, NamedTuple, TypeAlias

from sidecar.policy.index.candidates import Candidates
from sidecar.policy.index.choice import Met, choice_of
from sidecar.policy.index.recent import Recent
from sidecar.policy.limits import (
    GUARDED_MIN,
    INDEX_BUCKETS_MAX,
    INDEX_NAME_CHARS_MAX,
    INDEX_PREPARED_MAX,
    INDEX_PREPARED_MIN,
    INDEX_RULES_MAX,
    INDEX_SCAN_MAX,
    INDEX_TARGETS_MAX,
)
from sidecar.policy.match import Filter
from sidecar.policy.rules import Rule
from sidecar.syntax.glob import pieces
from sidecar.terms.call import remembers
from sidecar.terms.request import Action, Resource
from sidecar.terms.words import CLASSES

_RUN: Final = 4
# A bucket, what is met there, and the words that name a target.
_Name: TypeAlias = tuple["Bucket", Met, str, str, str, str]
_FIELDS: Final = ("resources", "actions", "upstreams")


class Fitting:
    """The rules that fit one target: as the primary of its call, and as another."""

    __slots__ = ("other", "primary")

    def __init__(self, primary: Candidates, other: Candidates) -> None:
        self.primary = primary
        self.other = other


class Index:
    """The index of one bundle; it grows as calls come."""

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        self._rules = rules
        self._buckets: Recent[tuple[str, ...], Bucket] = Recent(INDEX_BUCKETS_MAX)
        self._targets: Recent[_Name, Fitting] = Recent(INDEX_TARGETS_MAX)
        self._sets: Recent[tuple[object, ...], Candidates] = Recent(
            INDEX_RULES_MAX, lambda one: len(one.rules) + 1
        )
        # They are named as callers do; all else says what rules say.
        remembers(self._targets.clear)

    def bucket(self, domain: str, protocol: str, phase: str, cls: str) -> "Bucket":
        """Return the rules whose `match` can fit targets of one action class."""
        key = (domain, protocol, phase, cls)
        return self._buckets.young.get(key) or self._made(key)

    def prepare(self, domains: Mapping[str, str]) -> None:
        """Make the buckets that it takes long to make, of the protocols that rules name.

        Args:
            domains: Their names by protocol.
        """
        alike = Counter(
            (rule.policy_filter.bucket_key, rule.filter.bucket_key, rule.phases)
            for rule in self._rules
            if rule.policy_filter.names_calls or rule.filter.names_calls
        )
        counts: Counter[tuple[str, str, str, str]] = Counter()
        for (policy, own, phases), count in alike.items():
            filters = (Filter(*policy), Filter(*own))
            for (protocol, domain), cls in product(domains.items(), CLASSES):
                if all(one.fits_bucket(domain, protocol, cls) for one in filters):
                    counts.update({(domain, protocol, phase, cls): count for phase in phases})
        for key, count in counts.most_common(INDEX_PREPARED_MAX):
            if count >= INDEX_PREPARED_MIN:
                self._made(key)

    def fitting(self, bucket: "Bucket", met: Met, action: Action, resource: Resource) -> Fitting:
        """Return the rules whose `match` a target fits, among those that can hold.

        Args:
            bucket: Of the target's call and class.
            met: What the bucket's choice says of the call, empty where it has none.
            action: The target's.
            resource: The target's.
        """
        if bucket.fits_all:
            # Every target is as good as one without a name.
            name = (bucket, met, "", "", "", "")
        else:
            name = (bucket, met, action.name, resource.type, resource.id, resource.upstream)
        return self._targets.young.get(name) or self._found(name)

    def _made(self, key: tuple[str, str, str, str]) -> "Bucket":
        found = self._buckets.get(key)
        if found is None:
            domain, protocol, phase, cls = key
            fits = (
                rule
                for rule in self._rules
                if phase in rule.phases
                and rule.policy_filter.fits_bucket(domain, protocol, cls)
                and rule.filter.fits_bucket(domain, protocol, cls)
            )
            found = Bucket(tuple(fits))
            self._buckets.put(key, found)
        return found

    def _found(self, name: _Name) -> Fitting:
        known = self._targets.get(name)
        if known is not None:
            return known
        bucket, met, *words = name
        action, kind, identifier, upstream = words
        chosen = bucket.chosen(met)
        more = bucket.fitting(chosen, f"{kind}:{identifier}", action, upstream)
        primary = self._candidates(bucket, met, more, is_primary=True)
        other = self._candidates(bucket, met, more, is_primary=False)
        found = Fitting(primary, other)
        # Names are as long as callers like.
        if sum(map(len, words)) <= INDEX_NAME_CHARS_MAX:
            self._targets.put(name, found)
        return found

    def _candidates(
        self, bucket: "Bucket", met: Met, more: tuple[int, ...], *, is_primary: bool
    ) -> Candidates:
        # One set of rules is one object, and its code is made once, however targets come to it.
        key = (bucket, met, more, is_primary or not bucket.speaks_once)
        found = self._sets.get(key)
        if found is None:
            numbers = sorted((*bucket.chosen(met).always, *more))
            rules = (bucket.rules[number] for number in numbers)
            found = Candidates(tuple(r for r in rules if is_primary or not r.call_scope))
            turns = self._sets.turns
            self._sets.put(key, found)
            if self._sets.turns != turns:
                # What targets remember keeps sets alive: they are forgotten together.
                self._targets.turn()
        return found


class Chosen(NamedTuple):
    """Rules of a bucket: those that fit each of its targets, and those that may fit one."""

    always: tuple[int, ...]
    others: frozenset[int]


class Bucket:
    """The rules of one (domain, protocol, phase, class), numbered in the order written.

    Attributes:
        rules: All of them.
        choice: Chooses among them by what a call says; None where that is not worth it.
        speaks_once: Whether some speak of the primary target alone.
        fits_all: Whether each of them fits every target of the bucket.
    """

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        self.rules = rules
        self.speaks_once = any(rule.call_scope for rule in rules)
        self._always = frozenset(n for n, rule in enumerate(rules) if _fits_all(rule))
        self.fits_all = len(self._always) == len(rules)
        self._rest: set[int] = set()
        self._tables = [_Table() for _ in _FIELDS]
        self._chosen: Recent[Met, Chosen] = Recent(
            INDEX_RULES_MAX, lambda one: len(one.always) + len(one.others) + 1
        )
        for number, rule in enumerate(rules):
            if number not in self._always:
                self._place(number, rule)
        alike = self._rest.union(self._always, *(table.settle() for table in self._tables))
        self.choice = choice_of(rules, alike)

    def chosen(self, met: Met) -> Chosen:
        """Return the rules that can hold where `met` is met."""
        found = self._chosen.get(met)
        if found is None:
            numbers = (
                frozenset(range(len(self.rules)))
                if self.choice is None
                else self.choice.numbers(met)
            )
            found = Chosen(tuple(sorted(numbers & self._always)), numbers - self._always)
            self._chosen.put(met, found)
        return found

    def fitting(self, chosen: Chosen, key: str, action: str, upstream: str) -> tuple[int, ...]:
        """Return which of the others fit a target, in the order written."""
        tried = chosen.others
        if len(tried) > INDEX_SCAN_MAX:
            found = set(self._rest)
            for table, text in zip(self._tables, (key, action, upstream), strict=True):
                table.collect(text, found)
            tried = tried & found
        return tuple(
            number
            for number in sorted(tried)
            if self.rules[number].policy_filter.fits_target(upstream, action, key)
            and self.rules[number].filter.fits_target(upstream, action, key)
        )

    def _place(self, number: int, rule: Rule) -> None:
        """Put a rule under the first of its lists of globs whose every glob can be found."""
        for field, table in zip(_FIELDS, self._tables, strict=True):
            for one in (rule.filter, rule.policy_filter):
                patterns = _patterns(one, field)
                if patterns and all(map(_can_be_found, patterns)):
                    table.add(number, patterns)
                    return
        self._rest.add(number)


def _fits_all(rule: Rule) -> bool:
    """Return whether each target of the bucket fits."""
    return all(
        globs is None
        for one in (rule.policy_filter, rule.filter)
        for globs in (one.upstreams, one.actions, one.resources, one.excepted)
    )


def _patterns(one: Filter, field: str) -> Sequence[str]:
    written = one.written
    return () if written is None else getattr(written, field) or ()


def _can_be_found(pattern: str) -> bool:
    runs = pieces(pattern)
    return len(runs) == 1 or any(len(run) >= _RUN for run in runs)


def _parts(text: str) -> set[str]:
    """Return the runs of four letters in a text."""
    return {text[at : at + _RUN] for at in range(len(text) - _RUN + 1)}


class _Table:
    """Rules by what a text must be, or must hold."""

    def __init__(self) -> None:
        self._exact: dict[str, list[int]] = {}
        self._holding: dict[str, list[int]] = {}
        self._waiting: list[tuple[int, tuple[str, ...]]] = []

    def add(self, position: int, patterns: Sequence[str]) -> None:
        """Note a rule that speaks of texts that match one of `patterns`."""
        for pattern in patterns:
            runs = pieces(pattern)
            if len(runs) == 1:
                self._exact.setdefault(runs[0], []).append(position)
            else:
                parts = set[str]().union(*map(_parts, runs))
                # Not the set itself, and each run once: ten thousand of them wait here.
                self._waiting.append((position, tuple(map(intern, parts))))

    def settle(self) -> set[int]:
        """Choose for each glob the run that fewest others have.

        Returns:
            Rules that many others are found with.
        """
        counts = Counter(part for _, parts in self._waiting for part in parts)
        for position, parts in self._waiting:
            rarest = min(parts, key=lambda part: (counts[part], part))
            self._holding.setdefault(rarest, []).append(position)
        self._waiting = []
        together = (*self._exact.values(), *self._holding.values())
        return {one for found in together if len(found) >= GUARDED_MIN for one in found}

    def collect(self, text: str, into: set[int]) -> None:
        """Add the rules that may speak of `text`."""
        into.update(self._exact.get(text, ()))
        if self._holding:
            for part in self._holding.keys() & _parts(text):
                into.update(self._holding[part])
