"""Lint: each finding with its code and position, and nothing where there is nothing to say."""

import pytest

from sidecar.domains import by_protocol
from sidecar.policy.bundle import compile_bundle
from sidecar.review.linting import lint
from tests.review.shelf import HEAD, YES, bundle_of, document, request, suite_of
from tests.tables import rows


def lines(found):
    return [f"{one.where}: {one.level}: {one.text} [{one.code}]" for one in found]


@pytest.mark.parametrize("row", rows("review/lint.yaml"))
def test_a_finding_says_what_where_and_why(row):
    spec = dict(row.given)

    found = lint(bundle_of(spec.pop("rules"), **spec))

    assert row.want == lines(one for one in found if one.code != "untested")


def bundle_in(row):
    """Return the bundle of a row's policy beside the catalogues and parameters of its table."""
    files = {"bundle.yaml": HEAD, "p.yaml": document("Policy", "p", row.given)}
    if "attributes" in row.table:
        files["attributes.yaml"] = document("Attributes", "own", row.table["attributes"])
    for name, spec in row.table["params"].items():
        files[f"{name}.yaml"] = document("Params", name, spec)
    for number, spec in enumerate(row.table["catalog"]):
        files[f"c{number}.yaml"] = document("Catalog", f"c{number}", spec)
    return compile_bundle(files, by_protocol())


@pytest.mark.parametrize("row", rows("review/checks.yaml"))
def test_a_mistake_is_found(row):
    found = lint(bundle_in(row))

    told = sorted(f"{one.code}: {one.text}" for one in found if one.code not in row.table["but"])
    assert sorted(row.want) == told


@pytest.mark.parametrize("row", rows("review/words.yaml") + rows("review/untyped.yaml"))
def test_a_word_that_leads_nowhere_is_found(row):
    found = lint(bundle_in(row))

    told = [f"{one.code}: {one.text}" for one in found if one.code in row.table["codes"]]
    assert row.want == told


UNTESTED = ["p.yaml:7:5: warning: no test expects `p/yes` to speak [untested]"]


def test_a_rule_that_no_test_expects_is_untested():
    assert lines(lint(bundle_of(YES))) == UNTESTED


def test_a_rule_that_a_test_expects_is_tested():
    suite = suite_of({"outcome": "allow", "rules": ["p/yes"]}, r=request())

    assert lint(bundle_of(YES, suite)) == []


def test_a_rule_that_is_expected_to_be_silent_alone_is_untested():
    suite = suite_of({"outcome": "deny", "silent": ["p/yes"]}, r=request("write insert table:t"))

    assert lines(lint(bundle_of(YES, suite))) == UNTESTED


def test_a_test_that_is_skipped_tests_nothing():
    suite = suite_of({"outcome": "allow", "rules": ["p/yes"]}, r=request())
    suite["tests"][0]["skip"] = True

    assert lines(lint(bundle_of(YES, suite))) == UNTESTED


def test_findings_stand_in_the_order_of_the_files():
    rules = [
        {"id": name, "effect": "deny", "when": f"resource.id == '{name}'"} for name in ("a", "b")
    ]

    found = [(one.where, one.code) for one in lint(bundle_of(rules))]

    assert found == [
        ("p.yaml:7:5", "deny-without-message"),
        ("p.yaml:7:5", "untested"),
        ("p.yaml:10:5", "deny-without-message"),
        ("p.yaml:10:5", "untested"),
    ]
