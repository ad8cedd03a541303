"""Reads what a call itself says of the catalogue: a dry run's tables, and where it has drifted."""

import hashlib
import threading
from typing import Final

import msgspec
from cachetools import LRUCache

from sidecar.domains.data.catalogue import Relations, Table, TableKey, relations_of
from sidecar.domains.data.catalogue.owned import drift_name
from sidecar.domains.data.limits import PAYLOAD_TABLES_MAX
from sidecar.syntax.json import canonical
from sidecar.terms.call import Json
from sidecar.terms.errors import ParseError
from sidecar.terms.reasons import reason

# A database differs in one way at a time; what is known of it is the same object for all calls.
_Key = tuple[str, tuple[tuple[str, tuple[str, ...]], ...]]
_drifted: LRUCache[_Key, Relations] = LRUCache(16)
_lock: Final = threading.Lock()


def payload_relations(catalog: Json, known: Relations) -> Relations:
    """Return the relations that a dry run's `catalog` lists.

    Labels, and what views and parents stand for, are those of the bundle's, as far as listed.

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
        labelled = known.tables.get(key) or Table(key, (), {})
        own = {c: labelled.columns.get(c, labelled.labels) for c in columns}
        tables[key] = msgspec.structs.replace(labelled, columns=own)
    functions = {
        name: function
        for name, function in known.functions.items()
        if all(key in tables for key, _ in (*function.reads, *function.writes))
    }
    kept = {key: _listed(table, tables) for key, table in tables.items()}
    return relations_of(
        kept, functions, known.search_path, known.schemas, known.undeclared, known.types
    )


def drifted_relations(drift: Json, known: Relations) -> Relations:
    """Return the relations with what a listener knows of the database that they do not say.

    Raises:
        ParseError: `parse.envelope` when it is not `{"schema.table": [columns]}`.
    """
    if not isinstance(drift, dict) or len(drift) > PAYLOAD_TABLES_MAX:
        raise _bad_drift()
    found: list[tuple[str, tuple[str, ...]]] = []
    for name, columns in drift.items():
        if not isinstance(columns, list) or not all(isinstance(one, str) for one in columns):
            raise _bad_drift()
        found.append((name, tuple(sorted(columns))))
    key = (known.identity, tuple(sorted(found)))
    with _lock:
        made = _drifted.get(key)
        if made is None:
            made = _drifted[key] = _with_drift(known, key[1])
    return made


def _with_drift(known: Relations, drift: tuple[tuple[str, tuple[str, ...]], ...]) -> Relations:
    said = dict(drift)
    drifted = {key: frozenset(said[key.id]) for key in known.tables if key.id in said}
    types = {
        key: msgspec.structs.replace(own, is_unread=True, base="", fields={})
        if drift_name(key) in said
        else own
        for key, own in known.types.items()
    }
    digest = hashlib.sha256(canonical([known.identity, drift])).hexdigest()
    return msgspec.structs.replace(known, drifted=drifted, identity=digest, types=types)


def _listed(table: Table, tables: dict[TableKey, Table]) -> Table:
    """Return a table with those of its relatives that are listed too."""
    if not table.shows and not table.reads and not table.children:
        return table
    return msgspec.structs.replace(
        table,
        shows={
            column: tuple(one for one in shown if one[0] in tables)
            for column, shown in table.shows.items()
        },
        reads=tuple(one for one in table.reads if one[0] in tables),
        children=tuple(child for child in table.children if child in tables),
    )


def _bad_drift() -> ParseError:
    return ParseError(
        reason("parse.envelope"), '`drift` is expected as {"schema.table": [columns]}'
    )


def _bad_catalog() -> ParseError:
    return ParseError(
        reason("parse.envelope"), '`catalog` is expected as {"schema.table": [columns]}'
    )
