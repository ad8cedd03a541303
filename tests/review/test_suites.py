"""Suites: what is refused with its position, and what each cell of a matrix comes to."""

import asyncio
import json
import re
from pathlib import Path

import pytest

from sidecar.domains import by_protocol
from sidecar.policy.bundle import compile_bundle
from sidecar.review.linting import lint
from sidecar.review.testing.cells import cases_of, suites_of
from sidecar.review.testing.run import call_of, run_suites, try_call
from sidecar.runtime.bundles import load_bundle
from sidecar.runtime.dryrun import dry_call, dry_facts, tried
from sidecar.terms.errors import PolicyError
from tests import toy
from tests.review.shelf import HEAD, PRINCIPALS, YES, bundle_of, document, request, suite_of
from tests.tables import rows

SHIPPED = Path(__file__).parents[2] / "policies"
START = "apiVersion: sidecar/v1\nkind: Test\nmetadata: {name: s}\nspec:\n"


@pytest.mark.parametrize("row", rows("review/suites_refused.yaml"))
def test_a_suite_that_cannot_be_meant_is_refused_where_it_is_wrong(row):
    files = {
        "bundle.yaml": HEAD,
        "p.yaml": document("Policy", "p", {"rules": YES}),
        "p_test.yaml": (START + row.given).encode(),
    }
    bundle = compile_bundle(files, toy.domains())

    with pytest.raises(PolicyError) as refused:
        suites_of(bundle)

    assert row.want == list(refused.value.problems)


@pytest.mark.parametrize("row", rows("review/matrix.yaml"))
def test_a_matrix_says_of_each_cell_what_came_of_it(row):
    given = dict(row.given)
    suite = {**row.table["suite"], "facts": given.pop("facts", {})}
    sent = {"principals": given.pop("principals"), "requests": given.pop("requests")}
    suite["tests"] = [{"name": "one", "input": sent, **given}]

    outcome = run_suites(bundle_of(row.table["rules"], suite))

    told = {f"{cell.principal} {cell.request}": shown(cell) for cell in outcome.cells}
    assert row.want == told
    assert outcome.failed == sum(isinstance(want, list) for want in row.want.values())


def shown(cell):
    if cell.skipped is not None:
        return f"skipped {cell.skipped}"
    return [cell.outcome, *cell.differences] if cell.differences else cell.outcome


def test_a_cell_that_failed_says_what_each_rule_said_of_each_target():
    rules = [
        *YES,
        {"id": "no", "effect": "deny", "when": "resource.id == 't'"},
        {"id": "write", "effect": "allow", "match": {"classes": ["write"]}},
        {"id": "tools", "effect": "allow", "match": {"protocols": ["mcp"]}},
    ]

    (cell,) = run_suites(bundle_of(rules, suite_of({"outcome": "allow"}, r=request()))).cells

    assert cell.where == "p_test.yaml:26:7"
    assert cell.at == ("p.yaml:12:5",)
    assert list(cell.explained) == [
        "reason rule: p/no decides deny for select on table:t",
        "select table:t → deny",
        "  held   allow   p/yes: always",
        "  held   deny    p/no: resource.id == 't'",
        '      resource.id → "t"',
        "  not matched (classes) allow p/write",
    ]


def test_a_filter_runs_what_it_names_and_counts_nothing_else():
    bundle = bundle_of(YES, suite_of({"outcome": "allow"}, r=request()))

    assert run_suites(bundle, only="s/one").ran == 1
    assert run_suites(bundle, only="s/two").ran == 0


def test_the_clock_of_a_suite_is_its_own():
    rules = [{"id": "early", "effect": "allow", "when": "context.time < '2026-06-01'"}]
    suite = suite_of({"outcome": "allow"}, r=request())

    early = run_suites(bundle_of(rules, suite))
    late = run_suites(bundle_of(rules, {**suite, "options": {"now": "2026-07-01T00:00:00Z"}}))

    assert (early.failed, late.failed) == (0, 1)


