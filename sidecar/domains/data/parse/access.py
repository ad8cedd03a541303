"""Notes what a statement does to which tables and columns while it is walked."""

from collections.abc import Sequence
from typing import Final

import msgspec

from sidecar.domains.data.catalogue import Function, Relations, Table, TableKey
from sidecar.domains.data.catalogue.owned import Key as TypeKey
from sidecar.domains.data.catalogue.owned import Owned
from sidecar.domains.data.limits import RELATIONS_MAX, USES_MAX
from sidecar.domains.data.parse.text.functions import ALLOWED, FILLING, OF_SCHEMAS
from sidecar.domains.data.parse.text.lookups import FUNCTIONS as LOOKUPS
from sidecar.domains.data.parse.text.lookups import READS
from sidecar.domains.data.parse.tree.joins import Arranged
from sidecar.domains.data.parse.tree.rows import Fields, typed
from sidecar.terms.errors import ParseError
from sidecar.terms.reasons import reason
from sidecar.terms.words import ActionClass

# The action class of what a verb does to its table.
CLASSES: Final[dict[str, ActionClass]] = {
    "select": "read", "insert": "write", "update": "write", "delete": "delete",
    "lookup": "list",
}  # fmt: skip
SYSTEM_COLUMNS: Final = frozenset(("ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"))
# An UPDATE of it is a SET of whatever its rows name: PostgreSQL has a rule that says so.
_SETTINGS: Final = TableKey("pg_catalog", "pg_settings")
_CHANGES: Final = frozenset(("insert", "update", "delete"))


# Columns that a value came from.
Origins = tuple[tuple[TableKey, str], ...]


class TableAccess(msgspec.Struct):
    """What one verb does to one table: to which columns, and whether they are named."""

    key: TableKey
    verb: str
    columns: dict[str, None]
    # A column stands by its own name in the statement (not `*`, not the whole row, not count(*)).
    is_named: bool = False
    is_whole_row: bool = False


