"""The decision beside hand-written Python, cel-cpp and Cedar: CPU of this thread, in one run.

Every contender gets the same parsed JSON and gives the rules that hold; each figure is the least of
rounds in which all contenders take turns, so that what else the machine does hits all alike.
"""

import importlib
import importlib.util
import json
import time
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any, NamedTuple

from sidecar.decide import decide, standing_facts
from sidecar.domains import by_protocol
from sidecar.policy.bundle import Bundle, compile_bundle
from sidecar.policy.cel import ROOTS, Compiler
from sidecar.policy.language.running.emit import emitted
from sidecar.terms.call import Party
from sidecar.terms.decision import Decision, Fact
from sidecar.terms.request import Action, ParseStatus, Request, Resource, Target
from sidecar.terms.words import CallId
from tests.bench.report import table


def _installed(name: str) -> ModuleType | None:
    """Return a contender, None where it is not there to compare with."""
    return importlib.import_module(name) if importlib.util.find_spec(name) else None


cel_cpp = _installed("cel_expr_python.cel")
cedar = _installed("cedarpy")

ROUNDS = 9
SIZES = (10, 100, 1_000, 10_000)
MATCHING = 10
TARGETS = 30
_HEADER = 'name: bench\nversion: "1.0.0"\n'
_TABLES = ("hr.people", "hr.pay", "finance.expenses", "finance.budget")
_PROPERTIES: dict[str, Any] = {
    "department": "sales",
    "roles": ["employee", "analyst", "reader"],
    "groups": ["emea", "sales", "night-shift"],
    "tables": ["finance.expenses", "finance.budget"],
    **{f"attribute_{n}": {"value": n, "source": "directory", "checked": True} for n in range(12)},
}
_LABELS = ("internal", "finance")


class Shape(NamedTuple):
    """One typical condition in every language; `{n}` makes it another of its kind."""

    name: str
    cel: str
    cedar: str
    python: Callable[[int], Callable[[Any], bool]]


def _in_role(n: int) -> Callable[[Any], bool]:
    role = f"role-{n}"
    return lambda d: d["action"]["name"] == "read" and (role in d["subject"]["properties"]["roles"])


def _all_known(n: int) -> Callable[[Any], bool]:
    known = frozenset((*_TABLES, f"hr.table-{n}"))
    return lambda d: all(t in known for t in d["subject"]["properties"]["tables"])


def _texts(n: int) -> Callable[[Any], bool]:
    end = f".tmp{n}"
    return lambda d: (
        d["resource"]["id"].startswith("finance/")
        and not d["resource"]["id"].endswith(end)
        and "legal" in d["subject"]["properties"]["department"]
    )


_KNOWN = ", ".join(f"'{one}'" for one in _TABLES)
SHAPES = (
    Shape(
        "a field and a member of a list",
        "action.name == 'read' && subject.properties.roles.exists(r, r == 'role-{n}')",
        'context.action.name == "read" && context.subject.properties.roles.contains("role-{n}")',
        _in_role,
    ),
    Shape(
        "all of a list among known",
        f"subject.properties.tables.all(t, t in [{_KNOWN}, 'hr.table-{{n}}'])",
        f"[{_KNOWN}, 'hr.table-{{n}}'].containsAll(context.subject.properties.tables)".replace(
            "'", '"'
        ),
        _all_known,
    ),
    Shape(
        "parts of texts",
        "resource.id.startsWith('finance/') && !resource.id.endsWith('.tmp{n}') && "
        "subject.properties.department.contains('legal')",
        'context.resource.id like "finance/*" && !(context.resource.id like "*.tmp{n}") && '
        'context.subject.properties.department like "*legal*"',
        _texts,
    ),
)
# What rules on targets mostly read; there is no other language to compare it with here.
_LABELLED = (
    "'secret-{n}' in resource.labels && subject.properties.department != 'legal'",
    "'finance' in resource.labels && action.name == 'read' && subject.id != 'nobody-{n}'",
    "subject.properties.roles.exists(r, r == 'role-{n}')",
)
# Rules that the call does not meet, told by `match`, or by what their condition compares.
_COMPARED = tuple(shape.cel for shape in SHAPES)
OTHERS = {
    "another protocol": "match: {{protocols: [k8s]}}, when: \"'l-{n}' in resource.labels\"",
    "another resource": "match: {{resources: ['document:hr/{n}/*']}}, "
    "when: \"'l-{n}' in resource.labels\"",
    "another resource, deep inside": "match: {{resources: ['*/other-{n}/*']}}, "
    "when: \"'l-{n}' in resource.labels\"",
    "another subject": "when: \"subject.id == 'person-{n}' && 'l-{n}' in resource.labels\"",
    "another label": "when: \"'l-{n}' in resource.labels && subject.id != 'nobody'\"",
}


