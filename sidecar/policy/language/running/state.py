"""What one evaluation has and may still do: its data, its facts, its steps.

A fact that is not in hand is noted and then behaves as a fault would, so that one evaluation says
all that it lacks; but any note voids the result, and so nothing absorbs a missing fact.
"""

from collections.abc import Mapping
from typing import ClassVar, Final

from sidecar.policy.language.faults import BudgetExceeded, Fault, NoSuchOverload
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

    __slots__ = ("_facts", "_left", "data", "missed", "slots")

    def __init__(self, data: Mapping[str, object], facts: Facts) -> None:
        self.data = data
        self.slots: list[object] = []
        self.missed: set[FactKey] = set()
        self._facts = facts
        self._left: float = STEPS_MAX

    def spend(self, steps: float) -> None:
        """Pay for going over so many elements, or for as much work."""
        self._left -= steps
        if self._left < 0:
            raise BudgetExceeded

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
