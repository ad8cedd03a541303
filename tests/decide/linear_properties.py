"""The index, the guards and the emitted functions end where asking each rule by itself ends."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar import flow
from sidecar.decide import decide, decide_linearly, standing_facts
from sidecar.policy.limits import BLOCK_USES_MIN
from sidecar.terms.decision import Fact, FactKey, NeedFacts
from sidecar.terms.request import Request
from tests import toy

SEEDS = st.integers(0, 2**32)
NAMES = ("alice", "bob", "carol", "x", "xy", "al", "")
LABELS = ("a", "b", "pii", "secret")
IDS = ("hr.people", "hr.pay", "finance.expenses", "finance.pay", "x", "y", "a/b/c", "péople")
GLOBS = (
    *("table:hr.*", "table:finance.*", "column:*", "*", "*:x", "table:x", "table:hr.pay"),
    *("*finance*", "*:*pay", "t*:*", "*b/c", r"table:\*", "*éop*"),
)
ACTIONS = ("select", "insert", "drop")
# In the order of a chance: what a condition is made of.
CLAUSES = (
    *("subject.id == '{name}'", "'{name}' == subject.id", "subject.id in ['{name}', 'bob']"),
    *("subject.id.startsWith('{name}')", "'{label}' in resource.labels", "action.name == 'drop'"),
    *(
        "resource.labels.exists(l, l == '{label}')",
        "resource.id == 'x'",
        "resource.type == 'table'",
    ),
    *("subject.properties.team == '{name}'", "'{name}' in subject.properties.groups"),
    *("subject.properties.groups.exists(g, g == '{name}')", "subject.properties['team'] == 'al'"),
    *("subject.properties.team.startsWith('{name}')", "has(subject.properties.team)"),
    *("request.sql.n > 3", "request.sql.list.exists(a, request.sql.list.exists(b, a != b))"),
    *("request.sql.list.all(a, a in request.sql.list)", "request.sql.list.size() < 3"),
    *("context.purpose == '{name}'", "delegated", "actor.id == '{name}'", "true", "false"),
    *("entity('user', subject.id).on", "entity('user', resource.id).on == true"),
    *("targets.exists(t, t.resource.id == 'x')", "targets.size() > 1", "1 / request.sql.n == 1"),
    *("variables.team == '{name}'", "variables.known", "variables.asked", "variables.wrong == 1"),
    *("resource.properties.level > 2", "parse.status == 'complete'", "params.here.limit == 7"),
    *("actors.exists(a, a.id == '{name}')", "subject.properties.?team.orValue('al') == 'al'"),
    *("request.sql.text.matches('a+')", "subject.properties.groups == ['al']"),
)
VARIABLES = {
    "team": "subject.properties.team",
    "known": "has(subject.properties.team) && variables.team == 'al'",
    "asked": "entity('user', subject.id).on",
    "wrong": "subject.properties.absent",
}
OBLIGATIONS = (
    {"type": "limit_rows", "max": 5},
    {"type": "limit_rows", "max": 9},
    {"type": "tag", "value": "a"},
    {"type": "tag", "value": "b"},
    {"type": "filter_rows", "where": "d = ${subject.properties.team}"},
    {"type": "filter_rows", "on": "table:*", "where": "d = ${resource.id} and ${variables.team}"},
)


def condition(chance: random.Random) -> str:
    clauses = [chance.choice(CLAUSES) for _ in range(chance.choice((1, 1, 2, 2, 3)))]
    filled = [
        clause.format(name=chance.choice(NAMES), label=chance.choice(LABELS)) for clause in clauses
    ]
    joined = filled[0]
    for clause in filled[1:]:
        joined = f"{joined} {chance.choice(('&&', '&&', '&&', '||'))} {clause}"
    return f"!({joined})" if chance.random() < 0.1 else joined


def match(chance: random.Random) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if chance.random() < 0.5:
        found["resources"] = chance.sample(GLOBS, chance.choice((1, 2)))
    if chance.random() < 0.1:
        found["except"] = [chance.choice(GLOBS)]
    if chance.random() < 0.2:
        found["actions"] = [chance.choice((*ACTIONS, "s*", "*sert*"))]
    if chance.random() < 0.1:
        found["upstreams"] = [chance.choice(("default", "erp", "*fault"))]
    if chance.random() < 0.2:
        found["classes"] = chance.sample(["read", "write", "delete"], 2)
    if chance.random() < 0.2:
        found["phases"] = [chance.choice(("call", "list"))]
    if chance.random() < 0.2:
        found["protocols"] = chance.choice((["sql"], ["sql", "mcp"]))
    return found


def rule(chance: random.Random, number: int) -> dict[str, Any]:
    effect = chance.choice(("allow", "allow", "allow", "deny", "modify", "step_up", "defer"))
    written: dict[str, Any] = {"id": f"r{number}", "effect": effect, "match": match(chance)}
    if chance.random() < 0.9:
        written["when"] = condition(chance)
    if chance.random() < 0.1:
        written["scope"] = "call"
    if chance.random() < 0.1:
        written["messageExpression"] = "'not ' + resource.id + variables.team"
    if effect in ("allow", "modify") and chance.random() < 0.3:
        written["match"]["domains"] = ["data"]
        written["match"].pop("protocols", None)
        written["obligations"] = [chance.choice(OBLIGATIONS)]
    return written


def target(chance: random.Random) -> dict[str, Any]:
    kind, cls = chance.choice(("table", "column")), chance.choice(("read", "write"))
    found: dict[str, Any] = {
        "target": f"{cls} {chance.choice(ACTIONS)} {kind}:{chance.choice(IDS)}",
        "labels": chance.sample(LABELS, chance.choice((0, 1, 2))),
    }
    if chance.random() < 0.2:
        found["properties"] = {"level": chance.choice((1, 3, "high"))}
    if chance.random() < 0.1:
        found["upstream"] = "erp"
    return found


def payload(chance: random.Random, depth: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = {
        "targets": [target(chance) for _ in range(chance.choice((1, 1, 2, 6)))],
        "native": {
            "n": chance.choice((0, 1, 5, "n")),
            "list": chance.choice(([], [1], ["a", "b"], list(range(150)), "none")),
            "text": "caa",
        },
        "phase": chance.choice(("call", "call", "call", "list")),
        "combine": chance.choice(("all", "each")),
    }
    if chance.random() < 0.15:
        found[chance.choice(("missing", "ambiguities"))] = ["request.sql.n"]
    if depth == 0 and chance.random() < 0.2:
        found["inner"] = [{**payload(chance, 1), "protocol": chance.choice(("sql", "mcp"))}]
    return found


def party(chance: random.Random) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    if chance.random() < 0.7:
        properties["team"] = chance.choice((*NAMES, 7, ["al"], None))
    if chance.random() < 0.7:
        groups: list[Any] = chance.sample(NAMES, 2)
        properties["groups"] = chance.choice(
            (groups, [*groups, 1, {}], {"al": 1}, "al", ["x"] * 300)
        )
    return {"type": "user", "id": chance.choice(NAMES), "properties": properties}


def request(chance: random.Random, bundle: Any) -> Request:
    given: dict[str, Any] = {**payload(chance), "subject": party(chance)}
    if chance.random() < 0.3:
        given["actors"] = [party(chance)]
    if chance.random() < 0.5:
        given["context"] = {"purpose": chance.choice(NAMES)}
    return flow.understand(toy.call(given), bundle)


def bundle(chance: random.Random) -> Any:
    layers = chance.choice((["org"], ["org", "user"]))
    policies = {
        f"p{layer}": {
            "layer": layer,
            "match": {"resources": ["*"], "actions": ["s*", "insert"]},
            "variables": VARIABLES,
            "rules": [rule(chance, n) for n in range(chance.choice((1, 4, 12, 24)))],
        }
        for layer in layers
    }
    return toy.bundle(policies, layers=layers, params={"limit": 7})


def assert_same(found: Request, bundle: Any) -> None:
    """Judge by both ways, cold and warm, until no more facts are asked for."""
    facts = {key: Fact(False, "test", "1") for key in standing_facts(found)}
    for _ in range(4):
        wanted = decide_linearly(found, bundle, facts)
        for _ in range(BLOCK_USES_MIN + 4):
            assert decide(found, bundle, facts) == wanted
        if not isinstance(wanted, NeedFacts):
            return
        facts |= {key: fact(key) for key in wanted.keys}


def fact(key: FactKey) -> Fact:
    known = {"alice": {"on": True}, "x": {"on": True}, "bob": {"on": False}, "carol": 7}
    return Fact(known.get(key.arguments[1]), "test", "1")


@pytest.mark.timeout(120)
@given(SEEDS)
def test_a_decision_is_that_of_a_linear_scan_cold_and_warm(seed: int) -> None:
    chance = random.Random(seed)
    made = bundle(chance)

    for _ in range(3):
        assert_same(request(chance, made), made)
