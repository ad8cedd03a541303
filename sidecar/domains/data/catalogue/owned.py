"""Types of the organisation's own: what they are made of, and whether a cast to one runs code.

Making a value of an enumeration, of a row, of a range or of an array of them runs what PostgreSQL
has built in, and the same of each type inside. A domain runs its checks besides, so these have to
have been read (`cast: unread` says that nobody has); a type whose input is somebody's own C runs
that, and is never cast to.
"""

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from sidecar.domains.data.catalogue.types import is_built_in, is_built_in_name
from sidecar.domains.data.limits import TYPES_WITHIN_MAX
from sidecar.terms.words import component

Key = tuple[str, str]
# As PostgreSQL's `format_type` writes what is not on its path: each part quoted where it has to be.
_PART: Final = r'(?:"((?:[^"]|"")+)"|([^\W\d][\w$]*))'
_QUALIFIED: Final = re.compile(rf"{_PART}\.{_PART}((?:\[\])*)")
_WITH_BASE: Final = frozenset(("domain", "range", "multirange"))
_WITH_FIELDS: Final = frozenset(("composite", "row"))
ROW: Final = "row"


class OwnType(msgspec.Struct, frozen=True):
    """One type: its kind, the type that it is made of, its fields with theirs.

    Args:
        kind: enum, domain, composite, range, multirange; `row` is a table's.
        base: Of a domain what it is over, of a range what it is of, of a multirange the range.
        fields: Of a composite, in order; of a table the columns, empty where no type is said.
        is_unread: A cast to it runs what nobody has looked at.
        checks: Of a domain, which were looked at where it is not unread.
    """

    kind: str
    base: str = ""
    fields: dict[str, str] = {}
    is_unread: bool = False
    checks: tuple[str, ...] = ()


class Owned:
    """All of them that one upstream has, the rows of its tables too."""

    def __init__(self, types: Mapping[Key, OwnType], rows: Mapping[Key, OwnType]) -> None:
        self.types = types
        self._rows = rows
        self._castable: dict[Key, bool] = {}
        # What readers have made of a type and keep.
        self.made: dict[Key, object] = {}

    def get(self, key: Key) -> OwnType | None:
        """Return a type, or a table's row."""
        found = self.types.get(key)
        return found if found is not None else self._rows.get(key)

    def built_in_names(self, schemas: tuple[str, ...]) -> frozenset[str]:
        """Return the names of PostgreSQL's own types that types of these schemas have too."""
        keys = (*self.types, *self._rows) if schemas else ()
        return frozenset(
            name for schema, name in keys if schema in schemas and is_built_in_name(name)
        )

    def is_castable(self, key: Key) -> bool:
        """Return whether a cast to a type of that name runs nothing that nobody has looked at."""
        known = self._castable.get(key)
        if known is None:
            found = self.get(key)
            if found is None:
                return False
            known = self._castable[key] = self._is_safe(key, set())
        return known

    def _is_safe(self, key: Key, within: set[Key]) -> bool:
        """Return whether a type and all that it is made of run no code; it may hold itself."""
        own = self.get(key)
        if own is None or own.is_unread or len(within) > TYPES_WITHIN_MAX:
            return False
        if key in within:
            return True
        within.add(key)
        if own.kind == "enum":
            return True
        if own.kind in _WITH_BASE:
            return self._is_safe_inside(own.base, within)
        inside = own.fields.values()
        is_made_of_some = own.kind in _WITH_FIELDS and bool(inside)
        return is_made_of_some and all(self._is_safe_inside(said, within) for said in inside)

    def _is_safe_inside(self, said: str, within: set[Key]) -> bool:
        named = named_type(said)
        if named is not None:
            return self._is_safe(named[0], within)
        return is_built_in(said)


def named_type(said: str) -> tuple[Key, bool] | None:
    """Return the type of somebody's own that a text names, and whether an array of it is meant."""
    found = _QUALIFIED.fullmatch(said)
    if found is None:
        return None
    quoted, plain, own_quoted, own_plain, brackets = found.groups()
    schema = plain or quoted.replace('""', '"')
    if schema in ("pg_catalog", "information_schema"):
        return None
    return (schema, own_plain or own_quoted.replace('""', '"')), bool(brackets)


def drift_name(key: Key) -> str:
    """Return what a drift calls a type; no table is called so."""
    return "type:" + ".".join(component(part) for part in key)


def path_before(search_path: tuple[str, ...]) -> tuple[str, ...]:
    """Return the schemas that are looked into before PostgreSQL's own."""
    own = "pg_catalog"
    return search_path[: search_path.index(own)] if own in search_path else ()


class Castable:
    """The types that a statement may cast to, as its search path finds them."""

    def __init__(self, owned: Owned, search_path: tuple[str, ...]) -> None:
        self._owned = owned
        self.path = search_path
        self._found: dict[Key, Key] = {}
        # PostgreSQL's own that are not meant by their names: its schema comes behind others here.
        self.hidden = owned.built_in_names(path_before(search_path))

    def find(self, schema: str, name: str) -> Key | None:
        """Return the type that a name stands for; None where it may not be cast to."""
        asked = (schema, name)
        found = self._found.get(asked)
        if found is None:
            found = asked if schema else self._first(name)
            if found is None or not self._owned.is_castable(found):
                return None
            self._found[asked] = found
        return found

    def _first(self, name: str) -> Key | None:
        keys = ((step, name) for step in self.path)
        return next((key for key in keys if self._owned.get(key) is not None), None)
