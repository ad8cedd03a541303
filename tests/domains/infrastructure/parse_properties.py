"""Laws of the infrastructure parsers that hold for whatever comes."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.domains.infrastructure import DOMAIN
from sidecar.terms.call import Call, Identity, Party
from sidecar.terms.domain import Needs
from sidecar.terms.errors import ParseError
from sidecar.terms.reasons import REASONS
from sidecar.terms.words import CallId

SCOPE = "AWS4-HMAC-SHA256 Credential=AKID/20260101/eu-west-1/{}/aws4_request, Signature=5ec2e7"
PIECES = st.sampled_from([
    "/", "//", "..", ".", "%2f", "%2e", "%00", "%", ";", "?", "#", "&", "=", "+", "*", "\\", " ",
    "é", "api", "apis", "v1", "watch", "proxy", "namespaces", "prod", "pods", "p1", "exec",
    "secrets", "acl", "tagging", "versionId=1", "Action=", "X-Amz-Credential", "bucket1", "key",
    "delete",
])  # fmt: skip
PATHS = st.lists(PIECES, max_size=10).map(lambda parts: "/" + "".join(parts))
JOINED = st.lists(PIECES, max_size=10).map(lambda parts: "/" + "/".join(parts))
METHODS = st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "get", "TRACE"])
SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
TREES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    ),
    max_leaves=12,
)


def parse(protocol, payload):
    identity = Identity(Party("user", "alice"))
    call = Call(CallId("c1"), "t", "cli", "default", protocol, payload, identity)
    return DOMAIN.parse(call, DOMAIN.catalogue([]), Needs())


def is_understood_or_refused(protocol, payload):
    """Whatever comes ends as targets or as a ParseError of the closed list, never otherwise."""
    refused = None
    parsed = None
    try:
        parsed = parse(protocol, payload)
    except ParseError as error:
        refused = error.reason
    assert refused in REASONS or (parsed is not None and parsed.targets)
    return parsed


@given(METHODS, PATHS | JOINED, PATHS, st.text(max_size=20) | st.binary(max_size=20))
def test_a_kubernetes_request_is_understood_or_refused(method, path, query, body):
    payload = {"method": method, "path": path, "query": query[1:], "body": body}

    parsed = is_understood_or_refused("k8s", payload)

    if parsed is not None:
        identity = parsed.targets[0].resource.id
        assert "//" not in identity
        assert ".." not in identity.split("/")


@given(
    METHODS,
    st.sampled_from(["s3", "ec2", "lambda", "sts", "dynamodb", "execute-api"]),
    PATHS | JOINED,
    PATHS,
    st.text(max_size=20) | st.binary(max_size=20),
)
def test_an_aws_request_is_understood_or_refused(method, service, path, query, body):
    payload = {
        "method": method,
        "url": f"https://localhost{path}?{query[1:]}",
        "headers": {"Authorization": SCOPE.format(service), "X-Amz-Security-Token": "70ke2n"},
        "body": body,
    }

    parsed = is_understood_or_refused("aws", payload)

    if parsed is not None:
        text = msgspec.json.encode(msgspec.to_builtins(parsed)).decode()
        assert "5ec2e7" not in text
        assert "70ke2n" not in text


def plan_of(change):
    """Return the call of a plan that changes one resource."""
    entry = {"address": "t.n", "mode": "managed", "type": "t", "name": "n", "change": change}
    plan = {
        "format_version": "1.2",
        "terraform_version": "1",
        "planned_values": {},
        "configuration": {},
        "resource_changes": [entry],
    }
    return {"plan": plan}


@given(TREES, TREES, TREES, st.lists(st.sampled_from(["create", "delete", "update"]), max_size=2))
def test_a_plan_is_understood_or_refused(after, unknown, sensitive, actions):
    change = {
        "actions": actions,
        "after": after,
        "after_unknown": unknown,
        "after_sensitive": sensitive,
    }

    is_understood_or_refused("terraform", plan_of(change))


@given(TREES)
def test_what_is_wholly_sensitive_shows_nothing(value):
    change = {
        "actions": ["update"],
        "after": value,
        "after_unknown": {},
        "after_sensitive": True,
    }

    shown = parse("terraform", plan_of(change)).targets[0].resource.properties.get("after")

    assert shown in (None, "(sensitive)")


@pytest.mark.parametrize("protocol", DOMAIN.protocols)
@given(st.dictionaries(st.text(max_size=8), TREES, max_size=4))
def test_a_payload_of_any_shape_is_refused(protocol, payload):
    with pytest.raises(ParseError):
        parse(protocol, payload)
