"""What is a value and what is not, and that no fault quotes one."""

import datetime as dt
from typing import Any

import pytest

from sidecar.policy.language.faults import (
    BadConversion,
    BudgetExceeded,
    Fault,
    NoSuchOverload,
    Overflow,
)
from sidecar.policy.language.values import (
    FALSE_KEY,
    NONE,
    TRUE_KEY,
    Uint,
    admitted,
    equals,
    map_key,
    to_json,
    type_of,
    untyped,
)
from tests.policy.language.calls import applied

KINDS = Fault.__subclasses__()


@pytest.mark.parametrize(
    "value", [(1,), {1}, object(), dt.timedelta(1), {True: 1}, {None: 1}, {1.5: 1}, [{"a": (1,)}]]
)
def test_what_is_not_of_the_language_is_not_admitted(value: Any) -> None:
    with pytest.raises(NoSuchOverload):
        admitted(value)


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1])
def test_an_integer_beyond_64_bits_is_not_admitted(number: int) -> None:
    with pytest.raises(Overflow):
        admitted({"a": [number]})


def test_a_document_too_deep_is_not_admitted() -> None:
    deep: list[Any] = []
    for _ in range(500):
        deep = [deep]

    with pytest.raises(BudgetExceeded):
        admitted(deep)


def test_a_python_bool_as_a_key_is_nobodys_key() -> None:
    with pytest.raises(NoSuchOverload):
        equals({True: 1}, {True: 1})


def test_true_and_1_are_two_keys() -> None:
    assert {map_key(1): "a", map_key(True): "b"} == {1: "a", TRUE_KEY: "b"}
    assert map_key(False) is FALSE_KEY


def test_every_type_has_a_name() -> None:
    given: list[Any] = [None, True, 1, Uint(1), 1.5, "a", b"a", [], {}, NONE, type_of(1)]

    assert [type_of(value).name for value in given] == [
        *("null_type", "bool", "int", "uint", "double", "string", "bytes", "list", "map"),
        *("optional_type", "type"),
    ]


def test_json_shows_what_it_can() -> None:
    value = {
        map_key(True): Uint(7),
        "b": b"\xff",
        "t": applied("timestamp", ["2020-01-01T00:00:00Z"]),
        "n": float("inf"),
        "o": NONE,
        "i": applied("cidr", ["10.0.0.1/8"]),
        "q": applied("quantity", ["1500m"]),
    }

    assert to_json(value) == {
        "true": 7,
        "b": "/w==",
        "t": "2020-01-01T00:00:00Z",
        "n": "inf",
        "o": None,
        "i": "10.0.0.1/8",
        "q": "1.5",
    }


@pytest.mark.parametrize(
    "given", [None, {}, {"int": "x"}, {"odd": 1}, {"bytes": "?"}, {"list": 1}, {"map": [[1]]}]
)
def test_what_is_no_typed_form_is_refused(given: Any) -> None:
    with pytest.raises(BadConversion):
        untyped(given)


def test_only_the_budget_is_not_absorbed() -> None:
    assert [kind for kind in KINDS if not kind.is_absorbed] == [BudgetExceeded]
    assert len({kind.kind for kind in KINDS}) == len(KINDS)


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("_[_]", [{"a": 1}, "hunter2"]),
        ("int", ["hunter2"]),
        ("timestamp", ["hunter2"]),
        ("ip", ["hunter2"]),
        ("matches", ["a", "(hunter2"]),
        ("_+_", ["hunter2", 1]),
        (".format", ["%d", ["hunter2"]]),
        ("url", ["hunter2"]),
    ],
)
def test_no_fault_quotes_a_value(name: str, args: list[Any]) -> None:
    with pytest.raises(Fault) as raised:
        applied(name, args)

    assert "hunter2" not in str(raised.value)
    # A chained error would carry the value into a traceback.
    assert raised.value.__suppress_context__ or raised.value.__context__ is None


def test_a_search_for_a_pattern_says_nothing_on_standard_error(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(Fault):
        applied("matches", ["a", "(hunter2"])

    assert capfd.readouterr() == ("", "")
