"""Reads SQL for PostgreSQL: text → a target for every table and column that it reads or writes.

```
text ─lexer▶ tokens ─session▶ touches no data
                    └canonical▶ a small language ─sqlglot▶ tree ─query, change▶ accesses ▶ targets
```

Fail-closed at each step: the scanner cuts as PostgreSQL's or refuses, the tree's nodes are an
allow-list, every name is found in the catalogue or the statement is refused.
"""

import hashlib
import re
import threading
from collections.abc import Mapping
from typing import Final

from cachetools import LRUCache

from sidecar.domains.data.catalogue import (
    DIALECTS,
    DataCatalogue,
    Relations,
    Table,
    TableKey,
)  # fmt: skip
from sidecar.domains.data.catalogue.payload import payload_relations
from sidecar.domains.data.limits import (
    CACHE_ENTRIES_MAX,
    CACHED_CHARS_MAX,
    CACHED_TARGETS_MAX,
)
from sidecar.domains.data.parse.access import CLASSES, TableAccess
from sidecar.domains.data.parse.other import Defined, Other, is_other, read_other
from sidecar.domains.data.parse.second import check_names, check_session, check_statement
from sidecar.domains.data.parse.sequences import sequence_targets
from sidecar.domains.data.parse.statement import Statement, read_statement
from sidecar.domains.data.parse.text.lexer import Token, statements, tokens
from sidecar.domains.data.parse.text.session import resets_all, session_verb
from sidecar.terms.call import Call, Json
from sidecar.terms.errors import ParseError
from sidecar.terms.reasons import reason
from sidecar.terms.request import Action, Parsed, ParseStatus, Resource, Target
from sidecar.terms.words import component

PARSER: Final = "sql/postgres"
_FIELDS: Final = {"dialect", "text", "params", "search_path", "catalog", "carries"}
_CARRIED: Final = frozenset(("copy", "copy_query", "declare", "prepare", "listen"))
_UNICODE: Final = re.compile('u&"', re.IGNORECASE)
_STATUS: Final = ParseStatus("complete", PARSER)

# Analyses by everything that they depend on. Nothing in one is ever changed.
_CacheKey = tuple[str, str, tuple[str, ...], str]
_cache: LRUCache[_CacheKey, Parsed] = LRUCache(CACHE_ENTRIES_MAX)
# The same for what our own reader makes of texts that differ in literals, space and comments alone.
_ShapeKey = tuple[tuple[Token, ...], str, tuple[str, ...], str]
_shapes: LRUCache[_ShapeKey, tuple[Statement, Parsed]] = LRUCache(CACHE_ENTRIES_MAX)
_COUNTING: Final = frozenset(("distinct", "fetch", "group", "limit", "offset", "order", "over"))
_NUMBER: Final = Token("number", "0")
_cache_lock: Final = threading.Lock()


def parse(call: Call, catalogue: DataCatalogue) -> Parsed:
    """Return what the statement of a Call touches.

    Raises:
        ParseError: With one of `parse.*`.
    """
    payload = call.payload
    text = _checked(payload)
    relations = catalogue.relations(call.upstream)
    if payload.get("catalog") is not None:
        relations = payload_relations(payload["catalog"], relations)
    search_path = _search_path(payload, relations)
    key = (text, relations.identity, search_path, call.upstream)
    with _cache_lock:
        parsed = _cache.get(key)
    if parsed is None:
        parsed = _analysed(text, relations, search_path, call.upstream)
        if _is_cached(text, parsed):
            with _cache_lock:
                _cache[key] = parsed
    _check_carried(call, parsed)
    if payload.get("params") is None:
        return parsed
    native = {**parsed.native, "params": payload["params"]}
    return Parsed(parsed.targets, native, parsed.parse)


def _check_carried(call: Call, parsed: Parsed) -> None:
    """Refuse what leaves something behind or begins a stream, unless the listener carries it.

    A listener has to know of statements, cursors and channels that SQL makes, and to pass COPY's
    data on; `carries` of its payload names the kinds that it does. Who only asks does so himself.
    """
    kind = parsed.native["kind"]
    if call.is_enforced and kind in _CARRIED and kind not in call.payload.get("carries", ()):
        raise ParseError(reason("parse.unsupported"), f"`{kind}` is not carried by this listener")


