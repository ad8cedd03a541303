"""`decide`, `parse` and `cel`: what they print is what programs read."""

import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
ASKED = {
    "protocol": "sql",
    "subject": {"type": "user", "id": "sam", "properties": {"groups": ["support"]}},
    "actors": [{"type": "agent", "id": "support-agent"}],
    "call": {"dialect": "postgres", "text": "SELECT email FROM customers"},
}
ENTITY_POLICY = """\
apiVersion: sidecar/v1
kind: Policy
metadata: {name: entities}
spec:
  match: {protocols: [authzen]}
  rules:
    - {id: admins, effect: allow, when: "entity('user', subject.id) != null"}
"""
EVALUATION: dict[str, Any] = {
    "protocol": "authzen",
    "call": {
        "subject": {"type": "user", "id": "alice"},
        "action": {"name": "read"},
        "resource": {"type": "doc", "id": "1"},
    },
}


def test_a_denial_names_rule_policy_version_and_digest(sidecar):
    asked = {
        "protocol": "sql",
        "subject": {"type": "user", "id": "alice"},
        "actors": [{"type": "agent", "id": "expense-bot"}],
        "call": {"dialect": "postgres", "text": "SELECT salary FROM hr.compensation"},
    }

    said = sidecar("decide", "-b", ROOT / "policies", "-", stdin=json.dumps(asked))

    decision = json.loads(said.out)
    assert said.code == 10
    assert (decision["outcome"], decision["permitted"]) == ("deny", False)
    assert [(r["policy"], r["id"]) for r in decision["rules"]] == [
        ("sensitive-data", "compensation-is-closed")
    ]
    assert decision["policy"]["digest"].startswith("sha256:")
    assert decision["policy"]["version"].endswith(decision["policy"]["digest"][7:19])


def test_lines_are_answered_in_their_places(sidecar, shop):
    allowed = {**ASKED, "call": {"dialect": "postgres", "text": "SELECT id FROM orders"}}
    lines = "\n".join([json.dumps(ASKED), "{", "", json.dumps(allowed)])

    said = sidecar("decide", "-b", shop / "bundle", "--jsonl", "-", stdin=lines)

    answers = [json.loads(line) for line in said.out.splitlines()]
    assert said.code == 0
    assert [a.get("outcome", "error" in a) for a in answers] == ["deny", True, True, "allow"]


def test_an_explanation_shows_every_rule_considered_and_its_text(sidecar, shop):
    said = sidecar("decide", "-b", shop / "bundle", "--explain", "-", stdin=json.dumps(ASKED))

    told = json.loads(said.out)["explain"]
    column = next(t for t in told if t["resource"] == "column:public.customers.email")
    rules = {rule["rule"]: rule for rule in column["rules"]}
    assert rules["support/read-shop"]["said"] == "held"
    assert rules["data/secrets-are-closed"]["said"] == "silent"
    assert rules["data/personal-data-is-for-people"]["when"] == (
        "delegated && 'personal' in resource.labels"
    )
    (name, variable), *_ = rules["support/read-shop"]["variables"].items()
    assert (name, variable["text"], variable["value"]) == (
        "for_support",
        "'support' in subject.properties.groups",
        True,
    )
    assert variable["parts"] == [
        {"text": "subject.properties.groups", "span": [13, 38], "value": ["support"]}
    ]
    assert "variables" not in rules["data/personal-data-is-for-people"]


BROKEN = """\
apiVersion: sidecar/v1
kind: Policy
metadata: {name: p}
spec:
  variables:
    team: subject.properties.groups[7]
    is_ours: variables.team == 'x'
  rules:
    - {id: closed, effect: deny, when: "delegated && variables.is_ours || action.name == 'drop'"}
"""


def test_a_variable_that_erred_says_why_and_so_does_the_clause_that_read_it(sidecar, shop):
    (shop / "bundle" / "p.yaml").write_text(BROKEN)

    said = sidecar("decide", "-b", shop / "bundle", "--explain", "-", stdin=json.dumps(ASKED))

    rules = {rule["rule"]: rule for rule in json.loads(said.out)["explain"][0]["rules"]}
    closed = rules["p/closed"]
    assert closed["variables"]["team"]["error"] == "an index is out of range"
    assert closed["variables"]["is_ours"]["error"] == "variable `team` could not be evaluated"
    first, second = closed["clauses"]["parts"]
    assert first["error"] == "variable `is_ours` could not be evaluated"
    assert second["value"] is False


