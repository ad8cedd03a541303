"""Carries out obligations on application calls, and words denials as HTTP and AuthZEN do.

No obligation can be carried out on the way in yet, and one that cannot be carried out denies.

Source: RFC 9457 (problem details); Authorization API 1.0 §6.2 for a decision's shape.
"""

from collections.abc import Mapping

from sidecar.domains.application.vocabulary import OBLIGATIONS
from sidecar.terms.answer import Refusal
from sidecar.terms.call import Call, Json
from sidecar.terms.decision import Approval, Decision
from sidecar.terms.errors import EnforceError
from sidecar.terms.reasons import REASONS, reason

PROBLEM_TYPE = "urn:doorward:problem:"
_TITLES = {
    "deny": "Denied by policy",
    "step_up": "Approval required",
    "defer": "Deferred by policy",
}
_KNOWN = frozenset(known.name for known in OBLIGATIONS)


def check(obligation: Mapping[str, Json]) -> list[str]:
    """Return what is wrong with an obligation as written in a rule, beyond its schema."""
    if obligation.get("type") != "redact":
        return []
    fields = obligation.get("fields")
    return [
        f"`{field}` is not a JSON pointer; it starts with `/`"
        for field in (fields if isinstance(fields, list) else [])
        if isinstance(field, str) and not _is_pointer(field)
    ]


def _is_pointer(text: str) -> bool:
    """Return whether `text` is a JSON pointer to something inside (RFC 6901 §3)."""
    escapes_left = text.replace("~0", "").replace("~1", "")
    return text.startswith("/") and "~" not in escapes_left


def rewrite(call: Call, decision: Decision) -> dict[str, Json]:
    """Return the payload to forward: the identical one, since no obligation can be carried out yet.

    Raises:
        EnforceError: An obligation is due.
    """
    for obligation in decision.obligations:
        code = "obligation.unsupported" if obligation.type in _KNOWN else "obligation.unknown"
        raise EnforceError(reason(code), f"`{obligation.type}` on `{obligation.target}`")
    return call.payload


def refuse(call: Call, decision: Decision) -> Refusal:
    """Return the denial in the words of the call's protocol."""
    if call.protocol == "authzen":
        context = {"id": decision.id, "reason": decision.reason, "policy": _policy(decision)}
        body = {"decision": False, "context": context}
        return Refusal(200, body, content_type="application/json")
    approval = decision.approval
    problem: dict[str, Json] = {
        "type": PROBLEM_TYPE + decision.outcome,
        "title": _title(decision),
        "status": 403,
        "detail": decision.message or REASONS[decision.reason],
        "instance": f"urn:uuid:{decision.id}",
        "id": decision.id,
        "reason": decision.reason,
        "rules": _rules(decision),
        **_policy(decision),
    }
    if approval:
        problem["approval"] = _approval(approval)
    headers = {}
    if decision.outcome == "step_up":
        waits_for = approval.id if approval else decision.id
        headers["Link"] = f'<urn:uuid:{waits_for}>; rel="approval"'
    return Refusal(403, problem, headers)


def _title(decision: Decision) -> str:
    if decision.reason.startswith("parse."):
        return "Refused: not understood"
    return _TITLES.get(decision.outcome, "Denied by policy")


def _policy(decision: Decision) -> dict[str, Json]:
    stamp = decision.policy
    return {"policy": stamp.bundle, "version": stamp.version, "digest": stamp.digest}


def _rules(decision: Decision) -> list[str]:
    """Return the rules that made the outcome: those of its effect, and those that erred."""
    return [
        f"{rule.policy}/{rule.id}"
        for rule in decision.rules
        if rule.effect == decision.outcome or rule.status == "error"
    ]


def _approval(approval: Approval) -> dict[str, Json]:
    said: dict[str, Json] = {"id": approval.id, "status": approval.status}
    if approval.expires_at:
        said["expires_at"] = approval.expires_at
    return said
