"""Rules heard without tests: on inputs that are made up from what they read."""

import re
from collections import Counter
from typing import Final

from sidecar.policy.bundle import Bundle
from sidecar.review.second.inputs import inputs
from sidecar.review.second.opinion import SecondOpinion
from sidecar.review.trees import sources_of, trees_of
from sidecar.terms.call import Json
from sidecar.terms.decision import Fact, FactKey

# A few seconds of a machine; beyond, branches are counted and not heard.
COMPARED_MAX: Final = 12_000
# Rules of one shape, that differ in their literals alone, are heard so often.
ALIKE_MAX: Final = 3
_LITERAL: Final = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|\d+""")


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
    shapes: Counter[tuple[str, ...]] = Counter()
    for rule in bundle.rules:
        # Rules that are generated often differ in what they match, or in a name.
        text = tuple(sources_of(rule).values())
        shape = tuple(_LITERAL.sub("0", source) for source in text)
        if text in told or shapes[shape] == ALIKE_MAX:
            continue
        told.add(text)
        shapes[shape] += 1
        if opinion.is_full:
            opinion.leave_out(rule.key)
            continue
        for data in inputs(trees_of(rule), bundle.params):
            entity = data.pop("entity()", None)
            opinion.hear_rule(rule, data, Anybody(entity))
    return opinion
