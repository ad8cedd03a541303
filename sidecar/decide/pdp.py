"""The decision: every target of every part under every rule that matches, combined by precedence.

Per target: deny > defer > step_up > modify > allow, silence is deny; in each layer an allow must
hold. An erring deny, modify, step_up or defer rule denies, an erring allow rule is silent; both
are named. Per call: `combine: all` takes the strongest outcome of its targets; `combine: each`
needs the primary and drops the others that are not permitted. `builtin/revoked` comes before any
policy.
"""

import hashlib
from collections.abc import Callable, Collection
from typing import Final

from sidecar.decide.evaluate import Hand
from sidecar.decide.judge import judge
from sidecar.decide.linear import judge_linearly
from sidecar.decide.obligations import Conflict, combined
from sidecar.decide.target import Judged, Verdict, settled, spoken
from sidecar.decide.view import check_texts, plain
from sidecar.policy.bundle import Bundle
from sidecar.syntax import json
from sidecar.terms.call import Party
from sidecar.terms.decision import (
    Approval,
    Decision,
    FactKey,
    Facts,
    NeedFacts,
    Obligation,
    RuleError,
    RuleSpoke,
    TargetDecision,
)
from sidecar.terms.errors import ParseError
from sidecar.terms.reasons import Reason, reason
from sidecar.terms.request import Request, each_request
from sidecar.terms.words import Outcome, PolicyName, RuleId, strength

_Judge = Callable[[Request, tuple[Request, ...], Bundle, Hand], list[list[Judged]]]
REVOKED: Final = RuleSpoke(
    RuleId("revoked"),
    PolicyName("builtin"),
    "deny",
    "builtin",
    "sha256:" + hashlib.sha256(b"builtin/revoked/1").hexdigest(),
)


def standing_facts(request: Request) -> frozenset[FactKey]:
    """Return what is asked of every request before any policy: is anybody in it revoked?"""
    return frozenset(map(_is_revoked, (request.subject, *request.actors)))


def _is_revoked(party: Party) -> FactKey:
    return FactKey("revoked", (f"{party.type}:{party.id}",))


def is_clean(request: Request) -> bool:
    """Return whether no text of `request` is one that is refused before any rule is asked."""
    try:
        check_texts(request, each_request(request))
    except (ParseError, TypeError):
        # What no text is, is our own mistake, and ends where each call's would.
        return False
    return True


def decide(
    request: Request, bundle: Bundle, facts: Facts, *, was_clean: bool = False
) -> Decision | NeedFacts:
    """Return the decision on `request`, or the facts that it cannot be made without.

    Args:
        request: Parsed; `parse.status` is not `failed`.
        bundle: The one snapshot of this call.
        facts: Those in hand; asked for again until the PDP names no more.
        was_clean: Its texts are those of a request that `is_clean`, but for its id and its time.

    Raises:
        ParseError: A text of the call holds a NUL.
    """
    return _decided(request, bundle, facts, judge, was_clean=was_clean)


def decide_linearly(request: Request, bundle: Bundle, facts: Facts) -> Decision | NeedFacts:
    """Return what `decide` returns, by asking each rule by itself."""
    return _decided(request, bundle, facts, judge_linearly)


def _decided(
    request: Request, bundle: Bundle, facts: Facts, judging: _Judge, *, was_clean: bool = False
) -> Decision | NeedFacts:
    assert request.parse.status != "failed"
    early = _revoked(request, bundle, facts)
    if early is not None:
        return early
    parts = each_request(request) if request.parts else (request,)
    if not was_clean:
        check_texts(request, parts)
    hand = Hand(facts, set())
    groups = judging(request, parts, bundle, hand)
    if hand.needed:
        return NeedFacts(frozenset(hand.needed))
    if len(parts) == 1 and len(groups[0]) == 1 and groups[0][0].verdict.is_final:
        return _final(request, bundle, groups[0][0])
    return _decision(request, bundle, list(zip(parts, groups, strict=True)), facts)


def _revoked(request: Request, bundle: Bundle, facts: Facts) -> Decision | NeedFacts | None:
    """Return what comes before any policy, None when nothing does."""
    found = facts.get(_is_revoked(request.subject))
    if found is not None and found.value is False and not request.actors:
        return None
    standing = standing_facts(request)
    absent = frozenset(key for key in standing if key not in facts)
    if absent:
        return NeedFacts(absent)
    if all(facts[key].value is False for key in standing):
        return None
    revoked = denial(request, bundle, reason("revoked"), "subject or actor is revoked")
    return _replaced(revoked, (REVOKED,))


def explain(request: Request, bundle: Bundle, facts: Facts) -> list[Judged]:
    """Return what every matching rule said of every target, for people and tests."""
    try:
        parts = each_request(request)
        check_texts(request, parts)
    except ParseError:
        # Rules were not asked at all: `flow.judge` says why.
        return []
    groups = judge_linearly(request, parts, bundle, Hand(facts, set()))
    return [judged for group in groups for judged in group]


