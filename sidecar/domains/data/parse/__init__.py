"""Reads SQL for PostgreSQL: text → a target for every table and column that it reads or writes.

```
text ─lexer▶ tokens ─session▶ touches no data
                    └canonical▶ a small language ─sqlglot▶ tree ─query, change▶ accesses ▶ targets
```

Fail-closed at each step: the scanner cuts as PostgreSQL's or refuses, the tree's nodes are an
allow-list, every name is found in the catalogue or the statement is refused.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Final

from sidecar.domains.data.catalogue import DIALECTS, DataCatalogue, Relations, TableKey
from sidecar.domains.data.catalogue.payload import drifted_relations, payload_relations
from sidecar.domains.data.limits import (
    CACHED_CHARS_MAX,
    READ_AT_HAND_CHARS_MAX,
    TEXT_BYTES_MAX,
)
from sidecar.domains.data.parse import kept
from sidecar.domains.data.parse.elsewhere import Read, Reading, Refused, said_elsewhere
from sidecar.domains.data.parse.other import Defined, Other, is_other, read_other
from sidecar.domains.data.parse.other.names import (
    RUN_BY_NAME,
    USES,
    check_session_names,
    names_of,
    text_behind,
)  # fmt: skip
from sidecar.domains.data.parse.second import (
    check_names,
    check_session,
    check_statement,
)
from sidecar.domains.data.parse.settings import check_settings
from sidecar.domains.data.parse.statement import Statement, read_statement
from sidecar.domains.data.parse.targets import (
    connect_target,
    lookup_target,
    sequence_targets,
    session_targets,
    table_targets,
    with_lookup,
)
from sidecar.domains.data.parse.text.alike import form_of
from sidecar.domains.data.parse.text.lexer import Token, marks_of, statements, tokens
from sidecar.domains.data.parse.text.session import (
    guarded_setting,
    may_stand_together,
    resets_all,
    session_verb,
)  # fmt: skip
from sidecar.terms.call import Call, Json
from sidecar.terms.errors import ParseError
from sidecar.terms.reasons import reason
from sidecar.terms.request import Action, Parsed, ParseStatus, Resource, Target
from sidecar.terms.words import component

PARSER: Final = "sql/postgres"
_FIELDS: Final = {
    "dialect", "text", "params", "params_unread", "search_path", "catalog", "carries", "session",
    "drift",
}  # fmt: skip
_CARRIED: Final = USES | {"copy", "copy_query", "declare", "prepare", "listen"}
_NAMING: Final = ("prepare", "declare")
_UNICODE: Final = re.compile('u&"', re.IGNORECASE)
_STATUS: Final = ParseStatus("complete", PARSER)

_COUNTING: Final = frozenset(("distinct", "fetch", "group", "limit", "offset", "order", "over"))
_NUMBER: Final = Token("number", "0")


def parse(call: Call, catalogue: DataCatalogue, bundle: str | None = None) -> Parsed:
    """Return what the statement of a Call touches.

    Args:
        call: The call.
        catalogue: Of `bundle`.
        bundle: Its digest, where another process reads what is long.

    Raises:
        ParseError: With one of `parse.*`.
        Elsewhere: The text is long, and nobody has read it yet.
    """
    payload = call.payload
    text = _checked(payload)
    relations = catalogue.relations(call.upstream)
    if payload.get("catalog") is not None:
        # It is the call's alone: nobody else has it.
        relations, bundle = payload_relations(payload["catalog"], relations), None
    drift = payload.get("drift")
    if drift:
        relations = drifted_relations(drift, relations)
    search_path = _search_path(payload, relations)
    away = (bundle, drift)
    parsed = _read(text, relations, search_path, call.upstream, away)
    if parsed.native["kind"] in USES:
        kept = text_behind(
            parsed.native["kind"], parsed.native["names"], payload.get("session", {})
        )
        behind = _read(kept, relations, search_path, call.upstream, away)
        parsed = _by_name(parsed, behind)
    _check_carried(call, parsed)
    if payload.get("params_unread"):
        unread = ParseStatus("partial", PARSER, missing=("request.sql.params",))
        return Parsed(parsed.targets, parsed.native, unread)
    if payload.get("params") is None:
        return parsed
    native = {**parsed.native, "params": payload["params"]}
    return Parsed(parsed.targets, native, parsed.parse)


def _read(
    text: str,
    relations: Relations,
    search_path: tuple[str, ...],
    upstream: str,
    away: tuple[str | None, Json],
) -> Parsed:
    """Return what a text does, what stands behind a name in it apart.

    `away` is the bundle and the drift that another process is told of, where one reads what is
    long.
    """
    key = (text, relations.identity, search_path, upstream)
    parsed = kept.texts.get(key)
    if parsed is not None:
        return parsed
    if away[0] and READ_AT_HAND_CHARS_MAX < len(text) <= TEXT_BYTES_MAX:
        parsed = _read_elsewhere(key, *away)
    if parsed is None:
        parsed = _read_here(key, relations)
    return parsed


def _read_here(key: kept.TextKey, relations: Relations) -> Parsed:
    """Return what a text does that was not read before, of which perhaps another form was."""
    text, identity, search_path, upstream = key
    form = form_of(text.encode()) if len(text) <= CACHED_CHARS_MAX else None
    by_form = (form or b"", identity, search_path, upstream)
    known = kept.forms.get(by_form) if form is not None else None
    if known is not None:
        digest = hashlib.sha256(text.encode()).hexdigest()
        parsed = Parsed(known.targets, known.native | {"text_sha256": digest}, _STATUS)
    else:
        parsed = _analysed(text, relations, search_path, upstream)
    if kept.is_kept(text, parsed):
        size = kept.size_of(text, parsed)
        kept.texts.put(key, parsed, size)
        if form is not None and known is None:
            kept.forms.put(by_form, parsed, size)
    return parsed


def _read_elsewhere(key: kept.TextKey, bundle: str | None, drift: Json) -> Parsed | None:
    assert bundle is not None
    text, identity, search_path, upstream = key
    said = said_elsewhere(
        bundle, key, lambda: Reading(text, upstream, search_path, identity, drift)
    )
    if isinstance(said, Refused):
        raise ParseError(said.reason, said.text)
    return said.parsed if isinstance(said, Read) else None


def read_at_hand(work: Reading, catalogue: DataCatalogue) -> Parsed | None:
    """Return what a long text does, for another process; None where its catalogue is another one.

    Raises:
        ParseError: With one of `parse.*`.
    """
    relations = catalogue.relations(work.upstream)
    if work.drift:
        relations = drifted_relations(work.drift, relations)
    if not hmac.compare_digest(relations.identity, work.identity):
        return None
    return _analysed(work.text, relations, work.search_path, work.upstream)


def _by_name(own: Parsed, behind: Parsed) -> Parsed:
    """Return EXECUTE, FETCH or MOVE with what the text behind its name does.

    Raises:
        ParseError: `parse.unsupported` where that text is not one of data.
    """
    if behind.native["kind"] not in RUN_BY_NAME:
        raise ParseError(reason("parse.unsupported"), "a name of what is not run by name")
    native = {
        **behind.native,
        **{word: own.native[word] for word in ("kind", "text_sha256", "names")},
        "verbs": own.native["verbs"] + [v for v in behind.native["verbs"] if v not in _NAMING],
        "functions": sorted({*own.native["functions"], *behind.native["functions"]}),
        "reads": {**own.native["reads"], **behind.native["reads"]},
    }
    # The arguments' own come last: the primary is what the statement is about.
    beyond = (target for target in own.targets if target.action.cls != "connect")
    return Parsed((*behind.targets, *beyond), native, _STATUS)


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
    if len(payload) > len(("dialect", "text")):
        _check_further(payload)
    return text


def _check_further(payload: Mapping[str, Json]) -> None:
    params = payload.get("params")
    if params is not None and not isinstance(params, list | dict):
        raise ParseError(reason("parse.envelope"), "`params` is a list or an object")
    if "session" in payload:
        check_session_names(payload["session"])
    if not isinstance(payload.get("carries", []), list):
        raise ParseError(reason("parse.envelope"), "`carries` is a list of kinds of statements")


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
    verbs = _session_verbs(found)
    digest = hashlib.sha256(text.encode()).hexdigest()
    native: dict[str, Json] = {
        "dialect": "postgres", "kind": "session", "verbs": verbs, "statements": len(found),
        "reads": {}, "writes": {}, "functions": [], "usage": {}, "names": [],
        "text_sha256": digest, "complete": True,
    }  # fmt: skip
    if verbs:
        seen = check_session(text, verbs)
        check_settings(seen, search_path)
        native["names"] = names_of(seen, text, found[0] if found else [])
        native["verbs"] = [*verbs, *(f"{one[0].text}_all" for one in found if resets_all(one))]
        targets = session_targets(verbs, map(guarded_setting, found or [[]]), upstream)
        if seen.relations:
            # The names of constraints: whether there is such a one is told.
            targets += (lookup_target("pg_constraint", relations, upstream),)
        return Parsed(targets, native, _STATUS)
    if is_other(found[0]):
        other = read_other(text, found[0], relations, search_path)
        _check_drift(found[0], other.statement, relations)
        native["names"] = names_of(other.seen, text, found[0])
        return _other(other, native, relations, search_path, upstream)
    shape = (_shape(found[0]), relations.identity, search_path, upstream)
    known = kept.shapes.get(shape)
    has_escapes = "&" in text and _UNICODE.search(text) is not None
    if known is not None and not has_escapes:
        # Only our own reading is known: PostgreSQL's grammar reads each text itself.
        check_statement(text, known[0])
        return Parsed(known[1].targets, known[1].native | {"text_sha256": digest}, _STATUS)
    statement = read_statement(found[0], relations, search_path)
    _check_drift(found[0], statement, relations)
    seen = check_statement(text, statement)
    if has_escapes:
        check_names(seen, {name.text for name in found[0] if name.kind == "quoted"})
    statement = with_lookup(statement, seen.sequences)
    targets = table_targets(statement, relations, upstream)
    targets += sequence_targets(seen.sequences, search_path, upstream)
    targets = targets or (connect_target(statement.kind, upstream),)
    parsed = Parsed(targets, native | _native(statement), _STATUS)
    if not seen.sequences and not has_escapes and kept.is_kept(text, parsed):
        kept.shapes.put(shape, (statement, parsed), kept.size_of(text, parsed))
    return parsed


def _check_drift(tokens: list[Token], statement: Statement, relations: Relations) -> None:
    """Refuse a name that a table touched has in the database, and the catalogue has not.

    It may be that column's, where the catalogue knows another one of that name.
    """
    if not relations.drifted:
        return
    new = {name for key in statement.touched for name in relations.drifted.get(key, ())}
    if any(token.text in new for token in tokens if token.kind in ("word", "quoted")):
        raise ParseError(reason("catalogue.drift"), "a column that the catalogue does not list yet")


def _session_verbs(found: list[list[Token]]) -> list[str]:
    """Return the verb of each statement of a text that touches no data, nothing for another.

    Raises:
        ParseError: `parse.multi_statement` for more, but of those that `may_stand_together`.
    """
    if len(found) == 1:
        return [verb] if (verb := session_verb(found[0])) else []
    if not all(may_stand_together(one) for one in found):
        raise ParseError(reason("parse.multi_statement"), "more than one statement")
    return [one[0].text for one in found] or ["empty"]


def _shape(statement: list[Token]) -> tuple[Token, ...]:
    """Return the tokens with what cannot change their meaning made alike: strings are already.

    Numbers count where they may be places of columns or a LIMIT.
    """
    if not _COUNTING.isdisjoint(marks_of(statement)):
        return tuple(statement)
    return tuple([_NUMBER if token[0] == "number" else token for token in statement])


def _other(
    other: Other,
    native: dict[str, Json],
    relations: Relations,
    search_path: tuple[str, ...],
    upstream: str,
) -> Parsed:
    statement = with_lookup(other.statement, other.seen.sequences)
    targets = tuple(_defined(one, relations, upstream) for one in other.defined)
    targets += table_targets(statement, relations, upstream)
    targets += sequence_targets(other.seen.sequences, search_path, upstream)
    targets = targets or (connect_target(statement.kind, upstream),)
    return Parsed(targets, native | _native(statement), _STATUS)


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


__all__ = ["PARSER", "parse", "read_at_hand"]
