"""Counts what the cells of a run show of a bundle's sites."""

from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec

from sidecar.decide.target import Judged
from sidecar.policy.bundle import Bundle
from sidecar.policy.explained import RuleExplanation
from sidecar.policy.language.running.explain import Part
from sidecar.policy.match import Filter
from sidecar.policy.rules import Rule
from sidecar.review.coverage.clauses import Span, clauses
from sidecar.review.coverage.sites import (
    LEFT_OUT,
    Key,
    decides,
    entries,
    owner_of,
)
from sidecar.review.trees import WHEN, trees_of
from sidecar.syntax import glob
from sidecar.terms.decision import Decision
from sidecar.terms.request import Request, Target


class Coverage:
    """How often each site of a bundle was shown."""

    def __init__(self, bundle: Bundle) -> None:
        self.hits: Counter[Key] = Counter()
        self._rules = bundle.rules
        self._spans: dict[tuple[str, str], frozenset[Span]] = {}
        # Matrices ask for the same few targets over and over.
        self._matched: dict[tuple[str, ...], tuple[Key, ...]] = {}

    def hear(self, rule: Rule, told: RuleExplanation, *, held: bool) -> None:
        """Count what one rule came to on one input."""
        if held:
            self.hits[rule.key, "rule"] += 1
        for name, one in told.variables.items():
            self._branches(rule, name, one.part)
        if told.when is not None:
            self._branches(rule, WHEN, told.when.part)

    def saw(self, decision: Decision, judged: list[Judged]) -> None:
        """Count what one decision shows of matches and of obligations."""
        for one in judged:
            self.hits.update(self._matches(one.part, one.target))
            for finding, index, _ in one.verdict.filled:
                if decision.permitted != (finding.rule.effect == "deny"):
                    self.hits[finding.rule.key, "obligation", f"{index}"] += 1

    def join(self, others: Sequence["Coverage"]) -> None:
        """Take what others counted."""
        for one in others:
            self.hits.update(one.hits)

    def _branches(self, rule: Rule, name: str, part: Part) -> None:
        spans = self._spans.get((rule.key, name))
        if spans is None:
            tree = trees_of(rule)[name]
            found = clauses(tree, decides=decides(rule, name))
            spans = frozenset((clause.start, clause.end) for clause in found)
            self._spans[rule.key, name] = spans
        owner = owner_of(rule, name)
        shown = {
            (owner, name, f"{one.tree.start}", f"{one.tree.end}", "true" if one.value else "false")
            for one in _parts(part)
            if type(one.value) is bool and (one.tree.start, one.tree.end) in spans
        }
        self.hits.update(shown)

    def _matches(self, part: Request, target: Target) -> tuple[Key, ...]:
        seen = _Seen(part, target)
        key = msgspec.structs.astuple(seen.words)
        found = self._matched.get(key)
        if found is None:
            found = tuple(dict.fromkeys(self._all_matches(seen)))
            self._matched[key] = found
        return found

    def _all_matches(self, seen: "_Seen") -> Iterator[Key]:
        for rule in self._rules:
            shown, fits = seen.by(rule.policy_filter, f"{rule.policy}/")
            yield from shown
            if fits:
                yield from seen.by(rule.filter, rule.key)[0]


class _Words(msgspec.Struct, frozen=True):
    domains: str
    protocols: str
    phases: str
    upstreams: str
    classes: str
    actions: str
    resources: str


class _Seen:
    """A target as a `match` sees it."""

    def __init__(self, part: Request, target: Target) -> None:
        action, resource = target.action, target.resource
        self.words = _Words(
            part.domain,
            part.protocol,
            part.phase,
            resource.upstream,
            action.cls,
            action.name,
            resource.key,
        )

    def by(self, one: Filter, owner: str) -> tuple[list[Key], bool]:
        """Return what this target shows of a `match`, and whether it is let in."""
        match = one.written
        if match is None:
            return [], True
        met: dict[str, list[Key]] = {}
        for field, number, entry in entries(match):
            word = self.words.resources if field == "except" else getattr(self.words, field)
            found = met.setdefault(field, [])
            if glob.glob(entry, word):
                found.append((owner, field, f"{number}"))
        excepted = met.pop("except", [])
        if not all(met.values()):
            return [(owner, "match", LEFT_OUT)], False
        if excepted:
            return [*excepted, (owner, "match", LEFT_OUT)], False
        return [key for keys in met.values() for key in keys], True


def _parts(part: Part) -> Iterator[Part]:
    rest = [part]
    while rest:
        one = rest.pop()
        yield one
        rest += one.parts
        if one.rounds is not None:
            rest += [below for each in one.rounds.kept for below in each.parts]
