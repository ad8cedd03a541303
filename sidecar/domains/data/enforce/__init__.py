"""Carries out decisions on SQL: rewrites what is permitted, refuses the rest in PostgreSQL's words.

```
obligations ─due▶ by table ─────────┐
text ─views▶ ─references▶ where ────┴─scan, change, groups, limits▶ edits ─text▶ sent ─proof▶ ok
```

What cannot be carried out soundly denies. A rewritten statement is proven before it is sent: see
`proof`. Rewritten texts are remembered by everything that they depend on.
"""

import hmac
import threading
from itertools import repeat
from typing import Final

import msgspec
from cachetools import LRUCache

from sidecar.domains.data.catalogue import DataCatalogue, Relations, Table
from sidecar.domains.data.catalogue.payload import payload_relations
from sidecar.domains.data.enforce.refusal import refuse
from sidecar.domains.data.enforce.rewriting import rewritten
from sidecar.domains.data.enforce.rewriting.due import Due, duties
from sidecar.domains.data.enforce.rewriting.fragment import fragment
from sidecar.domains.data.enforce.rewriting.scan import shaped
from sidecar.domains.data.enforce.rewriting.text import unsupported
from sidecar.domains.data.limits import (
    CACHE_ENTRIES_MAX,
    CACHED_CHARS_MAX,
    REWRITTEN_AT_HAND_CHARS_MAX,
)
from sidecar.domains.data.parse.condition import condition_problem, table_of
from sidecar.domains.data.parse.elsewhere import Refused, Rewriting, Sent, said_elsewhere
from sidecar.domains.data.parse.second import look
from sidecar.syntax.holes import filled
from sidecar.terms.call import Call, Json, remembers
from sidecar.terms.decision import Decision, Obligation
from sidecar.terms.errors import EnforceError, ParseError
from sidecar.terms.request import Request

# They run what was rewritten when its name was given, under the obligations kept with the name.
_BY_NAME: Final = frozenset(("execute", "fetch", "move"))

_Key = tuple[str, str, tuple[str, ...], bytes]
_cache: LRUCache[_Key, str] = LRUCache(CACHE_ENTRIES_MAX)
_cache_lock: Final = threading.Lock()


def _forget() -> None:
    with _cache_lock:
        _cache.clear()


remembers(_forget)


def rewrite(
    call: Call,
    request: Request,
    decision: Decision,
    catalogue: DataCatalogue,
    bundle: str | None = None,
) -> dict[str, Json]:
    """Return the payload to forward: the identical one, or with another `text`.

    Args:
        call: The call.
        request: What it means.
        decision: What is to be carried out.
        catalogue: Of `bundle`.
        bundle: Its digest, where another process rewrites what is long.

    Raises:
        EnforceError: An obligation cannot be carried out soundly on this statement.
        Elsewhere: The text is long, and nobody has rewritten it yet.
    """
    if not decision.obligations:
        return call.payload
    kind = request.request["sql"]["kind"]
    if kind == "session" and _counts_rows_alone(decision):
        return call.payload
    payload = call.payload
    relations = catalogue.relations(call.upstream)
    if payload.get("catalog") is not None:
        # It is the call's alone: nobody else has it.
        relations, bundle = payload_relations(payload["catalog"], relations), None
    if kind in _BY_NAME:
        _check_arguments(payload["text"], relations)
        return payload
    said = payload.get("search_path")
    search_path = relations.search_path if said is None else tuple(said)
    key = (payload["text"], relations.identity, search_path, _digest(call, decision))
    with _cache_lock:
        sent = _cache.get(key)
    if sent is None:
        sent = _sent(key, call, decision, relations, bundle)
    return payload if sent == payload["text"] else {**payload, "text": sent}


def _sent(
    key: _Key, call: Call, decision: Decision, relations: Relations, bundle: str | None
) -> str:
    """Return the text that goes out, worked out here or in another process."""
    text, _, search_path, _ = key
    due, sent = decision.obligations, None
    if call.depth:
        _check_steady(due, relations)
    if bundle and len(text) > REWRITTEN_AT_HAND_CHARS_MAX:
        sent = _rewritten_elsewhere(key, bundle, call.upstream, due)
    if sent is None:
        sent = _rewritten(text, due, relations, search_path)
        if len(sent) <= CACHED_CHARS_MAX:
            with _cache_lock:
                _cache[key] = sent
    return sent


