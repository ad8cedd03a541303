"""What the second evaluator says of rules: each branch once for each outcome that it had."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from sidecar.policy.explained import RuleExplanation, explain_rule
from sidecar.policy.language.telling import Explanation
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


class Heard(msgspec.Struct, frozen=True):
    """What came of one branch with one outcome.

    Attributes:
        at: The number of the cell that showed it first.
        known: The id of the known divergence that was met.
        unheard: The branch, and why cel-python could not be asked.
        disagreement: Where they differ, and nobody has said why.
    """

    at: int
    known: str | None = None
    unheard: tuple[str, str] | None = None
    disagreement: Disagreement | None = None


# A rule, the name of an expression of it, and the outcome of a branch.
_Key = tuple[str, str, tuple[int, int, str]]


class SecondOpinion:
    """Collects what cel-python says of the branches of rules, each once for each outcome."""

    def __init__(self, compared_max: int | None = None) -> None:
        """Hear at most `compared_max` branches; the others are counted as not comparable."""
        self.at = 0
        self.heard: dict[_Key, Heard] = {}
        self._left_out: dict[str, str] = {}
        self._left = compared_max

    @property
    def compared(self) -> int:
        """Return for how many branches both had an answer."""
        return sum(1 for one in self.heard.values() if one.unheard is None)

    @property
    def disagreements(self) -> list[Disagreement]:
        """Return where they differ, and nobody has said why; each once."""
        found = (one.disagreement for one in self.heard.values())
        return list(dict.fromkeys(one for one in found if one is not None))

    @property
    def known(self) -> Counter[str]:
        """Return how often each known divergence was met."""
        return Counter(one.known for one in self.heard.values() if one.known is not None)

    @property
    def not_comparable(self) -> dict[str, str]:
        """Return rule and branch → why cel-python could not be asked."""
        return dict(one.unheard for one in self.heard.values() if one.unheard) | self._left_out

    def hear(
        self, rule: Rule, told: RuleExplanation, data: Mapping[str, object], facts: Facts
    ) -> None:
        """Evaluate the branches of a rule and of its variables on one input that was told."""
        seen = {name: each for name, each in data.items() if not name.startswith("variables.")}
        hearing = _Hearing(self, rule, facts)
        for name, variable in told.variables.items():
            hearing.hear(name, variable, seen)
            if variable.part.state == "value":
                seen[name] = variable.part.value
        if told.when is not None:
            hearing.hear("when", told.when, seen)

    def hear_rule(self, rule: Rule, data: Mapping[str, object], facts: Facts) -> None:
        """Evaluate the branches of a rule and of its variables on one input."""
        self.hear(rule, explain_rule(rule, data, facts), data, facts)

    def join(self, others: Sequence["SecondOpinion"]) -> None:
        """Take what others heard: of each branch what was heard first, in the order of cells."""
        every = [item for one in (self, *others) for item in one.heard.items()]
        joined: dict[_Key, Heard] = {}
        for key, heard in sorted(every, key=lambda item: item[1].at):
            joined.setdefault(key, heard)
        self.heard = joined

    @property
    def is_full(self) -> bool:
        """Return whether no branch will be heard any more."""
        return self._left is not None and self._left <= 0

    def is_new(self, key: _Key) -> bool:
        """Return whether a branch has not been heard with this outcome."""
        return key not in self.heard

    def keep(self, key: _Key, heard: Heard) -> None:
        """Keep what came of a branch."""
        self.heard[key] = heard

    def is_over(self) -> bool:
        """Return whether there were too many branches; if not, count one more."""
        if self._left is None:
            return False
        self._left -= 1
        return self._left < 0

    def leave_out(self, name: str) -> None:
        """Count what is not heard because there was too much before it."""
        self._left_out[name] = TOO_MANY


class _Hearing:
    """One rule on one input."""

    def __init__(self, opinion: SecondOpinion, rule: Rule, facts: Facts) -> None:
        self._opinion = opinion
        self._rule = rule
        self._facts = facts

    def hear(self, name: str, told: Explanation, data: Mapping[str, object]) -> None:
        """Compare every branch of an expression that is new."""
        for branch in branches(told.part):
            key = (self._rule.key, name, branch.outcome)
            if self._opinion.is_new(key):
                self._opinion.keep(key, self._compared(told, branch, data))

    def _compared(self, told: Explanation, branch: Branch, data: Mapping[str, object]) -> Heard:
        at = self._opinion.at
        if self._opinion.is_over():
            return self._unheard(told, branch, TOO_MANY)
        try:
            one, other = self._both(told, branch, data)
        except NotComparable as error:
            return self._unheard(told, branch, str(error))
        if one.same(other):
            return Heard(at)
        smallest = self._smallest(told, branch, data)
        row = known(smallest)
        if row is not None:
            return Heard(at, known=row.id)
        if other.failed and lacks(smallest):
            return self._unheard(told, branch, "its language lacks what this uses")
        return Heard(at, disagreement=self._disagreement(told, smallest, data))

    def _unheard(self, told: Explanation, branch: Branch, why: str) -> Heard:
        name = f"{self._rule.key}: {told.text(branch.part)}"
        return Heard(self._opinion.at, unheard=(name, why))

    def _both(
        self, told: Explanation, branch: Branch, data: Mapping[str, object]
    ) -> tuple[Said, Said]:
        part = branch.part
        source = told.source[part.tree.start : part.tree.end]
        other = evaluate(source, activation({**data, **branch.names}), self._facts)
        if part.state == "error":
            return Said(failed=True), other
        # Where theirs failed it does not matter what form our value has.
        return Said(None if other.failed else ours(part.value)), other

    def _smallest(self, told: Explanation, branch: Branch, data: Mapping[str, object]) -> Branch:
        """Return the innermost part on which the two differ."""
        for below in parts_of(branch):
            try:
                one, other = self._both(told, below, data)
            except NotComparable:
                continue
            if not one.same(other):
                return self._smallest(told, below, data)
        return branch

    def _disagreement(
        self, told: Explanation, branch: Branch, data: Mapping[str, object]
    ) -> Disagreement:
        one, other = self._both(told, branch, data)
        rule = self._rule
        return Disagreement(rule.key, rule.where, told.text(branch.part), str(one), str(other))
