"""One expression, three evaluators: our fast code, our exact one, and Google's cel-cpp."""

import sys
from collections import Counter
from collections.abc import Iterator
from random import Random
from typing import Any, NamedTuple

import pytest

from sidecar.policy.language import environment
from sidecar.policy.language.checking.checker import check
from sidecar.policy.language.faults import Fault
from sidecar.policy.language.reading.parser import parse
from sidecar.policy.language.running.program import Program
from sidecar.policy.language.types import DYN
from tests.policy.language.answers import shown
from tests.policy.language.differences import EXPLAINED, explained
from tests.policy.language.expressions import INPUTS, Maker, Shape, drawn_input
from tests.policy.language.oracle import ERROR, Oracle

# What one clause may explain of all expressions.
EXCUSED_MAX = 0.02


KNOWN = environment({"d": DYN})


def ours(program: Program, data: dict[str, Any], *, exactly: bool) -> Any:
    try:
        return shown((program.run_exactly if exactly else program.run)(data, {}))
    except Fault as fault:
        return fault.kind


def same(one: Any, other: Any) -> bool:
    return repr(one) == repr(other)


@pytest.mark.parametrize("known", EXPLAINED, ids=lambda known: known.clause)
def test_a_known_difference_is_still_one(known):
    """An excuse that outlived its reason would excuse what is new."""
    program = Program(check(parse(known.witness), KNOWN).tree, {"d"})
    data = {"d": INPUTS[0]}

    exact, theirs = ours(program, data, exactly=True), Oracle(["d"]).answer(known.witness, data)

    assert not same(ERROR if isinstance(exact, str) else exact, theirs)
    assert known.explains(known.witness, exact, theirs)


class Run(NamedTuple):
    """Expressions of one shape: their seed, and how many in a short run and in a full one."""

    seed: int
    shape: Shape
    small: int
    full: int


RUNS = {
    "as people write": Run(20_261, Shape(), 1_500, 60_000),
    "short": Run(20_262, Shape(depth_max=3, careless=0.05), 500, 30_000),
    "of wrong types": Run(20_263, Shape(careless=0.25), 700, 35_000),
    "deep": Run(20_264, Shape(depth_max=9, careless=0.03), 200, 12_000),
}
OWN = Run(20_265, Shape(depth_max=5, careless=0.05, own=True), 700, 30_000)


def drawn(run: Run, count: int) -> Iterator[tuple[str, dict[str, Any], Program]]:
    """Yield expressions with an input each, ready to run."""
    random = Random(run.seed)
    maker = Maker(random, run.shape)
    for _ in range(count):
        source = maker.any()
        data = {"d": drawn_input(random)}
        yield source, data, Program(check(parse(source), KNOWN).tree, {"d"})


@pytest.mark.fuzz
@pytest.mark.parametrize("name", RUNS)
def test_three_evaluators_agree(name, scaled, capsys):
    run = RUNS[name]
    count = scaled(run.small, run.full)
    oracle = Oracle(["d"])
    unexplained, valued = [], 0
    excused: Counter[str | None] = Counter()
    for source, data, program in drawn(run, count):
        exact, fast = (ours(program, data, exactly=way) for way in (True, False))
        assert same(fast, exact), (source, data)
        theirs = oracle.answer(source, data)
        told = ERROR if isinstance(exact, str) else exact
        valued += told != ERROR
        if not same(told, theirs):
            why = explained(source, exact, theirs)
            excused[why] += 1
            if why is None:
                unexplained.append((source, data["d"], exact, theirs))
    with capsys.disabled():
        sys.stdout.write(f"\n{name}: {count} expressions, {valued} have a value\n")
        sys.stdout.write("".join(f"  {each:5} {why}\n" for why, each in excused.most_common()))
    assert unexplained == []
    # A clause that excuses much would hide what it does not mean.
    assert all(each <= EXCUSED_MAX * count + 3 for each in excused.values()), excused


@pytest.mark.fuzz
def test_fast_and_exact_agree_on_functions_that_are_ours_alone(scaled):
    for source, data, program in drawn(OWN, scaled(OWN.small, OWN.full)):
        exact, fast = (ours(program, data, exactly=way) for way in (True, False))
        assert same(fast, exact), (source, data)
