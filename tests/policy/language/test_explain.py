"""Every part of an expression told: the value is the evaluators', and the parts are why."""

import json
from collections.abc import Iterator
from random import Random

import pytest

from sidecar.policy.explained import explanation_of
from sidecar.policy.language import environment
from sidecar.policy.language.brief import brief
from sidecar.policy.language.checking.checker import check
from sidecar.policy.language.faults import Fault
from sidecar.policy.language.reading.parser import parse
from sidecar.policy.language.running.explain import Explainer, Part
from sidecar.policy.language.running.program import Program
from sidecar.policy.language.running.state import MissingFacts
from sidecar.policy.language.telling import Explanation, as_json, lines
from sidecar.policy.language.tree import Bind, Call, Fold
from sidecar.policy.language.types import DYN
from sidecar.policy.language.walk import nodes
from tests.policy.language.expressions import INPUTS, Maker
from tests.tables import rows

KNOWN = environment({"d": DYN})


@pytest.mark.parametrize("row", rows("policy/language/explain.yaml"))
def test_a_person_is_told_why(row):
    data = row.table["data"]
    data["subject"]["properties"]["big"] = "a" * 2_000

    told = explanation_of(row.given, (), data, {})

    assert row.want == lines(told, {})


def test_explain_agrees_with_the_exact_and_the_fast_evaluator(scaled):
    random = Random(20_262)
    maker = Maker(random)
    for _ in range(scaled(1_500, 50_000)):
        source = maker.make(random.choice(["bool", "bool", "any", "list"]), random.randint(1, 4))
        tree = check(parse(source), KNOWN).tree
        data = {"d": random.choice(INPUTS)}
        part = Explainer(tree, {"d"}).explain(data, {}).part
        program = Program(tree, {"d"})

        assert outcome(part) == value(program.run_exactly, data), (source, data)
        assert outcome(part) == value(program.run, data), (source, data)
        whole = json.dumps(
            [as_json(Explanation(source, part)), lines(Explanation(source, part), {})]
        )
        assert len(whole) < 400_000


def test_every_part_comes_to_what_it_comes_to_alone(scaled):
    """The part is what it says it is: its own text, evaluated by itself, has its value."""
    random = Random(20_263)
    maker = Maker(random)
    for _ in range(scaled(500, 20_000)):
        source = maker.make("bool", random.randint(1, 3))
        data = {"d": random.choice(INPUTS)}
        part = Explainer(check(parse(source), KNOWN).tree, {"d"}).explain(data, {}).part
        for each in free(part):
            alone = Program(check(each.tree, KNOWN).tree, {"d"})
            if each.state != "not_evaluated":
                assert outcome(each) == value(alone.run_exactly, data), (source, each)


def free(part: Part) -> Iterator[Part]:
    """Yield the parts that name nothing of a macro or of `cel.bind`."""
    yield part
    if not isinstance(part.tree, Fold | Bind):
        for below in part.parts:
            yield from free(below)


def outcome(part: Part) -> str:
    return repr((part.state, part.error if part.state == "error" else part.value))


def value(run, data) -> str:
    try:
        return repr(("value", run(data, {})))
    except Fault as fault:
        return repr(("error", str(fault)))


def test_a_fact_that_is_not_in_hand_is_named_and_voids_the_value():
    tree = check(parse("entity('user', 'a') == null || true"), environment({})).tree

    found = Explainer(tree, ()).explain({}, {})

    assert [(key.function, key.arguments) for key in found.missed] == [("entity", ("user", "a"))]
    with pytest.raises(MissingFacts):
        Program(tree, ()).run({}, {})


def test_of_ten_thousand_elements_a_few_are_kept_and_all_are_counted():
    tree = check(parse("d.l.all(x, x >= 0) && d.l.map(x, x * 2).size() == 9"), KNOWN).tree

    part = Explainer(tree, {"d"}).explain({"d": {"l": list(range(5_000))}}, {}).part

    rounds = [each.rounds for each in walked(part) if each.rounds is not None]
    assert [each.counts for each in rounds] == [{"true": 5_000}, {"value": 5_000}]
    assert [len(each.kept) for each in rounds] == [2, 2]


def test_a_macro_inside_of_what_is_bound_and_asked_for_in_a_macro_keeps_its_own_rounds():
    source = "d.l.exists(x, cel.bind(n, d.l.map(y, y + x), n.exists(z, z == 5) && x == 3))"
    tree = check(parse(source), KNOWN).tree

    part = Explainer(tree, {"d"}).explain({"d": {"l": [1, 2, 3]}}, {}).part

    assert part.value is True
    assert part.rounds is not None
    (found,) = [one for one in part.rounds.kept if one.kind == "true"]
    bound = found.parts[0].parts[0]
    assert bound.value == [4, 5, 6]
    assert bound.rounds is not None
    assert bound.rounds.kept[0].names == {"y": 1}


def test_the_deepest_expression_that_a_policy_may_hold_is_told():
    source = "(" * 95 + "delegated" + " && true)" * 95

    told = explanation_of(source, (), {"delegated": True}, {})

    assert told.part.value is True
    assert len(lines(told, {})) == 41
    assert as_json(told)["value"] is True


@pytest.mark.parametrize(
    "given",
    [["x" * 100_000] * 100_000, {str(n): n for n in range(100_000)}, [[[[[[["deep"] * 99]]]]]]],
    ids=["long and wide", "a large map", "deep"],
)
def test_a_value_is_cut_however_large_it_is(given):
    assert len(json.dumps(brief(given))) < 3_000


def walked(part: Part) -> Iterator[Part]:
    yield part
    for below in part.parts:
        yield from walked(below)


def test_the_parts_are_the_nodes_of_the_tree():
    source = "d.a == 1 ? [d.b, {'k': d.c}] : cel.bind(x, d.e, x.exists(y, y))"
    tree = check(parse(source), KNOWN).tree
    part = Explainer(tree, {"d"}).explain({"d": {"a": 1, "b": 2, "c": 3}}, {}).part

    told = {id(each.tree) for each in walked(part)}

    # Of the branch that was not taken there is the branch, and nothing below it.
    assert isinstance(tree, Call)
    (taken, other) = tree.args[1:]
    assert told == {id(node) for node in nodes(tree)} - {id(n) for n in nodes(other)} | {id(other)}
    assert id(taken) in told
