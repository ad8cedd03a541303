"""What every part of an expression came to in one evaluation.

These are the exact evaluator's own closures with a note taken beside each, so the value is exact's
by construction. A macro's body has another value for every element: of its rounds the first few of
each outcome are kept, among them those that decided, and the others are counted. What was never
asked (the other side of `||`, the branch not taken) has no note and is told as not evaluated.

Notes are kept by how many macros stand around a part, not by who asked: what `cel.bind` names is
computed deep inside of a loop and belongs outside of it.
"""

from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Final, Literal

import msgspec

from sidecar.policy.language.faults import Fault
from sidecar.policy.language.running.ahead.constants import constants
from sidecar.policy.language.running.closures import Step
from sidecar.policy.language.running.exact import Builder
from sidecar.policy.language.running.state import Run
from sidecar.policy.language.tree import Fold, Tree
from sidecar.policy.language.walk import children
from sidecar.terms.decision import FactKey, Facts

# Of the rounds of a macro with one outcome; `exists_one` is false by the second that holds.
ROUNDS_KEPT: Final = 2
State = Literal["value", "error", "not_evaluated"]
# What a round came to; `skipped` by the condition that stands before a macro's body.
RoundKind = Literal["true", "false", "value", "error", "skipped"]


class Part(msgspec.Struct, frozen=True):
    """One part of an expression and what it came to.

    Attributes:
        tree: The node; it has the span in the source.
        state: Whether there is a value, a fault, or neither.
        value: In the types of the language.
        error: The text of the fault.
        parts: The parts directly below, in the order of the text; of a macro what it goes over.
        rounds: Of a macro what its elements came to.
    """

    tree: Tree
    state: State
    value: object = None
    error: str | None = None
    parts: tuple["Part", ...] = ()
    rounds: "Rounds | None" = None


class Round(msgspec.Struct, frozen=True):
    """One element of a macro: what its names stood for, and what condition and body came to."""

    kind: RoundKind
    names: dict[str, object]
    parts: tuple[Part, ...]


class Rounds(msgspec.Struct, frozen=True):
    """How many elements came to what, and the first few of each."""

    counts: dict[RoundKind, int]
    kept: tuple[Round, ...]


class Explained(msgspec.Struct, frozen=True):
    """One evaluation; `missed` are facts that were not in hand, and then there is no value."""

    part: Part
    missed: frozenset[FactKey]


class Explainer:
    """A checked tree that tells how it comes to its value; made once, asked for many inputs."""

    __slots__ = ("_slots", "_step", "_tree")

    def __init__(self, tree: Tree, variables: Collection[str]) -> None:
        """Make closures of a tree; the arguments are those of `Exact`."""
        builder = _Noting(variables, constants(tree))
        self._tree = tree
        self._step = builder.visit(tree)
        self._slots = builder.slots

    def explain(self, data: Mapping[str, object], facts: Facts) -> Explained:
        """Return what every part comes to; a fault is one of the answers."""
        run = _NotedRun(data, facts)
        run.slots = [None] * self._slots
        outermost = run.frames[0]
        # The note of the root has the fault.
        with suppress(Fault):
            self._step(run)
        return Explained(_part(self._tree, outermost), frozenset(run.missed))


class _Frame:
    """The notes of one round, or of what stands in no macro; by the identity of nodes."""

    __slots__ = ("names", "notes", "rounds")

    def __init__(self, names: dict[str, object]) -> None:
        self.names = names
        self.notes: dict[int, object] = {}
        self.rounds: dict[int, _Kept] = {}


class _Kept:
    """The rounds of one macro in one evaluation of it."""

    __slots__ = ("_now", "_tree", "counts", "frames")

    def __init__(self, tree: Fold) -> None:
        self._tree = tree
        self._now: _Frame | None = None
        self.counts: dict[RoundKind, int] = {}
        self.frames: list[tuple[RoundKind, _Frame]] = []

    def begin(self, frame: _Frame) -> None:
        """End the round before, and begin another."""
        self.end()
        self._now = frame

    def end(self) -> None:
        """Count the round that ran, and keep it where it is one of the first of its kind."""
        if self._now is None:
            return
        kind = self._kind(self._now)
        count = self.counts[kind] = self.counts.get(kind, 0) + 1
        if count <= ROUNDS_KEPT:
            self.frames.append((kind, self._now))
        self._now = None

    def _kind(self, frame: _Frame) -> RoundKind:
        absent = object()
        value = frame.notes.get(id(self._tree.body), absent)
        if value is absent:
            value = frame.notes.get(id(self._tree.condition), absent)
            return "skipped" if value is False else "error"
        if isinstance(value, Fault):
            return "error"
        if type(value) is bool:
            return "true" if value else "false"
        return "value"


