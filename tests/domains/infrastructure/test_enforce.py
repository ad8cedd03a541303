"""Denials in the words that kubectl, the AWS SDKs and CI expect; obligations deny."""

from xml.etree import ElementTree as ET

import pytest

from sidecar.domains.infrastructure import DOMAIN
from sidecar.terms.call import Call, Identity, Party
from sidecar.terms.decision import Approval, BundleStamp, Decision, Obligation, RuleSpoke
from sidecar.terms.domain import Needs
from sidecar.terms.errors import EnforceError
from sidecar.terms.reasons import reason
from sidecar.terms.request import Request
from sidecar.terms.words import CallId, PolicyName, PolicyVersion, RuleId

ID = CallId("0198c0de-0000-7000-8000-000000000000")
STAMP = BundleStamp("acme", PolicyVersion("1.4.0"), "sha256:ab")
RULE = RuleSpoke(RuleId("no-delete"), PolicyName("clusters"), "deny", "org", "sha256:cd")
NAMED = ["clusters/no-delete", "1.4.0", ID]
K8S = {"method": "DELETE", "path": "/api/v1/namespaces/prod/pods/p1"}
SCOPE = "AWS4-HMAC-SHA256 Credential=A/20260101/eu-west-1/{}/aws4_request"


def call(protocol, payload):
    identity = Identity(Party("user", "alice"))
    return Call(ID, "t", "cli", "default", protocol, payload, identity)


def decision(**fields):
    said = {"outcome": "deny", "reason": reason("rule"), "policy": STAMP, "rules": (RULE,)}
    return Decision(id=ID, **{**said, "message": "not <here>", **fields})


def read(made):
    parsed = DOMAIN.parse(made, DOMAIN.catalogue([]), Needs())
    return Request(
        id=made.id,
        time=made.time,
        listener=made.listener,
        upstream=made.upstream,
        domain=DOMAIN.name,
        phase=parsed.phase,
        protocol=made.protocol,
        subject=made.identity.subject,
        actors=(),
        targets=parsed.targets,
        context={},
        request={made.protocol: parsed.native},
        parse=parsed.parse,
    )


def aws(service, headers=None, **payload):
    headers = {"Authorization": SCOPE.format(service), **(headers or {})}
    return {"method": "POST", "url": "https://localhost/", "headers": headers, **payload}


def test_kubectl_is_told_a_status():
    refusal = DOMAIN.refuse(call("k8s", K8S), decision())

    assert refusal.status == 403
    assert refusal.content_type == "application/json"
    assert refusal.body["kind"] == "Status"
    assert refusal.body["reason"] == "Forbidden"
    assert all(part in refusal.body["message"] for part in NAMED)


@pytest.mark.parametrize(
    ("payload", "root", "code"),
    [
        (aws("s3"), "Error", "AccessDenied"),
        (aws("ec2"), "Response", "UnauthorizedOperation"),
        (aws("sts", body="Action=GetCallerIdentity"), "ErrorResponse", "AccessDenied"),
        (aws("sts", body=b"Action=GetCallerIdentity"), "ErrorResponse", "AccessDenied"),
    ],
)
def test_an_aws_client_of_an_xml_protocol_is_told_an_error(payload, root, code):
    refusal = DOMAIN.refuse(call("aws", payload), decision())

    told = ET.fromstring(refusal.body)
    texts = {element.tag: element.text or "" for element in told.iter()}
    assert refusal.status == 403
    assert told.tag == root
    assert texts["Code"] == code
    assert all(part in texts["Message"] for part in [*NAMED, "not <here>"])


def test_an_aws_client_of_the_json_protocol_is_told_a_type():
    payload = aws("dynamodb", {"X-Amz-Target": "DynamoDB_20120810.Scan"}, body="{}")

    refusal = DOMAIN.refuse(call("aws", payload), decision())

    assert refusal.status == 400
    assert refusal.body["__type"] == "AccessDeniedException"
    assert all(part in refusal.body["message"] for part in NAMED)


def test_an_aws_client_of_a_rest_protocol_is_told_by_a_header():
    refusal = DOMAIN.refuse(call("aws", aws("lambda", body="{}")), decision())

    assert refusal.status == 403
    assert refusal.headers == {
        "x-amzn-RequestId": ID,
        "x-amzn-ErrorType": "AccessDeniedException",
    }


@pytest.mark.parametrize("payload", [{}, {"headers": 3, "url": None, "body": []}])
def test_a_call_that_nobody_could_read_is_refused_all_the_same(payload):
    assert DOMAIN.refuse(call("aws", payload), decision(rules=())).status == 403


def test_a_plan_is_refused_as_a_problem():
    refusal = DOMAIN.refuse(call("terraform", {"plan": {}}), decision())

    assert refusal.content_type == "application/problem+json"
    assert refusal.body["id"] == ID
    assert refusal.body["rules"] == ["clusters/no-delete"]
    assert refusal.body["policy"] == {"bundle": "acme", "version": "1.4.0", "digest": "sha256:ab"}


def test_whoever_waits_for_a_human_is_told_the_approval():
    waiting = decision(outcome="step_up", approval=Approval("a1", "sha256:ef"))

    assert "approval a1" in DOMAIN.refuse(call("k8s", K8S), waiting).body["message"]
    assert DOMAIN.refuse(call("terraform", {}), waiting).body["approval"] == "a1"


def test_a_permitted_call_goes_out_as_it_came():
    made = call("k8s", K8S)

    payload = DOMAIN.rewrite(made, read(made), decision(outcome="allow"), DOMAIN.catalogue([]))

    assert payload is made.payload


def test_an_obligation_that_cannot_be_carried_out_denies():
    made = call("k8s", K8S)
    owed = decision(outcome="modify", obligations=(Obligation("mask", "k8s/pods:prod/p1"),))

    with pytest.raises(EnforceError) as refused:
        DOMAIN.rewrite(made, read(made), owed, DOMAIN.catalogue([]))

    assert refused.value.reason == "obligation.unsupported"
