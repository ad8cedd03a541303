"""Denials in HTTP's and AuthZEN's own words; obligations that cannot be carried out."""

import pytest

from sidecar.domains.application import DOMAIN
from sidecar.domains.application.enforce import rewrite
from sidecar.terms.decision import Approval, BundleStamp, Decision, Obligation, RuleSpoke
from sidecar.terms.errors import EnforceError
from sidecar.terms.words import PolicyName, PolicyVersion
from tests.domains.application.application_stand import call_of

CALL = call_of("http", {"method": "GET", "url": "http://api/a"})
STAMP = BundleStamp("org", PolicyVersion("1.0.0"), "sha256:ab")


def decision(outcome, reason="rule", **fields):
    return Decision(id=CALL.id, outcome=outcome, reason=reason, policy=STAMP, **fields)


def spoke(name, effect, status="held"):
    return RuleSpoke(name, PolicyName("users"), effect, "org", "sha256:cd", status)


def rewritten(said):
    return rewrite(CALL, said)


def test_without_obligations_the_identical_payload_is_forwarded():
    assert rewritten(decision("allow", "permitted")) is CALL.payload


@pytest.mark.parametrize(
    ("name", "want"),
    [
        ("redact", "obligation.unsupported"),
        ("notify", "obligation.unsupported"),
        ("end_session", "obligation.unsupported"),
        ("limit_rows", "obligation.unknown"),
    ],
)
def test_an_obligation_that_cannot_be_carried_out_denies(name, want):
    with pytest.raises(EnforceError) as refused:
        rewritten(decision("modify", obligations=(Obligation(name, "route:/a"),)))

    assert refused.value.reason == want


def test_a_denial_names_rule_policy_version_and_decision():
    rules = (spoke("closed", "deny"), spoke("open", "allow"), spoke("odd", "modify", "error"))

    refusal = DOMAIN.refuse(CALL, decision("deny", rules=rules, message="users are closed"))

    assert refusal.status == 403
    assert refusal.content_type == "application/problem+json"
    assert refusal.body == {
        "type": "urn:doorward:problem:deny",
        "title": "Denied by policy",
        "status": 403,
        "detail": "users are closed",
        "instance": f"urn:uuid:{CALL.id}",
        "id": CALL.id,
        "reason": "rule",
        "rules": ["users/closed", "users/odd"],
        "policy": "org",
        "version": "1.0.0",
        "digest": "sha256:ab",
    }


def test_a_call_that_was_not_understood_is_told_so():
    refusal = DOMAIN.refuse(CALL, decision("deny", "parse.path"))

    assert (refusal.status, refusal.body["reason"]) == (403, "parse.path")
    assert refusal.body["title"] == "Refused: not understood"


def test_an_approval_is_linked():
    approval = Approval("0190c0de-0000-7000-8000-000000000001", "sha256:ef", expires_at="soon")

    refusal = DOMAIN.refuse(CALL, decision("step_up", "approval.required", approval=approval))

    assert refusal.status == 403
    assert refusal.headers == {"Link": f'<urn:uuid:{approval.id}>; rel="approval"'}
    assert refusal.body["approval"] == {
        "id": approval.id, "status": "pending", "expires_at": "soon",
    }  # fmt: skip


def test_an_evaluation_is_denied_as_authzen_does():
    refusal = DOMAIN.refuse(call_of("authzen", {}), decision("deny"))

    assert refusal.status == 200
    assert refusal.body["decision"] is False


@pytest.mark.parametrize("field", ["a", "/a~", "/a~2", ""])
def test_a_redaction_names_json_pointers(field):
    catalogue = DOMAIN.catalogue([])

    assert DOMAIN.check({"type": "redact", "fields": [field]}, catalogue)
    assert DOMAIN.check({"type": "redact", "fields": ["/a~0/~1/0"]}, catalogue) == []
    assert DOMAIN.check({"type": "notify", "to": [field]}, catalogue) == []
