"""Small mistakes put into policies: those that no test notices are named, with their change."""

from pathlib import Path

import pytest

from sidecar.domains import by_protocol
from sidecar.policy.bundle import compile_bundle
from sidecar.review.crowd import Chosen, mutate_spread
from sidecar.review.mutation.mutants import mutants_of
from sidecar.review.mutation.run import Mutation, Trial
from sidecar.review.mutation.telling import lines
from sidecar.review.testing.cells import cases_of, suites_of
from sidecar.review.testing.run import run_cases
from sidecar.runtime.bundles import load_bundle
from sidecar.syntax.yaml12 import dump
from tests import toy
from tests.review.shelf import HEAD, bundle_of, document, request, suite_of
from tests.tables import rows

SHIPPED = Path(__file__).parents[2] / "policies"


def mutated(rules, ask, sized=None, **spec):
    expected = [{"request": name, "outcome": outcome} for name, outcome in ask.items()]
    requests = {name: request(name) for name in ask}
    for name, (number, outcome) in (sized or {}).items():
        target = {"target": f"read select {name}", "properties": {"n": number}}
        requests[name] = {"protocol": "sql", "call": {"targets": [target]}}
        expected.append({"request": name, "outcome": outcome})
    bundle = bundle_of(rules, suite_of(*expected, **requests), **spec)
    trial = Trial(bundle, cases_of(suites_of(bundle)))
    return trial.run(list(mutants_of(bundle)), lambda: None)


@pytest.mark.parametrize("row", rows("review/mutants.yaml"))
def test_mistakes_that_no_test_notices_are_named(row):
    found = mutated(**row.given)

    told = [f"{one.where} {one.rule} {one.what}: {one.after}" for one in found.survivors]
    assert row.want == told
    assert (found.percent == 100) == (not told)


def test_a_survivor_is_told_as_a_change():
    rules = [{"id": "r", "effect": "allow", "when": "resource.id == 't' && subject.type == 'user'"}]

    found = mutated(rules, {"read select table:t": "allow", "read select table:u": "deny"})

    assert list(lines(found)) == [
        "mutants 85.7 %: 6 of 7 noticed, 1 survived",
        "  p.yaml:9:33: p/r: clause dropped; 2 cells reached it",
        "    - when: resource.id == 't' && subject.type == 'user'",
        "    + when: resource.id == 't' && true",
    ]


ONE = {"id": "r", "effect": "allow", "when": "resource.id == 't' && subject.type == 'user'"}
EQUAL = {
    "rule": "r",
    "what": "clause dropped",
    "after": "when: resource.id == 't' && true",
    "reason": "only users are asked for",
}

NOTICED = {**EQUAL, "what": "effect flipped", "after": "effect: deny"}


@pytest.mark.parametrize(
    ("said", "survive", "equal", "left"),
    [
        ([], 1, 0, []),
        ([EQUAL], 0, 1, []),
        ([{**EQUAL, "rule": None}], 1, 0, ["p.yaml:7:7"]),
        (
            [EQUAL, {**EQUAL, "what": "effect flipped", "after": "effect: deny"}],
            0,
            1,
            ["p.yaml:11:7"],
        ),
    ],
    ids=["nothing", "the survivor", "another", "one that is noticed"],
)
def test_a_mutant_that_is_no_mistake_is_named_with_the_reason(said, survive, equal, left):
    requests = {name: request(name) for name in ("read select table:t", "read select table:u")}
    suite = suite_of({"request": "read select table:t", "outcome": "allow"}, **requests)
    asked = [{key: value for key, value in one.items() if value} for one in said]
    policy = {
        "apiVersion": "sidecar/v1",
        "kind": "Policy",
        "metadata": {"name": "p", "mutants": {"equal": asked}},
        "spec": {"rules": [ONE]},
    }
    files = {"p.yaml": dump(policy).encode(), "p_test.yaml": document("Test", "s", suite)}
    bundle = compile_bundle({"bundle.yaml": HEAD, **files}, toy.domains())

    found = mutate_spread(bundle, Chosen(), jobs=1, done=lambda _: None)

    assert (len(found.survivors), len(found.equal)) == (survive, equal)
    assert [one.where for one in found.left_over] == left
    assert found.passed == (survive == 0 and not left)
    assert bundle.rules[0].digest == bundle_of([ONE]).rules[0].digest


def test_of_no_mutants_all_are_noticed():
    assert Mutation(0, ()).percent == 100


def test_mutants_are_the_policies_with_one_thing_changed():
    bundle = load_bundle(SHIPPED, by_protocol())
    known = {document.value["metadata"]["name"]: document for document in bundle.policy_documents}
    found = list(mutants_of(bundle))

    assert len(found) > 150
    for mutant in found:
        assert mutant.document.value != known[mutant.policy].value
        assert mutant.before != mutant.after
        file, line, column = mutant.where.rsplit(":", 2)
        assert len(bundle.files[file].decode().splitlines()[int(line) - 1]) >= int(column)


def test_a_bundle_is_as_it_was_after_its_mutants_ran():
    bundle = load_bundle(SHIPPED, by_protocol())
    rules, digest = bundle.rules, bundle.digest
    cases = cases_of(suites_of(bundle))

    Trial(bundle, cases).run(list(mutants_of(bundle))[:20], lambda: None)

    assert bundle.rules is rules
    assert bundle.digest == digest
    assert [document.value for document in bundle.policy_documents] == [
        document.value for document in load_bundle(SHIPPED, by_protocol()).policy_documents
    ]


def test_a_mutant_loads_by_itself_as_it_was_tried():
    """A survivor is what the tests say of a bundle with this mistake in it, written to a file."""
    rules = [{"id": "r", "effect": "allow", "when": "resource.id == 't' && subject.type == 'user'"}]
    requests = {name: request(name) for name in ("read select table:t", "read select table:u")}
    suite = suite_of({"request": "read select table:t", "outcome": "allow"}, **requests)
    bundle = bundle_of(rules, suite)
    (policy,) = bundle.policy_documents
    files = {**bundle.files, **bundle.test_files}
    trial = Trial(bundle, cases_of(suites_of(bundle)))
    for mutant in mutants_of(bundle):
        changed = compile_bundle(
            {**files, policy.name: dump(mutant.document.value).encode()}, bundle.domains
        )
        base = cases_of(suites_of(changed))
        survived = bool(trial.run([mutant], lambda: None).survivors)

        assert survived == (len(list(_passing(changed, base))) == len(base)), mutant.after


def _passing(bundle, cases):
    return [cell for cell in run_cases(bundle, cases, None).cells if cell.passed]
