"""Expectations beside what came: of resources and actions, of obligations, of what is forwarded."""

import pytest

from sidecar.domains import by_protocol
from sidecar.policy.bundle import compile_bundle
from sidecar.review.testing.run import run_suites
from sidecar.terms.errors import PolicyError
from tests.review.shelf import HEAD, PRINCIPALS, document
from tests.tables import rows


def bundle(rules, suite):
    files = {"bundle.yaml": HEAD, "p.yaml": document("Policy", "p", {"rules": rules})}
    return compile_bundle({**files, "s_test.yaml": document("Test", "s", suite)}, by_protocol())


@pytest.mark.parametrize("row", rows("review/resources.yaml"))
def test_a_matrix_of_resources(row):
    suite = {**row.table["suite"], "tests": [{"name": "one", **row.given}]}
    known = bundle(row.table["rules"], suite)
    if isinstance(row.want, list):
        with pytest.raises(PolicyError) as refused:
            run_suites(known)
        assert row.want == [problem.partition(": ")[2] for problem in refused.value.problems]
        return

    cells = run_suites(known).cells

    told = {f"{cell.principal} {cell.request}": "; ".join(cell.differences) for cell in cells}
    assert row.want == {name: text for name, text in told.items() if text}


@pytest.mark.parametrize("row", rows("review/expecting.yaml"))
def test_what_differs_from_what_is_expected(row):
    ((name, expected),) = row.given.items()
    sent = {"principals": list(PRINCIPALS), "requests": [name]}
    test = {"name": "one", "input": sent, "expected": [expected]}
    requests = {name: row.table["requests"][name]}
    suite = {"principals": PRINCIPALS, "requests": requests, "tests": [test]}

    (cell,) = run_suites(bundle(row.table["rules"], suite)).cells

    assert len(row.want) == len(cell.differences), cell.differences
    for want, got in zip(row.want, cell.differences, strict=True):
        begin, cut, _ = want.partition("…")
        assert got.startswith(begin) if cut else got == want


def test_the_options_of_a_test_stand_in_for_those_of_its_suite():
    rule = {"id": "r", "effect": "allow", "when": "context.time < '2026-06-01'"}
    asked = {"action": {"name": "view"}, "resource": {"type": "doc", "id": "1"}}
    test = {
        "name": "late",
        "options": {"now": "2026-07-01T00:00:00Z"},
        "input": {"principals": ["ann"], "requests": ["r"]},
    }
    requests = {"r": {"protocol": "authzen", "call": asked}}
    suite = {"principals": PRINCIPALS, "requests": requests, "tests": [test]}

    (cell,) = run_suites(bundle([rule], suite)).cells

    assert cell.outcome == "deny"


def test_two_suites_of_one_name_are_refused():
    test = {"name": "one", "input": {"principals": ["ann"], "requests": ["r"]}}
    asked = {"action": {"name": "view"}, "resource": {"type": "doc", "id": "1"}}
    suite = {
        "principals": PRINCIPALS,
        "requests": {"r": {"protocol": "authzen", "call": asked}},
        "tests": [test],
    }
    rules = [{"id": "r", "effect": "allow", "when": "subject.id == 'x'"}]
    files = {"bundle.yaml": HEAD, "p.yaml": document("Policy", "p", {"rules": rules})}
    files |= {name: document("Test", "s", suite) for name in ("a_test.yaml", "b_test.yaml")}

    with pytest.raises(PolicyError) as refused:
        run_suites(compile_bundle(files, by_protocol()))

    assert refused.value.problems == ("b_test.yaml:4:9: suite `s` stands twice in the bundle",)
