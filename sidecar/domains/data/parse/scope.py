"""What names stand for at one place in a statement.

A scope is one query level: the relations of its FROM, and the level around it. PostgreSQL's order
is kept: a bare name is a column of the nearest level that has one, and only if no level has, the
whole row of a relation of that name. Where two relations of one level fit, both count as read: a
superset is safe, and PostgreSQL refuses the ambiguous ones itself.
"""

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from sidecar.domains.data.catalogue import Table, TableKey
from sidecar.domains.data.parse.access import SYSTEM_COLUMNS, Accesses, Origins
from sidecar.domains.data.parse.tree.joins import Names
from sidecar.domains.data.parse.tree.rows import Row, fields_of, in_all, named_in
from sidecar.terms.errors import ParseError
from sidecar.terms.reasons import reason


class Column(msgspec.Struct, frozen=True):
    """A column of a relation: its name here, what it reads, its own columns if composite."""

    name: str
    bases: tuple[tuple[TableKey, str], ...] = ()
    row: Row = None
    # Not so for a call's columns in FROM, whose names depend on its types.
    is_sure: bool = True
    # What its value came from: read inside of its query, used where it is read.
    origins: Origins = ()
    # It may stand for several, so what stands behind it may have another place.
    is_open: bool = False
    # What it may be called instead, where its name is not known; None for anything.
    otherwise: frozenset[str] | None = frozenset()
    # Not in `*`: what SEARCH and CYCLE add, inside of their query.
    is_hidden: bool = False


