"""Carries a permitted decision out on the payload: of a list only what is permitted goes on.

What a target's decision does not expressly permit is dropped, so that an element which nobody
decided is never released. A list that was judged for one caller is marked as nobody else's
(`cacheScope: private`).
"""

from typing import Final

from sidecar.domains.ai.parse.mcp import LISTS, list_in
from sidecar.domains.ai.parse.shape import Object
from sidecar.syntax.json import canonical, loads
from sidecar.terms.call import Call, Json
from sidecar.terms.decision import Decision
from sidecar.terms.errors import EnforceError
from sidecar.terms.reasons import reason
from sidecar.terms.request import Request

_PERMITTED: Final = frozenset(("allow", "modify"))


def rewrite(call: Call, request: Request, decision: Decision) -> Object:
    """Return the payload to forward; the identical one when there is nothing to do.

    Raises:
        EnforceError: An obligation is due; none can be carried out on these calls yet.
    """
    if decision.obligations:
        names = ", ".join(sorted({due.type for due in decision.obligations}))
        raise EnforceError(
            reason("obligation.unsupported"), f"{request.protocol} calls cannot carry out: {names}"
        )
    if request.combine != "each":
        return call.payload
    match request.protocol:
        case "rag":
            return _rewritten_rag(call.payload, request, decision)
        case "mcp":
            return _rewritten_mcp(call.payload, request, decision)
        case protocol:
            assert protocol == "llm"
            return _rewritten_llm(call.payload, request, decision)


def _kept(elements: list[Json], request: Request, decision: Decision) -> list[Json]:
    """Return the elements whose own target is permitted, in their order."""
    candidates = request.targets[1:]
    permitted = {
        decided.resource.key
        for decided in decision.targets
        if decided.at is None and decided.outcome in _PERMITTED
    }
    pairs = zip(elements, candidates, strict=True)
    return [element for element, candidate in pairs if candidate.resource.key in permitted]


def _rewritten_rag(payload: Object, request: Request, decision: Decision) -> Object:
    kept = _kept(payload["candidates"], request, decision)
    if len(kept) == len(payload["candidates"]):
        return payload
    return {**payload, "candidates": kept}


def _rewritten_llm(payload: Object, request: Request, decision: Decision) -> Object:
    if "count" not in request.request["llm"]:
        return payload
    body = _read(payload["body"])
    kept = _kept(body["data"], request, decision)
    if len(kept) == len(body["data"]):
        return payload
    return {**payload, "body": _as(payload["body"], {**body, "data": kept})}


def _rewritten_mcp(payload: Object, request: Request, decision: Decision) -> Object:
    if "result" in payload:
        result = _rewritten_list(payload["result"], request, decision)
        return payload if result is None else {**payload, "result": result}
    message = _read(payload["message"])
    if "result" not in message:
        return payload
    result = _rewritten_list(message["result"], request, decision)
    if result is None:
        return payload
    return {**payload, "message": _as(payload["message"], {**message, "result": result})}


def _rewritten_list(result: Object, request: Request, decision: Decision) -> Object | None:
    """Return the list's answer with what is kept, None when it may stay as it is."""
    method, elements = list_in("", result)
    kept = _kept(elements, request, decision)
    is_shared = result.get("cacheScope", "private") != "private"
    if len(kept) == len(elements) and not is_shared:
        return None
    rewritten = {**result, LISTS[method].elements: kept}
    return {**rewritten, "cacheScope": "private"} if is_shared else rewritten


def _read(value: Json) -> Object:
    found: Object = loads(value) if isinstance(value, str | bytes) else value
    return found


def _as(original: Json, value: Object) -> Json:
    """Return `value` in the form that `original` had: bytes, text, or the object itself."""
    if isinstance(original, bytes):
        return canonical(value)
    return canonical(value).decode() if isinstance(original, str) else value
