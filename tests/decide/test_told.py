"""What a person is told of a rule is what the rule said: over every cell of the shipped suites."""

from pathlib import Path

from sidecar.domains import by_protocol
from sidecar.policy.explained import explain_rule
from sidecar.review import run
from sidecar.review.second import SecondOpinion
from sidecar.runtime.bundles import load_bundle

SHIPPED = Path(__file__).parents[2] / "policies"
SAID = {True: "held", False: "silent"}


class Comparing(SecondOpinion):
    """Compares what was said with what is told, where the second evaluator would hear it."""

    times = 0

    def hear(self, judged, facts):
        for finding in (each for one in judged for each in one.findings):
            told = explain_rule(finding.rule, finding.data, facts, finding.error)
            for name, variable in told.variables.items():
                held = variable.part.value if variable.part.state == "value" else None
                assert held == finding.data.get(name)
            if told.when is not None:
                part = told.when.part
                assert finding.said == ("error" if part.error else SAID[part.value is True])
                Comparing.times += 1


def test_what_is_told_is_what_was_said(monkeypatch):
    monkeypatch.setattr(run, "SecondOpinion", Comparing)

    outcome = run.run_suites(load_bundle(SHIPPED, by_protocol()))

    assert outcome.failed == 0
    assert Comparing.times > 100
