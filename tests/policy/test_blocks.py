"""Conditions in one function say what each says alone; guards say false only where they are."""

from typing import Any

import pytest

from sidecar.policy.index.block import Clause, block
from sidecar.policy.index.guards import guards
from sidecar.policy.language import EvaluationError, MissingFacts, compile_expression, environment
from sidecar.policy.language.types import DYN
from tests.tables import Row, rows

EVALUATIONS = rows("policy/language/evaluations.yaml")
NAMES = (*"nifbslwmd", "big", "many", "later", "variables.x")
KNOWN = environment(dict.fromkeys(NAMES, DYN))


def said(sources: list[str], data: dict[str, Any]) -> list[str]:
    """Return `held`, `silent` or `unsure` of each, asked together."""
    clauses = [
        Clause(n, compile_expression(source, KNOWN).tree, ()) for n, source in enumerate(sources)
    ]
    found = ["silent"] * len(sources)

    def held(number: int) -> None:
        found[number] = "held"

    def unsure(number: int) -> None:
        found[number] = "unsure"

    block(clauses, KNOWN.variables)({**dict.fromkeys(NAMES), **data}, {}, held, unsure)
    return found


def data_of(row: Row) -> dict[str, Any]:
    return {**row.table["data"], "variables.x": {"y": 7}, "big": 2**64 - 1, "later": None}


def alone(source: str, data: dict[str, Any]) -> str:
    """Return what the exact evaluator says of a condition."""
    try:
        value = compile_expression(source, KNOWN)._program.run_exactly(data, {})
    except Exception:  # noqa: BLE001  # whichever it is, there is no value
        return "unsure"
    return {True: "held", False: "silent"}[value] if isinstance(value, bool) else "unsure"


@pytest.mark.parametrize("row", EVALUATIONS)
def test_a_condition_in_a_block_is_right_or_unsure(row: Row) -> None:
    data = data_of(row)

    (found,) = said([row.given], data)

    assert found in {"unsure", alone(row.given, data)}


def test_conditions_do_not_disturb_one_another() -> None:
    first: Row = EVALUATIONS[0].values[0]
    table = [param.values[0] for param in EVALUATIONS if param.values[0].table is first.table]
    data = data_of(first)
    sources = [row.given for row in table]

    together = said(sources, data)

    assert together == [said([source], data)[0] for source in sources]


def test_a_condition_that_python_cannot_nest_leaves_the_others_their_code() -> None:
    too_deep = "b"
    for _ in range(60):
        too_deep = f"({too_deep} == b)"

    found = said(["b", too_deep, "i == 5", "i == 6"], {"i": 5, "b": True})

    assert found == ["held", "unsure", "held", "silent"]


def test_a_variable_is_asked_for_its_facts_where_it_is_not_read() -> None:
    variable = compile_expression("entity('a', 'b').on", KNOWN).tree
    condition = compile_expression("b || variables.x", KNOWN).tree
    unsure: list[int] = []
    held: list[int] = []

    block([Clause(0, condition, (("variables.x", variable),))], KNOWN.variables)(
        {"b": True}, {}, held.append, unsure.append
    )

    assert (held, unsure) == ([], [0])


def test_a_variable_that_fails_matters_to_who_reads_it() -> None:
    variable = compile_expression("m.absent", KNOWN).tree
    conditions = [
        compile_expression(text, KNOWN).tree for text in ("b || variables.x", "variables.x")
    ]
    unsure: list[int] = []
    held: list[int] = []

    block(
        [Clause(n, tree, (("variables.x", variable),)) for n, tree in enumerate(conditions)],
        KNOWN.variables,
    )({"b": True, "m": {}}, {}, held.append, unsure.append)

    assert (held, unsure) == ([0], [1])


@pytest.mark.parametrize("row", rows("policy/guards.yaml"))
def test_guards(row: Row) -> None:
    found = guards(compile_expression(row.given, KNOWN).tree)

    assert [[one.kind, ".".join(one.path), sorted(one.texts)] for one in found] == row.want


def test_a_guard_that_does_not_hold_is_a_condition_that_does_not() -> None:
    """The rows again, on data where each guard meets another text and all else fails."""
    other = {"a": "other", "b": "other", "c": "other", "l": ["other"], "k": []}
    for param in rows("policy/guards.yaml"):
        row: Row = param.values[0]
        if not row.want:
            continue
        met = {name: [value] if row.want[0][0] == "has" else value for name, value in other.items()}
        expression = compile_expression(row.given, KNOWN)
        try:
            assert expression.holds({"m": met, "n": True}, {}) is False, row.it
        except (EvaluationError, MissingFacts) as error:
            pytest.fail(f"{row.it}: {error!r}")
