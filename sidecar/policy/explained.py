"""A rule on what it saw: every part of its condition and of its variables, with their values.

For people: `sidecar decide --explain`, tests that fail, `sidecar cel`. Nothing that serves asks.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

import msgspec

from sidecar.policy.cel import ROOTS
from sidecar.policy.language import environment
from sidecar.policy.language.checking.checker import check
from sidecar.policy.language.checking.names import Environment
from sidecar.policy.language.limits import Limits
from sidecar.policy.language.reading.parser import parse
from sidecar.policy.language.running.explain import Explainer
from sidecar.policy.language.telling import Explanation, as_json, lines
from sidecar.policy.language.tree import Tree
from sidecar.policy.language.types import DYN
from sidecar.policy.limits import EXPRESSION_CHARS_MAX, EXPRESSION_NESTING_MAX
from sidecar.policy.rules import Rule
from sidecar.terms.call import Json
from sidecar.terms.decision import Facts

_LIMITS: Final = Limits(EXPRESSION_CHARS_MAX, EXPRESSION_NESTING_MAX)


class RuleExplanation(msgspec.Struct, frozen=True):
    """What a rule's variables came to, in their order by full name, and its condition."""

    variables: dict[str, Explanation]
    when: Explanation | None

    def lines(self) -> list[str]:
        """Return why the condition came to its value; nothing for a rule without one."""
        return [] if self.when is None else lines(self.when, self.variables)

    def json(self) -> dict[str, Json]:
        """Return every part: `clauses` of the condition, and the variables by name."""
        found: dict[str, Json] = {}
        if self.when is not None:
            found["clauses"] = as_json(self.when)
        if self.variables:
            found["variables"] = {
                name.partition(".")[2]: as_json(told) for name, told in self.variables.items()
            }
        return found


def explain_rule(
    rule: Rule, data: Mapping[str, object], facts: Facts, error: str | None = None
) -> RuleExplanation:
    """Return what `rule` comes to.

    Args:
        rule: Compiled.
        data: What it saw; variables among it are computed anew.
        facts: Those in hand.
        error: What the rule erred with. Where its condition has a value all the same, it was not
            asked (what it reads could not be parsed), and there is nothing to tell.
    """
    names = tuple(f"variables.{name}" for name, _ in rule.variables)
    seen = {name: value for name, value in data.items() if name not in names}
    variables: dict[str, Explanation] = {}
    for name, (_, expression) in zip(names, rule.variables, strict=True):
        told = explanation_of(expression.source, names, seen, facts)
        variables[name] = told
        if told.part.state == "value":
            seen[name] = told.part.value
    if rule.when is None:
        return RuleExplanation(variables, None)
    when = explanation_of(rule.when.source, names, seen, facts)
    if error is not None and when.part.state == "value":
        return RuleExplanation({}, None)
    return RuleExplanation(variables, when)


def explanation_of(
    source: str, variables: tuple[str, ...], data: Mapping[str, object], facts: Facts
) -> Explanation:
    """Return what an expression of a rule comes to, given the full names of its variables."""
    return Explanation(source, _explainer(source, variables).explain(data, facts).part)


def tree_of(source: str, variables: tuple[str, ...]) -> Tree:
    """Return the checked tree of a rule's expression, which compiled when the bundle was loaded."""
    return check(parse(source, _LIMITS), _known(variables)).tree


@lru_cache(maxsize=256)
def _known(variables: tuple[str, ...]) -> Environment:
    return environment(dict.fromkeys((*ROOTS, *variables), DYN))


@lru_cache(maxsize=1_024)
def _explainer(source: str, variables: tuple[str, ...]) -> Explainer:
    return Explainer(tree_of(source, variables), (*ROOTS, *variables))
