"""Carries out what is due on a permitted call, and on the calls that stand inside of it.

Each call's own domain carries out what is due on that call's targets. What comes of a call inside
(SQL in a tool's argument) is put where it stood, and the whole is read once more: the same calls
must stand in the same places, each as its domain sent it, and with the old texts put back it must
be the call that was decided. That what is sent of a call inside means what was allowed is proven by
its own domain. What cannot be carried out in one of them is not carried out in any.

An obligation names a resource and not a call: what is due on a table in one of them is due on it
in each.
"""

from collections.abc import Iterable

import msgspec

from sidecar.decide import denial
from sidecar.policy.bundle import Bundle
from sidecar.syntax.splice import spliced
from sidecar.terms.answer import Await, Refusal, Refuse
from sidecar.terms.call import Call, Json
from sidecar.terms.decision import Decision
from sidecar.terms.errors import EnforceError, ParseError
from sidecar.terms.reasons import reason
from sidecar.terms.request import Inner, Parsed, Request, each_request, inner_call


def enforce(
    call: Call, request: Request, decision: Decision, bundle: Bundle
) -> tuple[Decision, dict[str, Json]]:
    """Return the decision after enforcement and the payload to forward.

    An obligation that cannot be carried out turns the decision into a denial.
    """
    if not decision.permitted:
        return decision, call.payload
    try:
        if request.parts and decision.obligations:
            _check_all_meant(request, decision)
        payload = _carried_out(call, request, decision, bundle)
    except EnforceError as error:
        return unenforced(call, request, decision, bundle, error)
    if payload is call.payload:
        return decision, payload
    return msgspec.structs.replace(decision, outcome="modify", rewritten=payload), payload


def refused(call: Call, decision: Decision, bundle: Bundle) -> Await | Refuse:
    """Return the answer to a call that is not permitted, in the words of its domain."""
    domain = bundle.domains.get(call.protocol)
    if domain is None:
        told: Json = {"title": "Forbidden", "reason": decision.reason, "id": decision.id}
        refusal = Refusal(403, told)
    else:
        refusal = domain.refuse(call, decision)
    if decision.outcome in {"step_up", "defer"}:
        return Await(decision, refusal, decision.approval)
    return Refuse(decision, refusal)


def unenforced(
    call: Call, request: Request, said: Decision, bundle: Bundle, error: EnforceError | ParseError
) -> tuple[Decision, dict[str, Json]]:
    """Return the denial of a call that was permitted, had what is due been carried out."""
    refused = denial(request, bundle, error.reason, str(error))
    return msgspec.structs.replace(refused, rules=said.rules), call.payload


def _carried_out(
    call: Call, request: Request, decision: Decision, bundle: Bundle
) -> dict[str, Json]:
    if request.parts and decision.obligations:
        call = _with_parts(call, request, decision, bundle)
        decision = _due_on((request,), decision)
    domain = bundle.domains[call.protocol]
    return domain.rewrite(call, request, decision, bundle.catalogues[domain.name])


def _check_all_meant(request: Request, decision: Decision) -> None:
    """Refuse an obligation that none of the calls would be asked to carry out."""
    asked = _due_on(each_request(request), decision).obligations
    left = next((one for one in decision.obligations if one not in asked), None)
    if left is not None:
        raise _unsupported(f"`{left.type}` on what no call here touches")


def _due_on(requests: Iterable[Request], decision: Decision) -> Decision:
    """Return the decision with what is due on the targets of these calls alone."""
    keys = {target.resource.key for request in requests for target in request.targets}
    due = tuple(one for one in decision.obligations if one.target in keys)
    return msgspec.structs.replace(decision, obligations=due)


def _with_parts(call: Call, request: Request, decision: Decision, bundle: Bundle) -> Call:
    """Return the call with what is sent of the calls inside in their places."""
    parsed = _parsed(call, bundle)
    pairs = zip(parsed.inner, request.parts, strict=True)
    meant = tuple(_sent(call, inner, part, decision, bundle) for inner, part in pairs)
    changed = [(old, new) for old, new in zip(parsed.inner, meant, strict=True) if new is not old]
    if not changed:
        return call
    sent = _replaced(call, [new for _, new in changed])
    back = _replaced(sent, [old for old, _ in changed])
    try:
        is_meant, is_rest_alike = (
            _parsed(sent, bundle).inner == meant,
            _parsed(back, bundle) == parsed,
        )
    except ParseError as error:
        raise _unsupported(f"the call cannot be read with what would be sent: {error}") from None
    if not is_meant or not is_rest_alike:
        raise _unsupported("the call is another one with what would be sent")
    return sent


def _sent(call: Call, inner: Inner, part: Request, decision: Decision, bundle: Bundle) -> Inner:
    """Return what goes in the place of a call inside, the same one where nothing is changed."""
    due = _due_on(each_request(part), decision)
    try:
        if due.obligations and inner.place is None:
            raise _unsupported("the catalogue does not say for sure what stands here")
        payload = _carried_out(inner_call(call, inner), part, due, bundle)
    except EnforceError as error:
        raise EnforceError(error.reason, f"{inner.at}: {error}") from None
    return inner if payload is inner.payload else msgspec.structs.replace(inner, payload=payload)


def _replaced(call: Call, inner: Iterable[Inner]) -> Call:
    """Return the call with the texts of these calls where they have their places."""
    payload: Json = call.payload
    for one in inner:
        if one.place is None:
            raise _unsupported(f"{one.at}: what would be sent has no place here")
        payload = spliced(payload, one.place.steps, one.payload[one.place.word])
    return msgspec.structs.replace(call, payload=payload)


def _parsed(call: Call, bundle: Bundle) -> Parsed:
    domain = bundle.domains[call.protocol]
    return domain.parse(call, bundle.catalogues[domain.name], bundle.needs(call.protocol))


def _unsupported(text: str) -> EnforceError:
    return EnforceError(reason("obligation.unsupported"), text)
