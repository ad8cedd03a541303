"""What rules may cost: the worst case of each expression, beside the budget of one evaluation.

A condition, a variable, a message and a hole are evaluated by themselves, each with a budget of its
own. How long a list of parameters is, the bundle knows; the lists of a call are all called n.
"""

from collections.abc import Iterator

import msgspec

from sidecar.policy.language.checking.estimate import Estimate, Lengths, estimate, length_of
from sidecar.policy.language.running.state import STEPS_MAX
from sidecar.policy.rules import Rule
from sidecar.review.finding import Finding, Level
from sidecar.review.linting.looked import Looked, finding_of
from sidecar.terms.call import Json


class Cost(msgspec.Struct, frozen=True):
    """What one expression of a rule may cost; `part` is `when`, `variables.x` and the like."""

    part: str
    estimate: Estimate


class RuleCost(msgspec.Struct, frozen=True):
    """What the expressions of one rule may cost."""

    rule: str
    where: str
    parts: tuple[Cost, ...]


def costs_of(looked: Looked) -> list[RuleCost]:
    """Return what each rule of a bundle may cost, in their order."""
    return [RuleCost(rule.key, rule.where, tuple(_parts(rule, looked))) for rule in looked.rules]


def costly(looked: Looked) -> Iterator[Finding]:
    """Yield a finding for each expression whose worst case may be beyond the budget."""
    for rule, cost in zip(looked.rules, costs_of(looked), strict=True):
        costly_parts = (part for part in cost.parts if part.estimate.may_exceed)
        yield from (_finding(rule, part) for part in costly_parts)


def _finding(rule: Rule, cost: Cost) -> Finding:
    level: Level = "error" if cost.estimate.is_certain else "warning"
    return finding_of("cost", rule, _text(rule, cost), level)


def _text(rule: Rule, cost: Cost) -> str:
    most = cost.estimate
    follows = "permits nothing" if rule.effect == "allow" else "the call is denied"
    if most.is_certain:
        told = f"takes {most.steps} steps, always more than the budget of {STEPS_MAX}"
    else:
        told = (
            f"may take {most.steps} steps for lists of n: "
            f"more than the budget of {STEPS_MAX} from n = {most.exceeds_from} on"
        )
    return f": `{cost.part}` {told}; there the rule errs and {follows}"


def _parts(rule: Rule, looked: Looked) -> Iterator[Cost]:
    lengths: dict[str, int | None] = {}

    def length(path: str) -> int | None:
        return lengths[path] if path in lengths else _length(looked.bundle.params, path)

    known: Lengths = length
    for name, tree in looked.all_trees(rule).items():
        yield Cost(name, estimate(tree, known))
        lengths[name] = length_of(tree, known)


def _length(params: Json, path: str) -> int | None:
    """Return how many elements a parameter has."""
    root, *rest = path.split(".")
    held = params if root == "params" else None
    for key in rest:
        held = held.get(key) if isinstance(held, dict) else None
    return len(held) if isinstance(held, list | dict) and rest else None