def measure(seconds: float) -> None:
    """Print every table in about `seconds`."""
    share = seconds / (len(SHAPES) + 2 + len(OTHERS))
    _one_rule(share)
    _ten_rules(share)
    _targets(share)
    _growth(share)


def _one_rule(seconds: float) -> None:
    rows = []
    for shape in SHAPES:
        source = shape.cel.format(n=1)
        fast = emitted(Compiler().compile(source).tree, ROOTS)
        assert fast is not None
        given, by_hand = _data(), shape.python(1)
        assert fast(given, {}) is by_hand(given)
        ours, theirs = _turns((partial(fast, given, {}), partial(by_hand, given)), seconds)
        rows.append((shape.name, f"{theirs:.3f}", f"{ours:.3f}", _times(ours / theirs), "<= 1.7"))
    table("one rule, us CPU", ("", "lambda", "ours", "ratio", "goal"), rows)


def _ten_rules(seconds: float) -> None:
    given, bundle = _data(), _bundle(_written(*_COMPARED))
    request = _request(1)
    facts = dict.fromkeys(standing_facts(request), Fact(False, "bench", "1"))
    _warmed(request, bundle)
    target = request.targets[0]
    bucket = bundle.index.bucket("application", "authzen", "call", "read")
    fitting = bundle.index.fitting(bucket, (), target.action, target.resource)
    whole = fitting.primary.whole
    by_hand = [shape.python(n) for n, shape in _rules(MATCHING)]
    contenders: dict[str, Callable[[], object] | None] = {
        "ours, the rules alone, on parsed JSON": lambda: whole.ask(given, {}),
        "ours, a whole decision": lambda: decide(request, bundle, facts),
        "lambdas": lambda: [n for n, holds in enumerate(by_hand) if holds(given)],
        "cel-expr-python": _cel_cpp(given),
        "cedarpy, context a dict": _cedar(given),
        "cedarpy, context as JSON": _cedar(json.dumps(given)),
    }
    present = {name: run for name, run in contenders.items() if run is not None}
    taken = dict(zip(present, _turns(tuple(present.values()), seconds), strict=True))
    rules, whole_us = list(taken.values())[:2]
    goals = {"cel-expr-python": ">= 10", "cedarpy, context a dict": ">= 50",
             "cedarpy, context as JSON": ">= 50"}  # fmt: skip
    rows: list[tuple[str, ...]] = []
    for name, run in contenders.items():
        if run is None:
            rows.append((name, "not installed"))
            continue
        us = taken[name]
        goal = goals.get(name, "")
        rows.append((name, f"{us:.2f}", _times(us / rules), _times(us / whole_us), goal))
    heads = ("", "us CPU", "to our rules", "to our decision", "goal")
    table(f"{MATCHING} rules, one target", heads, rows)


def _targets(seconds: float) -> None:
    rows = []
    one, many = _request(1), _request(TARGETS)
    facts = dict.fromkeys(standing_facts(one), Fact(False, "bench", "1"))
    read = {
        "labels, names, the subject": (_bundle(_written(*_LABELLED)), "<= 20 us or 8x"),
        "the id of each target too": (_bundle(_written(*_COMPARED)), ""),
    }
    for name, (bundle, goal) in read.items():
        for request in (one, many):
            _warmed(request, bundle)
        first, all_of_them = _turns(
            (
                partial(decide, one, bundle, facts),
                partial(decide, many, bundle, facts),
            ),
            seconds / len(read),
        )
        us = f"{first:.2f}", f"{all_of_them:.2f}"
        rows.append((f"they read {name}", *us, _times(all_of_them / first), goal))
    heads = ("", "one target, us CPU", f"{TARGETS} targets", "ratio", "goal")
    table(f"{MATCHING} rules, all of which match every target", heads, rows)


def _growth(seconds: float) -> None:
    rows = []
    request = _request(1)
    facts = dict.fromkeys(standing_facts(request), Fact(False, "bench", "1"))
    for name, other in OTHERS.items():
        bundles = [
            _bundle(_written(*_COMPARED, others=size - MATCHING, other=other)) for size in SIZES
        ]
        for bundle in bundles:
            _warmed(request, bundle)
        taken = _turns(
            tuple(partial(decide, request, bundle, facts) for bundle in bundles),
            seconds,
        )
        ratio = _times(taken[-1] / taken[0])
        rows.append((f"the rest of {name}", *(f"{us:.2f}" for us in taken), ratio, "<= 1.1"))
    heads = ("", *(f"{size}" for size in SIZES), "ratio", "goal")
    table(f"a decision by the number of rules, {MATCHING} of which match, us CPU", heads, rows)


def _times(ratio: float) -> str:
    return f"{ratio:.2f}x" if ratio < 10 else f"{ratio:.0f}x"


