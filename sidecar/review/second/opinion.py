"""What the second evaluator says of rules: each branch once for each outcome that it had."""

from collections import Counter
from collections.abc import Mapping
from typing import Final

import msgspec

from sidecar.decide.target import Judged
from sidecar.policy.explained import explain_rule
from sidecar.policy.language.telling import Told
from sidecar.policy.rules import Rule
from sidecar.review.second.branches import Branch, branches, parts_of
from sidecar.review.second.divergences import known
from sidecar.review.second.engine import NotComparable, Said, activation, evaluate, ours
from sidecar.review.second.lacking import lacks
from sidecar.terms.decision import Facts

TOO_MANY: Final = "there are too many branches to hear them all"


class Disagreement(msgspec.Struct, frozen=True):
    """A part of a rule on which the two evaluators differ; `part` is the smallest that shows it."""

    rule: str
    where: str
    part: str
    ours: str
    theirs: str


class SecondOpinion:
    """Collects what cel-python says of the branches of rules.

    Attributes:
        compared: How many branches both had an answer for, each counted once for each outcome.
        disagreements: Where they differ, and nobody has said why.
        known: How often each known divergence was met.
        not_comparable: Rule and branch → why cel-python could not be asked.
    """

    def __init__(self, compared_max: int | None = None) -> None:
        """Hear at most `compared_max` branches; the others are counted as not comparable."""
        self.compared = 0
        self.disagreements: list[Disagreement] = []
        self.known: Counter[str] = Counter()
        self.not_comparable: dict[str, str] = {}
        self._heard: set[tuple[str, str, tuple[int, int, str]]] = set()
        self._left = compared_max

    def hear(self, judged: list[Judged], facts: Facts) -> None:
        """Evaluate each branch of each rule that these targets met, once for each outcome."""
        for one in judged:
            for finding in one.findings:
                self.hear_rule(finding.rule, finding.data, facts, finding.error)

    def hear_rule(
        self, rule: Rule, data: Mapping[str, object], facts: Facts, error: str | None = None
    ) -> None:
        """Evaluate the branches of a rule and of its variables on one input."""
        told = explain_rule(rule, data, facts, error)
        seen = {name: each for name, each in data.items() if not name.startswith("variables.")}
        hearing = _Hearing(self, rule, facts)
        for name, variable in told.variables.items():
            hearing.hear(name, variable, seen)
            if variable.part.state == "value":
                seen[name] = variable.part.value
        if told.when is not None:
            hearing.hear("when", told.when, seen)

    @property
    def is_full(self) -> bool:
        """Return whether no branch will be heard any more."""
        return self._left is not None and self._left <= 0

    def is_new(self, rule: str, expression: str, outcome: tuple[int, int, str]) -> bool:
        """Return whether a branch has not been heard with this outcome, and note that it is."""
        heard = (rule, expression, outcome)
        if heard in self._heard:
            return False
        self._heard.add(heard)
        return True

    def is_over(self) -> bool:
        """Return whether there were too many branches; if not, count one more."""
        if self._left is None:
            return False
        self._left -= 1
        return self._left < 0

    def leave_out(self, name: str) -> None:
        """Count what is not heard because there was too much before it."""
        self.not_comparable[name] = TOO_MANY


class _Hearing:
    """One rule on one input."""

    def __init__(self, opinion: SecondOpinion, rule: Rule, facts: Facts) -> None:
        self._opinion = opinion
        self._rule = rule
        self._facts = facts

    def hear(self, name: str, told: Told, data: Mapping[str, object]) -> None:
        """Compare every branch of an expression that is new."""
        fresh = [
            branch
            for branch in branches(told.part)
            if self._opinion.is_new(self._rule.key, name, branch.outcome)
        ]
        for branch in fresh:
            self._compare(told, branch, data)

    def _compare(self, told: Told, branch: Branch, data: Mapping[str, object]) -> None:
        opinion = self._opinion
        if opinion.is_over():
            self._unheard(told, branch, TOO_MANY)
            return
        try:
            one, other = self._both(told, branch, data)
        except NotComparable as error:
            self._unheard(told, branch, str(error))
            return
        if one.same(other):
            opinion.compared += 1
            return
        smallest = self._smallest(told, branch, data)
        row = known(smallest)
        if row is not None:
            opinion.compared += 1
            opinion.known[row.id] += 1
        elif other.failed and lacks(smallest):
            self._unheard(told, branch, "its language lacks what this uses")
        else:
            opinion.compared += 1
            self._disagree(told, smallest, data)

    def _unheard(self, told: Told, branch: Branch, why: str) -> None:
        self._opinion.not_comparable[f"{self._rule.key}: {told.text(branch.part)}"] = why

    def _both(self, told: Told, branch: Branch, data: Mapping[str, object]) -> tuple[Said, Said]:
        part = branch.part
        source = told.source[part.tree.start : part.tree.end]
        other = evaluate(source, activation({**data, **branch.names}), self._facts)
        if part.state == "error":
            return Said(failed=True), other
        # Where theirs failed it does not matter what form our value has.
        return Said(None if other.failed else ours(part.value)), other

    def _smallest(self, told: Told, branch: Branch, data: Mapping[str, object]) -> Branch:
        """Return the innermost part on which the two differ."""
        for below in parts_of(branch):
            try:
                one, other = self._both(told, below, data)
            except NotComparable:
                continue
            if not one.same(other):
                return self._smallest(told, below, data)
        return branch

    def _disagree(self, told: Told, branch: Branch, data: Mapping[str, object]) -> None:
        one, other = self._both(told, branch, data)
        rule = self._rule
        found = Disagreement(rule.key, rule.where, told.text(branch.part), str(one), str(other))
        if found not in self._opinion.disagreements:
            self._opinion.disagreements.append(found)
