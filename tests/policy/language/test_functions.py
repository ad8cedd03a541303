"""What every function gives: tables first, then what holds for all of them."""

import math
import time
from collections.abc import Callable
from enum import IntEnum
from typing import Any

import pytest

from sidecar.policy.language.faults import BudgetExceeded, Fault, InvalidArgument, NoSuchOverload
from sidecar.policy.language.functions import FUNCTIONS
from sidecar.policy.language.values import NONE, Uint, type_of
from tests.policy.language.calls import called, outcome, wanted
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


@pytest.mark.parametrize("key", [key for key in FUNCTIONS if key[2] <= 3], ids=str)
def test_a_function_gives_a_value_or_a_fault_whatever_it_is_given(
    key: tuple[str, bool, int],
) -> None:
    declared = FUNCTIONS[key]
    count = declared.arity + declared.is_member
    given = 0
    for one in PLAIN:
        for other in PLAIN:
            args = [one, other, other, other][:count]
            try:
                type_of(declared.call(*args))
            except Fault as fault:
                assert fault.kind
            given += 1

    assert given == len(PLAIN) ** 2


def test_every_signature_has_the_arity_it_is_found_by() -> None:
    wrong = [
        key
        for key, declared in FUNCTIONS.items()
        for each in declared.signatures
        if len(each.parameters) != key[2] + key[1]
    ]

    assert wrong == []


BIG = "a" * 600_000
DEEP: list[Any] = []
for _ in range(40):
    DEEP = [DEEP, DEEP]
NESTED: list[Any] = []
for _ in range(5_000):
    NESTED = [NESTED]


@pytest.mark.parametrize(
    ("it", "fault", "call"),
    [
        ("a text that would double", BudgetExceeded, lambda: called(["_+_", BIG, BIG])),
        (
            "a replacement that would grow",
            BudgetExceeded,
            lambda: called([".replace", BIG, "a", "bb"]),
        ),
        (
            "nothing replaced by much",
            BudgetExceeded,
            lambda: called([".replace", BIG[:2000], "", BIG]),
        ),
        ("many parts", BudgetExceeded, lambda: called([".split", BIG, ""])),
        ("a long join", BudgetExceeded, lambda: called([".join", [BIG, BIG]])),
        ("a long format", BudgetExceeded, lambda: called([".format", "%s%s", [BIG, BIG]])),
        ("a long quotation", BudgetExceeded, lambda: called(["strings.quote", BIG])),
        ("a value that is large by sharing", BudgetExceeded, lambda: called(["_==_", DEEP, DEEP])),
        ("its elements as a set", BudgetExceeded, lambda: called(["sets.contains", DEEP, DEEP])),
        ("its text", BudgetExceeded, lambda: called([".format", "%s", [DEEP]])),
        ("its elements in one list", BudgetExceeded, lambda: called([".flatten", DEEP, 99])),
        ("a value that is too deep", BudgetExceeded, lambda: called(["_==_", NESTED, NESTED])),
        ("the same one opened", BudgetExceeded, lambda: called([".flatten", NESTED, 9_999])),
        ("a search in it", BudgetExceeded, lambda: called(["@in", NESTED, [NESTED]])),
        (
            "a pattern that is large to run",
            BudgetExceeded,
            lambda: called([".matches", BIG, ".{1,500}z"]),
        ),
        (
            "matches that each begin anew",
            BudgetExceeded,
            lambda: called(["regex.extractAll", BIG, "a*b|a"]),
        ),
        ("a pattern too long", InvalidArgument, lambda: called([".matches", "a", BIG])),
        (
            "repetitions of repetitions",
            InvalidArgument,
            lambda: called([".matches", "a", "((a{99}){99}){99}"]),
        ),
    ],
)
def test_is_refused(it: str, fault: type[Fault], call: Callable[[], Any]) -> None:
    started = time.process_time()

    with pytest.raises(fault):
        call()

    assert time.process_time() - started < 2, it


@pytest.mark.parametrize(
    "call",
    [
        lambda: called([".lastIndexOf", "a" * 300_000, "b" + "a" * 150_000]),
        lambda: called([".indexOf", "a" * 300_000, "a" * 150_000 + "b"]),
        lambda: called([".contains", "ab" * 150_000, "ba" * 70_000 + "c"]),
        lambda: called([".matches", "a" * 300_000, "(a*)*b"]),
        lambda: called(["glob", "*a" * 2_000 + "*b", "a" * 100_000]),
        lambda: outcome(["base64.decode", "A" * 300_001]),
        lambda: called([".distinct", [[number] for number in range(90_000)]]),
        lambda: outcome(["double", "9" * 1_000_000]),
        lambda: outcome(["duration", "1s" * 500_000]),
        lambda: outcome(["quantity", "9" * 1_000_000]),
        lambda: outcome(["url", "/" + "%" * 1_000_000]),
        lambda: outcome(["ip", ":" * 1_000_000]),
    ],
)
def test_hostile_input_costs_no_more_than_its_length(call: Callable[[], Any]) -> None:
    started = time.process_time()

    try:
        call()
    except Fault as fault:
        assert fault.kind
    assert time.process_time() - started < 2
