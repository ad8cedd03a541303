"""What each AI call comes to: its targets, the calls inside it, and the words rules read."""

from collections.abc import Mapping
from typing import Any

import pytest

from sidecar.domains.ai import DOMAIN
from sidecar.terms.call import Call, Identity, Party
from sidecar.terms.domain import CatalogueFile
from sidecar.terms.errors import ParseError
from sidecar.terms.reasons import REASONS
from sidecar.terms.request import Inner, Parsed, Target
from sidecar.terms.words import CallId
from tests.domains import conform
from tests.tables import rows


def parsed(
    protocol: str, payload: Any, catalog: Mapping[str, Any] | None = None, upstream: str = "default"
) -> Parsed:
    files = [CatalogueFile("catalog.yaml", dict(catalog), {}, {})] if catalog else []
    identity = Identity(Party("user", "alice"))
    call = Call(
        CallId("c"), "2026-01-01T00:00:00.000000Z", "l", upstream, protocol, payload, identity
    )
    return conform.parse(DOMAIN, call, DOMAIN.catalogue(files), catalog)


def line(target: Target) -> str:
    labels = " ".join(target.resource.labels)
    return f"{target.action.cls} {target.action.name} {target.resource.key} {labels}".rstrip()


def inner_line(inner: Inner) -> str:
    payload = inner.payload
    said = payload["text"] if inner.protocol == "sql" else f"{payload['method']} {payload['url']}"
    dialect = payload.get("dialect", "postgres")
    ending = "" if dialect == "postgres" else f" ({dialect})"
    ending += f" @{inner.upstream}" if inner.upstream else ""
    ending += "" if inner.place is None else " !"
    return f"{inner.at} {inner.protocol} {said}{ending}"


TABLES = ("mcp_targets", "llm_targets", "rag_candidates", "a2a_targets")


@pytest.mark.parametrize("row", [row for table in TABLES for row in rows(f"ai/{table}.yaml")])
def test_a_call_comes_to_its_targets(row):
    payload = {key: value for key, value in row.given.items() if key != "upstream"}
    upstream = row.given.get("upstream", "default")

    got = parsed(row.table["protocol"], payload, row.table["catalog"], upstream)

    assert row.want["targets"] == [line(target) for target in got.targets]
    assert row.want.get("phase", "call") == got.phase
    assert row.want.get("combine", "all") == got.combine
    assert got.parse.status == "complete"
    assert row.want.get("native", got.native) == got.native
    assert (
        row.want.get("action", got.targets[-1].action.properties)
        == got.targets[-1].action.properties
    )
    for key, properties in row.want.get("properties", {}).items():
        assert [properties] == [t.resource.properties for t in got.targets if t.resource.key == key]


@pytest.mark.parametrize("row", rows("ai/mcp_inner.yaml"))
def test_calls_inside_arguments_are_found(row):
    params = {"name": row.given["tool"], "arguments": row.given["arguments"]}
    params |= row.given.get("params", {})
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}

    got = parsed("mcp", {"server": "crm", "message": message}, row.table["catalog"])

    assert row.want == [inner_line(inner) for inner in got.inner]


def test_every_word_that_is_offered_is_in_the_vocabulary():
    offered = {word.path for words in DOMAIN.vocabulary.words.values() for word in words}

    said = {
        f"request.{row.values[0].table['protocol']}.{word}"
        for table in TABLES
        for row in rows(f"ai/{table}.yaml")
        for word in row.values[0].want.get("native", {})
    }

    assert said - offered == set()
    assert len(said) > 30


@pytest.mark.parametrize("row", rows("ai/hostile.yaml"))
def test_what_cannot_be_read_for_certain_is_refused(row):
    with pytest.raises(ParseError) as caught:
        parsed(row.table["protocol"], row.given, row.table.get("catalog"))

    assert row.want == caught.value.reason
    assert caught.value.reason in REASONS
    assert "hunter2" not in str(caught.value)
