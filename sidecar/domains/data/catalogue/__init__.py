"""Which tables, columns and functions there are, and the labels that they carry.

A table's labels are its schema's and its own, a column's are its table's and its own. What is not
listed here does not exist for the parser: system catalogues, views and temporary tables too.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from sidecar.syntax.json import canonical
from sidecar.terms.call import Json
from sidecar.terms.domain import CatalogueFile
from sidecar.terms.errors import PolicyError
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

    @property
    def all_labels(self) -> tuple[str, ...]:
        """Return the table's labels and those of every column."""
        return _union(self.labels, *self.columns.values())


class Function(msgspec.Struct, frozen=True):
    """A function of the organisation's own: what a call reads and writes; no column = all."""

    name: str
    reads: tuple[tuple[TableKey, str | None], ...] = ()
    writes: tuple[tuple[TableKey, str | None], ...] = ()


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


_NONE: Final = Relations({}, {}, ("public",), "")
_FIELDS: Final = {"protocol", "upstream", "dialect", "search_path", "schemas", "functions"}
_SCHEMA_FIELDS: Final = {"labels", "tables"}
_TABLE_FIELDS: Final = {"labels", "columns", "reads", "inherits"}
_COLUMN_FIELDS: Final = {"labels", "type", "shows"}
_FUNCTION_FIELDS: Final = {"reads", "writes"}


class DataCatalogue:
    """The catalogue files of SQL, by upstream; one without `upstream` holds for all."""

    def __init__(self, everywhere: Relations, upstreams: Mapping[str, Relations]) -> None:
        self._everywhere = everywhere
        self._upstreams = dict(upstreams)

    @property
    def empty(self) -> bool:
        """Return whether no file said anything."""
        return not self._everywhere.tables and not self._upstreams

    def all(self) -> tuple[Relations, ...]:
        """Return the relations of every upstream."""
        return (self._everywhere, *self._upstreams.values())

    def relations(self, upstream: str) -> Relations:
        """Return what statements for `upstream` are resolved against."""
        return self._upstreams.get(upstream, self._everywhere)


def compile_catalogue(files: Sequence[CatalogueFile]) -> DataCatalogue:
    """Return the catalogue of `files`.

    Raises:
        PolicyError: With every problem, each at its position.
    """
    readers = [_Reader(file) for file in files]
    problems = [problem for reader in readers for problem in reader.problems]
    everywhere = _merged([r for r in readers if r.upstream is None], problems)
    upstreams = {
        name: _merged([r for r in readers if r.upstream in (None, name)], problems)
        for name in sorted({r.upstream for r in readers if r.upstream is not None})
    }
    if problems:
        raise PolicyError(*dict.fromkeys(problems))
    return DataCatalogue(everywhere, upstreams)


def _merged(readers: list["_Reader"], problems: list[str]) -> Relations:
    tables: dict[TableKey, Table] = {}
    functions: dict[tuple[str, str], Function] = {}
    schemas: dict[str, tuple[str, ...]] = {}
    search_path: tuple[str, ...] = _NONE.search_path
    for reader in readers:
        for key, table in reader.tables.items():
            if key in tables:
                problems.append(f"{reader.at(key)}: table `{key.id}` is listed twice")
            tables[key] = table
        functions.update(reader.functions)
        for name, labels in reader.schemas.items():
            schemas[name] = _union(schemas.get(name, ()), labels)
        search_path = reader.search_path or search_path
    for reader in readers:
        problems.extend(reader.unknown(tables))
    if not problems:
        tables = _related(tables, {k: v for r in readers for k, v in r.relatives.items()})
    return relations_of(tables, functions, search_path, schemas)


def _related(
    tables: dict[TableKey, Table], said: Mapping[TableKey, Relatives]
) -> dict[TableKey, Table]:
    """Return the tables with what their views show and read, and their children, to the last."""
    if not said:
        return tables
    children: dict[TableKey, list[TableKey]] = {}
    for key, own in said.items():
        for parent in own.parents:
            children.setdefault(parent, []).append(key)
    found = dict(tables)
    for key, table in tables.items():
        own = said.get(key, Relatives())
        found[key] = msgspec.structs.replace(
            table,
            shows={
                column: tuple(_columns(touched, tables, said))
                for column, touched in own.shows.items()
            },
            reads=tuple(_columns(own.reads, tables, said)),
            children=tuple(_below(key, children)),
        )
    return found


def _below(key: TableKey, children: Mapping[TableKey, list[TableKey]]) -> list[TableKey]:
    found: dict[TableKey, None] = {}
    waiting = list(children.get(key, ()))
    while waiting:
        child = waiting.pop(0)
        if child not in found and child != key:
            found[child] = None
            waiting += children.get(child, ())
    return list(found)


def _columns(
    touched: Touched, tables: Mapping[TableKey, Table], said: Mapping[TableKey, Relatives]
) -> dict[tuple[TableKey, str], None]:
    """Return columns with those that they show in turn; of a table without a column, all."""
    found: dict[tuple[TableKey, str], None] = {}
    waiting = list(touched)
    while waiting:
        key, column = waiting.pop(0)
        if column is None:
            waiting += [(key, name) for name in tables[key].columns]
        elif (key, column) not in found:
            found[key, column] = None
            view = said.get(key, Relatives())
            waiting += [*view.shows.get(column, ()), *view.reads]
    return found


def relations_of(
    tables: dict[TableKey, Table],
    functions: dict[tuple[str, str], Function],
    search_path: tuple[str, ...],
    schemas: dict[str, tuple[str, ...]],
) -> Relations:
    """Return the relations with the digest of all that analyses depend on."""
    said = [
        # The order of columns counts, and objects have none.
        [[msgspec.to_builtins(table), list(table.columns)] for table in tables.values()],
        [msgspec.to_builtins(function) for function in functions.values()],
        search_path,
        sorted(schemas.items()),
    ]
    digest = hashlib.sha256(canonical(said)).hexdigest()
    return Relations(tables, functions, search_path, digest, schemas)


