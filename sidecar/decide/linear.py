"""What every rule that matches says of every target, each asked by itself: the meaning of `judge`.

The index, the guards and the emitted functions are ways to the same verdicts; the tests hold them
to this. It is also what people are shown, as rules that are silent are named here too.
"""

from sidecar.decide.evaluate import Hand, Part, evaluate
from sidecar.decide.target import Judged, verdict
from sidecar.decide.view import View
from sidecar.policy.bundle import Bundle
from sidecar.policy.rules import Rule
from sidecar.terms.request import Request, Target


def judge_linearly(
    request: Request, parts: tuple[Request, ...], bundle: Bundle, hand: Hand
) -> list[list[Judged]]:
    """Return the verdict on each target, grouped by part, the call's own part first."""
    return [judge_part_linearly(request, part, bundle, hand) for part in parts]


def judge_part_linearly(
    request: Request, part: Request, bundle: Bundle, hand: Hand
) -> list[Judged]:
    """Return the verdict on each target of one part."""
    unread = (*part.parse.missing, *part.parse.ambiguities)
    shared = Part(View(request, part, bundle), unread)
    judged = []
    for index, target in enumerate(part.targets):
        is_primary = part is request and index == 0
        findings = tuple(
            evaluate(rule, shared, target, hand)
            for rule in bundle.rules
            if (is_primary or not rule.call_scope) and _fits(rule, part, target)
        )
        judged.append(Judged(part, target, verdict(findings, part, bundle, hand)))
    return judged


def _fits(rule: Rule, part: Request, target: Target) -> bool:
    action, resource = target.action, target.resource
    return part.phase in rule.phases and all(
        one.fits_bucket(part.domain, part.protocol, action.cls)
        and one.fits_target(resource.upstream, action.name, resource.key)
        for one in (rule.policy_filter, rule.filter)
    )
