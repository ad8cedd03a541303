"""Which tables, columns and functions there are, and the labels that they carry.

A table's labels are its schema's and its own, a column's are its table's and its own. What is not
listed here does not exist for the parser: system catalogues, views and temporary tables too.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from sidecar.domains.data.catalogue.file import DIALECTS, Reader
from sidecar.domains.data.catalogue.relations import (
    Function,
    Relations,
    Relatives,
    Table,
    TableKey,
    Touched,
    relations_of,
    union,
)  # fmt: skip
from sidecar.terms.domain import CatalogueFile
from sidecar.terms.errors import PolicyError

_NONE: Final = Relations({}, {}, ("public",), "")


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
    readers = [Reader(file) for file in files]
    problems = [problem for reader in readers for problem in reader.problems]
    everywhere = _merged([r for r in readers if r.upstream is None], problems)
    upstreams = {
        name: _merged([r for r in readers if r.upstream in (None, name)], problems)
        for name in sorted({r.upstream for r in readers if r.upstream is not None})
    }
    if problems:
        raise PolicyError(*dict.fromkeys(problems))
    return DataCatalogue(everywhere, upstreams)


def _merged(readers: list[Reader], problems: list[str]) -> Relations:
    tables: dict[TableKey, Table] = {}
    functions: dict[tuple[str, str], Function] = {}
    schemas: dict[str, tuple[str, ...]] = {}
    undeclared: set[tuple[str, str]] = set()
    search_path: tuple[str, ...] = _NONE.search_path
    for reader in readers:
        for key, table in reader.tables.items():
            if key in tables:
                problems.append(f"{reader.at(key)}: table `{key.id}` is listed twice")
            tables[key] = table
        functions.update(reader.functions)
        undeclared |= reader.undeclared
        for name, labels in reader.schemas.items():
            schemas[name] = union(schemas.get(name, ()), labels)
        search_path = reader.search_path or search_path
    for reader in readers:
        problems.extend(reader.unknown(tables))
    if not problems:
        tables = _related(tables, {k: v for r in readers for k, v in r.relatives.items()})
    # What one file lists another may declare.
    waiting = frozenset(undeclared - functions.keys())
    types = {key: own for reader in readers for key, own in reader.types.items()}
    return relations_of(tables, functions, search_path, schemas, waiting, types)


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
        shows = {
            column: tuple(_columns(touched, tables, said, children))
            for column, touched in own.shows.items()
        }
        # What a view needs that it shows columns of, it needs itself, whatever is asked of it.
        within = dict.fromkeys(name for shown in shows.values() for name, _ in shown)
        needed = [one for name in within if name in said for one in said[name].reads]
        found[key] = msgspec.structs.replace(
            table,
            shows=shows,
            reads=tuple(_columns((*own.reads, *needed), tables, said, children)),
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
    touched: Touched,
    tables: Mapping[TableKey, Table],
    said: Mapping[TableKey, Relatives],
    children: Mapping[TableKey, list[TableKey]],
) -> dict[tuple[TableKey, str], None]:
    """Return columns with those that they show in turn; of a table without a column, all.

    Who reads a parent reads its children.
    """
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
            below = (child for child in children.get(key, ()) if column in tables[child].columns)
            waiting += [(child, column) for child in below]
    return found


__all__ = [
    "DIALECTS",
    "DataCatalogue",
    "Function",
    "Relations",
    "Table",
    "TableKey",
    "compile_catalogue",
    "relations_of",
]