def _check_arguments(text: str, relations: Relations) -> None:
    """Refuse a function of the organisation's own in EXECUTE: what it reads is not rewritten."""
    declared = {name for _, name in relations.functions}
    for schema, name in look(text).calls:
        if schema not in (None, "pg_catalog") or name in declared:
            raise unsupported("a declared function among the arguments of EXECUTE")


def _check_steady(due: tuple[Obligation, ...], relations: Relations) -> None:
    """Refuse a rule's own SQL that may fail on a row, inside of another call.

    PostgreSQL's words then show the row, also one that is not to be seen. A listener of ours
    withholds them; who runs a tool's SQL passes them on.
    """
    for key, one in duties(due).tables.items():
        table = relations.tables.get(key)
        if table is not None and not _is_steady(table, one, relations):
            raise unsupported("a rule's SQL that may fail where nobody withholds what is said then")


def _is_steady(table: Table, due: Due, relations: Relations) -> bool:
    try:
        made = shaped(table, due, frozenset(due.masks), relations).fragments
    except (ParseError, RecursionError) as error:
        raise _unread(error) from error
    return all(one.is_steady for one in made)


def _counts_rows_alone(decision: Decision) -> bool:
    """Return whether nothing is due but a limit of the database: of the session come no rows."""
    return all(
        one.type == "limit_rows" and one.target.startswith("database:")
        for one in decision.obligations
    )


def _digest(call: Call, decision: Decision) -> bytes:
    """Return what is due, and whether inside of another call, where less is carried out."""
    return msgspec.json.encode((call.depth > 0, decision.obligations), order="sorted")


def _rewritten_elsewhere(
    key: _Key, bundle: str, upstream: str, due: tuple[Obligation, ...]
) -> str | None:
    text, identity, search_path, _ = key
    said = said_elsewhere(
        bundle, key, lambda: Rewriting(text, upstream, search_path, identity, due)
    )
    if isinstance(said, Refused):
        raise EnforceError(said.reason, said.text)
    return said.text if isinstance(said, Sent) else None


def rewritten_at_hand(work: Rewriting, catalogue: DataCatalogue) -> str | None:
    """Return what is sent for a long text, for another process; None with another catalogue.

    Raises:
        EnforceError: An obligation cannot be carried out soundly on this statement.
    """
    relations = catalogue.relations(work.upstream)
    if not hmac.compare_digest(relations.identity, work.identity):
        return None
    return _rewritten(work.text, work.obligations, relations, work.search_path)


def _rewritten(
    text: str, due: tuple[Obligation, ...], relations: Relations, search_path: tuple[str, ...]
) -> str:
    try:
        return rewritten(text, duties(due), relations, search_path)
    except ParseError as error:
        raise _unread(error) from error
    except RecursionError:
        raise unsupported("a statement nested too deeply") from None


def _unread(error: ParseError | RecursionError) -> EnforceError:
    return unsupported(f"a rule whose SQL cannot be read: {error}")


def check(obligation: dict[str, Json], catalogue: DataCatalogue) -> list[str]:
    """Return what is wrong with an obligation as a rule has it, beyond its schema."""
    on = obligation.get("on")
    if obligation.get("type") == "mask":
        has_expression = "expression" in obligation
        if has_expression != (obligation.get("with") == "expression"):
            return ["`expression` stands with `with: expression`, and only there"]
        problem = _problem("expression", obligation.get("expression"), on, catalogue)
        return [problem] if problem else []
    if obligation.get("type") != "filter_rows":
        return []
    problem = _problem("where", obligation.get("where"), on, catalogue)
    return [problem] if problem else []


def _problem(field: str, said: Json, on: Json, catalogue: DataCatalogue) -> str | None:
    """Return what is wrong with a rule's own SQL: it cannot be read, or not be carried out."""
    if not isinstance(said, str):
        return None
    problem = condition_problem(field, said, on, catalogue)
    key = table_of(on)
    if problem is not None or key is None:
        return problem
    text = filled(said, repeat(" NULL "))
    for relations in catalogue.all():
        if key in relations.tables:
            try:
                fragment(text, key, relations, relations.search_path)
            except (EnforceError, ParseError) as error:
                return f"`{field}` cannot be carried out: {error}"
    return None


__all__ = ["check", "refuse", "rewrite", "rewritten_at_hand"]
