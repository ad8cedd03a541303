"""One expression, three evaluators: our fast code, our exact one, and Google's cel-cpp."""

import math
import re
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from sidecar.policy.language import environment
from sidecar.policy.language.checking.checker import check
from sidecar.policy.language.faults import Fault
from sidecar.policy.language.reading.parser import parse
from sidecar.policy.language.running.program import Program
from sidecar.policy.language.types import DYN
from sidecar.policy.language.values import Uint, type_of
from tests.policy.language.expressions import INPUTS, Maker
from tests.policy.language.oracle import ERROR, Oracle

SEED = 20_261
# The first input fits what expressions expect; the others are there to go wrong.
WEIGHTS = (6, 1, 1, 1)


def _same_without_order(exact: Any, theirs: Any) -> bool:
    lists = exact[0] == theirs[0] == "list"
    return lists and sorted(map(repr, exact[1])) == sorted(map(repr, theirs[1]))


# Where cel-cpp differs, and the clause of the specification (langdef.md) that we follow.
EXPLAINED: list[tuple[str, Callable[[str, Any, Any], bool]]] = [
    (
        "Standard definitions, `int`: there is no conversion of a bool",
        lambda source, exact, _theirs: "int(" in source and exact == "no_such_overload",
    ),
    (
        "Macros: the order in which the entries of a map are visited is not defined",
        lambda _source, exact, theirs: _same_without_order(exact, theirs),
    ),
    (
        "The binding does not come with what two-variable `transformMap` is made of",
        lambda source, _exact, theirs: "transformMap" in source and theirs == ERROR,
    ),
    (
        "Bindings: behind a macro that ended early cel-cpp's `cel.bind` gives the macro's element",
        lambda source, _exact, _theirs: (
            re.search(r"\.(all|exists)\(.*cel\.bind", source) is not None
        ),
    ),
]
KNOWN = environment({"d": DYN})


def ours(program: Program, data: dict[str, Any], *, exactly: bool) -> Any:
    try:
        return shown((program.run_exactly if exactly else program.run)(data, {}))
    except Fault as fault:
        return fault.kind


def shown(value: Any) -> Any:
    """Return a value as `Oracle.answer` does."""
    kind = type_of(value).name
    if kind == "null_type":
        return ("null", None)
    if kind == "list":
        return ("list", [shown(one) for one in value])
    if kind == "map":
        return ("map", sorted(((key, shown(one)) for key, one in value.items()), key=repr))
    if kind == "double" and math.isnan(value):
        return ("double", "nan")
    return (kind, int(value) if type(value) is Uint else value)


def same(one: Any, other: Any) -> bool:
    return repr(one) == repr(other)


def explained(source: str, exact: Any, theirs: Any) -> bool:
    return any(explains(source, exact, theirs) for _, explains in EXPLAINED)


def test_a_known_difference_is_still_one():
    """A list of excuses would else outlive its reasons, and excuse what is new."""
    source = "['a', 'b'].exists(v, true) ? cel.bind(c, 2, c + c) : 1"
    program = Program(check(parse(source), KNOWN).tree, {"d"})

    assert ours(program, {"d": {}}, exactly=True) == ("int", 4)
    assert Oracle(["d"]).answer(source, {"d": {}}) == ("string", "bb")


@pytest.mark.fuzz
def test_three_evaluators_agree(scaled):
    random = Random(SEED)
    maker = Maker(random)
    oracle = Oracle(["d"])
    unexplained = []
    for _ in range(scaled(2_000, 100_000)):
        source = maker.make(random.choice(["bool", "bool", "any", "list"]), random.randint(1, 4))
        data = {"d": random.choices(INPUTS, WEIGHTS)[0]}
        program = Program(check(parse(source), KNOWN).tree, {"d"})
        exact, fast = (ours(program, data, exactly=way) for way in (True, False))
        assert same(fast, exact), (source, data)
        theirs = oracle.answer(source, data)
        told = ERROR if isinstance(exact, str) else exact
        if not same(told, theirs) and not explained(source, exact, theirs):
            unexplained.append((source, data["d"], exact, theirs))
    assert unexplained == []
