"""Makes targets of what a statement touches: tables, their columns, and sequences.

Which sequences it moves or looks at only literals of its calls say. They come from PostgreSQL's own
grammar, since our scanner keeps no strings, and are read as `regclass` reads them. Anything but a
literal could name any sequence, and is refused, but where it is asked for what this session has
drawn: that is read of `sequence:*`.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from sidecar.domains.data.catalogue import Relations, Table, TableKey
from sidecar.domains.data.parse.access import CLASSES, TableAccess
from sidecar.domains.data.parse.statement import Statement
from sidecar.domains.data.parse.text.lookups import DRAWN
from sidecar.terms.errors import ParseError
from sidecar.terms.reasons import reason
from sidecar.terms.request import Action, Resource, Target
from sidecar.terms.words import component

_PART: Final = r'(?:([A-Za-z_][A-Za-z0-9_$]*)|"((?:[^"\x00-\x1f]|"")+)")'
_NAME: Final = re.compile(rf"(?:{_PART}\.)?{_PART}\Z")


def table_targets(statement: Statement, relations: Relations, upstream: str) -> tuple[Target, ...]:
    """Return a target for each table and verb, then one for each of its columns."""
    found = [_table_target(access, relations, upstream) for access in statement.tables]
    for access in statement.tables:
        found.extend(_column_targets(access, relations, upstream))
    return tuple(found)


def _table_target(access: TableAccess, relations: Relations, upstream: str) -> Target:
    table = relations.tables.get(access.key) or Table(access.key, (), {})
    # Where no column is named the table stands for all of them: count(*), `*`, a whole row, DELETE.
    # A lookup is answered from one of its rows, and shows none of its columns.
    is_narrow = access.verb == "lookup" or (access.is_named and not access.is_whole_row)
    labels = table.labels if is_narrow else table.all_labels
    properties = {"schema": access.key.schema, "table": access.key.table}
    resource = Resource("table", access.key.id, upstream, labels, properties)
    return Target(Action(access.verb, CLASSES[access.verb]), resource)


def _column_targets(access: TableAccess, relations: Relations, upstream: str) -> list[Target]:
    if not access.columns:
        return []
    table = relations.tables[access.key]
    # In the table's order; a column of the system's own comes last.
    names = [name for name in table.columns if name in access.columns]
    if len(names) < len(access.columns):
        names += sorted(name for name in access.columns if name not in table.columns)
    found = []
    for name in names:
        known = relations.made.get((access.key, access.verb, name))
        # Callers name upstreams, of which there is no end.
        if not isinstance(known, Target) or known.resource.upstream != upstream:
            known = _column_target(table, access.verb, upstream, name)
            relations.made[access.key, access.verb, name] = known
        found.append(known)
    return found


def _column_target(table: Table, verb: str, upstream: str, name: str) -> Target:
    key, labels = table.key, table.columns.get(name, table.labels)
    properties = {"schema": key.schema, "table": key.table, "column": name}
    resource = Resource("column", f"{key.id}.{component(name)}", upstream, labels, properties)
    return Target(Action(verb, CLASSES[verb]), resource)


def lookup_target(table: str, relations: Relations, upstream: str) -> Target:
    """Return what it is that a system catalogue answers."""
    access = TableAccess(TableKey("pg_catalog", table), "lookup", {})
    return _table_target(access, relations, upstream)


def with_lookup(statement: Statement, calls: Sequence[tuple[str, str | None]]) -> Statement:
    """Return a statement with what `currval` of no literal does besides: it looks a name up."""
    key = TableKey("pg_catalog", "pg_class")
    is_known = any((one.key, one.verb) == (key, "lookup") for one in statement.tables)
    if is_known or ("currval", None) not in calls:
        return statement
    looked_up = TableAccess(key, "lookup", {})
    return msgspec.structs.replace(statement, tables=(*statement.tables, looked_up))


def sequence_targets(
    calls: Sequence[tuple[str, str | None]], search_path: Sequence[str], upstream: str
) -> tuple[Target, ...]:
    """Return a target for each sequence; a name without a schema may be that of each in the path.

    Raises:
        ParseError: `parse.unsupported` where the name is no plain literal.
    """
    found: dict[tuple[str, str, str], Target] = {}
    for function, literal in calls:
        if literal is None and function in DRAWN:
            found[function, "", ""] = _drawn(function, upstream)
            continue
        match = _NAME.match(literal) if literal is not None else None
        if match is None:
            raise ParseError(
                reason("parse.unsupported"), "a sequence that is not named by a literal"
            )
        schema, name = _folded(*match.groups()[:2]), _folded(*match.groups()[2:])
        path = [schema] if schema is not None else [s for s in search_path if s != "pg_catalog"]
        for step in path:
            found[function, step, name or ""] = _sequence(function, step, name or "", upstream)
    if calls and not found:
        raise ParseError(reason("parse.unknown_table"), "a sequence without a schema")
    return tuple(found[key] for key in sorted(found))


def _drawn(function: str, upstream: str) -> Target:
    """Return the reading of whichever sequence it is that this session has drawn from."""
    return Target(Action(function, "read"), Resource("sequence", "*", upstream))


def _folded(bare: str | None, quoted: str | None) -> str | None:
    return bare.lower() if bare is not None else quoted and quoted.replace('""', '"')


def _sequence(function: str, schema: str, name: str, upstream: str) -> Target:
    properties = {"schema": schema, "sequence": name}
    resource_id = f"{component(schema)}.{component(name)}"
    action = Action(function, "read" if function == "currval" else "write")
    return Target(action, Resource("sequence", resource_id, upstream, (), properties))


def session_targets(
    verbs: Iterable[str], guarded: Iterable[str | None], upstream: str
) -> tuple[Target, ...]:
    """Return what statements do that touch no data, each to a guarded setting or the database."""
    done = dict.fromkeys(zip(verbs, guarded, strict=True))
    return tuple(
        connect_target(verb, upstream) if name is None else _setting_target(verb, name, upstream)
        for verb, name in done
    )


def connect_target(verb: str, upstream: str) -> Target:
    """Return what a statement is to the database that says nothing of its tables."""
    resource = Resource("database", upstream or "default", upstream or "default")
    return Target(Action(verb, "connect"), resource)


def _setting_target(verb: str, name: str, upstream: str) -> Target:
    resource = Resource("setting", name, upstream, (), {"setting": name})
    return Target(Action(verb, "admin"), resource)
