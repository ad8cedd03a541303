"""Rules that other rules leave nothing: shadowed by a denial, redundant beside a wider rule.

Which rules may cover one is looked up by the beginning of their patterns, so that a bundle of ten
thousand rules is not compared pair by pair; of very many candidates only the first are asked.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

import msgspec

from sidecar.policy.rules import Rule
from sidecar.review.clauses import AllOf, clauses_of, conflicts, is_true, may_hold, ways
from sidecar.review.finding import Finding
from sidecar.review.linting.checks.words import protocols_with
from sidecar.review.linting.looked import Looked, Reach, finding_of
from sidecar.review.linting.reach import meets, within
from sidecar.syntax.glob import literal_prefix

_CANDIDATES_MAX: Final = 200
# Beyond, each narrowing rule is taken to narrow one of them.
_ALLOWS_MAX: Final = 2_000
_PERMITTING: Final = frozenset({"allow", "modify", "step_up", "defer"})


class _Beginnings:
    """Rules by what their resource patterns begin with."""

    def __init__(self, rules: list[Rule], looked: Looked) -> None:
        self._rules: dict[str, list[Rule]] = defaultdict(list)
        for rule in rules:
            for begun in _begun(rule, looked):
                self._rules[begun].append(rule)

    def covering(self, rule: Rule, looked: Looked) -> Iterator[Rule]:
        """Yield the rules that may take all that `rule` takes."""
        text = next(iter(_begun(rule, looked)))
        left = _CANDIDATES_MAX
        for length in range(len(text) + 1):
            for one in self._rules.get(text[:length], ())[:left]:
                left -= 1
                if one is not rule:
                    yield one


def _begun(rule: Rule, looked: Looked) -> set[str]:
    lists = looked.reach(rule).resources
    return {literal_prefix(pattern)[0] for pattern in lists[-1]} if lists else {""}


def shadows(looked: Looked) -> Iterator[Finding]:
    """Yield a finding for each rule that another one leaves nothing to say."""
    by_effect: dict[str, list[Rule]] = defaultdict(list)
    # Those without a condition first: they are what mostly shadows others.
    for rule in sorted(looked.rules, key=lambda each: each.when is not None):
        by_effect[rule.effect].append(rule)
    denying = _Beginnings(by_effect["deny"], looked)
    alike = {effect: _Beginnings(rules, looked) for effect, rules in by_effect.items()}
    for rule in looked.rules:
        above = _shadow(rule, denying, looked) if rule.effect in _PERMITTING else None
        if above is not None:
            text = f" never takes effect: whatever it takes, `{above.key}` denies"
            yield finding_of("shadowed", rule, text)
            continue
        wider = _wider(rule, alike[rule.effect], looked)
        if wider is not None:
            text = f" changes nothing: whatever it takes, `{wider.key}` takes as well"
            yield finding_of("redundant", rule, text)


def _shadow(rule: Rule, denying: _Beginnings, looked: Looked) -> Rule | None:
    return next(
        (one for one in denying.covering(rule, looked) if _implies(rule, one, looked)), None
    )


def _wider(rule: Rule, alike: _Beginnings, looked: Looked) -> Rule | None:
    """Return a rule of the same effect and layer that speaks wherever `rule` does."""
    if rule.effect not in {"allow", "deny"} or rule.duties:
        return None
    for one in alike.covering(rule, looked):
        if one.layer != rule.layer or not _implies(rule, one, looked):
            continue
        # Of two that are the same the later one is left over.
        if rule.order > one.order or not _implies(one, rule, looked):
            return one
    return None


def _implies(rule: Rule, other: Rule, looked: Looked) -> bool:
    """Return whether `other` holds for every target for which `rule` does; in doubt it does not."""
    if other.call_scope and not rule.call_scope:
        return False
    if not within(looked.reach(rule), looked.reach(other)):
        return False
    if is_true(looked.asks(other)):
        return True
    if other.effect != "deny" and not _fields(other, looked) <= _fields(rule, looked):
        # It may err where `rule` holds, and an allow rule that errs permits nothing.
        return False
    both = ways(AllOf((looked.asks(rule), looked.asks(other, positive=False))))
    closed = looked.closed(rule)
    if both is None or not may_hold(looked.asks(rule), closed):
        return False
    return all(conflicts(way, closed) for way in both)


def _fields(rule: Rule, looked: Looked) -> set[str]:
    return {clause.field for clause in clauses_of(looked.asks(rule)) if clause.kind != "opaque"}


def without_allow(looked: Looked) -> Iterator[Finding]:
    """Yield a finding for each rule that narrows what no rule permits."""
    allowing = [rule for rule in looked.rules if rule.effect == "allow"]
    for rule in looked.rules if 0 < len(allowing) <= _ALLOWS_MAX else ():
        if rule.effect not in {"modify", "step_up", "defer"}:
            continue
        reach = _narrowed(rule, looked)
        if not any(
            meets(_narrowed(one, looked), reach) and _may_join(one, rule, looked)
            for one in allowing
        ):
            text = f" is never due: no rule allows what it takes, and {rule.effect} permits nothing"
            yield finding_of("without-allow", rule, text)


def _narrowed(rule: Rule, looked: Looked) -> Reach:
    """Return what a rule may meet, of protocols those that have what its `resources` name."""
    reach = looked.reach(rule)
    return msgspec.structs.replace(reach, protocols=protocols_with(reach, looked))


def _may_join(allow: Rule, rule: Rule, looked: Looked) -> bool:
    closed: dict[str, frozenset[str]] = {}
    for one in (allow, rule):
        for field, words in (*looked.closed(one).items(), *_named_actions(one, looked)):
            closed[field] = closed.get(field, words) & words
    return all(closed.values()) and may_hold(AllOf((looked.asks(allow), looked.asks(rule))), closed)


def _named_actions(rule: Rule, looked: Looked) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield the actions that `match` names, list by list, where none of a list is a pattern."""
    for patterns in looked.reach(rule).actions:
        if all(literal_prefix(pattern)[1] for pattern in patterns):
            yield "action.name", frozenset(literal_prefix(pattern)[0] for pattern in patterns)