def _checked(payload: Mapping[str, Json]) -> str:
    """Return the statement's text from a `call` object of the promised shape."""
    if not payload.keys() <= _FIELDS:
        told = ", ".join(f"`{field}`" for field in sorted(_FIELDS))
        said = f"a field that a call of SQL does not have; it has {told}"
        raise ParseError(reason("parse.envelope"), said)
    dialect, text = payload.get("dialect"), payload.get("text")
    if not isinstance(dialect, str) or not isinstance(text, str):
        raise ParseError(reason("parse.envelope"), "`dialect` and `text` are expected")
    if dialect not in DIALECTS:
        raise ParseError(
            reason("parse.unsupported"), "the dialects read are `postgres`, `postgresql`"
        )
    params = payload.get("params")
    if params is not None and not isinstance(params, list | dict):
        raise ParseError(reason("parse.envelope"), "`params` is a list or an object")
    if not isinstance(payload.get("carries", []), list):
        raise ParseError(reason("parse.envelope"), "`carries` is a list of kinds of statements")
    return text


def _search_path(payload: Mapping[str, Json], relations: Relations) -> tuple[str, ...]:
    path = payload.get("search_path")
    if path is None:
        return relations.search_path
    if not isinstance(path, list) or not all(isinstance(step, str) for step in path):
        raise ParseError(reason("parse.envelope"), "`search_path` is a list of schemas")
    return tuple(path)


def _analysed(
    text: str, relations: Relations, search_path: tuple[str, ...], upstream: str
) -> Parsed:
    found = statements(tokens(text))
    if len(found) > 1:
        raise ParseError(reason("parse.multi_statement"), "more than one statement")
    digest = hashlib.sha256(text.encode()).hexdigest()
    native: dict[str, Json] = {
        "dialect": "postgres", "kind": "session", "verbs": [], "statements": len(found),
        "reads": {}, "writes": {}, "functions": [], "usage": {},
        "text_sha256": digest, "complete": True,
    }  # fmt: skip
    verb = session_verb(found[0]) if found else "empty"
    if verb is not None:
        check_session(text, verb)
        native["verbs"] = [verb, *(f"{verb}_all" for one in found if resets_all(one))]
        return Parsed((_connect(verb, upstream),), native, _STATUS)
    if is_other(found[0]):
        other = read_other(text, found[0], relations, search_path)
        return _other(other, native, relations, search_path, upstream)
    shape = (_shape(found[0]), relations.identity, search_path, upstream)
    with _cache_lock:
        known = _shapes.get(shape)
    if known is not None and not _UNICODE.search(text):
        # Only our own reading is known: PostgreSQL's grammar reads each text itself.
        check_statement(text, known[0])
        return Parsed(known[1].targets, known[1].native | {"text_sha256": digest}, _STATUS)
    statement = read_statement(found[0], relations, search_path)
    seen = check_statement(text, statement)
    if _UNICODE.search(text):
        check_names(seen, {name.text for name in found[0] if name.kind == "quoted"})
    targets = _targets(statement, relations, upstream)
    targets += sequence_targets(seen.sequences, search_path, upstream)
    targets = targets or (_connect(statement.kind, upstream),)
    parsed = Parsed(targets, native | _native(statement), _STATUS)
    if not seen.sequences and not _UNICODE.search(text) and _is_cached(text, parsed):
        with _cache_lock:
            _shapes[shape] = (statement, parsed)
    return parsed


def _shape(statement: list[Token]) -> tuple[Token, ...]:
    """Return the tokens with what cannot change their meaning made alike: strings are already.

    Numbers count where they may be places of columns or a LIMIT.
    """
    if any(token.kind == "word" and token.text in _COUNTING for token in statement):
        return tuple(statement)
    return tuple(_NUMBER if token.kind == "number" else token for token in statement)


