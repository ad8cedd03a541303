"""A Decision and what it is made of; NeedFacts, the other thing the PDP may answer.

Precedence of effects: deny > defer > step_up > modify > allow; silence is deny.
"""

from collections.abc import Iterable
from typing import Literal

import msgspec

from sidecar.terms.call import Json
from sidecar.terms.reasons import Reason
from sidecar.terms.request import Action, Resource
from sidecar.terms.words import CallId, Effect, Outcome, PolicyName, PolicyVersion, RuleId


class Obligation(msgspec.Struct, frozen=True):
    """What the enforcement point must do, combined over all rules that hold.

    Args:
        type: A word of the domain's vocabulary (`limit_rows`, `mask`, …).
        target: `type:id` of the resource it acts on.
        values: The obligation's own fields with every hole filled.
        rules: `policy/rule` of each rule that asked for it.
    """

    type: str
    target: str
    values: dict[str, Json] = {}
    rules: tuple[str, ...] = ()


class RuleSpoke(msgspec.Struct, frozen=True):
    """A rule that held or erred."""

    id: RuleId
    policy: PolicyName
    effect: Effect
    layer: str
    digest: str
    status: Literal["held", "error", "satisfied"] = "held"


class BundleStamp(msgspec.Struct, frozen=True):
    """Which policy decided: the one immutable bundle that was evaluated."""

    bundle: str
    version: PolicyVersion
    digest: str


class TargetDecision(msgspec.Struct, frozen=True):
    """What was decided for one target; `at` is where its part stands in the call, if it is one."""

    action: Action
    resource: Resource
    outcome: Outcome
    rules: tuple[str, ...] = ()
    at: str | None = None


class RuleError(msgspec.Struct, frozen=True):
    """An evaluation that failed: which rule, on which resource, in which words (no values)."""

    rule: str
    resource: str
    text: str


class Approval(msgspec.Struct, frozen=True):
    """What a human is asked: `binding` ties it to exactly this effect (DESIGN §2)."""

    id: str
    binding: str
    rules: tuple[str, ...] = ()
    status: str = "pending"
    expires_at: str | None = None


class Decision(msgspec.Struct, frozen=True, omit_defaults=False):
    """The PDP's answer, in the promised shape of `/v1/decide` (see `decision_json`)."""

    id: CallId
    outcome: Outcome
    reason: Reason
    policy: BundleStamp
    targets: tuple[TargetDecision, ...] = ()
    rules: tuple[RuleSpoke, ...] = ()
    obligations: tuple[Obligation, ...] = ()
    errors: tuple[RuleError, ...] = ()
    message: str | None = None
    rewritten: dict[str, Json] | None = None
    approval: Approval | None = None

    @property
    def permitted(self) -> bool:
        """Return whether the effect may happen, with all obligations carried out."""
        return self.outcome in ("allow", "modify")


class FactKey(msgspec.Struct, frozen=True):
    """What a rule asked for: the fact function and its arguments as canonical JSON text."""

    function: str
    arguments: tuple[str, ...]


class Fact(msgspec.Struct, frozen=True):
    """What a provider says: the value, where from, at which revision, how old in milliseconds."""

    value: Json
    source: str
    revision: str
    age_ms: int = 0


class NeedFacts(msgspec.Struct, frozen=True):
    """The PDP cannot decide before these are in hand; `flow` fetches and asks again."""

    keys: frozenset[FactKey]


Facts = dict[FactKey, Fact]


def decided_by(outcome: str, rules: Iterable[RuleSpoke]) -> list[str]:
    """Return the `policy/rule` of the rules that decided `outcome`.

    Those that held with an effect that leads to it; where none did, those that could not be
    evaluated, marked `(erred)`.
    """
    effects = ("allow", "modify") if outcome in ("allow", "modify") else (outcome,)
    spoke = list(rules)
    held = [rule for rule in spoke if rule.status == "held" and rule.effect in effects]
    if held:
        return [f"{rule.policy}/{rule.id}" for rule in held]
    return [f"{rule.policy}/{rule.id} (erred)" for rule in spoke if rule.status == "error"]


def decision_json(decision: Decision) -> dict[str, Json]:
    """Return `decision` as the JSON object that DESIGN §5 promises; absent is omitted, not null."""
    body: dict[str, Json] = msgspec.to_builtins(decision)
    body["permitted"] = decision.permitted
    for optional in ("message", "rewritten", "approval"):
        if body[optional] is None:
            del body[optional]
    for target in body["targets"]:
        # The promised shape names rules by id; which policy each is of stands in `rules`.
        target["rules"] = [rule.partition("/")[2] for rule in target["rules"]]
        if target["at"] is None:
            del target["at"]
    for rule in body["rules"]:
        if rule["status"] == "held":
            del rule["status"]
    return body