class Columns:
    """Columns by name: a statement may name many of many."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self.listed = tuple(columns)
        # The first that may be several.
        self.opened = next((at for at, one in enumerate(columns) if one.is_open), len(columns))
        self._meant: dict[str, Column] = {}
        self._named: dict[str, list[Column]] = {}
        vague: dict[frozenset[str] | None, list[Column]] = {}
        for column in columns:
            self._named.setdefault(column.name, []).append(column)
            if column.is_open or column.otherwise != frozenset():
                names = None if column.is_open else column.otherwise
                vague.setdefault(names, []).append(column)
        self._vague = [
            (names, Column("", is_sure=False, origins=from_all(some), is_open=True))
            for names, some in vague.items()
        ]

    def named(self, name: str) -> list[Column]:
        """Return the columns of that name."""
        return self._named.get(name, [])

    def perhaps(self, name: str) -> list[Column]:
        """Return what may have that name: in place of several columns one with all their values."""
        if not self._vague:
            return []
        return [column for names, column in self._vague if names is None or name in names]

    def meant(self, name: str) -> Column:
        """Return one column with the values of all that have that name, or may have it."""
        if name not in self._meant:
            origins = from_all([*self.named(name), *self.perhaps(name)])
            self._meant[name] = Column(name, is_sure=False, origins=origins)
        return self._meant[name]


class Relation(msgspec.Struct, frozen=True):
    """What a FROM item is called and what it has.

    Args:
        name: As statements refer to it, empty where they cannot.
        columns: In order; names may repeat.
        table: Set where it is a table of the catalogue, for whole rows and system columns.
        is_aliased: `schema.table.column` does not reach it.
        joined: The tables of a join that goes by one name, whose rows are in its rows.
        is_value: A call of one column, whose name stands for the value itself.
        index: Its columns by name, made where it is asked for; a copy with others has another one.
    """

    name: str
    columns: tuple[Column, ...]
    table: TableKey | None = None
    is_aliased: bool = True
    joined: tuple[TableKey, ...] = ()
    is_value: bool = False
    index: Columns | None = None

    def __post_init__(self) -> None:
        if self.index is not None and self.index.listed is not self.columns:
            msgspec.structs.force_setattr(self, "index", None)

    def named(self, name: str) -> list[Column]:
        """Return the columns of that name, system columns of a table included."""
        found = self._by_name().named(name)
        if not found and self.table is not None and name in SYSTEM_COLUMNS:
            return [Column(name, ((self.table, name),))]
        return found

    def perhaps(self, name: str) -> list[Column]:
        """Return what may have that name besides."""
        return self._by_name().perhaps(name)

    def _by_name(self) -> Columns:
        if self.index is None:
            msgspec.structs.force_setattr(self, "index", index := Columns(self.columns))
            return index
        return self.index

    @property
    def row(self) -> frozenset[str]:
        """Return the names of the columns that it has for sure."""
        return frozenset(column.name for column in self.columns if column.is_sure)


class Item(msgspec.Struct, frozen=True):
    """A FROM item or a join of several.

    Args:
        relations: Those that can be named.
        columns: Those of its `*`.
        names: What its parts are called in the text.
    """

    relations: tuple[Relation, ...]
    columns: tuple[Column, ...]
    names: Names = ()


CTEs = Mapping[str, tuple[Column, ...]]


class Scope(msgspec.Struct, frozen=True):
    """One query level."""

    relations: tuple[Relation, ...] = ()
    parent: "Scope | None" = None
    ctes: CTEs = {}
    # What names were found to be.
    found: dict[str, tuple[list[Column], list[Column]]] = {}

    def below(self, relations: Sequence[Relation]) -> "Scope":
        """Return a level inside this one."""
        return Scope(tuple(relations), self, self.ctes)

    def beside(self, relations: Sequence[Relation]) -> "Scope":
        """Return this level with other relations."""
        return Scope(tuple(relations), self.parent, self.ctes)

    def with_ctes(self, more: CTEs) -> "Scope":
        """Return this level with more CTEs in sight; later ones hide earlier ones."""
        return Scope(self.relations, self.parent, {**self.ctes, **more})

    def named(self, name: str) -> list[Column]:
        """Return the columns of that name on this level."""
        return self._found(name)[0]

    def perhaps(self, name: str) -> list[Column]:
        """Return what may have that name on this level besides."""
        return self._found(name)[1]

    def _found(self, name: str) -> tuple[list[Column], list[Column]]:
        found = self.found.get(name)
        if found is None:
            found = ([], [])
            for relation in self.relations:
                found[0].extend(relation.named(name))
                found[1].extend(relation.perhaps(name))
            self.found[name] = found
        return found

    def levels(self) -> Iterator["Scope"]:
        """Yield this level and those around it, nearest first."""
        level: Scope | None = self
        while level is not None:
            yield level
            level = level.parent


def table_relation(
    table: Table, alias: str | None, children: Sequence[Table], accesses: Accesses
) -> Relation:
    """Return a table of the catalogue as a FROM item's relation.

    Args:
        table: A view's columns read what they show as well.
        alias: None where it goes by its own name.
        children: Tables whose rows are its rows too.
        accesses: What is made of a table alone is kept there.
    """
    made = accesses.made
    known = made.get(table.key)
    if not isinstance(known, Columns) or children:
        types = table.types if any("." in said for said in table.types.values()) else {}
        columns = tuple(
            Column(
                name,
                _bases(table, name, children),
                fields_of(types[name], accesses.owned) if name in types else None,
            )
            for name in table.columns
        )
        known = Columns(columns)
        if not children:
            made[table.key] = known
    return Relation(
        alias or table.key.table,
        known.listed,
        table.key,
        is_aliased=alias is not None,
        index=known,
    )


def _bases(table: Table, name: str, children: Sequence[Table]) -> tuple[tuple[TableKey, str], ...]:
    inherited = [(child.key, name) for child in children if name in child.columns]
    return ((table.key, name), *table.shows.get(name, ()), *inherited)


def renamed(columns: Sequence[Column], names: Sequence[str]) -> tuple[Column, ...]:
    """Return `columns` with the first ones called as `AS t(a, b)` says."""
    if not names:
        return tuple(columns)
    if any(column.is_open for column in columns[: max(len(names) - 1, 0)]):
        raise ParseError(reason("parse.ambiguous"), "aliases of columns behind a call of several")
    if len(names) > len(columns):
        raise ParseError(reason("parse.unknown_column"), "more column aliases than columns")
    return tuple(
        msgspec.structs.replace(column, name=names[i], is_sure=True, otherwise=frozenset())
        if i < len(names)
        else column
        for i, column in enumerate(columns)
    )


def plain(columns: Sequence[Column]) -> tuple[Column, ...]:
    """Return columns as they are outside of their query: what they read has been noted inside."""
    return tuple(
        msgspec.structs.replace(c, bases=(), origins=from_all((c,))) if c.bases else c
        for c in columns
    )


def from_all(columns: Sequence[Column]) -> Origins:
    """Return what the values of any of these columns came from, each once."""
    return tuple(dict.fromkeys(one for c in columns for one in (*c.bases, *c.origins)))


def from_more(columns: Sequence[Column], origins: Origins) -> tuple[Column, ...]:
    """Return `columns` with values that came from `origins` too."""
    return tuple(
        msgspec.structs.replace(c, origins=tuple(dict.fromkeys((*c.origins, *origins))))
        for c in columns
    )


def both_of(columns: tuple[Column, ...], others: Sequence[Column]) -> tuple[Column, ...]:
    """Return the columns of a set operation: those of its first side, with values of both."""
    both = (*columns, *others)
    if len(others) != len(columns) or any(c.is_open or not c.is_sure for c in both):
        # Which of them stands beside which is not known; PostgreSQL may refuse it.
        return from_more(columns, from_all(both))
    return tuple(
        msgspec.structs.replace(
            own, bases=(), row=in_all((own.row, other.row)), origins=from_all((own, other))
        )
        for own, other in zip(columns, others, strict=True)
    )


def read_columns(columns: Sequence[Column], accesses: Accesses) -> None:
    """Note columns read by name."""
    for column in columns:
        for key, name in column.bases:
            accesses.column(key, name)
        for key, name in column.origins:
            accesses.used(key, name)


def read_star(columns: Sequence[Column], accesses: Accesses) -> None:
    """Note columns read by `*`."""
    for column in columns:
        for key, name in column.bases:
            accesses.star(key, (name,))
        for key, name in column.origins:
            accesses.used(key, name)


def read_row(relation: Relation, accesses: Accesses) -> Row:
    """Note a relation's whole row read as a value."""
    read_star(relation.columns, accesses)
    if relation.table is not None:
        accesses.whole_row(relation.table)
    for key in relation.joined:
        accesses.whole_row(key)
    if relation.is_value:
        return None
    if relation.table is None:
        return relation.row
    # Other names are there in this query alone, and then the table's own are not.
    return named_in(accesses.row(relation.table), [one.name for one in relation.columns])