def test_a_person_is_told_which_clause_made_each_rule_say_so(sidecar, shop):
    (shop / "bundle" / "p.yaml").write_text(BROKEN)

    said = sidecar("decide", "-b", shop / "bundle", "--tree", "-", stdin=json.dumps(ASKED))

    lines = said.out.splitlines()
    assert lines[0] == "deny, rule: personal data is read by people, not by agents"
    at = next(i for i, line in enumerate(lines) if line.startswith("  error  deny    p/closed"))
    assert [line.strip() for line in lines[at + 2 : at + 4]] == [
        "variables.is_ours is variables.team == 'x' → "
        "error: variable `team` could not be evaluated",
        "variables.team is subject.properties.groups[7] → error: an index is out of range",
    ]


def test_a_tree_spells_out_what_a_terminal_would_act_upon(sidecar, shop):
    resource = {"type": "doc", "id": "\u001b]0;x\u0007\u202e1"}
    call = {**EVALUATION["call"], "resource": resource}
    asked = {**EVALUATION, "call": call}

    said = sidecar("decide", "-b", shop / "bundle", "--tree", "-", stdin=json.dumps(asked))

    assert "\\u{202e}" in said.out
    assert not {"\u001b", "\u0007", "\u202e"} & set(said.out)


def test_an_explanation_names_the_rules_that_match_left_out(sidecar, shop):
    said = sidecar("decide", "-b", shop / "bundle", "--explain", "-", stdin=json.dumps(ASKED))

    told = json.loads(said.out)["explain"][0]["not_matched"]
    assert [(one["rule"], one["by"]) for one in told] == [
        ("support/update-order-status", "classes"),
        ("support/transactions", "classes"),
    ]


LEFT_OUT = """\
apiVersion: sidecar/v1
kind: Policy
metadata: {name: p}
spec:
  rules:
    - {id: phases, effect: deny, match: {phases: [list]}}
    - {id: classes, effect: deny, match: {classes: [delete]}}
    - {id: upstreams, effect: deny, match: {upstreams: [other]}}
    - {id: actions, effect: deny, match: {actions: [insert]}}
    - {id: resources, effect: deny, match: {resources: ["table:none.*"]}}
    - {id: except, effect: deny, match: {except: ["*:*"]}}
    - {id: another-protocol, effect: deny, match: {protocols: [http]}}
    - {id: another-domain, effect: deny, match: {domains: [ai]}}
    - {id: scope, effect: deny, when: "false", scope: call}
"""


def test_each_way_to_be_left_out_is_named(sidecar, shop):
    (shop / "bundle" / "p.yaml").write_text(LEFT_OUT)

    said = sidecar("decide", "-b", shop / "bundle", "--explain", "-", stdin=json.dumps(ASKED))

    first, second = (
        {o["rule"].removeprefix("p/"): o["by"] for o in target["not_matched"]}
        for target in json.loads(said.out)["explain"]
    )
    ways = ("phases", "classes", "upstreams", "actions", "resources", "except")
    ours = {name: by for name, by in first.items() if "/" not in name}
    assert ours == dict(zip(ways, ways, strict=True))
    assert second["scope"] == "scope"


def test_an_explanation_of_what_cannot_be_parsed_is_empty(sidecar, shop):
    broken = {**ASKED, "call": {"dialect": "postgres", "text": "SELECT ("}}

    said = sidecar("decide", "-b", shop / "bundle", "--explain", "-", stdin=json.dumps(broken))

    assert json.loads(said.out)["explain"] == []


def test_a_call_from_a_file_is_decided(sidecar, shop, tmp_path):
    (tmp_path / "call.json").write_text(json.dumps(ASKED))

    assert sidecar("decide", "-b", shop / "bundle", tmp_path / "call.json").code == 10


def test_without_any_bundle_it_is_said_what_to_do(sidecar, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    said = sidecar("decide", "-", stdin=json.dumps(ASKED))

    assert said.code == 2
    assert "-b DIR" in said.err


@pytest.fixture
def with_entities(tmp_path):
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "bundle.yaml").write_text('{name: e, version: "1"}')
    (tmp_path / "bundle" / "policy.yaml").write_text(ENTITY_POLICY)
    (tmp_path / "entities.yaml").write_text("user: {alice: {role: admin}}")
    (tmp_path / "sidecar.yaml").write_text(
        "bundle: ./bundle\nfacts: {entities: ./entities.yaml}\n"
        "listeners: [{name: ask, protocol: ask, bind: 'unix:a.sock'}]\n"
    )
    return tmp_path


