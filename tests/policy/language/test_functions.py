"""What every function gives: tables first, then what holds for all of them."""

import math
import time
from enum import IntEnum
from typing import Any

import pytest

from sidecar.policy.language.faults import BudgetExceeded, Fault, InvalidArgument, NoSuchOverload
from sidecar.policy.language.functions import FUNCTIONS
from sidecar.policy.language.values import NONE, Uint, type_of
from tests.policy.language.calls import applied, outcome, wanted
from tests.tables import Row, rows


class _Foreign(IntEnum):
    ONE = 1


class _Text(str):
    __slots__ = ()


FOREIGN = [object(), _Foreign.ONE, _Text("a"), (1, 2), {1, 2}, bytearray(b"a"), 1j, len, ...]
PLAIN: list[Any] = [None, True, 0, Uint(1), 1.5, math.nan, "a", b"a", [], {}, [1, "a"], NONE]


@pytest.mark.parametrize("row", rows("policy/language/functions"))
def test_function(row: Row) -> None:
    assert outcome(row.given) == wanted(row.want)


@pytest.mark.parametrize("key", list(FUNCTIONS), ids=str)
def test_a_value_of_another_language_is_no_argument(key: tuple[str, bool, int]) -> None:
    declared = FUNCTIONS[key]
    count = declared.arity + declared.is_member
    for foreign in FOREIGN if count else []:
        with pytest.raises(NoSuchOverload):
            declared.call(*[foreign] * count)


def _kind(key: tuple[str, bool, int], args: list[Any]) -> str:
    try:
        return type_of(FUNCTIONS[key].call(*args)).name
    except Fault as fault:
        return fault.kind


@pytest.mark.parametrize("key", [key for key in FUNCTIONS if key[2] <= 3], ids=str)
def test_a_function_gives_a_value_or_a_fault_whatever_it_is_given(
    key: tuple[str, bool, int],
) -> None:
    count = key[2] + key[1]

    kinds = {_kind(key, [one, other, other, other][:count]) for one in PLAIN for other in PLAIN}

    assert all(kinds)


def test_every_signature_has_the_arity_it_is_found_by() -> None:
    wrong = [
        key
        for key, declared in FUNCTIONS.items()
        for each in declared.signatures
        if len(each.parameters) != key[2] + key[1]
    ]

    assert wrong == []


# A loaded machine takes some tenths; what grows with the square takes minutes.
SECONDS_MAX = 2
BIG = "a" * 600_000
DEEP: list[Any] = []
for _ in range(40):
    DEEP = [DEEP, DEEP]
NESTED: list[Any] = []
for _ in range(5_000):
    NESTED = [NESTED]


@pytest.mark.parametrize(
    ("it", "fault", "name", "args"),
    [
        ("a text that would double", BudgetExceeded, "_+_", [BIG, BIG]),
        (
            "a replacement that would grow",
            BudgetExceeded,
            ".replace",
            [BIG, "a", "bb"],
        ),
        (
            "nothing replaced by much",
            BudgetExceeded,
            ".replace",
            [BIG[:2000], "", BIG],
        ),
        ("many parts", BudgetExceeded, ".split", [BIG, ""]),
        ("a long join", BudgetExceeded, ".join", [[BIG, BIG]]),
        ("a long format", BudgetExceeded, ".format", ["%s%s", [BIG, BIG]]),
        ("a long quotation", BudgetExceeded, "strings.quote", [BIG]),
        ("a value that is large by sharing", BudgetExceeded, "_==_", [DEEP, DEEP]),
        ("its elements as a set", BudgetExceeded, "sets.contains", [DEEP, DEEP]),
        ("its text", BudgetExceeded, ".format", ["%s", [DEEP]]),
        ("its elements in one list", BudgetExceeded, ".flatten", [DEEP, 99]),
        ("a value that is too deep", BudgetExceeded, "_==_", [NESTED, NESTED]),
        ("the same one opened", BudgetExceeded, ".flatten", [NESTED, 9_999]),
        ("a search in it", BudgetExceeded, "@in", [NESTED, [NESTED]]),
        (
            "a pattern that is large to run",
            BudgetExceeded,
            ".matches",
            [BIG, ".{1,500}z"],
        ),
        (
            "matches that each begin anew",
            BudgetExceeded,
            "regex.extractAll",
            [BIG, "a*b|a"],
        ),
        ("a pattern too long", InvalidArgument, ".matches", ["a", BIG]),
        (
            "repetitions of repetitions",
            InvalidArgument,
            ".matches",
            ["a", "((a{99}){99}){99}"],
        ),
    ],
)
def test_too_much_is_refused(it: str, fault: type[Fault], name: str, args: list[Any]) -> None:
    started = time.process_time()

    with pytest.raises(fault):
        applied(name, args)

    assert time.process_time() - started < SECONDS_MAX, it


@pytest.mark.parametrize(
    ("name", "args"),
    [
        (".lastIndexOf", ["a" * 300_000, "b" + "a" * 150_000]),
        (".indexOf", ["a" * 300_000, "a" * 150_000 + "b"]),
        (".contains", ["ab" * 150_000, "ba" * 70_000 + "c"]),
        (".matches", ["a" * 300_000, "(a*)*b"]),
        ("glob", ["*a" * 2_000 + "*b", "a" * 100_000]),
        ("base64.decode", ["A" * 300_001]),
        (".distinct", [[[number] for number in range(90_000)]]),
        ("double", ["9" * 1_000_000]),
        ("duration", ["1s" * 500_000]),
        ("quantity", ["9" * 1_000_000]),
        ("url", ["/" + "%" * 1_000_000]),
        ("ip", [":" * 1_000_000]),
    ],
)
def test_hostile_input_costs_no_more_than_its_length(name: str, args: list[Any]) -> None:
    started = time.process_time()

    try:
        kind = type_of(applied(name, args)).name
    except Fault as fault:
        kind = fault.kind

    assert kind
    assert time.process_time() - started < SECONDS_MAX
