"""The second evaluator agrees, cannot say, or disagrees, and then nobody may rest on the rule."""

import pytest

from sidecar.review.run import run_suites
from sidecar.review.second import NotComparable, evaluate
from tests.review.shelf import bundle_of, request, suite_of
from tests.tables import rows


@pytest.mark.parametrize("row", rows("review/second.yaml"))
def test_a_second_opinion(row):
    rules = [{"id": "rule", "effect": "allow", "when": row.given}]
    suite = suite_of(r=request(one=1, half=0.5, truth=True, text="abc", items=[1, 2], map={"a": 1}))

    opinion = run_suites(bundle_of(rules, suite)).opinion

    found = {
        "compared": opinion.compared,
        "disagree": [f"ours {one.ours}, theirs {one.theirs}" for one in opinion.disagreements],
        "not comparable": list(opinion.not_comparable.values()),
    }
    nothing = {"compared": 0, "disagree": [], "not comparable": []}
    assert {**nothing, **row.want} == found


def test_a_condition_is_heard_once_held_and_once_not():
    rules = [{"id": "rule", "effect": "allow", "when": "resource.id == 't'"}]
    others = {f"r{n}": request(f"read select table:t{n or ''}") for n in range(5)}

    opinion = run_suites(bundle_of(rules, suite_of(**others))).opinion

    assert opinion.compared == 2


def test_variables_facts_and_globs_are_the_same_for_both():
    rules = [
        {"id": "rule", "effect": "allow", "when": "variables.known && glob('t*', resource.id)"}
    ]
    suite = {**suite_of(r=request()), "facts": {"entity": {"user": {"ann": {"role": "staff"}}}}}
    variables = {"known": "entity('user', subject.id).role == 'staff'"}

    opinion = run_suites(bundle_of(rules, suite, variables=variables)).opinion

    assert (opinion.compared, opinion.disagreements, opinion.not_comparable) == (1, [], {})


def test_a_disagreement_names_the_rule_and_where_it_stands():
    rules = [{"id": "rule", "effect": "allow", "when": "request.sql.truth == 1"}]

    opinion = run_suites(bundle_of(rules, suite_of(r=request(truth=True)))).opinion

    (one,) = opinion.disagreements
    assert (one.rule, one.where) == ("p/rule", "p.yaml:7:5")


def test_an_error_of_the_second_is_no_opinion():
    with pytest.raises(NotComparable):
        evaluate("request.absent == 1", {"request": {}}, {})
