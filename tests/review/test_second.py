"""The second evaluator agrees, cannot say, or disagrees, and then nobody may rest on the rule."""

from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from sidecar.domains import by_protocol
from sidecar.policy.explained import explanation_of, tree_of
from sidecar.policy.language.functions import FUNCTIONS
from sidecar.review.second import SecondOpinion, opinion, rehearse
from sidecar.review.second.branches import Branch, branches
from sidecar.review.second.divergences import DIVERGENCES, known
from sidecar.review.second.engine import NotComparable, evaluate
from sidecar.review.second.inputs import INPUTS_MAX, inputs
from sidecar.review.second.rehearsal import ALIKE_MAX, Anybody
from sidecar.review.testing.run import run_suites
from sidecar.review.trees import trees_of
from sidecar.runtime.bundles import load_bundle
from tests.review.shelf import bundle_of, request, suite_of
from tests.tables import rows

ROOT = Path(__file__).parents[2]
BUNDLES = [
    file.parent
    for folder in ("policies", "examples", "sidecar/cli/starter")
    for file in sorted((ROOT / folder).rglob("bundle.yaml"))
]
NATIVE: dict[str, Any] = {
    "one": 1,
    "half": 0.5,
    "truth": True,
    "text": "abc",
    "items": [1, 2],
    "map": {"a": 1},
}


def rule_of(when: str | None, **spec: object):
    return bundle_of([{"id": "rule", "effect": "allow", "when": when}], **spec)


@pytest.mark.parametrize("row", rows("review/second.yaml"))
def test_a_second_opinion(row):
    rules = [{"id": "rule", "effect": "allow", "when": row.given}]

    found = run_suites(bundle_of(rules, suite_of(r=request(**NATIVE)))).opinion

    told = {
        "compared": found.compared,
        "known": sorted(found.known.elements()),
        "disagree": [f"ours {one.ours}, theirs {one.theirs}" for one in found.disagreements],
        "not comparable": {
            name.removeprefix("p/rule: "): why for name, why in found.not_comparable.items()
        },
    }
    nothing = {"compared": 0, "known": [], "disagree": [], "not comparable": {}}
    assert {**nothing, **row.want} == told


@pytest.mark.parametrize("row", DIVERGENCES, ids=lambda row: row.id)
def test_a_known_divergence_is_still_one_and_is_found_by_its_row(row):
    told = explanation_of(row.example, (), {}, {})
    differing = [branch for branch in branches(told.part) if not agrees(row.example, branch)]

    assert differing
    assert row.clause.startswith("https://github.com/google/cel-spec/")
    heard = SecondOpinion()
    heard.hear_rule(rule_of(row.example).rules[0], {}, {})
    assert set(heard.known) == {row.id}
    assert heard.disagreements == []


def agrees(source: str, branch: Branch) -> bool:
    part = branch.part
    try:
        theirs = evaluate(source[part.tree.start : part.tree.end], {}, {})
    except NotComparable:
        return True
    return not theirs.failed and repr(theirs.value) == repr(part.value)


def test_what_is_not_listed_is_a_disagreement(monkeypatch):
    monkeypatch.setattr(opinion, "known", lambda _branch: None)
    rules = [
        {"id": "rule", "effect": "allow", "when": "has(request.sql) && request.sql.truth == 1"}
    ]

    found = run_suites(bundle_of(rules, suite_of(r=request(truth=True)))).opinion

    (one,) = found.disagreements
    assert (one.rule, one.where, one.part) == ("p/rule", "p.yaml:7:5", "request.sql.truth == 1")
    assert (one.ours, one.theirs) == ("false", "true")


def test_a_value_where_the_other_errs_is_a_disagreement(monkeypatch):
    plus = ("_+_", False, 2)
    wrapping = structs.replace(FUNCTIONS[plus], call=lambda a, b: (a + b + 2**63) % 2**64 - 2**63)
    monkeypatch.setitem(FUNCTIONS, plus, wrapping)
    heard = SecondOpinion()

    heard.hear_rule(rule_of("context.n + 1 < 0").rules[0], {"context": {"n": 2**63 - 1}}, {})

    (one,) = heard.disagreements
    assert (one.part, one.ours, one.theirs) == ("context.n + 1", "a value", "an error")
    assert heard.not_comparable == {}


@pytest.mark.parametrize(
    "when",
    [
        "context.s.lowerAscii() == 'a'",
        "context.l.transformList(i, v, v) == [1]",
        "cel.bind(a, context.s, a == 'A')",
        "math.abs(context.l[0]) == 1",
    ],
)
def test_what_the_others_language_lacks_is_no_disagreement(when):
    heard = SecondOpinion()

    heard.hear_rule(rule_of(when).rules[0], {"context": {"s": "A", "l": [1]}}, {})

    assert heard.disagreements == []
    assert heard.not_comparable


def test_a_part_without_a_function_is_no_known_divergence():
    told = explanation_of("delegated", (), {"delegated": True}, {})

    assert known(Branch(told.part, {})) is None