class _Reader:
    """Reads one file's `spec`, collecting every problem."""

    def __init__(self, file: CatalogueFile) -> None:
        self._file = file
        self.problems: list[str] = []
        self.tables: dict[TableKey, Table] = {}
        self.functions: dict[tuple[str, str], Function] = {}
        self.schemas: dict[str, tuple[str, ...]] = {}
        self.relatives: dict[TableKey, Relatives] = {}
        spec = file.spec
        self._known(spec, _FIELDS)
        upstream = spec.get("upstream")
        self.upstream: str | None = upstream if isinstance(upstream, str) else None
        if upstream is not None and self.upstream is None:
            self._problem("`upstream` is a name", "upstream")
        if spec.get("dialect", "postgres") not in DIALECTS:
            self._problem("`dialect` is `postgres`", "dialect")
        self.search_path = self._strings(spec.get("search_path", []), "search_path")
        for name, schema in self._map(spec.get("schemas", {}), "schemas").items():
            self._schema(name, schema)
        for name, function in self._map(spec.get("functions", {}), "functions").items():
            self._function(name, function)

    def at(self, key: TableKey) -> str:
        """Return where a table stands."""
        return self._file.where("schemas", key.schema, "tables", key.table)

    def unknown(self, tables: dict[TableKey, Table]) -> list[str]:
        """Return a problem for each thing that a function reads or writes and no file lists."""
        named = [
            (self._file.where("functions", f.name), one)
            for f in self.functions.values()
            for one in (*f.reads, *f.writes)
        ]
        named += [(self.at(key), one) for key, own in self.relatives.items() for one in own.all]
        return [
            f"{where}: `{key.id}` or its column is not listed"
            for where, (key, column) in named
            if key not in tables or (column is not None and column not in tables[key].columns)
        ]

    def _problem(self, text: str, *path: str | int) -> None:
        self.problems.append(f"{self._file.where(*path)}: {text}")

    def _known(self, value: Mapping[str, Json], fields: set[str], *path: str) -> None:
        for field in value:
            if field not in fields:
                told = ", ".join(f"`{known}`" for known in sorted(fields))
                self._problem(f"unknown field `{field}`; there are {told}", *path, field)

    def _map(self, value: Json, *path: str) -> dict[str, Json]:
        if isinstance(value, dict):
            return value
        self._problem("a mapping is expected", *path)
        return {}

    def _strings(self, value: Json, *path: str) -> tuple[str, ...]:
        if isinstance(value, list) and all(isinstance(item, str) and item for item in value):
            return tuple(value)
        self._problem("a list of names is expected", *path)
        return ()

    def _schema(self, name: str, value: Json) -> None:
        path = ("schemas", name)
        schema = self._map(value, *path)
        self._known(schema, _SCHEMA_FIELDS, *path)
        labels = self._strings(schema.get("labels", []), *path, "labels")
        self.schemas[name] = labels
        for table, said in self._map(schema.get("tables", {}), *path, "tables").items():
            self._table(TableKey(name, table), said, labels)

    def _table(self, key: TableKey, value: Json, inherited: tuple[str, ...]) -> None:
        path = ("schemas", key.schema, "tables", key.table)
        table = self._map(value, *path)
        self._known(table, _TABLE_FIELDS, *path)
        labels = _union(inherited, self._strings(table.get("labels", []), *path, "labels"))
        listed = table.get("columns", {})
        if isinstance(listed, list):
            listed = {name: {} for name in self._strings(listed, *path, "columns")}
        columns: dict[str, tuple[str, ...]] = {}
        shows: dict[str, Touched] = {}
        for name, said in self._map(listed, *path, "columns").items():
            column = self._map(said if said is not None else {}, *path, "columns", name)
            self._known(column, _COLUMN_FIELDS, *path, "columns", name)
            own = self._strings(column.get("labels", []), *path, "columns", name, "labels")
            columns[name] = _union(labels, own)
            if "shows" in column:
                shows[name] = self._accesses(column["shows"], *path, "columns", name, "shows")
        self.tables[key] = Table(key, labels, columns)
        reads = self._accesses(table.get("reads", []), *path, "reads")
        parents = self._accesses(table.get("inherits", []), *path, "inherits")
        if shows or reads or parents:
            self.relatives[key] = Relatives(shows, reads, tuple(parent for parent, _ in parents))

    def _function(self, name: str, value: Json) -> None:
        path = ("functions", name)
        said = self._map(value, *path)
        self._known(said, _FUNCTION_FIELDS, *path)
        schema, dot, function = name.partition(".")
        if not dot or not schema or not function:
            self._problem("a function is named `schema.name`", *path)
            return
        self.functions[schema, function] = Function(
            name,
            self._accesses(said.get("reads", []), *path, "reads"),
            self._accesses(said.get("writes", []), *path, "writes"),
        )

    def _accesses(self, value: Json, *path: str) -> tuple[tuple[TableKey, str | None], ...]:
        found: list[tuple[TableKey, str | None]] = []
        for text in self._strings(value, *path):
            parts = text.split(".")
            if len(parts) not in (2, 3) or not all(parts):
                self._problem("`schema.table` or `schema.table.column` is expected", *path)
                continue
            found.append((TableKey(parts[0], parts[1]), parts[2] if len(parts) == 3 else None))
        return tuple(found)


DIALECTS: Final = ("postgres", "postgresql")


def _union(*groups: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(item for group in groups for item in group))
