"""The branches of an explained expression: what decides, and every body of a macro.

They are the whole and every operand of `!`, `&&`, `||` and `?:`.
A branch that was evaluated has one outcome; a suite, or made-up inputs, show it with others. Of a
macro's body each kind of round is a branch with the names that it saw.
"""

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from sidecar.policy.language.running.explain import Part
from sidecar.policy.language.tree import Bind, Call, Constant

_LOGIC: Final = frozenset({"_&&_", "_||_", "_?_:_", "!_"})


class Branch(msgspec.Struct, frozen=True):
    """A part that decides, and what the names of the macros around it stood for."""

    part: Part
    names: Mapping[str, object]

    @property
    def outcome(self) -> tuple[int, int, str]:
        """Return what tells this branch with this outcome from all others of its expression.

        Types are of it: what is false of a number may be true of a bool, to one of the two.
        """
        part = self.part
        told = repr(part.value) if type(part.value) is bool else part.state
        types = [type(below.value).__name__ for below in part.parts if below.state == "value"]
        return part.tree.start, part.tree.end, " ".join([told, *types])


def branches(part: Part) -> Iterator[Branch]:
    """Yield the whole and every branch below it that was evaluated."""
    yield Branch(part, {})
    yield from _below(part, {})


def _below(part: Part, names: Mapping[str, object]) -> Iterator[Branch]:
    tree = part.tree
    inner = names
    if isinstance(tree, Bind):
        init, *_ = part.parts
        inner = {**names, tree.name: init.value} if init.state == "value" else names
    is_logic = isinstance(tree, Call) and tree.function in _LOGIC
    for number, below in enumerate(part.parts):
        seen = inner if number else names
        if is_logic and _is_asked(below):
            yield Branch(below, seen)
        yield from _below(below, seen)
    for body in _bodies(part, names):
        if _is_asked(body.part):
            yield body
        yield from _below(body.part, body.names)


def parts_of(branch: Branch) -> Iterator[Branch]:
    """Yield the parts directly below a branch that were evaluated, for whoever seeks the smallest.

    Of what a macro came to, its rounds are branches of their own.
    """
    tree, names = branch.part.tree, branch.names
    if isinstance(tree, Bind):
        return
    for below in branch.part.parts:
        if _is_asked(below):
            yield Branch(below, names)
    yield from (body for body in _bodies(branch.part, names) if _is_asked(body.part))


def _bodies(part: Part, names: Mapping[str, object]) -> Iterator[Branch]:
    """Yield condition and body of each round of a macro that was kept."""
    for one in part.rounds.kept if part.rounds is not None else ():
        for below in one.parts:
            yield Branch(below, {**names, **one.names})


def _is_asked(part: Part) -> bool:
    return part.state != "not_evaluated" and not isinstance(part.tree, Constant)
