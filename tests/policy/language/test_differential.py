"""One expression, three evaluators: our fast code, our exact one, and Google's cel-cpp."""

import math
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


@pytest.mark.fuzz
def test_three_evaluators_agree(scaled):
    random = Random(SEED)
    maker = Maker(random)
    oracle = Oracle(["d"])
    unexplained = []
    for _ in range(scaled(1_500, 100_000)):
        source = maker.make(random.choice(["bool", "bool", "any", "list"]), random.randint(1, 4))
        data = {"d": random.choice(INPUTS)}
        program = Program(check(parse(source), KNOWN).tree, {"d"})
        exact, fast = (ours(program, data, exactly=way) for way in (True, False))
        assert same(fast, exact), (source, data)
        theirs = oracle.answer(source, data)
        told = ERROR if isinstance(exact, str) else exact
        if not same(told, theirs):
            unexplained.append((source, data["d"], exact, theirs))
    assert unexplained == []
