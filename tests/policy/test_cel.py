"""The seam to the expression engine: what a policy's expressions may name, and what they read."""

import pytest

from sidecar.policy.cel import (
    ENGINE,
    ROOTS,
    Compiler,
    EvaluationError,
    ExpressionError,
    Wanted,
    reads,
)
from sidecar.policy.language.types import BOOL, DYN, TIMESTAMP

SEEN = {"request": {"l": [None] * 3, "m": {"a": None, "b": [1, 2.5, "x", True]}, "n": None}}


@pytest.mark.parametrize("source", ["request", "request.l", "request.n", "request.m"])
def test_a_value_comes_back_as_it_is(source):
    found = Compiler().compile(source).value(SEEN, {})

    assert {"request": found} == SEEN or found == SEEN["request"][source[-1]]


@pytest.mark.parametrize("root", ROOTS)
def test_every_root_may_be_named(root):
    assert Compiler().compile(root).paths == {root}


def test_a_variable_may_be_named_where_it_is_declared():
    assert Compiler({"low": BOOL}).compile("variables.low && true").result == "bool"

    with pytest.raises(ExpressionError, match=r"unknown word `variables\.high`") as wrong:
        Compiler({"low": BOOL}).compile("true &&\n  variables.high")
    assert (wrong.value.line, wrong.value.column) == (2, 3)


def test_a_variable_keeps_the_types_that_json_lacks():
    when = Compiler().compile("timestamp('2026-01-02T03:04:05Z')").native({}, {})

    hours = Compiler({"when": TIMESTAMP}).compile("variables.when.getHours()")

    assert hours.value({"variables.when": when}, {}) == 3


def test_a_variable_that_has_no_value_is_an_error_where_it_is_read():
    expression = Compiler({"low": DYN}).compile("variables.low", Wanted.CONDITION)

    with pytest.raises(EvaluationError, match="variable `low` could not be evaluated"):
        expression.holds({}, {})


@pytest.mark.parametrize(
    ("source", "path"),
    [
        ("subject.properties.role == 'a'", "subject.properties.role"),
        ("subject.absent.role == 'a'", "subject.absent"),
        ("has(subject.x) || subject.y == 1", "subject.y"),
        ("actors.exists(a, a.properties.role == 'b')", "a.properties.role"),
        ("{'k': 1}.role == 1", "….role"),
    ],
)
def test_an_absent_field_is_named_as_the_rule_names_it(source, path):
    data = {"subject": {"properties": {}}, "actors": [{"properties": {}}]}

    with pytest.raises(EvaluationError) as failed:
        Compiler().compile(source, Wanted.CONDITION).holds(data, {})

    assert str(failed.value) == f"an absent field was read: {path}"


def test_a_key_that_comes_from_the_call_is_not_named():
    expression = Compiler().compile("subject.properties[resource.id] == 'a'", Wanted.CONDITION)
    data = {"subject": {"properties": {}}, "resource": {"id": "hunter2"}}

    with pytest.raises(EvaluationError) as failed:
        expression.holds(data, {})

    assert str(failed.value) == "an absent field was read"


@pytest.mark.parametrize(
    ("source", "text"),
    [("1", "a condition is a bool, this is an int"), ("[true]", "this is a list(bool)")],
)
def test_a_condition_is_a_bool(source, text):
    with pytest.raises(ExpressionError) as wrong:
        Compiler().compile(source, Wanted.CONDITION)

    assert text in wrong.value.text


@pytest.mark.parametrize(
    ("path", "missing", "may"),
    [
        ("request.http", "request.http.body", True),
        ("request.http.body.a", "request.http.body", True),
        ("request.http.body", "request.http.body", True),
        ("request.http.path", "request.http.body", False),
        ("request.http.bodyguard", "request.http.body", False),
    ],
)
def test_what_may_be_read(path, missing, may):
    assert reads(frozenset({path}), missing) is may


def test_the_engine_is_named_in_records():
    assert ENGINE == "doorward-cel/2"


def test_the_same_text_is_compiled_once():
    compiler = Compiler()

    assert compiler.compile("1 + 1 == 2") is compiler.compile("1 + 1 == 2")
    assert compiler.compile("true") is not compiler.compile("true", Wanted.CONDITION)
