"""A set of rules that are asked together, as emitted functions.

Code is made once a set has been asked a few times, a block of rules at a time; until then, and
wherever code gives up, the answer is "unsure", and the caller asks that rule by itself.
"""

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any, Final

from sidecar.policy.cel import ROOTS
from sidecar.policy.index.block import Block as Code
from sidecar.policy.index.block import Clause, Note, block
from sidecar.policy.index.recent import Recent
from sidecar.policy.limits import (
    BLOCK_RULES_MAX,
    BLOCK_USES_MIN,
    VERDICTS_MAX,
)
from sidecar.policy.rules import Rule
from sidecar.terms.call import Json
from sidecar.terms.decision import Facts
from sidecar.terms.request import Target

# What of a target may be compared cheaply, as a path and as an attribute.
_TOLD: Final = {
    "action.name": "action.name",
    "action.class": "action.cls",
    "resource.type": "resource.type",
    "resource.upstream": "resource.upstream",
    "resource.labels": "resource.labels",
}


class Block:
    """Rules of a set that stand in one emitted function; `run` is that function once it is made."""

    __slots__ = ("_rules", "_uses_left", "run")

    def __init__(self, rules: list[tuple[int, Rule]], uses: int) -> None:
        self._rules = rules
        self._uses_left = uses
        self.run: Code = self._first

    @property
    def is_made(self) -> bool:
        """Return whether there is code."""
        return self._uses_left < 0

    def _first(self, data: Mapping[str, Json], facts: Facts, held: Note, unsure: Note) -> object:
        self._uses_left -= 1
        if self._uses_left < 0:
            self.run = block([_clause(*each) for each in self._rules], ROOTS)
            return self.run(data, facts, held, unsure)
        for number, _ in self._rules:
            unsure(number)
        return None


def _clause(number: int, rule: Rule) -> Clause:
    variables = tuple((f"variables.{name}", each.tree) for name, each in rule.variables)
    return Clause(number, None if rule.when is None else rule.when.tree, variables)


class Part:
    """Some rules of a set, in blocks, and the roots that they read."""

    __slots__ = ("blocks", "roots")

    def __init__(self, rules: list[tuple[int, Rule]]) -> None:
        self.roots = tuple(root for root in ROOTS if any(root in rule.roots for _, rule in rules))
        runs = [rules[at : at + BLOCK_RULES_MAX] for at in range(0, len(rules), BLOCK_RULES_MAX)]
        # One a time: no call waits for the code of more than one.
        self.blocks = tuple(Block(run, BLOCK_USES_MIN + at) for at, run in enumerate(runs))

    def ask(self, data: Mapping[str, Json], facts: Facts) -> tuple[list[int], list[int]]:
        """Return the numbers of the rules that hold, and of those that must be asked alone."""
        held: list[int] = []
        unsure: list[int] = []
        for each in self.blocks:
            each.run(data, facts, held.append, unsure.append)
        return held, unsure


class Candidates:
    """A set of rules, numbered from zero in the order written.

    Attributes:
        rules: All of them.
        whole: All of them, to be asked at once.
        shared: Those that cannot differ between the targets of one part.
        varying: The others.
        tell_apart: What of a target the varying ones read, None where that is not easily compared.
        verdicts: What is known to follow when exactly certain rules hold; whoever decides fills it.
    """

    __slots__ = (
        "__weakref__",
        "rules",
        "shared",
        "tell_apart",
        "varying",
        "verdicts",
        "whole",
    )

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        numbered = list(enumerate(rules))
        self.rules = rules
        self.whole = Part(numbered)
        self.shared = Part([each for each in numbered if not each[1].varies])
        self.varying = Part([each for each in numbered if each[1].varies])
        self.tell_apart = _telling(rules)
        self.verdicts: Recent[tuple[int, ...], Any] = Recent(VERDICTS_MAX)


def _telling(rules: tuple[Rule, ...]) -> Callable[[Target], object] | None:
    """Return what tells targets apart as far as these rules can see."""
    paths = {
        ".".join(path.split(".")[:2])
        for rule in rules
        for path in rule.paths
        if path.split(".")[0] in ("action", "resource")
    }
    if not paths <= _TOLD.keys():
        return None
    return attrgetter(*sorted(_TOLD[path] for path in paths)) if paths else lambda _target: None
