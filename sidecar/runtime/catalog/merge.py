"""Merges what a database has with what people wrote of it, and says what has changed.

Of a relation or function that is gone nothing is kept: its labels stand in the diff, so that who
reviews the change sees what they lose.
"""

from collections.abc import Iterator
from typing import Final, Literal

import msgspec

from sidecar.terms.call import Json

Spec = dict[str, Json]
# What the database decides; whatever else stands in a file is its authors'.
_OWN_TABLE: Final = ("kind", "inherits", "reads", "lineage", "definition", "query")
_OWN_COLUMN: Final = ("type", "generated", "shows")
_OWN_FUNCTION: Final = ("forms",)
_SPEC: Final = (
    "protocol", "upstream", "dialect", "server", "search_path", "schemas", "functions",
    "types",
)  # fmt: skip
_SCHEMA: Final = ("labels", "tables", "sequences")
_TABLE: Final = (
    "kind", "labels", "inherits", "reads", "lineage", "definition", "query", "columns",
)  # fmt: skip
_COLUMN: Final = ("type", "labels", "generated", "shows")
_FUNCTION: Final = ("reads", "writes", "forms")


What = Literal["table", "column", "sequence", "function", "type", "server"]


class Change(msgspec.Struct, frozen=True):
    """One difference: what was there or is there now, for people and for programs."""

    change: Literal["added", "removed", "changed"]
    what: What
    name: str
    was: Json = None
    now: Json = None
    labels: list[str] = []


def merged(existing: Spec, fresh: Spec) -> Spec:
    """Return the catalogue to be written: structure of `fresh`, everything else of `existing`."""
    spec = {**existing, "protocol": "sql", "dialect": "postgres", "server": fresh["server"]}
    spec.setdefault("search_path", ["public"])
    old = existing.get("schemas", {})
    spec["schemas"] = {
        name: _schema(_mapping(old.get(name)), said) for name, said in fresh["schemas"].items()
    }
    functions = existing.get("functions", {})
    spec["functions"] = {
        name: _ordered(_over(_mapping(functions.get(name)), said, _OWN_FUNCTION), _FUNCTION)
        for name, said in fresh.get("functions", {}).items()
    }
    spec["types"] = fresh.get("types", {})
    for part in ("functions", "types"):
        if not spec[part]:
            del spec[part]
    return _ordered(spec, _SPEC)


def _schema(old: Spec, fresh: Spec) -> Spec:
    said = {name: value for name, value in old.items() if name not in ("tables", "sequences")}
    tables = _mapping(old.get("tables"))
    if "tables" in fresh:
        said["tables"] = {
            name: _table(_mapping(tables.get(name)), now) for name, now in fresh["tables"].items()
        }
    if "sequences" in fresh:
        said["sequences"] = fresh["sequences"]
    return _ordered(said, _SCHEMA)


def _table(old: Spec, fresh: Spec) -> Spec:
    columns = columns_of(old)
    said = _over(old, fresh, _OWN_TABLE)
    said["columns"] = {
        name: _ordered(_over(_mapping(columns.get(name)), now, _OWN_COLUMN), _COLUMN)
        for name, now in fresh["columns"].items()
    }
    if "lineage" in fresh:
        _keep_lineage(said, old, columns)
    return _ordered(said, _TABLE)


def _keep_lineage(said: Spec, old: Spec, columns: Spec) -> None:
    """Take a view's lineage from its authors where it cannot be read, while its query is the same.

    A file that says nothing of the query was written by hand, for the view as it is.
    """
    is_told = "reads" in old or any("shows" in _mapping(one) for one in columns.values())
    if not is_told or old.get("definition", said["definition"]) != said["definition"]:
        return
    del said["lineage"]
    if "reads" in old:
        said["reads"] = old["reads"]
    for name, column in said["columns"].items():
        if "shows" in _mapping(columns.get(name)):
            column["shows"] = columns[name]["shows"]


