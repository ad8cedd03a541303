"""Names that SQL itself gives: PREPARE and DECLARE, and what stands behind them.

A name holds once the server has said so, with what it was permitted for. EXECUTE, FETCH and MOVE
are decided on the text behind the name, and anew each time; what was put into that text stays what
it was, so a decision that asks for anything else is refused. Statements of the protocol are held
apart (`prepared`), although the server has one list: what one side gives, the other loses.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from sidecar.intercept.postgres.limits import NAMES_MAX
from sidecar.intercept.postgres.protocol.guard import Due
from sidecar.terms.call import Json

EVERY: Final = "*"
_CHANGES: Final = frozenset(("prepare", "declare", "deallocate", "close", "discard"))
_RUNS: Final = {"execute": "prepared", "fetch": "cursors", "move": "cursors"}


@dataclass(slots=True, eq=False)
class Passed:
    """How many rows of one run have passed."""

    rows: int = 0


@dataclass(frozen=True, slots=True)
class NameUse:
    """What a statement does to a name; `text` is what stands behind it from then on."""

    does: str
    name: str
    text: str = ""

    @property
    def is_change(self) -> bool:
        """Return whether names mean something else afterwards."""
        return self.does in _CHANGES


def uses_of(native: dict[str, Json]) -> tuple[NameUse, ...]:
    """Return what a statement does to names, as the parser has read it."""
    return tuple(NameUse(one["does"], one["name"], one["text"]) for one in native.get("names", ()))


@dataclass(frozen=True, slots=True, eq=False)
class Named:
    """What stands behind a name: the text, what was due on it, and the rows of a cursor."""

    text: str
    due: Due
    passed: Passed


@dataclass(slots=True)
class SessionNames:
    """The names of one session as the server has confirmed them; `has_lost` as in `Names`."""

    has_lost: bool = False
    prepared: dict[str, Named] = field(default_factory=dict)
    cursors: dict[str, Named] = field(default_factory=dict)

    @property
    def said(self) -> dict[str, Json]:
        """Return the texts as the parser takes them; empty without any."""
        if not (self.prepared or self.cursors):
            return {}
        return {
            "prepared": {name: one.text for name, one in self.prepared.items()},
            "cursors": {name: one.text for name, one in self.cursors.items()},
        }

    def given(self, kind: bytes, closes: bytes) -> "dict[str, Named]":
        """Return those among which a Parse, Bind or Close has its name.

        The server has one list of statements, and one of portals and cursors, whoever names them.
        """
        return self.prepared if kind == b"P" or closes == b"S" else self.cursors

    def takes(self, kind: bytes, closes: bytes, name: str) -> bool:
        """Return whether it depends on its answer what stands behind a name that SQL gave."""
        return kind in (b"P", b"B", b"C") and name in self.given(kind, closes)

    def run_by(self, uses: Iterable[NameUse]) -> Named | None:
        """Return what EXECUTE, FETCH or MOVE runs, None for other statements."""
        for one in uses:
            if one.does in _RUNS:
                held = self.prepared if _RUNS[one.does] == "prepared" else self.cursors
                return held.get(one.name)
        return None

    def take(self, uses: Iterable[NameUse], asked: Due) -> None:
        """Note that the server has done what a statement does to names."""
        for one in uses:
            match one.does:
                case "prepare":
                    self._hold(self.prepared, one, asked)
                case "declare":
                    self._hold(self.cursors, one, asked)
                case "deallocate":
                    _drop(self.prepared, one.name)
                case "close":
                    _drop(self.cursors, one.name)
                case "discard":
                    self.prepared.clear()
                    self.cursors.clear()
                case _:
                    assert one.does in _RUNS, one.does

    def _hold(self, held: dict[str, Named], use: NameUse, asked: Due) -> None:
        held.pop(use.name, None)
        held[use.name] = Named(use.text, asked, Passed())
        while len(held) > NAMES_MAX:
            # The oldest is forgotten, and using it is refused.
            del held[next(iter(held))]
            self.has_lost = True


def _drop(held: dict[str, Named], name: str) -> None:
    if name == EVERY:
        held.clear()
    else:
        held.pop(name, None)
