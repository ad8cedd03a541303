"""One rule on one target: held, satisfied, silent or erred; its variables, messages and duties."""

from collections.abc import Mapping
from typing import Literal

import msgspec

from sidecar.decide.view import View
from sidecar.policy.cel import EvaluationError, MissingFacts, reads, shown
from sidecar.policy.rules import Duty, Rule
from sidecar.terms.call import Json
from sidecar.terms.decision import FactKey, Facts
from sidecar.terms.request import Target

Spoke = Literal["held", "silent", "error"]


class Hand(msgspec.Struct, frozen=True):
    """The facts in hand, and those that were asked for in vain."""

    facts: Facts
    needed: set[FactKey]


class Part:
    """What the targets of one part share.

    Attributes:
        view: What rules see of it.
        unread: Paths that the parser could not read, or that have two readings.
        said: What rules that cannot differ between targets have said already.
    """

    __slots__ = ("said", "unread", "view")

    def __init__(self, view: View, unread: tuple[str, ...] = ()) -> None:
        self.view = view
        self.unread = unread
        self.said: dict[str, Finding] = {}


class Finding(msgspec.Struct, frozen=True):
    """What a rule said of a target; `data` is what it saw, variables included."""

    rule: Rule
    said: Spoke
    data: dict[str, Json]
    error: str | None = None

    @property
    def variables(self) -> dict[str, Json]:
        """Return the values of the variables that the rule uses; one that erred is absent."""
        seen = (name for name, _ in self.rule.variables if f"variables.{name}" in self.data)
        return {name: shown(self.data[f"variables.{name}"]) for name in seen}


def evaluate(rule: Rule, part: Part, target: Target, hand: Hand) -> Finding:
    """Return what `rule` says of a target; facts that it lacks are noted in `hand`.

    Args:
        rule: Already matched.
        part: What the targets share. A rule that may read one of its unread paths errs.
        target: One of the part's.
        hand: The facts in hand; what is asked for in vain is noted there.
    """
    # Why: a list of a thousand documents asks a rule on the subject once, not a thousand times.
    known = None if rule.varies else part.said.get(rule.key)
    if known is None:
        known = part.said[rule.key] = _evaluate(rule, part, target, hand)
    return known


def _evaluate(rule: Rule, part: Part, target: Target, hand: Hand) -> Finding:
    # Only what it reads, so that a finding shows what its rule saw.
    data = part.view.of(sorted(rule.roots), target)
    for path in part.unread:
        if reads(rule.paths, path):
            return Finding(rule, "error", data, f"`{path}` could not be read from the call")
    seen, erred = _with_variables(rule, data, hand)
    if rule.when is None:
        return Finding(rule, "held", seen)
    try:
        return Finding(rule, "held" if rule.when.holds(seen, hand.facts) else "silent", seen)
    except MissingFacts as asked:
        hand.needed.update(asked.keys)
        return Finding(rule, "silent", seen)
    except EvaluationError as error:
        return Finding(rule, "error", seen, _with_cause(error, erred))


def _with_variables(
    rule: Rule, data: dict[str, Json], hand: Hand
) -> tuple[dict[str, Json], dict[str, str]]:
    """Return `data` with the rule's variables, and why those that err are absent from it."""
    erred: dict[str, str] = {}
    if not rule.variables:
        return data, erred
    seen = dict(data)
    for name, expression in rule.variables:
        try:
            seen[f"variables.{name}"] = expression.native(seen, hand.facts)
        except MissingFacts as asked:
            hand.needed.update(asked.keys)
        except EvaluationError as error:
            erred[f"variable `{name}` could not be evaluated"] = _with_cause(error, erred)
    return seen, erred


def _with_cause(error: EvaluationError, erred: dict[str, str]) -> str:
    """Return the text of `error`; where a variable could not be evaluated, with its own error."""
    text = str(error)
    return f"{text}: {erred[text]}" if text in erred else text


def message_of(finding: Finding, facts: Facts) -> str | None:
    """Return the rule's message; `messageExpression` falls back to `message` on any failure."""
    rule = finding.rule
    if rule.message_expression is None:
        return rule.message
    try:
        said = rule.message_expression.value(finding.data, facts)
    except (EvaluationError, MissingFacts):
        return rule.message
    return said if isinstance(said, str) and said.strip() else rule.message


def filled(duty: Duty, data: Mapping[str, Json], hand: Hand) -> dict[str, Json] | None:
    """Return the obligation's fields with each hole's value beside its text, None when one is null.

    A field with holes becomes `{"text": "department = ${0}", "values": ["sales"]}`: values stay
    typed and are never spliced into text here.
    """
    fields = dict(duty.fields)
    for field, holes in duty.holes.items():
        values = []
        for hole in holes:
            try:
                value = hole.value(data, hand.facts)
            except MissingFacts as asked:
                hand.needed.update(asked.keys)
                return None
            except EvaluationError:
                return None
            if value is None:
                return None
            values.append(value)
        fields[field] = {"text": duty.fields[field], "values": values}
    return fields