def _over(old: Spec, fresh: Spec, own: tuple[str, ...]) -> Spec:
    kept = {name: value for name, value in old.items() if name not in own and name != "columns"}
    return {**kept, **{name: fresh[name] for name in own if name in fresh}}


def _ordered(said: Spec, order: tuple[str, ...]) -> Spec:
    rest = [name for name in said if name not in order]
    return {name: said[name] for name in (*order, *rest) if name in said}


def _mapping(value: Json) -> Spec:
    return value if isinstance(value, dict) else {}


def columns_of(table: Spec) -> Spec:
    """Return a table's columns, which may be a list of names."""
    columns: Json = table.get("columns", {})
    return dict.fromkeys(columns) if isinstance(columns, list) else _mapping(columns)


def changes(old: Spec, new: Spec) -> list[Change]:
    """Return what is different, relation by relation, in the order of their names."""
    found: list[Change] = []
    if old.get("server") != new.get("server"):
        found.append(Change("changed", "server", "", old.get("server"), new.get("server")))
    before, after = dict(_tables(old)), dict(_tables(new))
    for name in sorted(before.keys() | after.keys()):
        found += _table_changes(name, before.get(name), after.get(name))
    found += _each("sequence", _sequences(old), _sequences(new))
    found += _each("function", _functions(old), _functions(new))
    found += _each("type", _mapping(old.get("types")), _mapping(new.get("types")))
    return found


def _each(what: What, old: Spec, new: Spec) -> Iterator[Change]:
    for name in sorted(old.keys() | new.keys()):
        yield from _one(what, name, old.get(name), new.get(name))


def _table_changes(name: str, old: Spec | None, new: Spec | None) -> Iterator[Change]:
    if old is None or new is None:
        yield from _one("table", name, old and _labels_below(old), new and _labels_below(new))
        return
    was, now = ({f: one[f] for f in _OWN_TABLE if f in one} for one in (old, new))
    if was != now:
        yield Change("changed", "table", name, was, now)
    columns, fresh = columns_of(old), columns_of(new)
    for column in sorted(columns.keys() | fresh.keys()):
        was_one, now_one = (
            _structure(one[column]) if column in one else None for one in (columns, fresh)
        )
        labels = _mapping(columns.get(column)).get("labels", [])
        yield from _one("column", f"{name}.{column}", was_one, now_one, labels)
    if list(columns) != list(fresh) and columns.keys() == fresh.keys():
        yield Change("changed", "table", name, list(columns), list(fresh))


def _structure(column: Json) -> Spec:
    return {name: value for name, value in _mapping(column).items() if name in _OWN_COLUMN}


def _labels_below(table: Spec) -> Spec:
    own = set(table.get("labels", []))
    for column in columns_of(table).values():
        own.update(_mapping(column).get("labels", []))
    return {"columns": list(columns_of(table)), "labels": sorted(own)}


def _one(what: What, name: str, was: Json, now: Json, labels: Json = ()) -> Iterator[Change]:
    lost = list(labels) or (_mapping(was).get("labels", []) if now is None else [])
    if was is None:
        yield Change("added", what, name, None, now)
    elif now is None:
        yield Change("removed", what, name, was, None, lost)
    elif was != now:
        yield Change("changed", what, name, was, now, list(labels))


def _tables(spec: Spec) -> Iterator[tuple[str, Spec]]:
    for schema, said in _mapping(spec.get("schemas")).items():
        for table, one in _mapping(_mapping(said).get("tables")).items():
            yield f"{schema}.{table}", _mapping(one)


def _sequences(spec: Spec) -> dict[str, Json]:
    return {
        f"{schema}.{name}": {}
        for schema, said in _mapping(spec.get("schemas")).items()
        for name in _mapping(said).get("sequences", [])
    }


def _functions(spec: Spec) -> dict[str, Json]:
    return {
        name: _mapping(said).get("forms", [])
        for name, said in _mapping(spec.get("functions")).items()
    }
