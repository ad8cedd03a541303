"""What fields a composite value has, and of what they are in turn.

A field that a row has not is a call of the function of that name to PostgreSQL, so each has to be
known: of a table's row and of a type of somebody's own from the catalogue, of a record that the
statement makes from the statement.

Source: PostgreSQL, src/backend/parser/parse_func.c, `ParseFuncOrColumn`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from sidecar.domains.data.catalogue.owned import Key, Owned, named_type
from sidecar.domains.data.parse.text.casts import BETWEEN

# The fields of a composite value, None for a value that is not known to be one.
Row = frozenset[str] | None

_OVER: Final = frozenset(("composite", "row"))
# What columns that a function declares are of: no type has that name.
NO_TYPE: Final = ("", "")
# Domains over domains.
_TURNS_MAX: Final = 32


class Fields(frozenset[str]):
    """The fields of a row whose type PostgreSQL knows wherever it comes from.

    `listed` are all of them in order, empty where some go by another name in this query.
    """

    key: Key
    types: Mapping[str, str]
    owned: Owned
    listed: tuple[str, ...]

    def within(self, name: str) -> Row:
        """Return the fields of a field."""
        return fields_of(self.types.get(name, ""), self.owned)


class Record(frozenset[str]):
    """The fields of a row that the statement makes; each may be a row itself."""

    rows: Mapping[str, Row]

    def within(self, name: str) -> Row:
        """Return the fields of a field."""
        return self.rows.get(name)


class Elements(frozenset[str]):
    """An array: it has no fields, its elements may have."""

    of: Row


def fields_of(said: str, owned: Owned, turns: int = _TURNS_MAX) -> Row:
    """Return the fields of a type as a catalogue says it; None for one without any."""
    named = named_type(said) if "." in said else None
    if named is None:
        return None
    key, is_array = named
    row = _fields(key, owned, turns)
    return elements(row) if is_array else row


def _fields(key: Key, owned: Owned, turns: int = _TURNS_MAX) -> Row:
    own = owned.get(key)
    if own is not None and own.kind in _OVER and own.fields:
        made = owned.made.get(key)
        if not isinstance(made, Fields):
            made = owned.made[key] = typed(key, own.fields, owned)
        return made
    # A catalogue may say that a domain is over itself, or over arrays of itself.
    if own is None or own.kind != "domain" or not turns:
        return None
    return fields_of(own.base, owned, turns - 1)


def typed(key: Key, types: Mapping[str, str], owned: Owned) -> Fields:
    """Return a row of the type `key`, of fields with these types in order."""
    row = Fields(types)
    row.key, row.types, row.owned, row.listed = key, types, owned, tuple(types)
    return row


def named_in(row: Fields, names: Iterable[str]) -> Fields:
    """Return those fields of a row that go by their own names; `names` are in order."""
    kept = Fields(own for own, name in zip(row.listed, names, strict=False) if own == name)
    kept.key, kept.types, kept.owned = row.key, row.types, row.owned
    kept.listed = row.listed if len(kept) == len(row) else ()
    return kept


def record(rows: Sequence[Row]) -> Record:
    """Return what `ROW(…)` makes of values with these fields."""
    named = {f"f{at + 1}": row for at, row in enumerate(rows)}
    made = Record(named)
    made.rows = named
    return made


def elements(row: Row) -> Elements:
    """Return an array of rows."""
    array = Elements()
    array.of = row
    return array


def element_of(row: Row) -> Row:
    """Return what an array holds, None where that is no row, or no array is known."""
    return row.of if isinstance(row, Elements) else None


def cast_row(kind: str, owned: Owned) -> Row:
    """Return the fields of what a cast makes whose type is written as `casts` does."""
    schema, between, name = kind.partition(BETWEEN)
    if not between:
        return None
    row = _fields((schema, name.removesuffix(BETWEEN)), owned)
    return elements(row) if name.endswith(BETWEEN) else row


def in_all(rows: Sequence[Row]) -> Row:
    """Return the fields that a value has whichever of several it is."""
    known = [row for row in rows if row is not None]
    if not known or len(known) < len(rows):
        return None
    first = known[0]
    if len(known) == 1 or all(_is_alike(first, row) for row in known[1:]):
        return first
    return frozenset.intersection(*map(frozenset, known))


def one_type(rows: Sequence[Row]) -> Row:
    """Return the fields of what has one type outside of its query too."""
    return named_row(in_all(rows))


def named_row(row: Row) -> Row:
    """Return the fields of what has a type with a name, and of an array.

    The fields of any other record PostgreSQL knows by looking at what made it: a row of values, a
    call, a column of a query. Of what an expression hands on it knows none.
    """
    is_named = isinstance(row, Fields) and row.key != NO_TYPE
    return row if is_named or isinstance(row, Elements) else None


def _is_alike(row: Row, other: Row) -> bool:
    """Return whether two values are of one type, as far as their fields tell."""
    if isinstance(row, Elements) or isinstance(other, Elements):
        both = isinstance(row, Elements) and isinstance(other, Elements)
        return both and _is_alike(element_of(row), element_of(other))
    if not isinstance(row, Fields) or not isinstance(other, Fields):
        return False
    return row.key == other.key and row == other
