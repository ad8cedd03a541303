"""An expression has one value, by whichever way it is found, or one kind of failure."""

import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.policy.language import (
    Compiled,
    EvaluationError,
    MissingFacts,
    compile_expression,
    environment,
)
from sidecar.policy.language.faults import BudgetExceeded
from sidecar.policy.language.running.emit import emitted
from sidecar.policy.language.running.scope import GIVES_UP
from sidecar.policy.language.running.state import STEPS_MAX
from sidecar.policy.language.types import DYN
from sidecar.terms.decision import Fact, FactKey
from tests.tables import Row, rows

NAMES = (*"nifbslwmd", "big", "many", "later", "variables.x")
KNOWN = environment(dict.fromkeys(NAMES, DYN))


def compiled(source: str) -> Compiled:
    return compile_expression(source, KNOWN)


def outcome(expression: Compiled, data: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"value": expression.value(data, {})}
    except EvaluationError as error:
        return {"fault": str(error)}


def data_of(row: Row) -> dict[str, Any]:
    # No reader lets such a number in; a caller of the language might.
    return {**row.table["data"], "variables.x": {"y": 7}, "big": 2**64 - 1}


@pytest.mark.parametrize("row", rows("policy/language/evaluations.yaml"))
def test_evaluation(row):
    expression = compiled(row.given)
    data = data_of(row)

    found = outcome(expression, data)

    assert repr(found) == repr(row.want)
    assert repr(outcome(expression, data)) == repr(found)


# The rarer macros, optional entries, and patterns that data gives.
NO_FAST_FORM = ("transformMap", "optMap", '?"x"', "matches('(' + w[1])")


@pytest.mark.parametrize("row", rows("policy/language/evaluations.yaml"))
def test_the_fast_code_is_right_or_silent(row):
    program = compiled(row.given)._program
    data = data_of(row)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fast = emitted(program._tree, program._variables)
    assert (fast is None) == any(name in row.given for name in NO_FAST_FORM)

    try:
        found = fast(data, {}) if fast else None
    except GIVES_UP:
        return

    assert fast is None or repr(found) == repr(program.run_exactly(data, {}))


FACTS = {FactKey("entity", ("user", "a")): Fact({"ok": True}, "test", "1")}


@pytest.mark.parametrize(
    ("source", "missing"),
    [
        ("entity('user', 'a').ok", set()),
        ("true || entity('user', 'b').ok", set()),
        ("entity('user', 'a').ok || entity('user', 'b').ok", set()),
        ("entity('user', 'b').ok || true", {"b"}),
        ("entity('user', 'b').ok && false", {"b"}),
        ("entity('user', 'b').ok || entity('user', 'c').ok || true", {"b", "c"}),
        ("['b', 'a', 'c'].exists(x, entity('user', x).ok)", {"b"}),
        ("['b', 'c'].all(x, entity('user', x).ok)", {"b", "c"}),
        ("entity('user', 'b').?ok.orValue(true)", {"b"}),
        ("cel.bind(x, entity('user', 'b'), true)", set()),
        ("cel.bind(x, entity('user', 'b'), x.ok || true)", {"b"}),
        ("has(entity('user', 'b').ok) ? true : true", {"b"}),
    ],
)
def test_nothing_absorbs_a_missing_fact(source, missing):
    expression = compiled(source)

    if not missing:
        assert expression.holds({}, FACTS)
        return
    with pytest.raises(MissingFacts) as asked:
        expression.holds({}, FACTS)
    assert {key.arguments[1] for key in asked.value.keys} == missing


def test_a_fact_is_asked_by_strings():
    with pytest.raises(EvaluationError, match="no overload"):
        compiled("entity('user', dyn(1)).ok").holds({}, FACTS)