@pytest.mark.parametrize(
    ("subject", "options", "code", "reason"),
    [
        ("alice", ["-c", "sidecar.yaml"], 0, "permitted"),
        ("alice", [], 0, "permitted"),
        ("mallory", ["-c", "sidecar.yaml"], 10, "no_rule"),
        ("alice", ["-b", "bundle"], 10, "fact.missing"),
        ("alice", ["-b", "bundle", "-c", "sidecar.yaml"], 0, "permitted"),
    ],
    ids=["known", "found by itself", "unknown is null", "no entities", "both said"],
)
def test_entities_are_those_of_the_configuration(
    sidecar, with_entities, monkeypatch, subject, options, code, reason
):
    monkeypatch.chdir(with_entities)
    call = {**EVALUATION["call"], "subject": {"type": "user", "id": subject}}

    said = sidecar("decide", *options, "-", stdin=json.dumps({**EVALUATION, "call": call}))

    assert (said.code, json.loads(said.out)["reason"]) == (code, reason)


def test_a_request_is_printed_without_what_is_absent(sidecar, shop):
    said = sidecar("parse", "-b", shop / "bundle", "-", stdin=json.dumps(ASKED))

    request = json.loads(said.out)
    assert request["parse"]["status"] == "complete"
    assert "error" not in request["parse"]
    assert "parent" not in request
    assert [f"{t['resource']['type']}:{t['resource']['id']}" for t in request["targets"]] == [
        "table:public.customers",
        "column:public.customers.email",
    ]
    assert request["request"]["sql"]["reads"] == {"public.customers": ["email"]}


def test_a_request_that_cannot_be_read_says_why(sidecar, shop):
    broken = {**ASKED, "call": {"dialect": "postgres", "text": "SELECT 1; SELECT 2"}}

    said = sidecar("parse", "-b", shop / "bundle", "-", stdin=json.dumps(broken))

    parse = json.loads(said.out)["parse"]
    assert (parse["status"], parse["error"]["reason"]) == ("failed", "parse.multi_statement")


