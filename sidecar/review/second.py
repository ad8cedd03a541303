"""A second, independent evaluator: `cel-python` hears each condition once held and once not.

Two engines that disagree mean that one of them is wrong about the specification, and a policy must
not rest on that. What cel-python's language cannot express (`.?`, the string extensions, …) is
counted as not comparable, with its reason.
"""

from collections.abc import Mapping

import celpy
import msgspec
from celpy import celtypes
from celpy.adapter import json_to_cel
from celpy.celparser import CELParseError
from celpy.evaluation import CELEvalError, CELFunction

from sidecar.decide.target import Judged
from sidecar.policy.rules import Rule
from sidecar.syntax.glob import glob
from sidecar.terms.call import Json
from sidecar.terms.decision import FactKey, Facts


class Disagreement(msgspec.Struct, frozen=True):
    """A condition on which the two evaluators differ."""

    rule: str
    where: str
    ours: str
    theirs: str


class SecondOpinion:
    """Collects what cel-python says of the conditions that the tests evaluated."""

    def __init__(self) -> None:
        self.compared = 0
        self.disagreements: list[Disagreement] = []
        self.not_comparable: dict[str, str] = {}
        self._heard: set[tuple[str, str]] = set()

    def hear(self, judged: list[Judged], facts: Facts) -> None:
        """Evaluate each rule that these targets met, once for each thing that it can say."""
        for one in judged:
            for finding in one.findings:
                heard = (finding.rule.key, finding.said)
                if finding.rule.when is None or finding.said == "error" or heard in self._heard:
                    continue
                self._heard.add(heard)
                self._compare(finding.rule, finding.data, facts, holds=finding.said == "held")

    def _compare(self, rule: Rule, data: Mapping[str, Json], facts: Facts, *, holds: bool) -> None:
        assert rule.when is not None
        try:
            theirs = evaluate(rule.when.source, data, facts)
        except NotComparable as error:
            self.not_comparable[rule.key] = str(error)
            return
        self.compared += 1
        if theirs != holds:
            said = ("true", "false")
            self.disagreements.append(
                Disagreement(rule.key, rule.where, said[not holds], said[not theirs])
            )


class NotComparable(Exception):
    """cel-python cannot express or evaluate this expression."""


def evaluate(source: str, data: Mapping[str, Json], facts: Facts) -> bool:
    """Return whether cel-python finds `source` exactly true.

    Raises:
        NotComparable: With the stage at which it gave up.
    """
    environment = celpy.Environment()
    try:
        tree = environment.compile(source)
    except CELParseError:
        raise NotComparable("its grammar does not have this syntax") from None
    try:
        program = environment.program(tree, functions=_functions(facts))
        value = program.evaluate(_activation(data))
    except (CELEvalError, TypeError, ValueError, KeyError):
        raise NotComparable("it ends in an error where ours does not") from None
    if not isinstance(value, celtypes.BoolType):
        raise NotComparable("its result is not a bool")
    return bool(value)


def _activation(data: Mapping[str, Json]) -> dict[str, celtypes.Value]:
    roots = {name: value for name, value in data.items() if "." not in name}
    variables = {
        name.removeprefix("variables."): value for name, value in data.items() if "." in name
    }
    return {name: json_to_cel(value) for name, value in {**roots, "variables": variables}.items()}


def _functions(facts: Facts) -> dict[str, CELFunction]:
    def entity(kind: celtypes.StringType, name: celtypes.StringType) -> celtypes.Value:
        return json_to_cel(facts[FactKey("entity", (str(kind), str(name)))].value)

    def matches(pattern: celtypes.StringType, text: celtypes.StringType) -> celtypes.BoolType:
        return celtypes.BoolType(glob(str(pattern), str(text)))

    return {"entity": entity, "glob": matches}
