"""One rule on one target: held, satisfied, silent or erred; its variables, messages and duties."""

from collections.abc import Mapping
from typing import Literal

import msgspec

from sidecar.policy.cel import EvaluationError, MissingFacts, reads
from sidecar.policy.rules import Duty, Rule
from sidecar.terms.call import Json
from sidecar.terms.decision import FactKey, Facts

Spoke = Literal["held", "silent", "error"]


class Hand(msgspec.Struct, frozen=True):
    """The facts in hand, and those that were asked for in vain."""

    facts: Facts
    needed: set[FactKey]


class Finding(msgspec.Struct, frozen=True):
    """What a rule said of a target; `data` is what it saw, variables included."""

    rule: Rule
    said: Spoke
    data: dict[str, Json]
    error: str | None = None


def evaluate(
    rule: Rule,
    data: dict[str, Json],
    hand: Hand,
    missing: tuple[str, ...],
) -> Finding:
    """Return what `rule` says of the target in `data`; facts that it lacks are noted in `hand`.

    Args:
        rule: Already matched.
        data: The roots; variables are added here.
        hand: The facts in hand; what is asked for in vain is noted there.
        missing: Paths that the parser could not read: a rule that may read one of them errs.
    """
    for path in missing:
        if reads(rule.paths, path):
            return Finding(rule, "error", data, f"`{path}` could not be read from the call")
    seen = _with_variables(rule, data, hand)
    if rule.when is None:
        return Finding(rule, "held", seen)
    try:
        return Finding(rule, "held" if rule.when.holds(seen, hand.facts) else "silent", seen)
    except MissingFacts as asked:
        hand.needed.update(asked.keys)
        return Finding(rule, "silent", seen)
    except EvaluationError as error:
        return Finding(rule, "error", seen, str(error))


def _with_variables(rule: Rule, data: dict[str, Json], hand: Hand) -> dict[str, Json]:
    """Return `data` with the rule's variables; one that errs is absent, so reading it errs."""
    if not rule.variables:
        return data
    seen = dict(data)
    for name, expression in rule.variables:
        try:
            seen[f"variables.{name}"] = expression.value(seen, hand.facts)
        except MissingFacts as asked:
            hand.needed.update(asked.keys)
        except EvaluationError:
            continue
    return seen


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