def _is_cached(text: str, parsed: Parsed) -> bool:
    return len(text) <= CACHED_CHARS_MAX and len(parsed.targets) <= CACHED_TARGETS_MAX


def _other(
    other: Other,
    native: dict[str, Json],
    relations: Relations,
    search_path: tuple[str, ...],
    upstream: str,
) -> Parsed:
    targets = tuple(_defined(one, relations, upstream) for one in other.defined)
    targets += _targets(other.statement, relations, upstream)
    targets += sequence_targets(other.seen.sequences, search_path, upstream)
    targets = targets or (_connect(other.statement.kind, upstream),)
    return Parsed(targets, native | _native(other.statement), _STATUS)


def _defined(one: Defined, relations: Relations, upstream: str) -> Target:
    table = relations.tables.get(TableKey(one.schema, one.name)) if one.type == "table" else None
    labels = table.all_labels if table is not None else relations.schemas.get(one.schema, ())
    named = {"schema": one.schema, one.type: one.name}
    properties = {name: value for name, value in named.items() if value}
    parts = [component(part) for part in (one.schema, one.name) if part]
    resource = Resource(one.type, ".".join(parts), upstream, labels, properties)
    return Target(Action(one.action, one.cls), resource)


def _native(statement: Statement) -> dict[str, Json]:
    """Return the typed block that rules see as `request.sql`, without anything of the text."""
    reads: dict[str, list[str]] = {key.id: [] for key in statement.touched}
    writes: dict[str, list[str]] = {}
    for access in statement.tables:
        columns = [*access.columns, *(["*"] if access.is_whole_row else [])]
        into = reads if access.verb in ("select", "lookup") else writes
        into[access.key.id] = sorted({*into.get(access.key.id, ()), *columns})
    native: dict[str, Json] = {
        "kind": statement.kind,
        "verbs": list(statement.verbs),
        "reads": reads,
        "writes": writes,
        "functions": list(statement.functions),
        "usage": {
            f"{key.id}.{component(column)}": list(uses)
            for (key, column), uses in statement.usage.items()
        },
    }
    if statement.limit is not None:
        native["limit"] = statement.limit
    return native


def _targets(statement: Statement, relations: Relations, upstream: str) -> tuple[Target, ...]:
    """Return a target for each table and verb, then one for each of its columns."""
    found = [_table_target(access, relations, upstream) for access in statement.tables]
    for access in statement.tables:
        found.extend(_column_targets(access, relations, upstream))
    return tuple(found)


def _table_target(access: TableAccess, relations: Relations, upstream: str) -> Target:
    table = relations.tables.get(access.key) or Table(access.key, (), {})
    # Where no column is named the table stands for all of them: count(*), `*`, a whole row, DELETE.
    labels = table.labels if access.is_named and not access.is_whole_row else table.all_labels
    properties = {"schema": access.key.schema, "table": access.key.table}
    resource = Resource("table", access.key.id, upstream, labels, properties)
    return Target(Action(access.verb, CLASSES[access.verb]), resource)


def _column_targets(access: TableAccess, relations: Relations, upstream: str) -> list[Target]:
    if not access.columns:
        return []
    table = relations.tables[access.key]
    action = Action(access.verb, CLASSES[access.verb])
    order = {name: at for at, name in enumerate(table.columns)}
    return [
        Target(action, _column(access.key, name, table.columns.get(name, table.labels), upstream))
        for name in sorted(access.columns, key=lambda name: (order.get(name, len(order)), name))
    ]


def _column(key: TableKey, name: str, labels: tuple[str, ...], upstream: str) -> Resource:
    properties = {"schema": key.schema, "table": key.table, "column": name}
    return Resource("column", f"{key.id}.{component(name)}", upstream, labels, properties)


def _connect(verb: str, upstream: str) -> Target:
    resource = Resource("database", upstream or "default", upstream or "default")
    return Target(Action(verb, "connect"), resource)


__all__ = ["PARSER", "parse"]
