"""One target: what the rules that match it said, and the verdict that follows."""

from collections.abc import Iterable
from typing import Literal

import msgspec

from sidecar.decide.evaluate import Finding, Hand, filled, message_of
from sidecar.decide.obligations import Due
from sidecar.policy.bundle import Bundle
from sidecar.policy.rules import ON_DENY, Rule
from sidecar.syntax.glob import glob
from sidecar.terms.call import Json
from sidecar.terms.decision import Facts, RuleSpoke
from sidecar.terms.reasons import Reason, reason
from sidecar.terms.request import Request, Target, each_request
from sidecar.terms.words import Outcome, PolicyName, RuleId, strength


class Verdict(msgspec.Struct, frozen=True):
    """What follows from what the rules said; the same for all targets of which they said it.

    Args:
        outcome: By precedence.
        why: The reason code of the outcome.
        findings: At least of the rules that spoke, in the order written.
        filled: Obligations: the finding, which of its duties, the fields with every hole filled.
        unfilled: Names a rule with a hole that has no value.
        keys: `policy/rule` of the rules that spoke, in the order written.
        spoke: The same as a decision shows them, the strongest effect first.
        is_final: Whether it permits, with no obligation due and no error to tell.
    """

    outcome: Outcome
    why: Reason
    findings: tuple[Finding, ...]
    filled: tuple[tuple[Finding, int, dict[str, Json]], ...]
    unfilled: str | None
    keys: tuple[str, ...]
    spoke: tuple[RuleSpoke, ...]
    is_final: bool


class Judged(msgspec.Struct, frozen=True):
    """One target of one part, and the verdict on it."""

    part: Request
    target: Target
    verdict: Verdict

    @property
    def outcome(self) -> Outcome:
        """Return the outcome of the verdict."""
        return self.verdict.outcome

    @property
    def why(self) -> Reason:
        """Return the reason code of the verdict."""
        return self.verdict.why

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Return what the rules said."""
        return self.verdict.findings

    def due(self, request: Request, *, permitted: bool) -> list[Due]:
        """Return the obligations due for this target; on a denial only those that stand on deny."""
        found: list[Due] = []
        for finding, index, values in self.verdict.filled:
            duty = finding.rule.duties[index]
            if permitted == (finding.rule.effect == "deny"):
                continue
            found.extend(
                Due(duty.type, key, values, finding.rule.key)
                for key in self._acts_on(duty.on, request)
            )
        return found

    def _acts_on(self, on: str | None, request: Request) -> list[str]:
        """Return what an obligation acts on: its own target, or those that `on` names."""
        if on is None:
            return [self.target.resource.key]
        keys = (t.resource.key for one in each_request(request) for t in one.targets)
        return list(dict.fromkeys(key for key in keys if glob(on, key)))


def verdict(findings: tuple[Finding, ...], part: Request, bundle: Bundle, hand: Hand) -> Verdict:
    """Return what follows from what the rules that match a target said of it."""
    outcome, why = _outcome(findings, bundle.layers)
    if any(_unknown(finding, part, bundle) for finding in findings) and outcome != "deny":
        outcome, why = "deny", reason("obligation.unknown")
    values, unfilled = _filled(findings, hand)
    keys = tuple(f.rule.key for f in findings if f.said != "silent")
    is_final = (
        outcome in ("allow", "modify")
        and not values
        and unfilled is None
        and all(finding.error is None for finding in findings)
    )
    return Verdict(outcome, why, findings, values, unfilled, keys, spoken(findings), is_final)


def spoken(findings: Iterable[Finding]) -> tuple[RuleSpoke, ...]:
    """Return the rules that held or erred, the strongest effect first, each once."""
    found: dict[int, tuple[Rule, RuleSpoke]] = {}
    for finding in findings:
        if finding.said == "silent":
            continue
        rule = finding.rule
        status: Literal["held", "error"] = "error" if finding.said == "error" else "held"
        known = found.get(rule.order)
        if known is None or (known[1].status == "error" and status == "held"):
            spoke = RuleSpoke(
                RuleId(rule.id),
                PolicyName(rule.policy),
                rule.effect,
                rule.layer,
                rule.digest,
                status,
            )
            found[rule.order] = (rule, spoke)
    ordered = sorted(found.values(), key=lambda pair: (-strength(pair[0].effect), pair[0].order))
    return tuple(spoke for _, spoke in ordered)


def left_out(judged: Judged, bundle: Bundle) -> list[tuple[Rule, str]]:
    """Return the rules of the call's protocol that were not asked, and what left each out."""
    part = judged.part
    asked = {finding.rule.key for finding in judged.findings}
    return [
        (rule, _left_out_by(rule, part, judged.target))
        for rule in bundle.rules
        if rule.key not in asked
        and rule.policy_filter.speaks(part.domain, part.protocol)
        and rule.filter.speaks(part.domain, part.protocol)
    ]


