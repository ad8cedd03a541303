"""Calls that two bundles can be asked about: of their suites, and as their catalogues suggest.

Each is read under both, by the parsers that serve, so that what a catalogue calls a thing and how
it labels it is part of the comparison.
"""

from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import Final

import msgspec

from sidecar import flow
from sidecar.intercept.envelope import Envelope, Seen, operator_call, read_envelope
from sidecar.policy.bundle import Bundle
from sidecar.review.linting import Looked
from sidecar.review.testing.cells import cases_of
from sidecar.review.testing.suite import Suite
from sidecar.terms.call import Json
from sidecar.terms.errors import EnvelopeError, PolicyError
from sidecar.terms.request import Request
from sidecar.terms.words import CallId

_SEEN: Final = Seen(CallId("diff"), "2026-01-05T12:00:00.000000Z", "diff")
_ONE: Final = "SELECT {column} FROM {name}"
_TABLES_MAX: Final = 300
_COLUMNS_MAX: Final = 40
CALLS_MAX: Final = 2_000


class Asked(msgspec.Struct, frozen=True):
    """One request as each of two bundles understands it.

    Args:
        told: How a person would write it down: an envelope, or the request itself.
        entity: What is known of every entity, None where there is none.
        facts: What is known of certain entities, by type and id.
        revoked: Who is.
    """

    told: dict[str, Json]
    before: Request
    after: Request
    entity: Json = None
    facts: dict[str, dict[str, Json]] = {}
    revoked: frozenset[str] = frozenset()


def understood(envelope: Json, before: Bundle, after: Bundle) -> Asked:
    """Return a call as both bundles read it. Raises EnvelopeError where it is none."""
    return _asked(envelope, read_envelope(envelope, trusted=True), before, after)


def _asked(told: Json, envelope: Envelope, before: Bundle, after: Bundle) -> Asked:
    call = operator_call(envelope, _SEEN)
    return Asked(told, flow.understand(call, before), flow.understand(call, after))


def suggested(before: Looked, after: Looked) -> list[Asked]:
    """Return the calls of both bundles' suites and catalogues, each once."""
    envelopes = chain(
        _of_suites(before), _of_suites(after), _of_catalogues(before), _of_catalogues(after)
    )
    found: dict[bytes, Asked] = {}
    for envelope in envelopes:
        key = msgspec.json.encode(envelope, order="sorted")
        if key in found or len(found) >= CALLS_MAX:
            continue
        try:
            asked = understood(envelope, before.bundle, after.bundle)
        except EnvelopeError:
            continue
        # What one of them cannot read is a table or a column that only the other has: it opens.
        if not asked.before.parse.status == asked.after.parse.status == "failed":
            found[key] = asked
    return list(found.values())


def of_cells(before: Looked, after: Looked) -> Iterator[Asked]:
    """Yield the cells of both bundles' suites as they are written: who sends what, when."""
    for looked in (before, after):
        for case in cases_of(_suites(looked)):
            spec, request = case.suite.spec, case.asked.request
            envelope = {
                "protocol": request.protocol,
                "call": request.call,
                "upstream": request.upstream,
                "subject": msgspec.to_builtins(case.who.subject),
                "actors": msgspec.to_builtins(case.who.actors),
                "context": {"time": case.options.now, **request.context},
            }
            try:
                asked = understood(envelope, before.bundle, after.bundle)
            except EnvelopeError:
                continue
            yield msgspec.structs.replace(
                asked, facts=spec.facts.entity, revoked=frozenset(spec.facts.revoked)
            )


def _suites(looked: Looked) -> list[Suite]:
    try:
        return looked.suites
    except PolicyError:
        # A suite that names a rule which is no longer there says nothing less of its requests.
        return []


def _of_suites(looked: Looked) -> Iterator[Json]:
    """Yield the requests of suites without who sends them; whoever they are, is crossed anyway."""
    for suite in _suites(looked):
        for request in suite.spec.requests.values():
            yield {
                "protocol": request.protocol,
                "call": request.call,
                "upstream": request.upstream,
                "context": request.context,
            }


def _of_catalogues(looked: Looked) -> Iterator[Json]:
    for spec in looked.catalogues:
        make = {"sql": _statements, "http": _routes, "mcp": _messages, "rag": _retrievals}.get(
            spec.get("protocol")
        )
        if make is not None:
            upstream = spec.get("upstream") or "default"
            yield from ({**envelope, "upstream": upstream} for envelope in make(spec))


def _statements(spec: Json) -> Iterator[Json]:
    tables = (
        (f'"{schema}"."{table}"', list((described or {}).get("columns") or ()))
        for schema, inside in (spec.get("schemas") or {}).items()
        for table, described in ((inside or {}).get("tables") or {}).items()
    )
    for name, columns in islice(tables, _TABLES_MAX):
        for text in _of_table(name, [f'"{column}"' for column in columns[:_COLUMNS_MAX]]):
            yield {"protocol": "sql", "call": {"dialect": "postgres", "text": text}}


def _of_table(name: str, columns: Sequence[str]) -> Iterator[str]:
    listed, nothing = ", ".join(columns), ", ".join("NULL" for _ in columns)
    texts = ["SELECT count(*) FROM {name}", "DELETE FROM {name}"]
    if columns:
        texts += [
            "SELECT {listed} FROM {name}",
            "INSERT INTO {name} ({listed}) VALUES ({nothing})",
            "UPDATE {name} SET {first} = NULL",
        ]
    for text in texts:
        yield text.format(name=name, listed=listed, nothing=nothing, first=columns and columns[0])
    yield from (_ONE.format(column=column, name=name) for column in columns)


def _routes(spec: Json) -> Iterator[Json]:
    for route in spec.get("routes") or ():
        if isinstance(route, dict) and "path" in route:
            path = "/".join("1" if "{" in part else part for part in route["path"].split("/"))
            call = {"method": route.get("method", "GET"), "url": f"http://host{path}"}
            yield {"protocol": "http", "call": call}


def _messages(spec: Json) -> Iterator[Json]:
    for server, inside in (spec.get("servers") or {}).items():
        yield _message(server, "initialize", {})
        yield _message(server, "tools/list", {})
        tools = (inside or {}).get("tools")
        for tool in tools if isinstance(tools, dict) else ():
            yield _message(server, "tools/call", {"name": tool, "arguments": {}})


def _message(server: str, method: str, params: Json) -> Json:
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    return {"protocol": "mcp", "call": {"server": server, "message": message}}


def _retrievals(spec: Json) -> Iterator[Json]:
    for collection, inside in (spec.get("collections") or {}).items():
        documents = [each.replace("*", "x") for each in (inside or {}).get("documents") or {}]
        for document in [*documents, "x"]:
            call = {"collection": collection, "query": "x", "candidates": [{"id": document}]}
            yield {"protocol": "rag", "call": call}