def test_a_branch_is_heard_once_for_each_outcome():
    rules = [{"id": "rule", "effect": "allow", "when": "resource.id == 't'"}]
    others = {f"r{n}": request(f"read select table:t{n or ''}") for n in range(5)}

    found = run_suites(bundle_of(rules, suite_of(**others))).opinion

    assert found.compared == 2


def test_variables_facts_and_globs_are_the_same_for_both():
    rules = [
        {"id": "rule", "effect": "allow", "when": "variables.known && glob('t*', resource.id)"}
    ]
    suite = {**suite_of(r=request()), "facts": {"entity": {"user": {"ann": {"role": "staff"}}}}}
    variables = {"known": "entity('user', subject.id).role == 'staff'"}

    found = run_suites(bundle_of(rules, suite, variables=variables)).opinion

    # The variable, the whole, and both of its clauses.
    assert (found.compared, found.disagreements, found.not_comparable) == (4, [], {})


def test_a_variable_that_json_has_no_word_for_is_heard_and_not_handed_on():
    rules = [{"id": "rule", "effect": "allow", "when": "variables.at.getFullYear() == 2026"}]
    variables = {"at": "timestamp('2026-01-01T00:00:00Z')"}

    found = run_suites(bundle_of(rules, suite_of(r=request()), variables=variables)).opinion

    assert found.not_comparable == {
        "p/rule: timestamp('2026-01-01T00:00:00Z')": "its result has no form in JSON",
        "p/rule: variables.at.getFullYear() == 2026": "its language lacks what this uses",
    }


@pytest.mark.parametrize(
    ("when", "outcomes"),
    [
        ("subject.id == 'ann'", {True, False, "error"}),
        ("'pii' in resource.labels && action.name == 'read'", {True, False, "error"}),
        ("has(subject.properties.team) && subject.properties.team == 'x'", {True, False}),
        ("resource.labels.exists(l, l == 'pii')", {True, False}),
        ("targets.all(t, t.resource.type == 'table')", {True, False, "error"}),
        ("size(subject.properties.groups) > 2", {True, False, "error"}),
        ("subject.id in ['ann', 'bob']", {True, False, "error"}),
        ("resource.id.startsWith('hr.')", {True, False, "error"}),
        ("!delegated", {True, False}),
        ("entity('user', subject.id).role == 'admin'", {True, False, "error"}),
        ("context.?risk.orValue(0) > 7", {True, False}),
        ("cel.bind(o, resource.properties, o.owner == subject.id)", {True, False, "error"}),
    ],
)
def test_inputs_made_up_from_a_condition_reach_each_of_its_outcomes(when, outcomes):
    rule = rule_of(when).rules[0]
    heard = Listening()
    for data in inputs(trees_of(rule), {}):
        heard.ask(rule, data)

    assert heard.outcomes == outcomes


class Listening(SecondOpinion):
    """Notes what the rules themselves come to."""

    def __init__(self) -> None:
        super().__init__()
        self.outcomes: set[object] = set()

    def ask(self, rule, data):
        facts = Anybody(data.pop("entity()", None))
        told = explanation_of(rule.when.source, (), data, facts)
        self.outcomes.add("error" if told.part.state == "error" else told.part.value)


def test_rules_without_tests_are_heard_on_made_up_inputs():
    found = rehearse(rule_of("'pii' in resource.labels && subject.id != 'root' || delegated"))

    # Five branches that hold and do not, and errors of some.
    assert found.compared >= 10
    assert (found.disagreements, found.not_comparable) == ([], {})


def test_the_bundles_own_parameters_are_not_made_up():
    trees = {"when": tree_of("subject.id in params.staff.ids", ())}
    params = {"staff": {"ids": ["ann"]}}

    assert all(data["params"] is params for data in inputs(trees, params))


def test_the_number_of_inputs_is_bounded():
    clauses = " || ".join(f"subject.properties.p{n} == {n}" for n in range(100))

    assert len(list(inputs(trees_of(rule_of(clauses).rules[0]), {}))) == INPUTS_MAX


@pytest.mark.parametrize("folder", BUNDLES, ids=lambda folder: str(folder.relative_to(ROOT)))
def test_nobody_disagrees_about_the_bundles_that_are_here(folder):
    assert rehearse(load_bundle(folder, by_protocol())).disagreements == []


def test_too_many_branches_are_counted_and_not_heard():
    heard = SecondOpinion(1)

    heard.hear_rule(rule_of("dyn(true) && dyn(false)").rules[0], {}, {})

    assert heard.compared == 1
    assert set(heard.not_comparable.values()) == {"there are too many branches to hear them all"}


def test_rules_behind_too_many_branches_are_named_and_not_heard():
    rules = [{"id": f"r{n}", "effect": "allow", "when": f"{'!' * n}delegated"} for n in range(9)]

    found = rehearse(bundle_of(rules), 4)

    assert found.compared == 4
    assert "p/r8" in found.not_comparable


def test_of_rules_that_differ_in_a_name_alone_a_few_are_heard():
    rules = [{"id": f"r{n}", "effect": "allow", "when": f"subject.id == '{n}'"} for n in range(99)]

    found = rehearse(bundle_of(rules))

    heard = rehearse(bundle_of(rules[:ALIKE_MAX]))
    assert found.compared == heard.compared > 0
    assert found.not_comparable == {}
