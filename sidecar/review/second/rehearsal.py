"""Rules heard without tests: on inputs that are made up from what they read."""

from typing import Final

from sidecar.policy.bundle import Bundle
from sidecar.review.second.inputs import inputs
from sidecar.review.second.opinion import SecondOpinion
from sidecar.review.trees import trees_of
from sidecar.terms.call import Json
from sidecar.terms.decision import Fact, FactKey

# Half a minute of a machine; beyond, branches are counted and not heard.
COMPARED_MAX: Final = 30_000


class Anybody(dict[FactKey, Fact]):
    """Facts in which every entity is alike."""

    def __init__(self, value: Json) -> None:
        super().__init__()
        self._fact = Fact(value, "lint", "none")

    def __getitem__(self, key: FactKey) -> Fact:
        return self._fact

    def get(self, key: FactKey, default: object = None) -> Fact:
        """Return the one fact."""
        return self._fact


def rehearse(bundle: Bundle, compared_max: int = COMPARED_MAX) -> SecondOpinion:
    """Return what the second evaluator says of every rule of a bundle on made-up inputs."""
    opinion = SecondOpinion(compared_max)
    told: set[tuple[str, ...]] = set()
    for rule in bundle.rules:
        trees = trees_of(rule)
        # Rules that are generated often differ in what they match alone.
        sources = tuple(expression.source for _, expression in rule.variables)
        text = (*sources, rule.when.source if rule.when is not None else "")
        if text in told:
            continue
        told.add(text)
        if opinion.is_full:
            opinion.leave_out(rule.key)
            continue
        for data in inputs(trees, bundle.params):
            entity = data.pop("entity()", None)
            opinion.hear_rule(rule, data, Anybody(entity))
    return opinion
