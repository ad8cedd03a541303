"""What a condition asks: clauses below `all of` and `any of`, negation pushed into the clauses."""

from collections.abc import Iterator
from enum import Enum
from itertools import product
from typing import Final, Literal, TypeAlias

import msgspec

# More ways than this to make a condition true, and nothing is concluded from them.
WAYS_MAX: Final = 64

Kind = Literal[
    "equal",  # a field and a constant
    "less",  # a field below a constant
    "most",  # a field at most a constant
    "has",  # a field is there
    "member",  # a constant in a list or among the keys of a map
    "starts",
    "ends",
    "contains",
    "matches",
    "glob",
    "true",  # a field that is a truth itself
    "same",  # two fields are equal
    "among",  # a field in a list that is a field
    "opaque",  # anything else
]


class _Absent(Enum):
    ABSENT = "absent"


# Where a field has no default: reading it when it is not there is an error.
ABSENT: Final = _Absent.ABSENT


class Instant(msgspec.Struct, frozen=True, order=True):
    """A time or a length of time, as its constant is written."""

    text: str


class Clause(msgspec.Struct, frozen=True):
    """One clause, held or denied.

    Args:
        kind: How `field` is asked.
        field: A path (`subject.properties.role`), or one seen through functions
            (`lowerAscii(subject.id)`, `size(actors)`).
        value: The constant beside it; for `same` and `among` the other field.
        positive: Whether it must hold.
        default: What stands for the field where it is absent (`.orValue(…)`).
        start: Where the clause stands in its expression.
        end: Where it ends.
    """

    kind: Kind
    field: str
    value: object = None
    positive: bool = True
    default: object = ABSENT
    start: int = 0
    end: int = 0

    @property
    def asks(self) -> tuple[str, str, object, bool]:
        """Return what it asks, wherever it stands."""
        return self.kind, self.field, self.value, self.positive


class AllOf(msgspec.Struct, frozen=True):
    """All parts hold; without any it is true."""

    parts: tuple["Formula", ...] = ()


class AnyOf(msgspec.Struct, frozen=True):
    """A part holds; without any it is false."""

    parts: tuple["Formula", ...] = ()


Formula: TypeAlias = Clause | AllOf | AnyOf
Way: TypeAlias = tuple[Clause, ...]


def is_true(formula: Formula) -> bool:
    """Return whether it asks nothing."""
    return isinstance(formula, AllOf) and all(is_true(part) for part in formula.parts)


def clauses_of(formula: Formula) -> Iterator[Clause]:
    """Yield every clause, in the order of the text."""
    if isinstance(formula, Clause):
        yield formula
    else:
        for part in formula.parts:
            yield from clauses_of(part)


def ways(formula: Formula) -> list[Way] | None:
    """Return each way in which it can be true, as the clauses that then hold; None if too many."""
    match formula:
        case Clause():
            return [(formula,)]
        case AnyOf(parts=parts):
            return _either(parts)
        case AllOf(parts=parts):
            return _together(parts)


def _either(parts: tuple[Formula, ...]) -> list[Way] | None:
    found: list[Way] = []
    for part in parts:
        below = ways(part)
        if below is None or len(found) + len(below) > WAYS_MAX:
            return None
        found += below
    return found


def _together(parts: tuple[Formula, ...]) -> list[Way] | None:
    found: list[Way] = [()]
    for part in parts:
        below = ways(part)
        if below is None or len(found) * len(below) > WAYS_MAX:
            return None
        found = [(*one, *other) for one, other in product(found, below)]
    return found
