"""What is judged again: the rules are asked each time; where more is needed, nothing is said."""

from typing import Any

import msgspec
import pytest

from sidecar import flow
from sidecar.decide import decide, denial, repeat_of, standing_facts
from sidecar.decide.target import Verdict
from sidecar.policy.limits import BLOCK_USES_MIN, GUARDED_RULES_MIN
from sidecar.terms.decision import Decision, Fact, Facts
from sidecar.terms.reasons import reason
from sidecar.terms.request import Request
from tests import toy

TIMES = [f"2026-01-01T12:00:0{second}.000000Z" for second in range(6)]
LATE = {"id": "late", "effect": "deny", "when": f"context.time >= '{TIMES[3]}'"}
ALLOW = {"id": "open", "effect": "allow"}
ERRING = {"id": "erring", "effect": "allow", "when": "context.claimed.missing == 1"}
AT = [
    {"id": f"at-{number}", "effect": "deny", "when": f"context.time == '{number:03d}'"}
    for number in range(4 * GUARDED_RULES_MIN)
]
CALL = {"targets": ["read select table:t"]}


def known(request: Request) -> Facts:
    return {key: Fact(value=False, source="toy", revision="1") for key in standing_facts(request)}


def asked(request: Request, bundle: Any, time: str) -> tuple[Decision, Facts]:
    facts = known(request)
    now = msgspec.structs.replace(request, time=time, context={**request.context, "time": time})
    said = decide(now, bundle, facts)
    assert isinstance(said, Decision)
    return said, facts


def a_request(bundle: Any, given: Any = CALL) -> Request:
    request = flow.understand(toy.call(given), bundle)
    for _ in range(2 * BLOCK_USES_MIN):
        # Rules have code of their own after a while only.
        decide(request, bundle, known(request))
    return request


def test_the_time_is_that_of_each_call() -> None:
    bundle = toy.bundle([ALLOW, LATE])
    request = a_request(bundle)
    repeat = repeat_of(request, bundle)
    assert repeat is not None

    for time in TIMES:
        said, facts = asked(request, bundle, time)
        again = repeat.verdict(facts, time)
        assert isinstance(again, Verdict)
        assert (again.outcome, again.why, again.spoke) == (said.outcome, said.reason, said.rules)
        assert repeat.verdict_of(said, facts, time) is again


def test_where_a_rule_gives_up_nothing_is_said() -> None:
    bundle = toy.bundle([ALLOW, ERRING])
    request = a_request(bundle)
    repeat = repeat_of(request, bundle)

    assert repeat is not None
    assert repeat.verdict(known(request), TIMES[0]) is None


def test_a_denial_that_no_rule_spoke_for_is_no_verdict() -> None:
    bundle = toy.bundle([{"id": "other", "effect": "allow", "match": {"classes": ["delete"]}}])
    request = a_request(bundle)
    repeat = repeat_of(request, bundle)
    assert repeat is not None
    facts = known(request)
    failed = denial(request, bundle, reason("internal"), "the sidecar failed")

    assert repeat.verdict_of(failed, facts, TIMES[0]) is None
    said, _ = asked(request, bundle, TIMES[0])
    assert repeat.verdict_of(said, facts, TIMES[0]) is repeat.verdict(facts, TIMES[0]) is not None


CLOSED = {"id": "closed", "effect": "deny", "match": {"resources": ["table:closed"]}}
SOON_CLOSED = {**CLOSED, "id": "soon", "when": LATE["when"]}


@pytest.mark.parametrize("combine", ["all", "each"])
def test_of_several_targets_the_verdicts_on_all_are_said(combine: str) -> None:
    bundle = toy.bundle([ALLOW, SOON_CLOSED])
    given = {"targets": ["read select table:t", "read select table:closed"], "combine": combine}
    request = a_request(bundle, given)
    repeat = repeat_of(request, bundle)
    assert repeat is not None
    for _ in range(2 * BLOCK_USES_MIN):
        repeat.verdict(known(request), TIMES[0])

    for time in TIMES:
        said, facts = asked(request, bundle, time)
        again = repeat.verdict(facts, time)
        shown = [(target.outcome, target.rules) for target in said.targets]
        if time < TIMES[3]:
            assert isinstance(again, tuple)
            assert [(one.outcome, one.keys) for one in again] == shown
            assert repeat.verdict(facts, time) is again
            assert repeat.verdict_of(said, facts, time) is again
        else:
            # Where something is denied it is a matter of how they are combined.
            assert again is None
            assert repeat.verdict_of(said, facts, time) is None


def test_a_decision_on_other_targets_is_not_of_these_verdicts() -> None:
    bundle = toy.bundle([ALLOW])
    request = a_request(bundle, {"targets": ["read select table:t", "read select table:u"]})
    repeat = repeat_of(request, bundle)
    assert repeat is not None
    said, facts = asked(request, bundle, TIMES[0])

    for other in (
        msgspec.structs.replace(said, targets=said.targets[:1]),
        msgspec.structs.replace(said, outcome="deny"),
        denial(request, bundle, reason("internal"), "the sidecar failed"),
    ):
        assert repeat.verdict_of(other, facts, TIMES[0]) is None


@pytest.mark.parametrize(
    "given",
    [
        {"targets": [f"read select table:t{number}" for number in range(9)]},
        {**CALL, "missing": ["request.sql.a"]},
    ],
)
def test_what_is_more_than_one_verdict_is_not_judged_so(given: Any) -> None:
    bundle = toy.bundle([ALLOW])

    assert repeat_of(flow.understand(toy.call(given), bundle), bundle) is None


def test_rules_that_are_chosen_by_the_time_are_chosen_each_time() -> None:
    bundle = toy.bundle([ALLOW, *AT])

    assert repeat_of(a_request(bundle), bundle) is None
