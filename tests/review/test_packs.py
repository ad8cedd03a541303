"""Every bundle that we hand out is tested whole: no rule, clause or entry is left unseen.

What is asked of the packs here is what we ask of everybody's policies in CI.
"""

import re

import pytest

from sidecar.review.coverage.collect import Coverage
from sidecar.review.coverage.report import report_of
from sidecar.review.formatting import formatted
from sidecar.review.linting import lint
from sidecar.review.mutation.equal import settled
from sidecar.review.mutation.mutants import mutants_of
from sidecar.review.mutation.run import Trial
from sidecar.review.testing.cells import cases_of, suites_of
from sidecar.review.testing.run import run_cases
from tests.review.packs import HOME, PACKS, SHIPPED, loaded, rules_of

CONTROL = re.compile(r"DORA-9\.[1-4](\.[a-f])?|AI-ACT-(12|14)|OWASP-(LLM|ASI)(0[1-9]|10)")


@pytest.mark.parametrize("name", SHIPPED)
def test_every_cell_passes_and_nothing_is_left_unseen(name):
    bundle = loaded(name)

    outcome = run_cases(bundle, cases_of(suites_of(bundle)), Coverage(bundle))
    assert outcome.coverage is not None
    report = report_of(bundle, outcome.coverage)

    assert [(each.request, each.differences) for each in outcome.cells if not each.passed] == []
    assert outcome.opinion.disagreements == []
    assert [site.sentence for site in report.missing] == []


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", SHIPPED)
def test_no_mistake_goes_unnoticed(name):
    bundle = loaded(name)
    trial = Trial(bundle, cases_of(suites_of(bundle)))

    found = settled(trial.run(list(mutants_of(bundle)), lambda: None), bundle)

    assert found.killed > 20
    assert [(one.where, one.what, one.after) for one in found.survivors] == []
    assert [one.text for one in found.left_over] == []


@pytest.mark.parametrize("name", SHIPPED)
def test_lint_has_nothing_to_say(name):
    assert [found for found in lint(loaded(name)) if found.accepted is None] == []


@pytest.mark.parametrize("name", SHIPPED)
def test_files_are_laid_out_as_fmt_lays_them_out(name):
    bundle = loaded(name)

    found = formatted({**bundle.files, **bundle.test_files})

    assert [one.path for one in found if one.changes or one.refused] == []


@pytest.mark.parametrize("name", PACKS)
def test_every_rule_says_which_control_it_serves(name):
    for key, _, controls in rules_of(loaded(name)):
        assert controls, key
        assert [one for one in controls if not CONTROL.fullmatch(one)] == [], key


@pytest.mark.parametrize("name", PACKS)
def test_a_pack_says_what_a_refusal_is_about(name):
    silent = [
        key
        for key, rule, _ in rules_of(loaded(name))
        if rule["effect"] in {"deny", "step_up"} and not rule.get("message")
    ]

    assert silent == []


@pytest.mark.parametrize("name", PACKS)
def test_a_pack_is_tried_by_whoever_would_get_round_it(name):
    assert (HOME / name / "attacks_test.yaml").is_file()


def test_the_page_of_packs_lists_every_one():
    listed = re.findall(r"^\| `([a-z-]+)` \|", (HOME / "README.md").read_text(), re.MULTILINE)

    assert sorted(listed) == PACKS
