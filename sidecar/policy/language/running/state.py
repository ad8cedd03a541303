"""What one evaluation has and may still do: its data, its facts, its steps.

A fact that is not in hand is noted and then behaves as a fault would, so that one evaluation says
all that it lacks; but any note voids the result, and so nothing absorbs a missing fact.
"""

from collections.abc import Mapping
from typing import ClassVar, Final

from sidecar.policy.language.faults import BudgetExceeded, Fault, NoSuchOverload
from sidecar.policy.language.functions.extensions.patterns import Program, compiled_for
from sidecar.terms.decision import FactKey, Facts

# A macro costs as many steps as what it goes over has elements, paid before the first: whether a
# condition has a value then does not depend on where in a list the answer stands.
STEPS_MAX: Final = 10_000


class MissingFacts(Exception):
    """The evaluation asked for facts that are not in hand; its result is void."""

    def __init__(self, keys: frozenset[FactKey]) -> None:
        super().__init__("facts are missing")
        self.keys = keys


class _FactAbsent(Fault):
    """A fact is not in hand; its note outlives whatever absorbs this."""

    kind: ClassVar[str] = "fact_absent"
    text: ClassVar[str] = "a fact is not in hand"


class Run:
    """One evaluation; never shared."""

    __slots__ = ("_facts", "_left", "_patterns", "data", "missed", "slots")

    def __init__(self, data: Mapping[str, object], facts: Facts) -> None:
        self.data = data
        self.slots: list[object] = []
        self.missed: set[FactKey] = set()
        self._facts = facts
        self._left: float = STEPS_MAX
        self._patterns: dict[str, Program] = {}

    def spend(self, steps: float) -> None:
        """Pay for going over so many elements, or for as much work."""
        self._left -= steps
        if self._left < 0:
            raise BudgetExceeded

    def pattern(self, text: str) -> Program:
        """Return a pattern that data gave, paid for once in an evaluation.

        Kept here beside the cache of all evaluations, which many patterns would make useless.
        """
        found = self._patterns.get(text)
        if found is None:
            found = self._patterns[text] = compiled_for(text, self.spend)
        return found

    def fact(self, name: str, arguments: tuple[object, ...]) -> object:
        """Return the value of a fact, of which a note is made where it is not in hand."""
        key = fact_key(name, arguments)
        fact = self._facts.get(key)
        if fact is None:
            self.missed.add(key)
            raise _FactAbsent
        return fact.value


def fact_key(name: str, arguments: tuple[object, ...]) -> FactKey:
    """Return what a fact is asked by; every argument is a string."""
    texts = tuple(argument for argument in arguments if type(argument) is str)
    if len(texts) != len(arguments):
        raise NoSuchOverload
    return FactKey(name, texts)