def test_a_call_is_parsed_without_any_bundle(sidecar, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asked = {"protocol": "k8s", "call": {"method": "GET", "path": "/api/v1/namespaces/a/pods/b"}}

    said = sidecar("parse", "-", stdin=json.dumps(asked))

    (target,) = json.loads(said.out)["targets"]
    assert (target["resource"]["type"], target["resource"]["id"]) == ("k8s/pods", "a/b")


def test_a_body_is_shown_also_where_no_rule_needs_it(sidecar, shop):
    call = {
        "method": "POST",
        "url": "http://api/x",
        "headers": {"content-type": "application/json"},
        "body": '{"amount": 7}',
    }

    said = sidecar(
        "parse", "-b", shop / "bundle", "-", stdin=json.dumps({"protocol": "http", "call": call})
    )

    assert json.loads(said.out)["request"]["http"]["body"] == {"amount": 7}


def test_a_parsed_request_is_never_the_bundles_digest(sidecar, shop):
    """The rule that makes `parse` read everything never decides anything."""
    said = sidecar("decide", "-b", shop / "bundle", "-", stdin=json.dumps(ASKED))

    assert "dry-run" not in said.out


@pytest.mark.parametrize(
    ("case", "answer"),
    [
        ({"expr": "1u"}, {"value": {"uint": "1"}}),
        ({"expr": "-1"}, {"value": {"int": "-1"}}),
        ({"expr": "1.5"}, {"value": {"double": "1.5"}}),
        ({"expr": "1.0 / 0.0"}, {"value": {"double": "inf"}}),
        ({"expr": "b'a'"}, {"value": {"bytes": "YQ=="}}),
        ({"expr": "type(1)"}, {"value": {"type": "int"}}),
        ({"expr": "null"}, {"value": {"null": None}}),
        ({"expr": "[1, 'a'] // said"}, {"value": {"list": [{"int": "1"}, {"string": "a"}]}}),
        (
            {"expr": "{1u: [true]}"},
            {"value": {"map": [[{"uint": "1"}, {"list": [{"bool": True}]}]]}},
        ),
        ({"expr": "x", "bindings": {"x": {"uint": "7"}}}, {"value": {"uint": "7"}}),
        ({"expr": "x.y", "bindings": {"x.y": {"string": "a"}}}, {"value": {"string": "a"}}),
        (
            {"expr": "y", "container": "x", "bindings": {"x.y": {"int": "1"}}},
            {"value": {"int": "1"}},
        ),
        ({"expr": "x || true", "name": "passed over"}, {"value": {"bool": True}}),
    ],
    ids=lambda value: value.get("expr"),
)
def test_an_expression_is_answered_with_its_type(sidecar, case, answer):
    said = sidecar("cel", "--jsonl", stdin=json.dumps(case))

    assert json.loads(said.out) == answer


@pytest.mark.parametrize(
    "line",
    [
        '{"expr": "1 +"}',
        '{"expr": "1 / 0"}',
        '{"expr": "[1].map(x, x)", "disable_macros": true}',
        '{"expr": "x"}',
        '{"expr": "x", "bindings": {"x": {"int": "a"}}}',
        '{"expr": "x", "bindings": {"x": 1}}',
        '{"expr": "x", "bindings": {"x": {"bool": "true"}}}',
        '{"expr": "x", "bindings": {"x": {"string": 5}}}',
        '{"expr": "x", "bindings": {"x": {"null": 1}}}',
        '{"expr": "x", "bindings": {"x": {"type": 5}}}',
        '{"expr": "x", "bindings": {"x": {"bytes": 5}}}',
        '{"expr": "1", "container": "a..b"}',
        '{"expr": 1}',
        "{}",
        "[]",
        "{",
    ],
)
def test_an_expression_that_cannot_be_answered_is_an_error_in_its_place(sidecar, line):
    said = sidecar("cel", "--jsonl", stdin=line + '\n{"expr": "1"}\n')

    first, second = [json.loads(one) for one in said.out.splitlines()]
    assert list(first) == ["error"]
    assert second == {"value": {"int": "1"}}


def test_keys_that_a_python_dict_takes_for_one_stay_apart(sidecar):
    said = sidecar("cel", "{1: 'int', true: 'bool', 2u: 'uint'}", "--json")

    pairs = json.loads(said.out)["value"]["map"]
    assert {next(iter(key)) for key, _ in pairs} == {"int", "bool", "uint"}


def test_the_input_of_an_expression_is_an_object(sidecar, tmp_path):
    (tmp_path / "in.json").write_text('{"subject": {"groups": ["a"]}}')

    said = sidecar("cel", "'a' in subject.groups", "--input", tmp_path / "in.json")

    assert (said.code, said.out) == (0, "true\n")


@pytest.mark.conformance
def test_the_suite_of_the_language(sidecar, conformance):
    """What is not met has its reasons beside the language's own run of the suite."""
    cases = [
        json.loads(line)
        for file in sorted((conformance / "cel").glob("*.jsonl"))
        for line in file.read_text("utf-8").splitlines()
    ]

    said = sidecar("cel", "--jsonl", stdin="\n".join(map(json.dumps, cases)))

    answers = [json.loads(line) for line in said.out.splitlines()]
    failed = [
        case["file"]
        for case, answer in zip(cases, answers, strict=True)
        if not _is_met(case["expect"], answer)
    ]
    assert failed == ["dynamic", "parse", "proto2"]


def _is_met(expected, answer) -> bool:
    if "error" in expected:
        return "error" in answer
    return "value" in answer and _canonical(answer["value"]) == _canonical(expected["value"])


def _canonical(value):
    ((kind, inner),) = value.items()
    if kind == "double":
        return (kind, "nan" if inner == "nan" else float(inner))
    if kind == "list":
        return (kind, tuple(map(_canonical, inner)))
    if kind == "map":
        return (kind, frozenset((_canonical(key), _canonical(one)) for key, one in inner))
    return (kind, inner)


KNOWN = {
    "sql": ["dialect", "text", "params"],
    "http": ["method", "url", "headers", "body"],
    "k8s": ["method", "path", "query", "body"],
    "aws": ["method", "url", "headers", "body"],
    "terraform": ["plan"],
    "mcp": ["server", "message", "result"],
    "llm": ["path", "body"],
    "rag": ["collection", "candidates", "query"],
    "a2a": ["agent", "message"],
}


@pytest.mark.parametrize(("protocol", "fields"), KNOWN.items())
def test_who_misspells_a_field_of_a_call_is_told_those_that_it_has(sidecar, protocol, fields):
    asked = {"protocol": protocol, "call": {"secret-word": "hunter2"}}

    error = json.loads(sidecar("parse", "-", stdin=json.dumps(asked)).out)["parse"]["error"]

    assert error["reason"] == "parse.envelope"
    assert [field for field in fields if field not in error["text"]] == []
    assert "secret-word" not in error["text"]
    assert "hunter2" not in error["text"]


def test_who_writes_a_query_into_a_kubernetes_path_is_told_where_it_goes(sidecar):
    call = {"method": "GET", "path": "/api/v1/pods?labelSelector=a"}

    said = sidecar("parse", "-", stdin=json.dumps({"protocol": "k8s", "call": call}))

    assert json.loads(said.out)["parse"]["error"] == {
        "reason": "parse.path",
        "text": "a `?` in the path; the query goes into `query`",
    }


def test_a_blank_line_is_answered_in_its_place(sidecar, shop):
    lines = f"\n{json.dumps(ASKED)}\n   \n"

    for verb in ("decide", "parse"):
        said = sidecar(verb, "-b", shop / "bundle", "--jsonl", "-", stdin=lines)
        answers = [json.loads(line) for line in said.out.splitlines()]
        assert ["error" in answer for answer in answers] == [True, False, True]
