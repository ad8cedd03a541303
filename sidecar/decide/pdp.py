"""The decision: every target of every part under every rule that matches, combined by precedence.

Per target: deny > defer > step_up > modify > allow, silence is deny; in each layer an allow must
hold. An erring deny, modify, step_up or defer rule denies, an erring allow rule is silent; both
are named. Per call: `combine: all` takes the strongest outcome of its targets; `combine: each`
needs the primary and drops the others that are not permitted. `builtin/revoked` comes before any
policy.
"""

import hashlib
from typing import Final, Literal

from sidecar.decide.evaluate import Hand, Part
from sidecar.decide.obligations import Conflict, combined
from sidecar.decide.target import Judged, Shown, judge_target, settled
from sidecar.decide.view import call_view, part_view, plain
from sidecar.policy.bundle import Bundle
from sidecar.policy.rules import Rule
from sidecar.syntax import json
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

REVOKED: Final = RuleSpoke(
    RuleId("revoked"),
    PolicyName("builtin"),
    "deny",
    "builtin",
    "sha256:" + hashlib.sha256(b"builtin/revoked/1").hexdigest(),
)


def standing_facts(request: Request) -> frozenset[FactKey]:
    """Return what is asked of every request before any policy: is anybody in it revoked?"""
    return frozenset(
        FactKey("revoked", (f"{party.type}:{party.id}",))
        for party in (request.subject, *request.actors)
    )


def decide(request: Request, bundle: Bundle, facts: Facts) -> Decision | NeedFacts:
    """Return the decision on `request`, or the facts that it cannot be made without.

    Args:
        request: Parsed; `parse.status` is not `failed`.
        bundle: The one snapshot of this call.
        facts: Those in hand; asked for again until the PDP names no more.
    """
    assert request.parse.status != "failed"
    standing = standing_facts(request)
    absent = frozenset(key for key in standing if key not in facts)
    if absent:
        return NeedFacts(absent)
    if any(facts[key].value is not False for key in standing):
        revoked = denial(request, bundle, reason("revoked"), "subject or actor is revoked")
        return _replaced(revoked, (REVOKED,))
    hand = Hand(facts, set())
    judged = _judge(request, bundle, hand)
    if hand.needed:
        return NeedFacts(frozenset(hand.needed))
    return _decision(request, bundle, judged, facts)


def explain(request: Request, bundle: Bundle, facts: Facts) -> list[Judged]:
    """Return what every matching rule said of every target, for people and tests."""
    try:
        groups = _judge(request, bundle, Hand(facts, set()))
    except ParseError:
        # Rules were not asked at all: `flow.judge` says why.
        return []
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


def _judge(request: Request, bundle: Bundle, hand: Hand) -> list[list[Judged]]:
    """Return what was said of each target, grouped by part, the call's own part first."""
    call = call_view(request, bundle)
    views = iter(call["targets"])
    groups = []
    for part in each_request(request):
        unread = (*part.parse.missing, *part.parse.ambiguities)
        shared = Part(part_view(call, part), unread, {})
        shown = [
            Shown(target, next(views), is_primary=part is request and index == 0)
            for index, target in enumerate(part.targets)
        ]
        groups.append([judge_target(part, one, bundle, shared, hand) for one in shown])
    return groups


def _decision(
    request: Request, bundle: Bundle, groups: list[list[Judged]], facts: Facts
) -> Decision:
    outcome: Outcome = "allow"
    kept: list[Judged] = []
    for part, group in zip(each_request(request), groups, strict=True):
        one, survivors = _combined(part, group)
        kept.extend(survivors)
        if strength(one) > strength(outcome):
            outcome = one
    everything = [judged for group in groups for judged in group]
    obligations: tuple[Obligation, ...] = ()
    # A list that was shortened is `modify` although each target that is kept is only allowed.
    deciding = [judged for judged in kept if judged.outcome == outcome] or kept
    why, message = settled(outcome, deciding, facts)
    try:
        obligations = combined(
            due for judged in kept for due in judged.due(request, permitted=outcome != "deny")
        )
    except Conflict as conflict:
        outcome, why, message = "deny", reason("obligation.conflict"), str(conflict)
    for judged in kept:
        if judged.unfilled and outcome != "deny":
            outcome, why, message = "deny", reason("obligation.invalid"), judged.unfilled
    return Decision(
        id=request.id,
        outcome=outcome,
        reason=why,
        policy=bundle.stamp,
        targets=tuple(judged.stamped() for judged in everything),
        rules=_spoke(everything),
        obligations=obligations,
        errors=_errors(everything),
        message=message,
        approval=_approval(request, everything) if outcome == "step_up" else None,
    )


def _combined(part: Request, group: list[Judged]) -> tuple[Outcome, list[Judged]]:
    """Return the outcome of one part and the targets that count for it."""
    # Nobody shortens a list inside another call's payload, so a part is permitted whole or not.
    if part.combine == "all" or part.at is not None:
        strongest = max(group, key=lambda judged: strength(judged.outcome))
        return strongest.outcome, group
    primary = group[0]
    if primary.outcome not in ("allow", "modify"):
        return primary.outcome, [primary]
    kept = [judged for judged in group if judged.outcome in ("allow", "modify")]
    if len(kept) < len(group):
        return "modify", kept
    return max(kept, key=lambda judged: strength(judged.outcome)).outcome, kept


def _spoke(everything: list[Judged]) -> tuple[RuleSpoke, ...]:
    """Return the rules that held or erred, the strongest effect first, each once."""
    found: dict[str, tuple[Rule, RuleSpoke]] = {}
    for judged in everything:
        for finding in judged.findings:
            if finding.said == "silent":
                continue
            rule = finding.rule
            status: Literal["held", "error"] = "error" if finding.said == "error" else "held"
            known = found.get(rule.key)
            if known is None or (known[1].status == "error" and status == "held"):
                spoke = RuleSpoke(
                    RuleId(rule.id),
                    PolicyName(rule.policy),
                    rule.effect,
                    rule.layer,
                    rule.digest,
                    status,
                )
                found[rule.key] = (rule, spoke)
    ordered = sorted(found.values(), key=lambda pair: (-strength(pair[0].effect), pair[0].order))
    return tuple(spoke for _, spoke in ordered)


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
