"""Laws of reading: whatever comes is read completely or refused, and ids stay apart."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.domains.ai import DOMAIN
from sidecar.domains.ai.catalogue import AiCatalogue
from sidecar.domains.ai.catalogue.names import named_id, opaque_id
from sidecar.domains.ai.limits import ELEMENTS_MAX, INNER_CHARS_MAX, INNER_MAX
from sidecar.domains.ai.parse.mcp import _PARAMS as METHODS
from sidecar.domains.ai.parse.mcp import LISTS
from sidecar.syntax.json import canonical
from sidecar.terms.call import Call, Identity, Party
from sidecar.terms.decision import BundleStamp, Decision
from sidecar.terms.domain import Needs
from sidecar.terms.errors import ParseError
from sidecar.terms.reasons import reason
from sidecar.terms.request import Parsed
from sidecar.terms.words import CLASSES, CallId, PolicyVersion

WORDS = st.sampled_from(
    [
        "a",
        "sql",
        "query",
        "SELECT 1",
        "2.0",
        "function",
        "user",
        "text",
        "file:///a",
        "gpt-4o",
        "",
        "é",
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(0, 1) | WORDS | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)
FIELDS = (
    "name", "arguments", "uri", "ref", "argument", "taskId", "cursor", "_meta", "type", "value",
    "inputResponses", "task",
)  # fmt: skip
PARAMS = st.dictionaries(
    st.sampled_from(FIELDS), VALUES | st.dictionaries(st.sampled_from(FIELDS), VALUES)
)
BODIES = st.fixed_dictionaries(
    {"model": WORDS, "messages": st.just([{"role": "user", "content": "x"}]) | VALUES},
    optional=dict.fromkeys(
        ("tools", "n", "max_tokens", "tool_choice", "functions", "response_format"), VALUES
    ),
)


def called(protocol: str, payload: Any) -> Call:
    identity = Identity(Party("user", "alice"))
    time = "2026-01-01T00:00:00.000000Z"
    return Call(CallId("c"), time, "l", "default", protocol, payload, identity)


def read(protocol: str, payload: Any) -> Parsed | None:
    """Return what is read, None for a refusal; anything else that is raised fails the test."""
    try:
        parsed = DOMAIN.parse(called(protocol, payload), AiCatalogue(), Needs())
    except ParseError:
        return None
    assert parsed.targets
    assert all(target.action.cls in CLASSES for target in parsed.targets)
    return parsed


@given(st.sampled_from(sorted(METHODS)), PARAMS)
def test_any_message_is_read_or_refused(method, params):
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}

    parsed = read("mcp", {"server": "crm", "message": message})

    assert parsed is None or all(t.action.name == method for t in parsed.targets)


@given(st.sampled_from(sorted(LISTS)), st.lists(st.dictionaries(st.sampled_from(FIELDS), VALUES)))
def test_any_answer_has_a_target_for_each_element_or_is_refused(method, elements):
    result = {LISTS[method].elements: elements}

    parsed = read("mcp", {"server": "s", "message": {"jsonrpc": "2.0", "id": 1, "result": result}})

    assert parsed is None or len(parsed.targets) == len(elements) + 1


@given(st.sampled_from(["/v1/chat/completions", "/v1/embeddings", "/v1/models"]), BODIES | VALUES)
def test_any_body_is_read_or_refused(path, body):
    read("llm", {"path": path, "body": body})


@given(
    st.lists(
        st.dictionaries(st.sampled_from(["id", "labels", "properties", "metadata", "text"]), VALUES)
    )
)
def test_any_candidate_is_a_target_or_refused(candidates):
    parsed = read("rag", {"collection": "c", "candidates": candidates})

    assert parsed is None or len(parsed.targets) == len(candidates) + 1


@given(
    st.sampled_from(["SendMessage", "GetTask", "tasks/pushNotificationConfig/set"]), VALUES, VALUES
)
def test_any_message_to_an_agent_is_read_or_refused(method, message, configuration):
    params = {"message": message, "configuration": configuration}

    read(
        "a2a",
        {"agent": "a", "message": {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}},
    )
    read(
        "a2a",
        {"agent": "a", "message": {"jsonrpc": "2.0", "id": 1, "method": method, "params": message}},
    )


@given(st.sampled_from(["mcp", "llm", "rag", "a2a"]), VALUES | st.dictionaries(WORDS, VALUES))
def test_any_refused_call_can_be_answered(protocol, value):
    payload = {"message": value, "path": value, "body": value}
    stamp = BundleStamp("demo", PolicyVersion("1"), "d")
    decision = Decision(CallId("c"), "deny", reason("parse.syntax"), stamp)

    refusal = DOMAIN.refuse(called(protocol, payload), decision)

    assert canonical(refusal.body)
    assert refusal.status in {200, 403}


@given(st.tuples(st.text("a.%*", min_size=1), st.text("a.%*", min_size=1)), st.data())
def test_names_that_differ_have_ids_that_differ(names, data):
    others = data.draw(st.tuples(st.text("a.%*", min_size=1), st.text("a.%*", min_size=1)))

    assert (named_id(*names) == named_id(*others)) == (names == others)
    assert "*" not in named_id(*names) + opaque_id(*names)


@pytest.mark.parametrize(
    "key", ["sql", "SQL", "sqlQuery", "sql_text", "statement", "raw_sql", "stmts"]
)
@given(data=st.data())
def test_sql_is_found_however_deep_it_stands(key, data):
    arguments: Any = {key: "DROP TABLE t"}
    for _ in range(data.draw(st.integers(0, 6))):
        arguments = data.draw(st.sampled_from([{"x": arguments}, {"x": [arguments]}]))
    message = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": "t", "arguments": arguments},
    }

    parsed = read("mcp", {"server": "s", "message": message})

    assert parsed is not None
    assert [inner.payload["text"] for inner in parsed.inner] == ["DROP TABLE t"]


@pytest.mark.parametrize(
    ("protocol", "payload"),
    [
        ("rag", {"collection": "c", "candidates": [{"id": i} for i in range(ELEMENTS_MAX + 1)]}),
        (
            "mcp",
            {
                "server": "s",
                "message": {
                    "jsonrpc": "2.0",
                    "id": 1,
                    "result": {"tools": [{"name": f"t{i}"} for i in range(ELEMENTS_MAX + 1)]},
                },
            },
        ),
        (
            "mcp",
            {
                "server": "s",
                "message": {
                    "jsonrpc": "2.0",
                    "id": 1,
                    "method": "tools/call",
                    "params": {"name": "t", "arguments": {"statements": ["x"] * (INNER_MAX + 1)}},
                },
            },
        ),
        (
            "mcp",
            {
                "server": "s",
                "message": {
                    "jsonrpc": "2.0",
                    "id": 1,
                    "method": "tools/call",
                    "params": {
                        "name": "t",
                        "arguments": {"sql": "x", "sqls": ["y" * (INNER_CHARS_MAX // 2)] * 2},
                    },
                },
            },
        ),
    ],
    ids=["candidates", "elements", "statements", "characters"],
)
def test_more_than_the_bound_is_refused(protocol, payload):
    with pytest.raises(ParseError) as caught:
        DOMAIN.parse(called(protocol, payload), AiCatalogue(), Needs())

    assert caught.value.reason == "parse.too_large"
