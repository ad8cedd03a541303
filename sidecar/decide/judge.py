"""The verdict on every target, by the shortest way that ends where `linear` ends.

The index says which rules fit a target; emitted functions say which of them hold; what follows from
that is remembered by the set of rules. A rule that its function is not sure of is asked by itself.
In a call of many targets, rules that cannot differ between them are asked once, and targets that
rules cannot tell apart share one verdict. Parts that were not read whole go the linear way.
"""

from collections.abc import Iterable

from sidecar.decide.evaluate import Finding, Hand, Part, evaluate
from sidecar.decide.linear import judge_part_linearly
from sidecar.decide.target import Judged, Verdict, verdict
from sidecar.decide.view import View
from sidecar.policy.bundle import Bundle
from sidecar.policy.index.candidates import Candidates
from sidecar.policy.index.choice import Met
from sidecar.policy.index.targets import Bucket
from sidecar.policy.limits import VERDICT_RULES_MAX
from sidecar.policy.rules import Rule
from sidecar.terms.call import Json
from sidecar.terms.request import Request, Target

_Asked = tuple[list[int], list[int]]


def judge(
    request: Request, parts: tuple[Request, ...], bundle: Bundle, hand: Hand
) -> list[list[Judged]]:
    """Return the verdict on each target, grouped by part, the call's own part first."""
    groups = []
    for part in parts:
        parse = part.parse
        if parse.missing or parse.ambiguities:
            groups.append(judge_part_linearly(request, part, bundle, hand))
        elif len(part.targets) == 1:
            groups.append([_one(View(request, part, bundle), hand)])
        else:
            groups.append(_many(View(request, part, bundle), hand))
    return groups


def _one(view: View, hand: Hand) -> Judged:
    part = view.part
    target = part.targets[0]
    candidates, seen = candidates_of(view, target, is_primary=part is view.request)
    whole = candidates.whole
    held, unsure = asked = whole.ask(view.add(seen, whole.roots, target), hand.facts)
    known: Verdict | None = None if unsure else candidates.verdicts.young.get(tuple(held))
    if known is None:
        known = _verdict(_Alone(view, hand), target, candidates, asked)
    return Judged(part, target, known)


class _Alone:
    """What rules are asked with by themselves; made when the first one is."""

    __slots__ = ("_part", "hand", "view")

    def __init__(self, view: View, hand: Hand) -> None:
        self.view = view
        self.hand = hand
        self._part: Part | None = None

    def says(self, rule: Rule, target: Target) -> Finding:
        """Return what a rule says of a target."""
        if self._part is None:
            self._part = Part(self.view)
        return evaluate(rule, self._part, target, self.hand)


def bucket_of(part: Request, bundle: Bundle, target: Target) -> Bucket:
    """Return the rules whose `match` can fit a target of `part`."""
    return bundle.index.bucket(part.domain, part.protocol, part.phase, target.action.cls)


def candidates_of(
    view: View, target: Target, *, is_primary: bool
) -> tuple[Candidates, dict[str, Json]]:
    """Return the rules that can speak of a target, and what was seen to find them."""
    index = view.bundle.index
    bucket = bucket_of(view.part, view.bundle, target)
    seen: dict[str, Json] = {}
    met: Met = ()
    if bucket.choice is not None:
        seen = view.of(bucket.choice.roots, target)
        met = bucket.choice.met(seen)
    fitting = index.fitting(bucket, met, target.action, target.resource)
    return fitting.primary if is_primary else fitting.other, seen


def _many(view: View, hand: Hand) -> list[Judged]:
    part = view.part
    alone = _Alone(view, hand)
    known: dict[object, Verdict] = {}
    shared: dict[Candidates, _Asked] = {}
    judged = []
    is_primary = part is view.request
    for target in part.targets:
        candidates, seen = candidates_of(view, target, is_primary=is_primary)
        is_primary = False
        tell_apart = candidates.tell_apart
        key = None if tell_apart is None else (candidates, tell_apart(target))
        found = known.get(key)
        if found is None:
            asked = _asked(alone, target, candidates, seen, shared)
            found = _verdict(alone, target, candidates, asked)
            if key is not None:
                known[key] = found
        judged.append(Judged(part, target, found))
    return judged


def _asked(
    alone: _Alone,
    target: Target,
    candidates: Candidates,
    seen: dict[str, Json],
    known: dict[Candidates, _Asked],
) -> _Asked:
    """Return what was asked of rules that vary, with what the others said of another target."""
    view, facts = alone.view, alone.hand.facts
    shared = known.get(candidates)
    if shared is None:
        part = candidates.shared
        shared = known[candidates] = part.ask(view.add(seen, part.roots, target), facts)
    part = candidates.varying
    held, unsure = part.ask(view.add(seen, part.roots, target), facts)
    if shared[0]:
        held = sorted(held + shared[0])
    if shared[1]:
        unsure = sorted(unsure + shared[1])
    return held, unsure


def _verdict(alone: _Alone, target: Target, candidates: Candidates, asked: _Asked) -> Verdict:
    held, unsure = asked
    if not unsure:
        known: Verdict | None = candidates.verdicts.get(tuple(held))
        if known is not None:
            return known
    rules = candidates.rules
    findings = [
        alone.says(rules[number], target)
        if number in unsure or _is_open(rules[number])
        else Finding(rules[number], "held", {})
        for number in sorted(held + unsure)
    ]
    spoke = tuple(finding for finding in findings if finding.said != "silent")
    found = verdict(spoke, alone.view.part, alone.view.bundle, alone.hand)
    if not unsure and len(held) <= VERDICT_RULES_MAX and not _any_open(rules, held):
        candidates.verdicts.put(tuple(held), found)
    return found


def _any_open(rules: tuple[Rule, ...], held: Iterable[int]) -> bool:
    return any(_is_open(rules[number]) for number in held)


def _is_open(rule: Rule) -> bool:
    """Return whether what follows when a rule holds depends on what it saw."""
    return rule.message_expression is not None or any(duty.holes for duty in rule.duties)
