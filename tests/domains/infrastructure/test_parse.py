"""What Kubernetes, AWS and Terraform calls mean: the tables of cases/infrastructure."""

import base64

import pytest

from sidecar.domains.infrastructure import DOMAIN
from sidecar.terms.call import Call, Identity, Party
from sidecar.terms.errors import ParseError
from sidecar.terms.words import CallId
from tests.domains import conform
from tests.tables import rows

CREDENTIAL = (
    "AWS4-HMAC-SHA256 Credential=AKID/20260101/eu-west-1/{}/aws4_request, "
    "SignedHeaders=host, Signature=ab"
)
NOTHING = DOMAIN.catalogue([])


def call(protocol, payload):
    identity = Identity(Party("user", "alice"))
    return Call(
        CallId("c1"), "2026-01-01T00:00:00.000000Z", "cli", "default", protocol, payload, identity
    )


def parse(protocol, payload, catalogue=NOTHING):
    return conform.parse(DOMAIN, call(protocol, payload), catalogue)


def signed(value):
    """Write out `$service`, which stands for an Authorization header of that scope."""
    if isinstance(value, list):
        return [signed(item) for item in value]
    return CREDENTIAL.format(value[1:]) if value.startswith("$") else value


def payload_of(row):
    given = dict(row.given)
    if row.table["protocol"] == "terraform":
        return {"plan": _plan(row, given)}
    if "body_base64" in given:
        given["body"] = base64.b64decode(given.pop("body_base64"))
    if "headers" in given and row.table["protocol"] == "aws":
        given["headers"] = {name: signed(value) for name, value in given["headers"].items()}
    return given


def _plan(row, given):
    if "text" in given:
        return given["text"]
    plan = {**row.table["plan"], **given.get("with", {})}
    for name in given.get("without", []):
        del plan[name]
    if "configuration" in given:
        plan["configuration"] = given["configuration"]
    if "changes" in given:
        plan["resource_changes"] = [
            {**row.table["change"], **change} for change in given["changes"]
        ]
    return plan


@pytest.mark.parametrize("row", rows("infrastructure"))
def test_parse(row):
    payload = payload_of(row)

    if "reason" in row.want:
        with pytest.raises(ParseError) as refused:
            parse(row.table["protocol"], payload)
        assert row.want["reason"] == refused.value.reason
        return
    parsed = parse(row.table["protocol"], payload)

    seen = [[t.action.name, t.action.cls, t.resource.key] for t in parsed.targets]
    assert row.want["targets"] == seen
    assert row.want.get("status", "complete") == parsed.parse.status
    assert tuple(row.want.get("missing", ())) == parsed.parse.missing
    for name, value in row.want.get("native", {}).items():
        assert value == parsed.native[name], name
    for name, value in row.want.get("properties", {}).items():
        assert value == parsed.targets[0].resource.properties.get(name), name
    assert set(row.want) <= {"targets", "status", "missing", "native", "properties"}
