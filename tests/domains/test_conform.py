"""What holds parsers against their words finds what is not one of them."""

import pytest

from sidecar.domains import by_protocol
from sidecar.terms.request import Action, Parsed, ParseStatus, Resource, Target
from tests.domains.conform import misfits

STATUS = ParseStatus("complete", "test")


def parsed(native, *, action=None, resource=None, phase="call"):
    target = Target(
        Action("x", "read", action or {}), Resource("table", "t", properties=resource or {})
    )
    return Parsed((target,), native, STATUS, phase=phase)


@pytest.mark.parametrize(
    ("protocol", "given", "wrong"),
    [
        ("sql", parsed({"kind": "select", "limit": 3, "reads": {"a.b": ["c"]}}), []),
        ("sql", parsed({"kynd": "select"}), ["request.sql.kynd is no word of it"]),
        ("sql", parsed({"limit": True}), ["request.sql.limit is bool, not int"]),
        ("sql", parsed({"limit": None}), ["request.sql.limit is NoneType, not int"]),
        ("sql", parsed({"verbs": ["a", 1]}), ["request.sql.verbs[] is int, not string"]),
        ("sql", parsed({"reads": {"a.b": [1]}}), ["request.sql.reads.a.b[] is int, not string"]),
        ("sql", parsed({"reads": []}), ["request.sql.reads is no object"]),
        ("sql", parsed({"verbs": "a"}), ["request.sql.verbs is no list"]),
        ("sql", parsed({}, action={"soft": 1}), ["action.properties.soft is no word of it"]),
        ("sql", parsed({}, resource={"owner": 1}), ["resource.properties.owner is no word of it"]),
        ("authzen", parsed({}, action={"soft": 1}, resource={"owner": 1}), []),
        ("mcp", parsed({"count": 1}), ["request.mcp.count is no word of it"]),
        ("mcp", parsed({"count": 1}, phase="list"), []),
        ("mcp", parsed({"name": "x"}, phase="list"), ["request.mcp.name is no word of it"]),
        ("llm", parsed({"temperature": 1}), []),
    ],
)
def test_what_is_no_word_or_of_another_type_is_found(protocol, given, wrong):
    assert list(misfits(given, protocol, by_protocol()[protocol], {})) == wrong


def test_what_a_catalogue_gives_is_a_word():
    spec = {"resources": {"tool:a/b": {"properties": {"owner": "x"}}}}
    given = parsed({}, resource={"owner": "y"})

    assert list(misfits(given, "mcp", by_protocol()["mcp"], spec)) == []
