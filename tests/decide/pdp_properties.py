"""Laws of the decision over random rules and targets."""

import asyncio
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sidecar import flow
from sidecar.policy.bundle import Bundle
from sidecar.terms.words import CLASSES, strength
from tests import toy

LABELS = ("a", "b", "c")
TYPES = ("table", "column")

matches = st.fixed_dictionaries(
    {},
    optional={
        "classes": st.lists(st.sampled_from(CLASSES), min_size=1, max_size=3, unique=True),
        "resources": st.lists(
            st.sampled_from(["table:*", "column:x*", "*:y", "table:x"]), min_size=1, unique=True
        ),
        "except": st.just(["table:xy"]),
        "actions": st.just(["act*"]),
        "protocols": st.lists(st.sampled_from(["sql", "mcp"]), min_size=1, unique=True),
    },
)
conditions = st.sampled_from(
    ["true", "false", "'a' in resource.labels", "subject.properties.absent", "resource.id == 'x'"]
)
bodies = st.builds(
    lambda effect, when, match: {"effect": effect, "when": when, "match": match},
    st.sampled_from(["allow", "deny", "modify", "step_up", "defer"]),
    conditions,
    matches,
)
rule_lists = st.lists(bodies, min_size=1, max_size=6).map(
    lambda found: [{"id": f"r{n}", **body} for n, body in enumerate(found)]
)
targets = st.lists(
    st.builds(
        lambda cls, kind, name, labels: {"target": f"{cls} act {kind}:{name}", "labels": labels},
        st.sampled_from(CLASSES),
        st.sampled_from(TYPES),
        st.sampled_from(["x", "y", "xy"]),
        st.lists(st.sampled_from(LABELS), unique=True),
    ),
    min_size=1,
    max_size=3,
)


def decided(bundle: Bundle, found: list[Any]) -> Any:
    call = toy.call({"targets": found})
    request = flow.understand(call, bundle)
    return asyncio.run(flow.judge(request, bundle, toy.Knows()))[0]


@given(rule_lists, targets)
def test_a_deny_that_holds_is_never_overruled(rules: list[Any], found: list[Any]) -> None:
    decision = decided(toy.bundle(rules), found)

    if any(rule.effect == "deny" for rule in decision.rules):
        assert decision.outcome == "deny"


@given(rule_lists, targets)
def test_the_order_of_rules_does_not_matter(rules: list[Any], found: list[Any]) -> None:
    forwards = decided(toy.bundle(rules), found)
    backwards = decided(toy.bundle(list(reversed(rules))), found)

    assert forwards.outcome == backwards.outcome
    assert {rule.id for rule in forwards.rules} == {rule.id for rule in backwards.rules}


@given(rule_lists, bodies, targets)
def test_adding_a_rule_that_is_no_allow_never_permits_more(
    rules: list[Any], more: Any, found: list[Any]
) -> None:
    if more["effect"] == "allow":
        more = {**more, "effect": "deny"}
    before = decided(toy.bundle(rules), found)
    after = decided(toy.bundle([*rules, {"id": "added", **more}]), found)

    assert strength(after.outcome) >= strength(before.outcome)


@given(rule_lists, targets)
def test_without_an_allow_nothing_is_permitted(rules: list[Any], found: list[Any]) -> None:
    decision = decided(toy.bundle(rules), found)

    if decision.permitted:
        assert any(rule.effect == "allow" and rule.status == "held" for rule in decision.rules)


@given(rule_lists, targets)
def test_the_same_request_gives_the_same_decision(rules: list[Any], found: list[Any]) -> None:
    bundle = toy.bundle(rules)

    assert decided(bundle, found) == decided(bundle, found)
