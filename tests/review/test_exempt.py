"""Exemptions from lint: with a reason, counted, and told when they are left over."""

import pytest

from sidecar.policy.bundle import compile_bundle
from sidecar.review.linting import CHECKS, Looked, inspect, lint, page
from sidecar.syntax.yaml12 import dump
from sidecar.terms.errors import PolicyError
from tests import toy
from tests.review.shelf import HEAD

RULES = [{"id": "a", "effect": "deny"}, {"id": "b", "effect": "deny", "when": "delegated"}]
WHY = "both say it elsewhere"
SAID = "deny-without-message"


def bundle_of(*ignore, rules=RULES):
    body = {
        "apiVersion": "sidecar/v1",
        "kind": "Policy",
        "metadata": {"name": "p", "lint": {"ignore": list(ignore)}},
        "spec": {"rules": rules},
    }
    return compile_bundle({"bundle.yaml": HEAD, "p.yaml": dump(body).encode()}, toy.domains())


def told(bundle, code=SAID):
    return [one.about for one in lint(bundle) if one.code == code]


def test_nothing_is_exempt_unless_it_says_so():
    assert told(bundle_of()) == ["p/a", "p/b"]


def test_a_policy_exempts_all_of_its_rules():
    assert told(bundle_of({"code": SAID, "reason": WHY})) == []


def test_a_policy_exempts_one_of_its_rules():
    assert told(bundle_of({"code": SAID, "rule": "a", "reason": WHY})) == ["p/b"]


def test_what_is_exempt_is_kept_with_its_reason():
    found = inspect(Looked(bundle_of({"code": SAID, "rule": "a", "reason": WHY})))

    assert [(one.about, one.accepted) for one in found if one.code == SAID] == [
        ("p/a", WHY),
        ("p/b", None),
    ]


@pytest.mark.parametrize(
    ("ignore", "text"),
    [
        (
            {"code": "modify-nothing", "reason": WHY},
            "`modify-nothing` finds nothing in `p`: the exemption is left over",
        ),
        (
            {"code": SAID, "rule": "c", "reason": WHY},
            f"`{SAID}` finds nothing in `p/c`: the exemption is left over",
        ),
        ({"code": "no-such", "reason": WHY}, "`no-such` is no check of lint"),
    ],
)
def test_an_exemption_that_is_left_over_is_a_finding(ignore, text):
    found = [one for one in lint(bundle_of(ignore)) if one.code == "unused-exemption"]

    assert [one.text for one in found] == [text]
    assert found[0].where.startswith("p.yaml:7:")


@pytest.mark.parametrize("reason", [{}, {"reason": ""}, {"reason": "because"}])
def test_an_exemption_without_a_reason_does_not_load(reason):
    with pytest.raises(PolicyError, match=r"p\.yaml:\d+:\d+"):
        bundle_of({"code": SAID, **reason})


def test_an_exemption_changes_no_rules_digest():
    plain, exempt = bundle_of(), bundle_of({"code": SAID, "reason": WHY})

    assert [rule.digest for rule in plain.rules] == [rule.digest for rule in exempt.rules]


def test_the_page_of_the_room_has_every_check(pytestconfig):
    readme = (pytestconfig.rootpath / "sidecar" / "review" / "linting" / "README.md").read_text(
        "utf-8"
    )

    assert page() in readme
    assert len(CHECKS) > 30