CONTEXT = {
    "beside the call": {"call": {}, "context": {"purpose": "audit"}},
    "in the call": {"call": {"context": {"purpose": "audit"}}},
    "in both, where the envelope's is heard": {
        "call": {"context": {"purpose": "fun"}},
        "context": {"purpose": "audit"},
    },
    "in neither": {"call": {}},
    "of a time": {"call": {}, "context": {"purpose": "audit", "time": "2020-01-01T00:00:00Z"}},
}


@pytest.mark.parametrize("said", CONTEXT.values(), ids=CONTEXT.keys())
@pytest.mark.parametrize("when", ["context.purpose == 'audit'", "context.claimed.purpose != 'fun'"])
def test_a_test_and_a_dry_run_read_one_envelope_as_one_call(said, when):
    rule = {"id": "r", "effect": "allow", "when": f"{when} && context.time > '2025'"}
    asked = {"action": {"name": "read"}, "resource": {"type": "doc", "id": "1"}}
    envelope = {"protocol": "authzen", **said, "call": {**asked, **said["call"]}}
    suite = suite_of({"outcome": "allow"}, r=envelope)
    files = {"p.yaml": document("Policy", "p", {"rules": [rule]})}
    files["bundle.yaml"] = HEAD
    bundle = compile_bundle({**files, "p_test.yaml": document("Test", "s", suite)}, by_protocol())

    (cell,) = run_suites(bundle).cells

    call = dry_call(json.dumps({**envelope, **PRINCIPALS["ann"]}).encode())
    dry = asyncio.run(tried(call, bundle, dry_facts(None)))
    assert cell.outcome == dry.decision.outcome


def test_a_cell_that_is_no_call_fails_and_says_why():
    wrong = {**request(), "protocol": "no word"}

    (cell,) = run_suites(bundle_of(YES, suite_of(r=wrong))).cells

    assert not cell.passed
    assert cell.differences == (
        "not a call: `protocol` is not a word of letters, digits, `.`, `_` and `-`",
    )


@pytest.fixture(scope="module")
def shipped():
    return load_bundle(SHIPPED, by_protocol())


def test_the_shipped_policies_pass_and_two_engines_agree_on_them(shipped):
    outcome = run_suites(shipped)

    assert [cell for cell in outcome.cells if not cell.passed or cell.skipped] == []
    assert outcome.opinion.disagreements == []
    assert outcome.opinion.not_comparable == {}
    assert outcome.opinion.compared > 20
    assert lint(shipped) == []


@pytest.mark.parametrize("field", ["rules", "silent"])
def test_every_shipped_rule_is_expected_to_speak_and_to_be_silent(shipped, field):
    expected = {
        rule
        for suite in suites_of(shipped)
        for test in suite.spec.tests
        for one in test.expected
        for rule in getattr(one, field) or ()
    }

    assert {rule.key for rule in shipped.rules} - expected == set()


def envelopes():
    """Return the envelope of every protocol that a domain's page shows."""
    pages = sorted((SHIPPED.parent / "sidecar" / "domains").glob("*/README.md"))
    found = [
        json.loads(block)
        for page in pages
        for block in re.findall(r"^```json\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    ]
    return {f"{number} {one['protocol']}": one for number, one in enumerate(found)}


@pytest.mark.parametrize("envelope", envelopes().values(), ids=envelopes().keys())
def test_a_request_of_every_protocol_is_read_as_it_is_in_production(envelope):
    sent = {key: envelope[key] for key in ("protocol", "call", "context") if key in envelope}
    # Who asks is the suite's to say.
    sent["call"] = {key: value for key, value in sent["call"].items() if key != "subject"}
    asking = [{"phases": [phase]} for phase in ("call", "list", "connect")]
    rules = [
        {"id": match["phases"][0], "effect": "allow", "match": match, "when": "subject.id != 'x'"}
        for match in asking
    ]
    files = {"bundle.yaml": HEAD, "p.yaml": document("Policy", "p", {"rules": rules})}
    files["s_test.yaml"] = document("Test", "s", suite_of({"outcome": "allow"}, r=sent))
    bundle = compile_bundle(files, by_protocol())
    (case,) = cases_of(suites_of(bundle))

    tried = try_call(call_of(case), bundle, case.suite.spec.facts)

    assert tried.request.parse.status in {"complete", "partial"}
    assert tried.request.protocol == envelope["protocol"]
    assert tried.request.targets