class Accesses:
    """Collects accesses in the order in which the statement does them."""

    def __init__(
        self,
        relations: Relations,
        search_path: tuple[str, ...],
        unwrapped: frozenset[str] = frozenset(),
        own_types: frozenset[str] = frozenset(),
    ) -> None:
        self._relations = relations
        self.unwrapped = unwrapped
        self.search_path = search_path
        self.made = relations.made
        # What casts to somebody's own types call their columns.
        self.own_types = own_types
        self.tables: dict[tuple[TableKey, str], TableAccess] = {}
        self.touched: dict[TableKey, None] = {}
        # Those that stand in the text by name; a declared function touches others.
        self.named: dict[TableKey, None] = {}
        self.verbs: dict[str, None] = {}
        self.functions: dict[str, None] = {}
        # What columns are read for at this point of the walk, and what they have been used for.
        self.uses: tuple[str, ...] = ("project",)
        self.usage: dict[tuple[TableKey, str], dict[str, None]] = {}
        # Columns in the order of their reading, so that an expression knows what it came from.
        self.log: list[tuple[TableKey, str]] = []
        # A call stands in FROM: how many columns it has, and their names, depends on its types.
        self.has_calls = False
        self.relation_count = 0
        # How the items of FROM stand together, by the nodes that say it: some are read repeatedly.
        self.joins: dict[int, Arranged] = {}

    def count_relation(self) -> None:
        """Count a FROM item, of which a statement has a bounded number."""
        self.relation_count += 1
        if self.relation_count > RELATIONS_MAX:
            raise ParseError(
                reason("parse.too_large"), f"more than {RELATIONS_MAX} relations in a statement"
            )

    def find(self, schema: str | None, name: str) -> Table:
        """Return the table that a name stands for.

        Raises:
            ParseError: `parse.unknown_table`.
        """
        table = self._relations.tables.get(TableKey(schema, name)) if schema is not None else None
        if schema is None:
            # `pg_catalog` is searched before everything else, and holds every `pg_` relation.
            path = ("pg_catalog",) if name.startswith("pg_") else self.search_path
            keys = (TableKey(step, name) for step in path)
            table = next(
                (found for key in keys if (found := self._relations.tables.get(key))), None
            )
        if table is None:
            raise ParseError(
                reason("parse.unknown_table"), "a table that the catalogue does not list"
            )
        if table.is_unread:
            raise ParseError(
                reason("parse.unknown_table"), "a view of which the catalogue knows no lineage"
            )
        self.named.setdefault(table.key)
        return table

    def touch(self, key: TableKey, verb: str = "select") -> TableAccess:
        """Note that `verb` is done to a table, and return the note."""
        access = self.tables.get((key, verb))
        if access is None:
            if key == _SETTINGS and verb in _CHANGES:
                raise ParseError(reason("parse.session"), "settings may not be changed as rows")
            if "*" in self._relations.drifted.get(key, ()):
                said = "a view that is not as the catalogue says"
                raise ParseError(reason("catalogue.drift"), said)
            self.touched.setdefault(key)
            access = self.tables[key, verb] = TableAccess(key, verb, {})
        return access

    def table(self, key: TableKey) -> Table:
        """Return a listed table."""
        return self._relations.tables[key]

    @property
    def owned(self) -> Owned:
        """Return the types of somebody's own."""
        return self._relations.owned

    def row(self, key: TableKey) -> Fields:
        """Return the fields of a listed table's row."""
        table = self._relations.tables[key]
        return typed(key, dict.fromkeys(table.columns, "") | table.types, self.owned)

    def beneath(self, table: Table, children: Sequence[Table], verb: str) -> None:
        """Note what is touched with a table: its children, and what a view is made of."""
        for child in children:
            self.touch(child.key, verb)
        # They decide which rows a view has, or may.
        before = self.turn_to("predicate", is_shown=True)
        for key, column in table.reads:
            self.column(key, column)
        self.uses = before
        for shown in table.shows.values():
            for key, _ in shown:
                self.touch(key, verb)

    def column(self, key: TableKey, column: str, verb: str = "select") -> None:
        """Note a column read or written by name."""
        access = self.tables.get((key, verb)) or self.touch(key, verb)
        access.columns.setdefault(column)
        access.is_named = True
        self.used(key, column, verb)

    def used(self, key: TableKey, column: str, verb: str = "select") -> None:
        """Note what a column is used for where it was read before, in a query inside, or here."""
        one = (key, column)
        noted = self.usage.get(one)
        if noted is None:
            noted = self.usage[one] = {}
        for use in self.uses if verb == "select" else ("write",):
            noted[use] = None
        self.log.append(one)
        if len(self.log) > USES_MAX:
            raise ParseError(reason("parse.too_large"), "values of too many columns, too often")

    def turn_to(self, use: str, *, is_shown: bool = False) -> tuple[str, ...]:
        """Let what is read from here on be for `use`; return what to set `uses` to behind it.

        What decides something around it goes on to decide that: an ORDER BY in a condition's query.
        What is shown is for what its surroundings are for in any case.
        """
        before = self.uses
        if use not in before:
            self.uses = (use,) if before == ("project",) and not is_shown else (*before, use)
        return before

    def origins(self, mark: int) -> Origins:
        """Return the columns that were read since the log was `mark` long, each once."""
        return tuple(dict.fromkeys(self.log[mark:]))

    def star(self, key: TableKey, columns: tuple[str, ...], verb: str = "select") -> None:
        """Note columns read or written without being named.

        Raises:
            ParseError: `catalogue.drift` where the database has columns that are not listed.
        """
        self.check_known(key)
        self.touch(key, verb).columns.update(dict.fromkeys(columns))
        for column in columns:
            self.used(key, column, verb)

    def check_known(self, key: TableKey) -> None:
        """Check that a table has the columns that are listed and no others, as far as is known.

        Raises:
            ParseError: `catalogue.drift`.
        """
        if key in self._relations.drifted:
            raise ParseError(
                reason("catalogue.drift"),
                "columns by their place in a table that has others by now",
            )

    def look_up(self, table: str) -> None:
        """Note that a system catalogue answers; it need not be listed."""
        self.tables.setdefault(
            (key := TableKey("pg_catalog", table), "lookup"), TableAccess(key, "lookup", {})
        )

    def whole_row(self, key: TableKey) -> None:
        """Note a table's row as a value: every column that it has."""
        self.star(key, tuple(self._relations.tables[key].columns))
        self.touch(key).is_whole_row = True

    def call(self, schema: str | None, name: str, *, fills: bool = False) -> list[Function]:
        """Note a call; what a declared function reads and writes is noted as done here.

        Args:
            schema: None for one of the search path, or of PostgreSQL's own.
            name: The function's.
            fills: One that fills a row may be called: the caller knows of which type.

        Returns:
            The declared functions that may be meant, none of them for one of PostgreSQL's own.

        Raises:
            ParseError: `parse.unknown_function`.
        """
        is_allowed = name in ALLOWED or (fills and name in FILLING)
        is_built_in = schema in (None, "pg_catalog") and is_allowed
        if schema is not None and (schema, name) in OF_SCHEMAS:
            self.functions.setdefault(f"{schema}.{name}")
            return []
        # Without a schema PostgreSQL's own are found on any path.
        path = dict.fromkeys((*self.search_path, "pg_catalog")) if schema is None else (schema,)
        declared = [f for s in path if (f := self._relations.functions.get((s, name)))]
        # One that has a built-in name may be meant by its types.
        made = None if declared or is_built_in else self._range_made(schema, name)
        if made is not None:
            self.functions.setdefault(".".join(made))
            return []
        is_undeclared = any((step, name) in self._relations.undeclared for step in path)
        if is_undeclared or not (declared or is_built_in):
            raise ParseError(
                reason("parse.unknown_function"), "a function that is not on the allow-list"
            )
        if is_built_in:
            self.functions.setdefault(name)
            if name in LOOKUPS:
                self.look_up(LOOKUPS[name])
            if name in READS:
                self._read(*READS[name])
        # Which overload is meant depends on types: all that the search path reaches count.
        for function in declared:
            self.functions.setdefault(function.name)
            self._declared(function)
        return declared

    def _range_made(self, schema: str | None, name: str) -> TypeKey | None:
        """Return the range of somebody's own that has that name, if bounds may make one of it."""
        path = self.search_path if schema is None else (schema,)
        keys = [(step, name) for step in path]
        if any(key in self._relations.undeclared for key in keys):
            return None
        found = next((key for key in keys if self.owned.get(key) is not None), None)
        own = self.owned.get(found) if found is not None else None
        is_range = own is not None and own.kind in ("range", "multirange")
        return found if found and is_range and self.owned.is_castable(found) else None

    def _read(self, table: str, column: str) -> None:
        key = TableKey("pg_catalog", table)
        if key not in self._relations.tables:
            said = "a function that reads what the catalogue does not list"
            raise ParseError(reason("parse.unknown_function"), said)
        self.column(key, column)

    def _declared(self, function: Function) -> None:
        # What it does with what it reads is not known.
        before = self.turn_to("predicate", is_shown=True)
        for accesses, verb in ((function.reads, "select"), (function.writes, "update")):
            for key, column in accesses:
                if column is None:
                    self.star(key, tuple(self._relations.tables[key].columns), verb)
                else:
                    self.column(key, column, verb)
        self.uses = before