def _turns(runs: tuple[Callable[[], object], ...], seconds: float) -> list[float]:
    """Return the CPU time of each, in us: the least of the rounds in which all take turns."""
    counts = []
    for run in runs:
        began = time.thread_time()
        for _ in range(10):
            run()
        once = max((time.thread_time() - began) / 10, 1e-7)
        counts.append(max(int(seconds / ROUNDS / len(runs) / once), 5))
    best = [float("inf")] * len(runs)
    for _ in range(ROUNDS):
        for at, (run, count) in enumerate(zip(runs, counts, strict=True)):
            began = time.thread_time()
            for _ in range(count):
                run()
            best[at] = min(best[at], (time.thread_time() - began) / count)
    return [one * 1e6 for one in best]


def _rules(count: int) -> list[tuple[int, Shape]]:
    return [(n, SHAPES[n % len(SHAPES)]) for n in range(count)]


def _cel_cpp(given: dict[str, Any]) -> Callable[[], object] | None:
    if cel_cpp is None:
        return None
    engine = cel_cpp.NewEnv(variables=dict.fromkeys(given, cel_cpp.Type.DYN))
    compiled = [engine.compile(shape.cel.format(n=n)) for n, shape in _rules(MATCHING)]

    def run() -> object:
        # What it takes over of the input, it takes over once for all rules.
        activation = engine.Activation(given)
        return [n for n, one in enumerate(compiled) if one.eval(activation).value() is True]

    assert run() == [1, 4, 7]
    return run


def _cedar(context: dict[str, Any] | str) -> Callable[[], object] | None:
    if cedar is None:
        return None
    text = "".join(
        f"permit(principal, action, resource) when {{ {shape.cedar.format(n=n)} }};\n"
        for n, shape in _rules(MATCHING)
    )
    module, policies = cedar, cedar.PolicySet.from_str(text)
    entities = cedar.Entities.from_json_str("[]")
    request = {
        "principal": 'User::"alice"',
        "action": 'Action::"read"',
        "resource": 'Document::"report"',
        "context": context,
    }

    def run() -> object:
        return module.is_authorized(request, policies, entities)

    reasons = module.is_authorized(request, policies, entities).diagnostics.reasons
    assert sorted(reasons) == ["policy1", "policy4", "policy7"]
    return run


def _data() -> dict[str, Any]:
    """Return what all contenders are given, as a JSON reader gives it."""
    return dict(
        json.loads(
            json.dumps(
                {
                    "subject": {"type": "user", "id": "alice", "properties": _PROPERTIES},
                    "action": {"name": "read", "class": "read", "properties": {}},
                    "resource": {
                        "type": "document",
                        "id": "finance/2026/q1.csv",
                        "upstream": "default",
                        "labels": list(_LABELS),
                        "properties": {},
                    },
                }
            )
        )
    )


def _request(targets: int) -> Request:
    given = _data()
    subject = given["subject"]
    names = ["finance/2026/q1.csv", *(f"finance/2026/{n}.csv" for n in range(1, targets))]
    return Request(
        id=CallId("0196f0c2-7c1e-7000-8000-000000000000"),
        time="2026-01-01T12:00:00.000000Z",
        listener="ask",
        upstream="default",
        domain="application",
        phase="call",
        protocol="authzen",
        subject=Party("user", "alice", subject["properties"]),
        actors=(),
        targets=tuple(
            Target(Action("read", "read"), Resource("document", name, labels=_LABELS))
            for name in names
        ),
        context={"time": "2026-01-01T12:00:00.000000Z", "ip": "192.0.2.7"},
        request={"authzen": {}},
        parse=ParseStatus("complete", "authzen"),
    )


def _written(*conditions: str, others: int = 0, other: str = "") -> list[str]:
    """Return the lines of some rules that match, and of others that do not."""
    lines = [
        f'    - {{id: r-{n}, effect: allow, when: "{conditions[n % len(conditions)].format(n=n)}"}}'
        for n in range(MATCHING)
    ]
    return lines + [
        f"    - {{id: other-{n}, effect: deny, {other.format(n=n)}}}" for n in range(others)
    ]


def _bundle(rules: list[str]) -> Bundle:
    head = [
        "apiVersion: sidecar/v1",
        "kind: Policy",
        "metadata: {name: bench}",
        "spec:",
        "  rules:",
    ]
    files = {"bundle.yaml": _HEADER, "policies/trial.yaml": "\n".join([*head, *rules])}
    return compile_bundle({name: text.encode() for name, text in files.items()}, by_protocol())


def _warmed(request: Request, bundle: Bundle) -> None:
    """Decide as often as it takes until the rules that matter stand in emitted code."""
    facts = dict.fromkeys(standing_facts(request), Fact(False, "bench", "1"))
    for _ in range(50):
        decide(request, bundle, facts)
    decision = decide(request, bundle, facts)
    assert isinstance(decision, Decision)
    assert decision.outcome == "allow", decision
    assert [rule.id for rule in decision.rules] == ["r-1", "r-4", "r-7"]
