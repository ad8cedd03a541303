"""Reads one catalogue file's `spec`, collecting every problem at its position."""

from collections.abc import Mapping
from typing import Final

from sidecar.domains.data.catalogue.owned import OwnType
from sidecar.domains.data.catalogue.relations import (
    Function,
    Relatives,
    Table,
    TableKey,
    Touched,
    union,
)  # fmt: skip
from sidecar.domains.data.limits import VIEW_CHARS_MAX
from sidecar.terms.call import Json
from sidecar.terms.domain import CatalogueFile

DIALECTS: Final = ("postgres", "postgresql")
_FIELDS: Final = {
    "protocol", "upstream", "dialect", "search_path", "schemas", "functions", "server", "types",
}  # fmt: skip
_SCHEMA_FIELDS: Final = {"labels", "tables", "sequences"}
_TABLE_FIELDS: Final = {
    "labels", "columns", "reads", "inherits", "kind", "lineage", "definition", "query",
}  # fmt: skip
_COLUMN_FIELDS: Final = {"labels", "type", "shows", "generated"}
_TYPE_FIELDS: Final = {"kind", "base", "fields", "cast", "checks"}
_FUNCTION_FIELDS: Final = {"reads", "writes", "forms"}

_POLYMORPHIC: Final = ("anyelement", "anyarray", "anycompatible", "anycompatiblearray")
_NOTHING: Final = ("", (), False)


class Reader:
    """Reads one file's `spec`, collecting every problem."""

    def __init__(self, file: CatalogueFile) -> None:
        self._file = file
        self.problems: list[str] = []
        self.tables: dict[TableKey, Table] = {}
        self.functions: dict[tuple[str, str], Function] = {}
        self.undeclared: set[tuple[str, str]] = set()
        self.types: dict[tuple[str, str], OwnType] = {}
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
        for name, said in self._map(spec.get("types", {}), "types").items():
            self._type(name, said)

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
        labels = union(inherited, self._strings(table.get("labels", []), *path, "labels"))
        listed = table.get("columns", {})
        if isinstance(listed, list):
            listed = {name: {} for name in self._strings(listed, *path, "columns")}
        columns: dict[str, tuple[str, ...]] = {}
        shows: dict[str, Touched] = {}
        types: dict[str, str] = {}
        for name, said in self._map(listed, *path, "columns").items():
            column = self._map(said if said is not None else {}, *path, "columns", name)
            self._known(column, _COLUMN_FIELDS, *path, "columns", name)
            own = self._strings(column.get("labels", []), *path, "columns", name, "labels")
            columns[name] = union(labels, own)
            if isinstance(column.get("type"), str):
                types[name] = column["type"]
            if "shows" in column:
                shows[name] = self._accesses(column["shows"], *path, "columns", name, "shows")
        is_unread = table.get("lineage") == "unknown"
        if not is_unread and "lineage" in table:
            self._problem("`lineage` is `unknown`, or not there", *path, "lineage")
        self.tables[key] = Table(
            key, labels, columns, types=types, is_unread=is_unread,
            generated=self._generated(listed, *path), query=self._query(table, *path),
            definition=str(table.get("definition", "")),
        )  # fmt: skip
        reads = self._accesses(table.get("reads", []), *path, "reads")
        parents = self._accesses(table.get("inherits", []), *path, "inherits")
        if shows or reads or parents:
            self.relatives[key] = Relatives(shows, reads, tuple(parent for parent, _ in parents))

    def _query(self, table: Mapping[str, Json], *path: str) -> str:
        """Return a view's query; that of stored rows would be answered with other ones."""
        query = table.get("query", "")
        if not isinstance(query, str) or len(query) > VIEW_CHARS_MAX:
            self._problem("a query is a text of bounded length", *path, "query")
            return ""
        if query and (table.get("kind") != "view" or table.get("lineage") == "unknown"):
            self._problem("`query` is of a `kind: view` with a known lineage", *path, "query")
        return query.strip().removesuffix(";")

    def _generated(self, columns: Json, *path: str) -> tuple[str, ...]:
        found = []
        for name, said in columns.items() if isinstance(columns, dict) else ():
            if isinstance(said, dict) and "generated" in said:
                found.append(name)
                if said["generated"] is not True:
                    self._problem(
                        "`generated` is `true`, or not there", *path, "columns", name, "generated"
                    )
        return tuple(found)

    def _function(self, name: str, value: Json) -> None:
        path = ("functions", name)
        said = self._map(value, *path)
        self._known(said, _FUNCTION_FIELDS, *path)
        schema, dot, function = name.partition(".")
        if not dot or not schema or not function:
            self._problem("a function is named `schema.name`", *path)
            return
        if not {"reads", "writes"} & said.keys():
            self.undeclared.add((schema, function))
            return
        self.functions[schema, function] = Function(
            name,
            self._accesses(said.get("reads", []), *path, "reads"),
            self._accesses(said.get("writes", []), *path, "writes"),
            *_returned(said.get("forms")),
        )

    def _type(self, name: str, value: Json) -> None:
        said = self._map(value, "types", name)
        self._known(said, _TYPE_FIELDS, "types", name)
        schema, dot, own = name.partition(".")
        if not dot or not schema or not own:
            self._problem("a type is named `schema.name`", "types", name)
        fields = self._map(said.get("fields", {}), "types", name, "fields")
        texts = [said.get("base", ""), said.get("kind", ""), *fields.values()]
        if not all(isinstance(text, str) for text in texts):
            self._problem("the name of a type is a text", "types", name)
            return
        if said.get("cast", "unread") != "unread":
            self._problem("`cast` is `unread`, or not there", "types", name, "cast")
        self.types[schema, own] = OwnType(
            str(said.get("kind", "")), str(said.get("base", "")), dict(fields), "cast" in said,
            self._strings(said.get("checks", []), "types", name, "checks"),
        )  # fmt: skip

    def _accesses(self, value: Json, *path: str) -> tuple[tuple[TableKey, str | None], ...]:
        found: list[tuple[TableKey, str | None]] = []
        for text in self._strings(value, *path):
            parts = text.split(".")
            if len(parts) not in (2, 3) or not all(parts):
                self._problem("`schema.table` or `schema.table.column` is expected", *path)
                continue
            found.append((TableKey(parts[0], parts[1]), parts[2] if len(parts) == 3 else None))
        return tuple(found)


def _returned(forms: Json) -> tuple[str, tuple[str, ...], bool]:
    """Return what `Function` has of what all forms of a function give, if they give the same."""
    listed = forms if isinstance(forms, list) else []
    said = {_given(form) if isinstance(form, dict) else _NOTHING for form in listed}
    return said.pop() if len(said) == 1 else _NOTHING


def _given(form: Mapping[str, Json]) -> tuple[str, tuple[str, ...], bool]:
    returns, columns = form.get("returns", ""), form.get("columns", [])
    if not isinstance(returns, str) or not isinstance(columns, list):
        return _NOTHING
    is_same = returns in _POLYMORPHIC and form.get("arguments") == returns
    return returns, tuple(str(name) for name in columns), is_same
