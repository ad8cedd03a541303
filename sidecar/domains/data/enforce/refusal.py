"""Refuses in PostgreSQL's own words."""

from typing import Final

from sidecar.terms.answer import Refusal
from sidecar.terms.call import Call
from sidecar.terms.decision import Decision

INSUFFICIENT_PRIVILEGE: Final = "42501"


def refuse(_call: Call, decision: Decision) -> Refusal:
    """Return the denial as the fields of an ErrorResponse, without anything of the statement."""
    policy = decision.policy
    rules = ", ".join(f"{rule.policy}/{rule.id}" for rule in decision.rules) or "none"
    named = {
        "code": INSUFFICIENT_PRIVILEGE,
        "message": f"denied by policy: {decision.message or decision.reason}",
        "detail": (
            f"decision {decision.id}; rules {rules}; bundle {policy.bundle} {policy.version}; "
            f"reason {decision.reason}"
        ),
        "hint": _hint(decision),
    }
    return Refusal(0, named, content_type="application/json")


def _hint(decision: Decision) -> str:
    if decision.approval is not None:
        return f"waits for approval {decision.approval.id}"
    return "ask the policy's owner with the decision id"