def _left_out_by(rule: Rule, part: Request, target: Target) -> str:
    if part.phase not in rule.phases:
        return "phases"
    action, resource = target.action, target.resource
    for one in (rule.policy_filter, rule.filter):
        field = one.left_out_by(action.cls, resource.upstream, action.name, resource.key)
        if field is not None:
            return field
    # It fits, so it speaks once a call, and this is not the primary target.
    return "scope"


def _outcome(findings: tuple[Finding, ...], layers: tuple[str, ...]) -> tuple[Outcome, Reason]:
    """Return the target's outcome by precedence, and why."""
    held = {finding.rule.effect for finding in findings if finding.said == "held"}
    if "deny" in held:
        return "deny", reason("rule")
    if any(f.said == "error" and f.rule.effect != "allow" for f in findings):
        return "deny", reason("rule.error")
    allowing = {f.rule.layer for f in findings if f.said == "held" and f.rule.effect == "allow"}
    if not all(layer in allowing for layer in layers):
        return "deny", reason("no_rule")
    if "defer" in held:
        return "defer", reason("deferred")
    if "step_up" in held:
        return "step_up", reason("approval.required")
    return ("modify" if "modify" in held else "allow"), reason("permitted")


def _unknown(finding: Finding, part: Request, bundle: Bundle) -> bool:
    """Return whether a rule that holds asks this domain for an obligation that it does not know."""
    if finding.said != "held" or finding.rule.effect == "deny":
        return False
    known = {kind.name for kind in bundle.domains[part.protocol].vocabulary.obligations}
    return any(duty.type.name not in known for duty in finding.rule.duties if duty.on is None)


def _filled(
    findings: tuple[Finding, ...], hand: Hand
) -> tuple[tuple[tuple[Finding, int, dict[str, Json]], ...], str | None]:
    values = []
    unfilled = None
    for finding in findings:
        if finding.said != "held":
            continue
        for index, duty in enumerate(finding.rule.duties):
            found = filled(duty, finding.data, hand)
            if found is not None:
                values.append((finding, index, found))
            elif duty.type.name not in ON_DENY:
                unfilled = f"`{duty.type.name}` of {finding.rule.key} has no value for a hole"
    return tuple(values), unfilled


def settled(outcome: Outcome, deciding: list[Judged], facts: Facts) -> tuple[Reason, str | None]:
    """Return the reason and the message of a decision, from the targets that decided it."""
    if outcome in ("allow", "modify"):
        return reason("permitted"), None
    order = ("rule", "obligation.unknown", "rule.error", "no_rule")
    ranked = sorted(deciding, key=lambda j: order.index(j.why) if j.why in order else len(order))
    first = ranked[0]
    why = first.why
    speaking = (f for j in ranked if j.why == why for f in j.findings if _decided(f, outcome))
    said = next(filter(None, (message_of(finding, facts) for finding in speaking)), None)
    return why, said or _default_message(first, outcome)


def _decided(finding: Finding, outcome: Outcome) -> bool:
    return finding.said == "held" and finding.rule.effect == outcome


def _default_message(judged: Judged, outcome: Outcome) -> str:
    target = judged.target
    what = f"{target.action.name} on {target.resource.key}"
    match judged.why:
        case "no_rule":
            return f"no rule allows {what}"
        case "rule.error":
            names = [f.rule.key for f in judged.findings if f.said == "error"]
            return f"{', '.join(names)} could not be evaluated for {what}"
        case "obligation.unknown":
            return f"an obligation is due that cannot be carried out for {what}"
        case _:
            names = [f.rule.key for f in judged.findings if _decided(f, outcome)]
            return f"{', '.join(names)} decides {outcome} for {what}"