class _NotedRun(Run):
    __slots__ = ("frames", "kept")

    def __init__(self, data: Mapping[str, object], facts: Facts) -> None:
        super().__init__(data, facts)
        # One a macro around: the first is that of the whole.
        self.frames = [_Frame({})]
        self.kept: _Kept | None = None


class _Noting(Builder):
    """Builds the exact closures, each inside of one that takes the note."""

    __slots__ = ("_begins",)

    def __init__(self, variables: Collection[str], known: Mapping[int, object]) -> None:
        super().__init__(variables, known)
        # The node that is asked first in each round → the names of its macro.
        self._begins: dict[int, tuple[str, ...]] = {}

    def visit(self, tree: Tree) -> Step:
        """Return the closure of a node, which notes what it comes to."""
        names = self._begins.pop(id(tree), None)
        slots = {name: self._scope[name][0] for name in names or ()}
        depth = self._depth
        made = self._folded(tree) if isinstance(tree, Fold) else super().visit(tree)
        noted = _noted(made, id(tree), depth)
        return noted if names is None else _begun(noted, slots, depth)

    def known(self, tree: Tree, value: object) -> Step:
        """Return a part that is constant, and the notes of what it is made of."""
        parts = [self.visit(each) for each in children(tree)]

        def noted(run: Run) -> object:
            for part in parts:
                part(run)
            return value

        return noted

    def _folded(self, tree: Fold) -> Step:
        first = tree.body if tree.condition is None else tree.condition
        self._begins[id(first)] = tree.names
        step, depth = super().visit(tree), self._depth

        def folded(run: Run) -> object:
            assert isinstance(run, _NotedRun)
            inner, outer = run.frames[depth + 1 :], run.kept
            run.kept = run.frames[depth].rounds[id(tree)] = kept = _Kept(tree)
            try:
                return step(run)
            finally:
                kept.end()
                run.frames[depth + 1 :], run.kept = inner, outer

        return folded


def _noted(step: Step, key: int, depth: int) -> Step:
    def noted(run: Run) -> object:
        assert isinstance(run, _NotedRun)
        notes = run.frames[depth].notes
        try:
            value = step(run)
        except Fault as fault:
            notes[key] = fault
            raise
        notes[key] = value
        return value

    return noted


def _begun(step: Step, slots: dict[str, int], depth: int) -> Step:
    def begun(run: Run) -> object:
        assert isinstance(run, _NotedRun)
        assert run.kept is not None
        frame = _Frame({name: run.slots[slot] for name, slot in slots.items()})
        run.frames[depth:] = [frame]
        run.kept.begin(frame)
        return step(run)

    return begun


def _part(tree: Tree, frame: _Frame) -> Part:
    if id(tree) not in frame.notes:
        return Part(tree, "not_evaluated")
    noted = frame.notes[id(tree)]
    below = (tree.range,) if isinstance(tree, Fold) else children(tree)
    parts = tuple(_part(child, frame) for child in below)
    kept = frame.rounds.get(id(tree))
    rounds = _rounds(tree, kept) if isinstance(tree, Fold) and kept is not None else None
    if isinstance(noted, Fault):
        return Part(tree, "error", None, str(noted), parts, rounds)
    return Part(tree, "value", noted, None, parts, rounds)


def _rounds(tree: Fold, kept: _Kept) -> Rounds:
    inner = (tree.body,) if tree.condition is None else (tree.condition, tree.body)
    found = tuple(
        Round(kind, frame.names, tuple(_part(each, frame) for each in inner))
        for kind, frame in kept.frames
    )
    return Rounds(kept.counts, found)
