"""What goes on of a permitted call, and how a refused one is told."""

from typing import Any, Literal

import msgspec
import pytest

from sidecar.domains.ai import DOMAIN
from sidecar.domains.ai.catalogue import AiCatalogue
from sidecar.terms.call import Call, Identity, Party
from sidecar.terms.decision import (
    Approval,
    BundleStamp,
    Decision,
    Obligation,
    RuleSpoke,
    TargetDecision,
)
from sidecar.terms.domain import Needs
from sidecar.terms.errors import EnforceError
from sidecar.terms.reasons import reason
from sidecar.terms.request import Action, Request, Resource
from sidecar.terms.words import CallId, Effect, PolicyName, PolicyVersion, RuleId
from tests.tables import rows

STAMP = BundleStamp("demo", PolicyVersion("2"), "sha256:0")
LIST = {
    "server": "crm",
    "message": {"jsonrpc": "2.0", "id": 1, "result": {"tools": [{"name": "a"}]}},
}


def called(protocol: str, payload: Any) -> Call:
    identity = Identity(Party("user", "alice"))
    time = "2026-01-01T00:00:00.000000Z"
    return Call(CallId("d-1"), time, "l", "default", protocol, payload, identity)


def requested(call: Call) -> Request:
    parsed = DOMAIN.parse(call, AiCatalogue(), Needs())
    return Request(
        id=call.id, time=call.time, listener=call.listener, upstream=call.upstream, domain="ai",
        phase=parsed.phase, protocol=call.protocol, subject=call.identity.subject, actors=(),
        targets=parsed.targets, context={}, request={call.protocol: parsed.native},
        parse=parsed.parse, combine=parsed.combine,
    )  # fmt: skip


def decided(request: Request, permitted: list[str]) -> Decision:
    targets = tuple(
        TargetDecision(t.action, t.resource, "allow" if t.resource.key in permitted else "deny")
        for t in request.targets
    )
    return Decision(CallId("d-1"), "modify", reason("permitted"), STAMP, targets)


@pytest.mark.parametrize("row", rows("ai/kept.yaml"))
def test_what_is_permitted_goes_on(row):
    call = called(row.given["protocol"], row.given["call"])
    request = requested(call)

    payload = DOMAIN.rewrite(call, request, decided(request, row.given["permitted"]), AiCatalogue())

    if row.want == "identical":
        assert payload is call.payload
    else:
        assert row.want == payload
        assert list(row.want) == list(payload)


def test_an_element_that_nobody_decided_is_dropped():
    call = called("mcp", LIST)
    request = requested(call)
    decision = msgspec.structs.replace(decided(request, ["tool:crm/a"]), targets=())

    payload = DOMAIN.rewrite(call, request, decision, AiCatalogue())

    assert payload["message"]["result"] == {"tools": []}


def test_what_a_part_was_permitted_permits_no_element():
    call = called("mcp", LIST)
    request = requested(call)
    decision = decided(request, ["tool:crm/a"])
    inside = tuple(msgspec.structs.replace(t, at="params.x") for t in decision.targets)

    payload = DOMAIN.rewrite(
        call, request, msgspec.structs.replace(decision, targets=inside), AiCatalogue()
    )

    assert payload["message"]["result"] == {"tools": []}


@pytest.mark.parametrize("type", ["limit_rows", "notify", "end_session"])
def test_an_obligation_on_a_permitted_call_cannot_be_carried_out(type):
    call = called("mcp", LIST)
    request = requested(call)
    due = (Obligation(type, "tool:crm/a"),)
    decision = msgspec.structs.replace(decided(request, ["tool:crm/a"]), obligations=due)

    with pytest.raises(EnforceError) as caught:
        DOMAIN.rewrite(call, request, decision, AiCatalogue())

    assert caught.value.reason == "obligation.unsupported"


@pytest.mark.parametrize("row", rows("ai/refusals.yaml"))
def test_a_refusal_speaks_the_protocol(row):
    call = called(row.given["protocol"], row.given["call"])

    refusal = DOMAIN.refuse(call, _refusing(row.given))

    assert row.want["status"] == refusal.status
    assert row.want["type"] == refusal.content_type
    assert row.want.get("headers", {}) == refusal.headers
    assert row.want["body"] == refusal.body


def _refusing(given: dict[str, Any]) -> Decision:
    """Return the decision of a row: `rule` decided its target, `bystander` only another one."""
    outcome = given.get("outcome", "deny")
    why = {"step_up": "approval.required", "deny": "rule" if "rule" in given else "no_rule"}[
        outcome
    ]
    rules = [_rule("quiet", "allow")]
    rules += [_rule(given[who], outcome) for who in ("bystander", "rule") if who in given]
    rules += [_rule(given["erring"], "deny", "error")] if "erring" in given else []
    why = "rule.error" if "erring" in given else why
    primary = [f"tools/{given[who]}" for who in ("rule", "erring") if who in given]
    action, resource = Action("x", "read"), Resource("tool", "crm/x")
    targets = [TargetDecision(action, resource, outcome, ("tools/quiet", *primary))]
    if "bystander" in given:
        spoke = (f"tools/{given['bystander']}",)
        targets.append(TargetDecision(action, Resource("tool", "crm/y"), outcome, spoke))
    return Decision(
        CallId("d-1"),
        outcome,
        reason(why),
        STAMP,
        tuple(targets),
        tuple(rules),
        message=given.get("message"),
        approval=Approval("p-1", "b") if outcome == "step_up" else None,
    )


def _rule(id: str, effect: Effect, status: Literal["held", "error"] = "held") -> RuleSpoke:
    return RuleSpoke(RuleId(id), PolicyName("tools"), effect, "org", "sha256:1", status)
