"""The nouns of a catalogue: tables, functions, and all of them that one upstream has."""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from sidecar.domains.data.catalogue.owned import ROW, Castable, Owned, OwnType
from sidecar.domains.data.catalogue.owned import Key as TypeKey
from sidecar.domains.data.catalogue.types import is_built_in_name
from sidecar.syntax.json import canonical
from sidecar.terms.words import component


class TableKey(NamedTuple):
    """A table's name, as PostgreSQL keeps it."""

    schema: str
    table: str

    @property
    def id(self) -> str:
        """Return `schema.table`, each component encoded."""
        return f"{component(self.schema)}.{component(self.table)}"


class Table(msgspec.Struct, frozen=True):
    """One table: its labels, its schema's too, and its columns in order with all of theirs."""

    key: TableKey
    labels: tuple[str, ...]
    columns: dict[str, tuple[str, ...]]
    # Of a view: what each column shows, and what it reads beyond that, to the last table.
    shows: dict[str, tuple[tuple[TableKey, str], ...]] = {}
    reads: tuple[tuple[TableKey, str], ...] = ()
    # The tables that inherit from it, to the last one.
    children: tuple[TableKey, ...] = ()
    # The types of columns, as far as a file says them.
    types: dict[str, str] = {}
    # The columns that the database makes of others.
    generated: tuple[str, ...] = ()
    # A view that nobody has said of what it reads: it is not read.
    is_unread: bool = False
    # The digest of a view's query, where a file says it.
    definition: str = ""
    # A view's query itself, with every name's schema: what stands for it under obligations.
    query: str = ""

    @property
    def all_labels(self) -> tuple[str, ...]:
        """Return the table's labels and those of every column."""
        return union(self.labels, *self.columns.values())


class Function(msgspec.Struct, frozen=True):
    """A function of the organisation's own: what a call reads and writes; no column = all."""

    name: str
    reads: tuple[tuple[TableKey, str | None], ...] = ()
    writes: tuple[tuple[TableKey, str | None], ...] = ()
    # The type of what it gives, where that is one for all of its forms.
    returns: str = ""
    # The names of its columns, where it gives several that are no type's fields.
    columns: tuple[str, ...] = ()
    # It gives back a value of the type that it is given.
    is_polymorphic: bool = False


Touched = tuple[tuple[TableKey, str | None], ...]


class Relatives(msgspec.Struct, frozen=True):
    """What a file says of a view (what its columns show, what else it reads) and of parents."""

    shows: dict[str, Touched] = {}
    reads: Touched = ()
    parents: tuple[TableKey, ...] = ()

    @property
    def all(self) -> Touched:
        """Return everything that is named."""
        shown = [one for touched in self.shows.values() for one in touched]
        return (*shown, *self.reads, *((parent, None) for parent in self.parents))


class Relations(msgspec.Struct, frozen=True):
    """What statements for one upstream are resolved against; `identity` is its digest."""

    tables: dict[TableKey, Table]
    functions: dict[tuple[str, str], Function]
    search_path: tuple[str, ...]
    identity: str
    # The labels of schemas, for what is made in them.
    schemas: dict[str, tuple[str, ...]] = {}
    # Functions that are there and say nothing of what they read: they are not called.
    undeclared: frozenset[tuple[str, str]] = frozenset()
    # Types of the organisation's own; those of its tables' rows are among `owned`.
    types: dict[TypeKey, OwnType] = {}
    # Where the database is known to differ: the columns that it has and this has not; `*` is all.
    drifted: dict[TableKey, frozenset[str]] = {}
    # What readers have made of its tables and keep, so that the next statement finds it made.
    # All of it is one of a kind for a table, a column or a verb: there is no more than they are.
    made: dict[object, object] = {}

    def __post_init__(self) -> None:
        # A copy has other tables of the same names: nothing that was made of these is its own.
        msgspec.structs.force_setattr(self, "made", {})

    def would_hide(self, schema: str, name: str, *, is_new: bool) -> bool:
        """Return whether a new relation, whose row is a type too, may hide a table or a type.

        One that is temporary hides PostgreSQL's own types too; an old one without a schema may be.
        """
        own = (schema, name)
        is_known = own in self.tables or own in self.types
        may_be_temporary = not is_new or schema.startswith("pg_temp")
        if may_be_temporary and (is_built_in_name(name) or any(name == n for _, n in self.types)):
            return True
        return not is_known and any(name == one for _, one in (*self.tables, *self.types))

    @property
    def owned(self) -> Owned:
        """Return the types of its own with those of its tables' rows."""
        found = self.made.get("owned")
        if not isinstance(found, Owned):
            rows = {
                (key.schema, key.table): OwnType(
                    ROW, fields={} if key in self.drifted else self._fields(t)
                )
                for key, t in self.tables.items()
            }
            found = self.made["owned"] = Owned(self.types, rows)
        return found

    @staticmethod
    def _fields(table: Table) -> dict[str, str]:
        return dict.fromkeys(table.columns, "") | table.types

    def castable(self, search_path: tuple[str, ...]) -> Castable:
        """Return the types that may be cast to by names that `search_path` finds."""
        found = self.made.get("castable")
        if not isinstance(found, Castable) or found.path != search_path:
            found = self.made["castable"] = Castable(self.owned, search_path)
        return found


def relations_of(
    tables: dict[TableKey, Table],
    functions: dict[tuple[str, str], Function],
    search_path: tuple[str, ...],
    schemas: dict[str, tuple[str, ...]],
    undeclared: frozenset[tuple[str, str]] = frozenset(),
    types: dict[TypeKey, OwnType] | None = None,
) -> Relations:
    """Return the relations with the digest of all that analyses depend on."""
    said = [
        # The order of columns counts, and objects have none.
        [[msgspec.to_builtins(table), list(table.columns)] for table in tables.values()],
        [msgspec.to_builtins(function) for function in functions.values()],
        search_path,
        sorted(schemas.items()),
        sorted(undeclared),
        [
            [*key, msgspec.to_builtins(own), list(own.fields)]
            for key, own in sorted((types or {}).items())
        ],
    ]
    digest = hashlib.sha256(canonical(said)).hexdigest()
    return Relations(tables, functions, search_path, digest, schemas, undeclared, types or {})


def union(*groups: Sequence[str]) -> tuple[str, ...]:
    """Return every item of `groups` once, in order."""
    return tuple(dict.fromkeys(item for group in groups for item in group))
