"""What was said of a target, told: each rule that was asked, why it said so, who was not asked.

For `sidecar decide --explain` and for tests that fail. Nothing that serves asks.
"""

from collections.abc import Iterator

from sidecar.decide.evaluate import Finding
from sidecar.decide.target import Judged, left_out
from sidecar.policy.bundle import Bundle
from sidecar.policy.explained import explain_rule
from sidecar.policy.language.brief import printable, quoted
from sidecar.terms.call import Json
from sidecar.terms.decision import Facts


def target_json(judged: Judged, bundle: Bundle, facts: Facts) -> dict[str, Json]:
    """Return a target with each rule that was considered, its clauses and their values.

    `not_matched` are the other rules of the protocol, each with what left it out.
    """
    target = judged.target
    return {
        "action": target.action.name,
        "class": target.action.cls,
        "resource": target.resource.key,
        "labels": list(target.resource.labels),
        "outcome": judged.outcome,
        "rules": [_said(finding, facts) for finding in judged.findings],
        "not_matched": [
            {"rule": rule.key, "effect": rule.effect, "by": by, "at": rule.where}
            for rule, by in left_out(judged, bundle)
        ],
    }


def _said(finding: Finding, facts: Facts) -> dict[str, Json]:
    rule = finding.rule
    said: dict[str, Json] = {"rule": rule.key, "effect": rule.effect, "said": finding.said}
    if rule.when is not None:
        said["when"] = rule.when.source
    if finding.error is not None:
        said["error"] = finding.error
    why = explain_rule(rule, finding.data, facts, finding.error)
    return {**said, **why.json(), "at": rule.where}


def target_lines(judged: Judged, bundle: Bundle, facts: Facts) -> Iterator[str]:
    """Yield the same as a tree: below each rule the clauses that made it say so."""
    target = judged.target
    yield printable(f"{target.action.name} {target.resource.key} → {judged.outcome}")
    for finding in judged.findings:
        rule = finding.rule
        when = quoted(rule.when.source) if rule.when else "always"
        error = f" ({finding.error})" if finding.error else ""
        yield f"  {finding.said:6} {rule.effect:7} {rule.key}: {when}{error}"
        # The first line would say the condition once more.
        why = explain_rule(rule, finding.data, facts, finding.error).lines()[1:]
        yield from (f"    {line}" for line in why)
    for rule, by in left_out(judged, bundle):
        yield f"  not matched ({by}) {rule.effect} {rule.key}"
