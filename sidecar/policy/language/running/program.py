"""An expression ready to run: by its fast code where that is sure, else exactly."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from sidecar.policy.language.running.emit import emitted
from sidecar.policy.language.running.exact import Exact
from sidecar.policy.language.running.scope import GIVES_UP
from sidecar.policy.language.running.state import MissingFacts, Run
from sidecar.policy.language.tree import Tree
from sidecar.terms.decision import Facts


class Program:
    """A checked tree that can be run; both of its forms are made when they are first needed.

    Threads may share one: the worst that they do to each other is to make a form twice.
    """

    __slots__ = ("_exact", "_fast", "_tree", "_variables")

    def __init__(self, tree: Tree, variables: Collection[str]) -> None:
        """Make a program.

        Args:
            tree: As the checker returns it.
            variables: The full names that stand for data.
        """
        self._tree = tree
        self._variables = variables
        self._exact: Exact | None = None
        self._fast: Callable[[Any, Facts], object] = self._first

    def run(self, data: Mapping[str, object], facts: Facts) -> object:
        """Return the value, in the types of the language.

        Raises:
            Fault: There is none.
            MissingFacts: Facts were asked for that are not in hand.
        """
        try:
            return self._fast(data, facts)
        except GIVES_UP:
            return self.run_exactly(data, facts)

    def run_exactly(self, data: Mapping[str, object], facts: Facts) -> object:
        """Return what `run` does, never by the fast code."""
        if self._exact is None:
            self._exact = Exact(self._tree, self._variables)
        run = Run(data, facts)
        try:
            return self._exact.evaluate(run)
        finally:
            # Why here: a fact that is missing voids a value and a fault alike.
            if run.missed:
                raise MissingFacts(frozenset(run.missed))

    @property
    def tree(self) -> Tree:
        """Return what it was made from."""
        return self._tree

    def _first(self, data: Mapping[str, object], facts: Facts) -> object:
        """Make the fast form, and run it."""
        self._fast = emitted(self._tree, self._variables) or self.run_exactly
        return self._fast(data, facts)