@pytest.mark.parametrize(
    ("source", "size", "fits"),
    [
        ("many.all(x, x >= 0)", STEPS_MAX, True),
        ("many.all(x, x >= 0)", STEPS_MAX + 1, False),
        ("many.exists(x, x == 0)", STEPS_MAX + 1, False),
        ("many.exists(x, x == 'a') || many[0] == 0", STEPS_MAX, True),
        ("many.exists(x, x == 'a') || many[0] == 0", STEPS_MAX + 1, False),
        ("many.exists(x, x == 'a') || many.exists(x, x == 'a') || true", STEPS_MAX // 2, True),
        ("many.exists(x, x == 'a') || many.exists(x, x == 'a') || true", STEPS_MAX, False),
        ("many.all(x, many.all(y, x + y >= 0))", 99, True),
        ("many.all(x, many.all(y, x + y >= 0))", 100, False),
        ("true || many.all(x, false)", STEPS_MAX + 1, True),
        ("many.all(x, true) || true", STEPS_MAX + 1, False),
        ("false && many.all(x, true) || many.size() > 1", STEPS_MAX + 1, True),
        ("many.transformMapEntry(k, v, {k: 1}).size() > 1", STEPS_MAX // 2, True),
        ("many.transformMapEntry(k, v, {k: 1}).size() > 1", STEPS_MAX // 2 + 1, False),
    ],
)
def test_nothing_absorbs_the_end_of_the_budget(source, size, fits):
    expression = compiled(source)
    data = {"many": list(range(size))}

    if fits:
        assert expression.holds(data, {})
        return
    with pytest.raises(EvaluationError, match="the evaluation budget is exceeded"):
        expression.holds(data, {})


@pytest.mark.parametrize(
    ("source", "fits"),
    [
        ("many.all(x, s != 'a')", True),
        ("many.all(x, s.startsWith('a'))", True),
        ("many.all(x, s.size() > 1)", True),
        ("many.all(x, !s.contains('b'))", False),
        ("many.all(x, s.matches('a$'))", False),
        ("many.all(x, size(s + 'a') > 1)", False),
        ("many.all(x, size('aaaa'.replace('a', s)) > 1)", False),
        ("many.all(x, size(lists.range(100000)) > 1)", False),
        ("many.all(x, x in w)", False),
        ("many.all(x, !('b' in w))", False),
        ("many.all(x, 'k' in m)", True),
        ("many.all(x, sets.contains([l], []))", False),
        ("many.all(x, w == w)", False),
        ("many.all(x, [w] != [l])", False),
        ("many.all(x, optional.of(w) == optional.of(w))", False),
        ("many.all(x, !([w] in [l]))", False),
        ("many.all(x, w != 1 && x != w && s == s)", True),
        ("s.contains('a') && s.matches('a') && 1 in w && many.all(x, true)", True),
    ],
)
def test_what_is_large_costs_inside_of_a_macro(source, fits):
    expression = compiled(source)
    many = list(range(1_000))
    data = {
        "many": many,
        "s": "a" * 50_000,
        "w": list(range(20_000)),
        "l": [many] * 20,
        "m": dict.fromkeys(map(str, many), 1) | {"k": 1},
    }
    if fits:
        assert expression.holds(data, {})
        return
    with pytest.raises(EvaluationError, match="the evaluation budget is exceeded"):
        expression.holds(data, {})


@given(size=st.integers(900, 2_100), times=st.integers(1, 12))
def test_the_fast_code_pays_what_the_exact_one_pays(size, times):
    sources = ("many.all(x, x in w || true)", "many.all(x, x in w || [s] == w || s + s != '')")
    data = {"many": list(map(str, range(size))), "w": ["z"] * (200 * times), "s": "a" * 300 * times}
    for source in sources:
        program = compiled(source)._program
        assert _said(program.run, data) == _said(program.run_exactly, data)


def _said(run: Callable[..., object], data: dict[str, Any]) -> object:
    try:
        return run(data, {})
    except BudgetExceeded:
        return "exceeded"


def test_a_condition_is_exactly_a_bool():
    for source in ("dyn(1)", "dyn('true')", "dyn([true])", "dyn(null)"):
        with pytest.raises(EvaluationError, match="the condition is not a bool"):
            compiled(source).holds({}, {})


def test_emitted_code_reaches_nothing_but_what_it_is_given():
    program = compiled("l.exists(x, x.matches('a') && s == 'b')")._program
    fast = emitted(program._tree, program._variables)
    assert fast is not None
    known = fast.__globals__

    assert known["__builtins__"] == {}
    assert {"eval", "exec", "open", "__import__", "getattr"}.isdisjoint(known)


@pytest.mark.parametrize(
    "text", ["'\\'); import os #'", "'''\n\nimport os'''", "b'\\x00\"'", "'{0}{d}%s'", "'\\\\'"]
)
def test_a_literal_is_never_code(text):
    expression = compiled(f"d == {text} || {{{text if text[0] != 'b' else repr('b')}: 1}} == d")

    assert expression.value({"d": 1}, {}) is False


@pytest.mark.parametrize(
    "source",
    [
        "(" * 99 + "b" + ")" * 99,
        "!" * 98 + "b",
        " && ".join(["b"] * 1500),
        "b" + " ? b : b" * 90,
        "[" * 98 + "]" * 98 + " == []",
        "l" + ".map(x, l" * 90 + ")" * 90 + " == []",
    ],
    ids=lambda source: source[:8],
)
def test_what_is_deep_has_a_value_or_a_fault(source):
    found = outcome(compiled(source), {"b": True, "l": [1]})

    assert list(found) in (["value"], ["fault"])


def test_threads_never_get_the_answer_of_another(scaled):
    expressions = [compiled(f"many.exists(x, x == {n}) && i == {n}") for n in range(8)]

    def work(number: int) -> bool:
        right = {"many": [number], "i": number}
        wrong = {"many": [number + 1], "i": number}
        expression = expressions[number]
        shared = expressions[0]
        return all(
            expression.holds(right, {})
            and not expression.holds(wrong, {})
            and shared.holds(right, {}) == (number == 0)
            for _ in range(scaled(2_000, 200_000))
        )

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [True] * 8
