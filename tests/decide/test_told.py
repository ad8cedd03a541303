"""What a person is told of a rule is what the rule said: over every cell of the shipped suites."""

from pathlib import Path

from sidecar.domains import by_protocol
from sidecar.policy.explained import explain_rule
from sidecar.review.testing.cells import cases_of, suites_of
from sidecar.review.testing.run import call_of, try_call
from sidecar.runtime.bundles import load_bundle

SHIPPED = Path(__file__).parents[2] / "policies"
SAID = {True: "held", False: "silent"}


def test_what_is_told_is_what_was_said():
    bundle = load_bundle(SHIPPED, by_protocol())
    times = 0
    for case in cases_of(suites_of(bundle)):
        tried = try_call(call_of(case), bundle, case.suite.spec.facts)
        for finding in (each for one in tried.judged(bundle) for each in one.findings):
            told = explain_rule(finding.rule, finding.data, tried.facts, finding.error)
            for name, variable in told.variables.items():
                held = variable.part.value if variable.part.state == "value" else None
                assert held == finding.data.get(name)
            if told.when is not None:
                part = told.when.part
                assert finding.said == ("error" if part.error else SAID[part.value is True])
                times += 1

    assert times > 100
