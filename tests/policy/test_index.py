"""The index finds what a scan finds, and remembers within bounds."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sidecar import flow
from sidecar.decide import decide, standing_facts
from sidecar.policy.index.candidates import Candidates
from sidecar.policy.index.recent import Recent
from sidecar.policy.index.targets import Bucket, Fitting
from sidecar.policy.limits import (
    BLOCK_RULES_MAX,
    BLOCK_USES_MIN,
    INDEX_PREPARED_MIN,
    INDEX_SCAN_MAX,
)
from sidecar.terms.decision import Decision, Fact
from sidecar.terms.request import Action, Request, Resource
from tests import toy

TEXTS = st.sampled_from(["hr.people", "hr.pay", "finance", "fin", "péople", "a/b", "xhr.payx", "*"])
GLOBS = st.lists(TEXTS, min_size=1, max_size=3).flatmap(
    lambda runs: st.sampled_from(["*".join(runs), f"*{'*'.join(runs)}", f"{'*'.join(runs)}*"])
)
MATCHES = st.fixed_dictionaries(
    {},
    optional={
        "resources": st.lists(st.builds("table:{}".format, GLOBS), min_size=1, max_size=2),
        "actions": st.lists(st.sampled_from(["select", "sel*", "*sert", "drop"]), min_size=1),
        "upstreams": st.lists(st.sampled_from(["default", "erp*"]), min_size=1),
        "except": st.just(["table:hr.pay"]),
    },
)


def found(bundle: Any, name: str, action: str, upstream: str = "default") -> Candidates:
    bucket: Bucket = bundle.index.bucket("data", "sql", "call", "read")
    fitting: Fitting = bundle.index.fitting(
        bucket, (), Action(action, "read"), Resource("table", name, upstream)
    )
    return fitting.other


@given(st.lists(MATCHES, min_size=INDEX_SCAN_MAX + 1, max_size=40), TEXTS)
def test_the_index_finds_what_a_scan_finds(matches: list[dict[str, Any]], name: str) -> None:
    rules = [{"id": f"r{n}", "effect": "allow", "match": one} for n, one in enumerate(matches)]
    bundle = toy.bundle(rules)

    for action in ("select", "insert", "drop"):
        for upstream in ("default", "erp-2"):
            wanted = [
                rule.id
                for rule in bundle.rules
                if rule.filter.fits_target(upstream, action, f"table:{name}")
            ]
            assert [one.id for one in found(bundle, name, action, upstream).rules] == wanted


def test_what_is_remembered_is_bounded_and_the_latest_is_kept() -> None:
    memory: Recent[int, int] = Recent(100)

    for number in range(1_000):
        memory.put(number, number)

    kept = [number for number in reversed(range(1_000)) if memory.get(number) is not None]
    assert len(kept) <= 100
    assert kept[:50] == list(reversed(range(950, 1_000)))


def test_what_is_asked_for_again_and_again_is_not_forgotten() -> None:
    memory: Recent[int, int] = Recent(100)
    memory.put(-1, 7)

    for number in range(1_000):
        memory.put(number, number)
        assert memory.get(-1) == 7


def test_what_is_large_takes_the_room_of_many() -> None:
    memory: Recent[int, list[int]] = Recent(100, len)

    for number in range(100):
        memory.put(number, [0] * 20)

    kept = [number for number in reversed(range(100)) if memory.get(number) is not None]
    assert kept[:2] == [99, 98]
    assert len(kept) <= 4


def test_what_is_larger_than_the_room_is_kept_alone() -> None:
    memory: Recent[int, list[int]] = Recent(100, len)

    for number in range(10):
        memory.put(number, [0] * 1_000)

        assert memory.get(number) is not None
    assert memory.get(7) is None


def test_a_name_that_is_very_long_is_found_and_not_remembered() -> None:
    bundle = toy.bundle([{"id": "r", "effect": "allow", "match": {"resources": ["table:x*"]}}])

    assert [rule.id for rule in found(bundle, "x" * 100_000, "select").rules] == ["r"]
    assert not bundle.index._targets.young


def test_one_set_of_rules_is_one_object_however_targets_come_to_it() -> None:
    bundle = toy.bundle([{"id": "r", "effect": "allow"}])

    assert found(bundle, "a", "select") is found(bundle, "b", "drop")


def test_names_that_callers_choose_make_no_code() -> None:
    rules = [
        {"id": f"r{n}", "effect": "allow", "match": {"resources": [f"*:*x{n}x*"]}}
        for n in range(40)
    ]
    bundle = toy.bundle(rules)

    for n in range(39):
        candidates = found(bundle, f"x{n}x{n + 1}x", "select")
        candidates.whole.ask({}, {})

        (only,) = candidates.whole.blocks
        assert not only.is_made


def test_code_is_made_once_it_is_worth_it_and_one_block_at_a_time() -> None:
    count = BLOCK_RULES_MAX * 2 + 1
    rules = [{"id": f"r{n}", "effect": "allow", "when": "delegated"} for n in range(count)]
    whole = found(toy.bundle(rules), "t", "select").whole

    made = []
    for _ in range(BLOCK_USES_MIN + 3):
        held, unsure = whole.ask({"delegated": True}, {})
        assert len(held) + len(unsure) == count
        made.append(sum(one.is_made for one in whole.blocks))

    assert made == [*([0] * BLOCK_USES_MIN), 1, 2, 3]


def test_threads_do_not_get_one_anothers_answers(scaled: Any) -> None:
    bundle = toy.bundle(
        [
            {"id": f"r{n}", "effect": "allow", "when": f"subject.id == 'u{n}' && {condition}"}
            for n in range(20)
            for condition in ["['a', 'b'].exists(x, x == resource.labels[0]) && variables.own"]
        ],
        variables={"own": "resource.id == subject.id"},
    )

    def request(n: int) -> Request:
        one = {"target": f"read select table:u{n}", "labels": ["a" if n % 2 else "c"]}
        return flow.understand(toy.call({"subject": f"user:u{n}", "targets": [one, one]}), bundle)

    def rounds(n: int) -> bool:
        asked = request(n)
        facts = {key: Fact(False, "test", "1") for key in standing_facts(asked)}
        for _ in range(scaled(300, 200_000)):
            said = decide(asked, bundle, facts)
            assert isinstance(said, Decision)
            if [rule.id for rule in said.rules] != ([f"r{n}"] if n % 2 else []):
                return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(rounds, range(8)))


def test_what_most_rules_name_is_indexed_before_the_first_call():
    match = {"protocols": ["sql"], "classes": ["read"]}
    rules = [
        {"id": f"r{n}", "effect": "allow", "match": {**match, "resources": [f"table:t{n}"]}}
        for n in range(INDEX_PREPARED_MIN)
    ]
    bundle = toy.bundle([*rules, {"id": "any", "effect": "deny", "when": "delegated"}])
    made = bundle.index._buckets

    bundle.prepare()

    assert list(made.young) == [("data", "sql", "call", "read")]
    assert (
        bundle.index.bucket("data", "sql", "call", "read")
        is made.young["data", "sql", "call", "read"]
    )


def test_a_small_bundle_is_indexed_as_calls_come():
    bundle = toy.bundle([{"id": "r", "effect": "allow", "match": {"protocols": ["sql"]}}])

    bundle.prepare()

    assert not bundle.index._buckets.young
