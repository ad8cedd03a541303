"""Carries out what the PDP said of a call: nothing is rewritten yet, and denials are native.

An obligation on a permitted call cannot be carried out here, so it denies. A denial looks as the
client's own library expects it, so that it prints our words and does not retry; the decision's id,
rule, policy and version stand in the message.
"""

from typing import Final
from xml.sax.saxutils import escape

from sidecar.terms.answer import Refusal
from sidecar.terms.call import Call, Json
from sidecar.terms.decision import Decision
from sidecar.terms.errors import EnforceError
from sidecar.terms.reasons import reason

_JSON: Final = "application/json"
_XML: Final = "application/xml"


def rewrite(call: Call, decision: Decision) -> dict[str, Json]:
    """Return the payload as it came; an obligation denies."""
    if decision.obligations:
        kinds = ", ".join(sorted({obligation.type for obligation in decision.obligations}))
        raise EnforceError(
            reason("obligation.unsupported"), f"cannot be carried out on this call: {kinds}"
        )
    return call.payload


def refuse(call: Call, decision: Decision) -> Refusal:
    """Return the denial in the words of the call's protocol."""
    if call.protocol == "k8s":
        return _kubernetes(decision)
    if call.protocol == "aws":
        return _aws(call, decision)
    return _problem(decision)


def message_of(decision: Decision) -> str:
    """Return one line that names what refused: rule, policy, bundle version, decision."""
    spoke = ", ".join(f"{rule.policy}/{rule.id}" for rule in decision.rules if _denies(rule.effect))
    by = f" by {spoke}" if spoke else ""
    stamp = f"{decision.policy.bundle} {decision.policy.version}"
    said = f": {decision.message}" if decision.message else ""
    approval = f", approval {decision.approval.id}" if decision.approval is not None else ""
    what = f"{decision.outcome}{by} ({decision.reason}) in {stamp}{said}"
    return f"{what} [decision {decision.id}{approval}]"


def _denies(effect: str) -> bool:
    return effect in ("deny", "step_up", "defer")


def _kubernetes(decision: Decision) -> Refusal:
    details: dict[str, Json] = {"causes": [{"reason": decision.reason, "message": decision.id}]}
    body: dict[str, Json] = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "reason": "Forbidden",
        "message": message_of(decision),
        "details": details,
        "code": 403,
    }
    return Refusal(403, body, content_type=_JSON)


def _aws(call: Call, decision: Decision) -> Refusal:
    text = message_of(decision)
    headers = {"x-amzn-RequestId": str(decision.id)}
    protocol = _aws_protocol(call.payload)
    if protocol == "json":
        body = {"__type": "AccessDeniedException", "message": text}
        return Refusal(400, body, headers, "application/x-amz-json-1.1")
    if protocol == "rest-json":
        headers["x-amzn-ErrorType"] = "AccessDeniedException"
        return Refusal(403, {"message": text}, headers, _JSON)
    xml = _AWS_XML[protocol].format(text=escape(text), id=escape(decision.id))
    return Refusal(403, f'<?xml version="1.0" encoding="UTF-8"?>\n{xml}', headers, _XML)


_AWS_XML: Final = {
    "s3": (
        "<Error><Code>AccessDenied</Code><Message>{text}</Message><RequestId>{id}</RequestId>"
        "</Error>"
    ),
    "ec2": (
        "<Response><Errors><Error><Code>UnauthorizedOperation</Code><Message>{text}</Message></Error>"
        "</Errors><RequestID>{id}</RequestID></Response>"
    ),
    "query": (
        "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>{text}</Message>"
        "</Error><RequestId>{id}</RequestId></ErrorResponse>"
    ),
}


def _aws_protocol(payload: dict[str, Json]) -> str:
    """Return how to say no to a request that perhaps nobody could read; it decides nothing else."""
    headers = payload.get("headers")
    named = headers if isinstance(headers, dict) else {}
    texts = {str(name).lower(): str(value) for name, value in named.items()}
    credential = texts.get("authorization", "") + str(payload.get("url", "")).replace("%2F", "/")
    if "x-amz-target" in texts:
        return "json"
    if "/s3/aws4_request" in credential:
        return "s3"
    if "/ec2/aws4_request" in credential:
        return "ec2"
    body = payload.get("body")
    start = body[:8192].decode("latin-1") if isinstance(body, bytes) else str(body)[:8192]
    is_form = "x-www-form-urlencoded" in texts.get("content-type", "")
    if is_form or "Action=" in start or "Action=" in str(payload.get("url", "")):
        return "query"
    return "rest-json"


def _problem(decision: Decision) -> Refusal:
    body: dict[str, Json] = {
        "type": "about:blank",
        "title": "Forbidden",
        "status": 403,
        "detail": message_of(decision),
        "reason": decision.reason,
        "id": decision.id,
        "policy": {
            "bundle": decision.policy.bundle,
            "version": decision.policy.version,
            "digest": decision.policy.digest,
        },
        "rules": [f"{rule.policy}/{rule.id}" for rule in decision.rules],
    }
    if decision.approval is not None:
        body["approval"] = decision.approval.id
    return Refusal(403, body)
