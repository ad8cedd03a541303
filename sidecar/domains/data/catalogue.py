"""Which tables, columns and functions there are, and the labels that they carry.

A table's labels are its schema's and its own, a column's are its table's and its own. What is not
listed here does not exist for the parser: system catalogues, views and temporary tables too.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from sidecar.domains.data.limits import PAYLOAD_TABLES_MAX
from sidecar.syntax.json import canonical
from sidecar.terms.call import Json
from sidecar.terms.domain import CatalogueFile
from sidecar.terms.errors import ParseError, PolicyError
from sidecar.terms.reasons import reason
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

    @property
    def all_labels(self) -> tuple[str, ...]:
        """Return the table's labels and those of every column."""
        return _union(self.labels, *self.columns.values())


class Function(msgspec.Struct, frozen=True):
    """A function of the organisation's own: what a call reads and writes; no column = all."""

    name: str
    reads: tuple[tuple[TableKey, str | None], ...] = ()
    writes: tuple[tuple[TableKey, str | None], ...] = ()


class Relations(msgspec.Struct, frozen=True):
    """What statements for one upstream are resolved against; `identity` is its digest."""

    tables: dict[TableKey, Table]
    functions: dict[tuple[str, str], Function]
    search_path: tuple[str, ...]
    identity: str


_NONE: Final = Relations({}, {}, ("public",), "")
_FIELDS: Final = {"protocol", "upstream", "dialect", "search_path", "schemas", "functions"}
_SCHEMA_FIELDS: Final = {"labels", "tables"}
_TABLE_FIELDS: Final = {"labels", "columns"}
_COLUMN_FIELDS: Final = {"labels", "type"}
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
    search_path: tuple[str, ...] = _NONE.search_path
    for reader in readers:
        for key, table in reader.tables.items():
            if key in tables:
                problems.append(f"{reader.at(key)}: table `{key.id}` is listed twice")
            tables[key] = table
        functions.update(reader.functions)
        search_path = reader.search_path or search_path
    for reader in readers:
        problems.extend(reader.unknown(tables))
    return _relations(tables, functions, search_path)


def _relations(
    tables: dict[TableKey, Table],
    functions: dict[tuple[str, str], Function],
    search_path: tuple[str, ...],
) -> Relations:
    said = [
        [[key.id, table.labels, list(table.columns.items())] for key, table in tables.items()],
        [
            [function.name, *msgspec.to_builtins((function.reads, function.writes))]
            for function in functions.values()
        ],
        search_path,
    ]
    return Relations(tables, functions, search_path, hashlib.sha256(canonical(said)).hexdigest())


class _Reader:
    """Reads one file's `spec`, collecting every problem."""

    def __init__(self, file: CatalogueFile) -> None:
        self._file = file
        self.problems: list[str] = []
        self.tables: dict[TableKey, Table] = {}
        self.functions: dict[tuple[str, str], Function] = {}
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
        return [
            f"{self._file.where('functions', f.name)}: `{key.id}` or its column is not listed"
            for f in self.functions.values()
            for key, column in (*f.reads, *f.writes)
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
        for name, said in self._map(listed, *path, "columns").items():
            column = self._map(said if said is not None else {}, *path, "columns", name)
            self._known(column, _COLUMN_FIELDS, *path, "columns", name)
            own = self._strings(column.get("labels", []), *path, "columns", name, "labels")
            columns[name] = _union(labels, own)
        self.tables[key] = Table(key, labels, columns)

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


def payload_relations(catalog: Json, known: Relations) -> Relations:
    """Return the relations that a dry run's `catalog` lists; labels are those of the bundle's.

    Raises:
        ParseError: `parse.envelope` when it is not `{"schema.table": [columns]}`.
    """
    if not isinstance(catalog, dict) or len(catalog) > PAYLOAD_TABLES_MAX:
        raise _bad_catalog()
    tables: dict[TableKey, Table] = {}
    for name, columns in catalog.items():
        schema, dot, table = name.partition(".")
        is_list = isinstance(columns, list) and all(isinstance(c, str) for c in columns)
        if not dot or not is_list:
            raise _bad_catalog()
        key = TableKey(schema, table)
        labelled = known.tables.get(key)
        labels = labelled.labels if labelled else ()
        of_columns = labelled.columns if labelled else {}
        tables[key] = Table(key, labels, {c: of_columns.get(c, labels) for c in columns})
    functions = {
        name: function
        for name, function in known.functions.items()
        if all(key in tables for key, _ in (*function.reads, *function.writes))
    }
    return _relations(tables, functions, known.search_path)


def _bad_catalog() -> ParseError:
    return ParseError(
        reason("parse.envelope"), '`catalog` is expected as {"schema.table": [columns]}'
    )


def _union(*groups: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(item for group in groups for item in group))
