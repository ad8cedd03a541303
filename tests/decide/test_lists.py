"""A long list asks a rule that cannot differ between its elements once."""

from typing import Any

from sidecar import flow
from sidecar.decide.evaluate import Part
from tests import toy

RULES: list[dict[str, Any]] = [
    {"id": "people", "effect": "allow", "when": "targets.exists(t, t.resource.id == 'd0')"},
    {"id": "drafts", "effect": "deny", "when": "'draft' in resource.labels", "message": "draft"},
]


async def test_a_rule_on_the_whole_call_says_the_same_of_every_target() -> None:
    found = [
        {"target": f"read retrieve document:d{n}", "labels": ["draft"] if n % 2 else []}
        for n in range(40)
    ]
    bundle = toy.bundle(RULES)
    request = flow.understand(toy.call({"combine": "each", "targets": found}), bundle)

    decision, _ = await flow.judge(request, bundle, toy.Knows())

    assert [target.outcome for target in decision.targets] == ["allow", "deny"] * 20


def test_only_rules_on_action_or_resource_vary() -> None:
    varies = {rule.id: rule.varies for rule in toy.bundle(RULES).rules}

    assert varies == {"people": False, "drafts": True}


def test_what_a_part_remembers_is_its_own() -> None:
    assert Part({}, (), {}).said is not Part({}, (), {}).said