def is_there(name: str, scope: Scope) -> bool:
    """Return whether a bare name may be a column, or a row, of this level or of one around it."""
    return any(
        level.named(name) or level.perhaps(name) or any(one.name == name for one in level.relations)
        for level in scope.levels()
    )


def read_name(name: str, scope: Scope, accesses: Accesses) -> Row:
    """Note what a bare name reads; return its columns if it is a composite value."""
    unsure: list[Column] = []
    for level in scope.levels():
        found = level.named(name)
        read_columns(found, accesses)
        # It makes no name known that nobody has: that may be a column that is not listed.
        read_columns(level.perhaps(name), accesses)
        if any(column.is_sure for column in found):
            return _row_of(found)
        unsure += found
    # A column that may be missing leaves its name to a relation: both are noted.
    for level in scope.levels():
        relations = [relation for relation in level.relations if relation.name == name]
        if relations:
            return in_all([read_row(relation, accesses) for relation in relations])
    if unsure:
        return None
    raise _unknown()


def read_qualified(parts: Sequence[str], scope: Scope, accesses: Accesses) -> Row:
    """Note what `relation.column` or `schema.relation.column` reads."""
    *qualifier, name = parts
    relations = qualified(qualifier, scope)
    found = [column for relation in relations for column in relation.named(name)]
    # What may be no column would be a call of the function of that name.
    if not (found and found[0].is_sure) and not any(column.is_sure for column in found):
        raise _unknown()
    read_columns(found, accesses)
    for relation in relations:
        if perhaps := relation.perhaps(name):
            read_columns(perhaps, accesses)
    return found[0].row if len(found) == 1 else _row_of(found)


def qualified(qualifier: Sequence[str], scope: Scope) -> list[Relation]:
    """Return the relations of the nearest level that `relation` or `schema.relation` names."""
    level: Scope | None = scope
    while level is not None:
        if len(qualifier) == 1:
            name = qualifier[0]
            relations = [relation for relation in level.relations if relation.name == name]
        else:
            relations = [one for one in level.relations if _is_called(one, qualifier)]
        if relations:
            return relations
        level = level.parent
    raise ParseError(reason("parse.unknown_table"), "a relation that this part of the text has not")


def _is_called(relation: Relation, qualifier: Sequence[str]) -> bool:
    # `database.schema.table` is as `schema.table`: PostgreSQL refuses every other database.
    schema, table = qualifier[-2:]
    return not relation.is_aliased and relation.table == (schema, table)


def _row_of(columns: Sequence[Column]) -> Row:
    return in_all([column.row for column in columns])


def _unknown() -> ParseError:
    return ParseError(reason("parse.unknown_column"), "a column that the catalogue does not list")
