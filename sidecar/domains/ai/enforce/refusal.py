"""Says no in the protocol's own words, so that a client can tell it from a failure and go on.

MCP's tools/call is answered with a result that is an error: the model then sees the reason and may
adapt. Everything else of JSON-RPC is an error of code 4030: -32768 to -32000 is the
specification's, and MCP and A2A have both given meanings to parts of it. An OpenAI client reads
`error` and, at 403, does not retry. Of the call a refusal repeats the id alone.
"""

from typing import Final

from sidecar.domains.ai.parse.jsonrpc import id_of
from sidecar.domains.ai.parse.shape import Object
from sidecar.syntax.json import loads
from sidecar.terms.answer import Refusal
from sidecar.terms.call import Call, Json
from sidecar.terms.decision import Decision, RuleSpoke
from sidecar.terms.errors import ParseError

DENIED: Final = 4030
META: Final = "doorward/decision"
_MODERN: Final = "io.modelcontextprotocol/protocolVersion"
_JSON: Final = "application/json"
# Which rules make an outcome, by its reason; of any other reason no rule is the maker.
_SPEAKERS: Final[dict[str, tuple[str, frozenset[str]]]] = {
    "rule": ("held", frozenset(("deny",))),
    "rule.error": ("error", frozenset(("deny", "modify", "step_up", "defer"))),
    "approval.required": ("held", frozenset(("step_up",))),
    "deferred": ("held", frozenset(("defer",))),
}


def refuse(call: Call, decision: Decision) -> Refusal:
    """Return the denial of `call`, which may be one that could not be read."""
    match call.protocol:
        case "mcp":
            return _mcp(_message(call), decision)
        case "a2a":
            # A client of A2A reads the error from the body of a 200 alone.
            return Refusal(200, _error(_message(call), decision), content_type=_JSON)
        case "llm":
            return _llm(decision)
        case _:
            return _problem(decision)


def _mcp(message: Object, decision: Decision) -> Refusal:
    id = id_of(message)
    if message.get("method") != "tools/call" or id is None:
        return Refusal(403, _error(message, decision), content_type=_JSON)
    result: Object = {
        "content": [{"type": "text", "text": _text(decision)}],
        "isError": True,
        "_meta": {META: _about(decision)},
    }
    if _is_modern(message):
        result["resultType"] = "complete"
    return Refusal(200, {"jsonrpc": "2.0", "id": id, "result": result}, content_type=_JSON)


def _error(message: Object, decision: Decision) -> Object:
    error = {"code": DENIED, "message": _text(decision), "data": _about(decision)}
    return {"jsonrpc": "2.0", "id": id_of(message), "error": error}


def _llm(decision: Decision) -> Refusal:
    kind = "policy_denied"
    error = {"message": _text(decision), "type": kind, "param": None, "code": kind}
    return Refusal(403, {"error": error}, {"x-should-retry": "false"}, _JSON)


def _problem(decision: Decision) -> Refusal:
    about = _about(decision)
    body = {"type": "about:blank", "title": "Forbidden", "status": 403, "detail": _text(decision)}
    return Refusal(403, {**body, **about})


def _text(decision: Decision) -> str:
    """Return the sentence that model and person read."""
    verb = {"step_up": "Approval required", "defer": "Deferred"}.get(decision.outcome, "Denied")
    rule = _rule(decision)
    if rule is None:
        stamp = f"{decision.policy.bundle}@{decision.policy.version}"
        text = f"{verb} by bundle {stamp} reason {decision.reason} (decision {decision.id})"
    else:
        stamp = f"{rule.policy}@{decision.policy.version}"
        text = f"{verb} by policy {stamp} rule {rule.id} (decision {decision.id})"
    return f"{text}: {decision.message}" if decision.message else text


def _about(decision: Decision) -> Object:
    """Return what a program reads; `approval` is where a human is asked."""
    about: Object = {
        "id": decision.id,
        "outcome": decision.outcome,
        "reason": decision.reason,
        "bundle": decision.policy.bundle,
        "version": decision.policy.version,
    }
    rule = _rule(decision)
    if rule is not None:
        about |= {"policy": rule.policy, "rule": rule.id}
    if decision.approval is not None:
        told = decision.approval
        about["approval"] = {"id": told.id, "status": told.status, "expires_at": told.expires_at}
    return about


def _rule(decision: Decision) -> RuleSpoke | None:
    """Return the rule that made the outcome, None where it was made otherwise (silence, parsing).

    Why by target: of a list, `rules` also holds what denied mere elements. To name one of those
    would be wrong, and would tell a caller who may not ask what there is to be found.
    """
    status, effects = _SPEAKERS.get(decision.reason, ("held", frozenset()))
    speaking = {
        f"{rule.policy}/{rule.id}": rule
        for rule in decision.rules
        if rule.status == status and rule.effect in effects
    }
    deciding = (t for t in decision.targets if t.outcome == decision.outcome)
    named = (speaking[key] for target in deciding for key in target.rules if key in speaking)
    return next(named, None)


def _message(call: Call) -> Object:
    """Return the message as far as it can be read at all, empty when it cannot."""
    value: Json = call.payload.get("message")
    if isinstance(value, str | bytes):
        try:
            value = loads(value)
        except ParseError:
            return {}
    return value if isinstance(value, dict) else {}


def _is_modern(message: Object) -> bool:
    params = message.get("params")
    meta = params.get("_meta") if isinstance(params, dict) else None
    return isinstance(meta, dict) and _MODERN in meta
