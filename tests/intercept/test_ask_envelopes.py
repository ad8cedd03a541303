"""From an envelope to a Call: tests/cases/intercept/ask_envelopes*.yaml."""

import msgspec
import pytest

from sidecar.facts.identity import AssertionRefused, Caller, Workload
from sidecar.intercept.envelope import Seen, asked_call, decided, operator_call, read_envelope
from sidecar.intercept.limits import CLAIMED_VALUES_MAX
from sidecar.terms.decision import BundleStamp, Decision
from sidecar.terms.errors import EnvelopeError
from sidecar.terms.reasons import reason
from sidecar.terms.words import CallId, PolicyVersion
from tests.tables import rows

SEEN = Seen(CallId("0"), "2026-01-02T03:04:05.000006Z", "ask")
WORKLOADS = {
    "self": {"id": "self", "uids": [1]},
    "gateway": {
        "id": "gateway",
        "uids": [2],
        "may_assert": {"subjects": ["user"], "actors": ["agent:*"], "context": ["purpose"]},
    },
}


def called(who, body):
    if who == "cli":
        return operator_call(read_envelope(body, trusted=True), SEEN)
    caller = Caller(msgspec.convert(WORKLOADS[who], Workload), "key")
    seen = msgspec.structs.replace(SEEN, ip="127.0.0.1")
    return asked_call(read_envelope(body, trusted=False), caller, seen)


@pytest.mark.parametrize("row", rows("intercept/ask_envelopes.yaml"))
def test_envelope(row):
    call = called(row.given["who"], row.given["envelope"])

    found = {
        "protocol": call.protocol,
        "time": call.time,
        "upstream": call.upstream,
        "context": call.context,
        "payload": {
            name: value.decode() if isinstance(value, bytes) else value
            for name, value in call.payload.items()
        },
        "subject": f"{call.identity.subject.type}:{call.identity.subject.id}",
        "actors": [f"{actor.type}:{actor.id}" for actor in call.identity.actors],
        "verified": call.identity.verified,
        "asserted_by": call.identity.asserted_by,
    }
    assert row.want == {name: found[name] for name in row.want}


@pytest.mark.parametrize("row", rows("intercept/ask_envelopes_refused.yaml"))
def test_refused_envelope(row):
    with pytest.raises(EnvelopeError) as error:
        called(row.given.get("who", "gateway"), row.given["envelope"])

    assert row.want in str(error.value)


PARTY = {"type": "user", "id": "alice"}
ENVELOPE = {"protocol": "authzen", "call": {}}


@pytest.mark.parametrize(
    "claiming",
    [
        lambda many: {**ENVELOPE, "context": {"x": many}},
        lambda many: {**ENVELOPE, "call": {"context": {"x": many}}},
        lambda many: {**ENVELOPE, "subject": {**PARTY, "properties": {"x": many}}},
        lambda many: {**ENVELOPE, "call": {"subject": {**PARTY, "properties": {"x": many}}}},
        lambda many: {**ENVELOPE, "actors": [{**PARTY, "properties": {"x": many}}]},
    ],
    ids=["context", "inner context", "subject", "inner subject", "actors"],
)
@pytest.mark.parametrize("one", [[], 1, {"a": 1}, ",[{"])
def test_what_is_claimed_is_bounded_in_values(claiming, one):
    for count in (10, CLAIMED_VALUES_MAX):
        try:
            called("gateway", claiming([one] * count))
            text = ""
        except EnvelopeError as error:
            text = str(error)
        assert ("hold more than" in text) is (count > 10)


def test_a_base64_body_is_bytes_even_when_they_are_no_text():
    call = called("self", {"protocol": "http", "call": {"body_base64": "/w=="}})

    assert call.payload == {"body": b"\xff"}


def test_an_authzen_subject_that_may_not_be_named_is_refused():
    body = {"protocol": "authzen", "call": {"subject": {"type": "user", "id": "alice"}}}

    with pytest.raises(AssertionRefused):
        called("self", body)


def test_the_operators_context_cannot_be_used_by_a_workload():
    body = {"protocol": "sql", "context": {"time": "not a time", "ip": 7}, "call": {}}

    call = called("gateway", body)

    assert (call.time, call.context["ip"]) == (SEEN.time, "127.0.0.1")


def test_a_rewritten_body_of_bytes_goes_out_as_base64():
    stamp = BundleStamp("b", PolicyVersion("1"), "sha256:0")
    rewritten = {"method": "GET", "body": b"\xff"}
    decision = Decision(CallId("0"), "modify", reason("permitted"), stamp, rewritten=rewritten)

    assert decided(decision)["rewritten"] == {"method": "GET", "body_base64": "/w=="}
    assert rewritten == {"method": "GET", "body": b"\xff"}