def denial(request: Request, bundle: Bundle, why: Reason, text: str) -> Decision:
    """Return a denial that no rule spoke for: not parsed, not enforceable, no fact, our failure."""
    targets = tuple(
        TargetDecision(target.action, target.resource, "deny", (), one.at)
        for one in each_request(request)
        for target in one.targets
    )
    return Decision(request.id, "deny", why, bundle.stamp, targets, message=text)


def _replaced(decision: Decision, rules: tuple[RuleSpoke, ...]) -> Decision:
    return Decision(
        decision.id,
        decision.outcome,
        decision.reason,
        decision.policy,
        decision.targets,
        rules,
        message=decision.message,
    )


def _final(request: Request, bundle: Bundle, judged: Judged) -> Decision:
    """Return the decision on one target that is permitted, with nothing due and nothing erred."""
    said = judged.verdict
    return Decision(request.id, said.outcome, said.why, bundle.stamp, (_shown(judged),), said.spoke)


def _decision(
    request: Request, bundle: Bundle, groups: list[tuple[Request, list[Judged]]], facts: Facts
) -> Decision:
    outcome: Outcome = "allow"
    kept: list[Judged] = []
    everything: list[Judged] = []
    for part, group in groups:
        one, survivors = _combined(part, group)
        kept += survivors
        everything += group
        if strength(one) > strength(outcome):
            outcome = one
    why, message = reason("permitted"), None
    if outcome not in ("allow", "modify"):
        deciding = [judged for judged in kept if judged.outcome == outcome]
        why, message = settled(outcome, deciding, facts)
    # Targets that rules do not tell apart share one verdict.
    verdicts = {id(judged.verdict): judged.verdict for judged in everything}.values()
    obligations: tuple[Obligation, ...] = ()
    if any(one.filled or one.unfilled for one in verdicts):
        try:
            obligations = combined(
                due for judged in kept for due in judged.due(request, permitted=outcome != "deny")
            )
        except Conflict as conflict:
            outcome, why, message = "deny", reason("obligation.conflict"), str(conflict)
        unfilled = next((j.verdict.unfilled for j in kept if j.verdict.unfilled), None)
        if unfilled is not None and outcome != "deny":
            outcome, why, message = "deny", reason("obligation.invalid"), unfilled
    return Decision(
        id=request.id,
        outcome=outcome,
        reason=why,
        policy=bundle.stamp,
        targets=tuple([_shown(judged) for judged in everything]),
        rules=_spoke(verdicts),
        obligations=obligations,
        errors=() if all(one.is_final for one in verdicts) else _errors(everything),
        message=message,
        approval=_approval(request, everything) if outcome == "step_up" else None,
    )


def _shown(judged: Judged) -> TargetDecision:
    target, said = judged.target, judged.verdict
    return TargetDecision(target.action, target.resource, said.outcome, said.keys, judged.part.at)


def _combined(part: Request, group: list[Judged]) -> tuple[Outcome, list[Judged]]:
    """Return the outcome of one part and the targets that count for it."""
    outcomes = {judged.verdict.outcome for judged in group}
    # Nobody shortens a list inside another call's payload, so a part is permitted whole or not.
    if part.combine == "all" or part.at is not None:
        return max(outcomes, key=strength), group
    primary = group[0]
    if primary.outcome not in ("allow", "modify"):
        return primary.outcome, [primary]
    if outcomes <= {"allow", "modify"}:
        return max(outcomes, key=strength), group
    return "modify", [judged for judged in group if judged.outcome in ("allow", "modify")]


def _spoke(verdicts: Collection[Verdict]) -> tuple[RuleSpoke, ...]:
    """Return the rules that held or erred, the strongest effect first, each once."""
    if len(verdicts) == 1:
        (only,) = verdicts
        return only.spoke
    return spoken(finding for one in verdicts for finding in one.findings)


def _errors(everything: list[Judged]) -> tuple[RuleError, ...]:
    return tuple(
        RuleError(finding.rule.key, judged.target.resource.key, finding.error)
        for judged in everything
        for finding in judged.findings
        if finding.error is not None
    )


def _approval(request: Request, everything: list[Judged]) -> Approval:
    """Return what a human is asked; the binding ties it to exactly this effect (DESIGN §2)."""
    parts = each_request(request)
    bound = {
        "subject": plain(request.subject),
        "actors": plain(request.actors),
        "targets": [plain(part.targets) for part in parts],
        "native": [plain(part.request) for part in parts],
    }
    binding = "sha256:" + hashlib.sha256(json.canonical(bound)).hexdigest()
    rules = {
        finding.rule.key
        for judged in everything
        for finding in judged.findings
        if finding.said == "held" and finding.rule.effect == "step_up"
    }
    return Approval(request.id, binding, tuple(sorted(rules)))
