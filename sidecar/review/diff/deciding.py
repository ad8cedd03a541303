"""One request decided under both bundles, and how the two decisions differ.

Decided, not enforced: an obligation that cannot be carried out on a statement denies it at the
door, and is told here as the obligation that it is.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec

from sidecar.decide import decide, denial, standing_facts
from sidecar.policy.bundle import Bundle
from sidecar.review.diff.calls import Asked
from sidecar.terms.call import Json
from sidecar.terms.decision import Decision, Fact, FactKey, NeedFacts
from sidecar.terms.errors import ParseError
from sidecar.terms.request import Request
from sidecar.terms.words import strength

Kind = Literal["gain", "loss"]


class Change(msgspec.Struct, frozen=True):
    """What one request gains or loses.

    Args:
        kind: Whether more is permitted, or less; a request can gain and lose at once.
        what: `deny → allow`, `loses mask(last4)`.
        because: The rules that say something else than before, `+` of the new bundle.
    """

    kind: Kind
    what: str
    because: tuple[str, ...]
    reasons: tuple[str, str]


def decided(request: Request, bundle: Bundle, asked: Asked) -> Decision:
    """Return what a bundle decides of a request."""
    if request.parse.status == "failed":
        problem = request.parse.error
        assert problem is not None
        return denial(request, bundle, problem.reason, problem.text)
    facts: dict[FactKey, Fact] = {}
    wanted = standing_facts(request)
    while True:
        facts.update({key: Fact(_fact(key, asked), "diff", "none") for key in wanted})
        try:
            said = decide(request, bundle, facts)
        except ParseError as error:
            return denial(request, bundle, error.reason, str(error))
        # Every fact is at hand, so that asking ends where rules ask for nothing new.
        if not isinstance(said, NeedFacts):
            return said
        wanted = said.keys


def _fact(key: FactKey, asked: Asked) -> Json:
    if key.function == "revoked":
        return key.arguments[0] in asked.revoked
    kind, name = key.arguments
    return asked.facts.get(kind, {}).get(name, asked.entity)


def changes(before: Decision, after: Decision) -> list[Change]:
    """Return what a request gains and loses between two decisions."""
    because = _because(before, after)
    reasons = (str(before.reason), str(after.reason))
    one, other = strength(before.outcome), strength(after.outcome)
    found: list[Change] = []
    if before.permitted and after.permitted:
        lost, added = _obligations(before), _obligations(after)
        found += (Change("gain", f"no longer {x}", because, reasons) for x in sorted(lost - added))
        found += (Change("loss", f"now {x}", because, reasons) for x in sorted(added - lost))
    elif one != other:
        what = f"{before.outcome} → {after.outcome}"
        found.append(Change("gain" if other < one else "loss", what, because, reasons))
    return found


def _obligations(decision: Decision) -> set[str]:
    return {f"{one.type}({_values(one.values)}) on {one.target}" for one in decision.obligations}


def _values(values: Mapping[str, Json]) -> str:
    told = []
    for name, value in sorted(values.items()):
        is_text = isinstance(value, dict) and "text" in value
        told.append(f"{name}: {value['text'] if is_text else value}")
    return ", ".join(told)


def _because(before: Decision, after: Decision) -> tuple[str, ...]:
    """Return the rules that spoke under one bundle alone, or say something else now."""
    one = {
        (f"{rule.policy}/{rule.id}", rule.status, rule.effect, rule.digest) for rule in before.rules
    }
    other = {
        (f"{rule.policy}/{rule.id}", rule.status, rule.effect, rule.digest) for rule in after.rules
    }
    gone = {f"-{key}" for key, *_ in one - other}
    new = {f"+{key}" for key, *_ in other - one}
    changed = {f"~{key[1:]}" for key in gone if f"+{key[1:]}" in new}
    left = {key for key in gone | new if f"~{key[1:]}" not in changed}
    return tuple(sorted(left | changed))
