"""A long list asks a rule that cannot differ between its elements once."""

from typing import Any

from sidecar import flow
from sidecar.decide import decide, standing_facts
from sidecar.terms.decision import Decision, Fact
from tests import toy

RULES: list[dict[str, Any]] = [
    {"id": "people", "effect": "allow", "when": "targets.exists(t, t.resource.id == 'd0')"},
    {"id": "drafts", "effect": "deny", "when": "'draft' in resource.labels", "message": "draft"},
]


def listed(rules: list[dict[str, Any]], names: list[str]) -> Decision:
    """Return the decision on a list of documents, of which every other is a draft."""
    found = [
        {"target": f"read retrieve document:{name}", "labels": ["draft"] if n % 2 else []}
        for n, name in enumerate(names)
    ]
    bundle = toy.bundle(rules)
    request = flow.understand(toy.call({"combine": "each", "targets": found}), bundle)
    decision = decide(
        request, bundle, {key: Fact(False, "test", "1") for key in standing_facts(request)}
    )
    assert isinstance(decision, Decision)
    return decision


def test_a_rule_on_the_whole_call_says_the_same_of_every_target() -> None:
    decision = listed(RULES, [f"d{n}" for n in range(40)])

    assert [target.outcome for target in decision.targets] == ["allow", "deny"] * 20


def test_targets_that_rules_do_not_tell_apart_share_what_was_said() -> None:
    decision = listed(RULES, [f"d{n}" for n in range(40)])

    assert len({id(target.rules) for target in decision.targets}) == 2


def test_a_rule_that_reads_the_name_tells_all_targets_apart() -> None:
    rules = [{"id": "one", "effect": "allow", "when": "resource.id == 'd7'"}]

    decision = listed(rules, [f"d{n}" for n in range(40)])

    assert [n for n, one in enumerate(decision.targets) if one.outcome == "allow"] == [7]


def test_only_rules_on_action_or_resource_vary() -> None:
    varies = {rule.id: rule.varies for rule in toy.bundle(RULES).rules}

    assert varies == {"people": False, "drafts": True}
