"""The laws of the path: recorded before answered, one snapshot, doubt is a denial."""

from collections.abc import Collection, Mapping
from itertools import count
from typing import Any

import msgspec
import pytest

from sidecar import flow
from sidecar.policy.bundle import Bundle
from sidecar.terms.answer import Await, Forward, Refuse
from sidecar.terms.call import Json
from sidecar.terms.decision import Fact, FactKey, Facts
from sidecar.terms.errors import RecordError
from sidecar.terms.record import AnyRecord, DecisionRecord, OutcomeRecord
from sidecar.terms.spent import STAGES
from sidecar.terms.words import CallId
from tests import toy
from tests.namebook import Namebook


class Paper(Namebook):
    """A ledger that remembers, and can be told to fail."""

    def __init__(self) -> None:
        self.records: list[AnyRecord] = []
        self.full = False

    async def write(self, record: AnyRecord, side: object = ()) -> None:
        if self.full:
            raise RecordError("no space is left")
        self.records.append(record)


ALLOW = [{"id": "all", "effect": "allow"}]
DENY = [{"id": "none", "effect": "deny", "message": "closed"}]
ASK = [*ALLOW, {"id": "ask", "effect": "step_up"}]


def path(paper: Paper, bundle: Bundle, facts: Any = None) -> flow.Path:
    return flow.Path(
        bundle=lambda: bundle,
        ledger=paper,
        facts=facts or toy.Knows(),
        new_id=lambda: CallId("new"),
        now=lambda: "2026-01-01T12:00:01.000000Z",
    )


CALL: Mapping[str, Any] = {"targets": ["read select table:t"]}


async def test_a_permitted_call_is_forwarded_after_its_record() -> None:
    paper = Paper()

    answer = await flow.carry(toy.call(CALL), path(paper, toy.bundle(ALLOW)))

    assert isinstance(answer, Forward)
    assert [record.id for record in paper.records] == [answer.decision.id]


async def test_without_its_record_nothing_is_answered() -> None:
    paper = Paper()
    paper.full = True

    with pytest.raises(RecordError):
        await flow.carry(toy.call(CALL), path(paper, toy.bundle(ALLOW)))


async def test_a_denial_is_recorded_too() -> None:
    paper = Paper()

    answer = await flow.carry(toy.call(CALL), path(paper, toy.bundle(DENY)))

    assert isinstance(answer, Refuse)
    (record,) = paper.records
    assert isinstance(record, DecisionRecord)
    assert (record.effect, record.outcome, record.reason) == ("deny", "deny", "rule")


async def test_a_denial_that_cannot_be_recorded_is_not_answered_either() -> None:
    paper = Paper()
    paper.full = True

    with pytest.raises(RecordError):
        await flow.carry(toy.call(CALL), path(paper, toy.bundle(DENY)))


async def test_a_call_that_waits_for_a_person_is_not_forwarded() -> None:
    paper = Paper()

    answer = await flow.carry(toy.call(CALL), path(paper, toy.bundle(ASK)))

    assert isinstance(answer, Await)
    assert answer.approval is not None
    assert answer.approval.binding.startswith("sha256:")


async def test_what_the_pdp_said_and_what_was_enforced_are_recorded_apart() -> None:
    paper = Paper()
    masked = [{"id": "m", "effect": "allow", "obligations": [{"type": "mask", "with": "last4"}]}]

    answer = await flow.carry(toy.call(CALL), path(paper, toy.bundle(masked)))

    assert isinstance(answer, Refuse)
    (record,) = paper.records
    assert isinstance(record, DecisionRecord)
    assert (record.effect, record.outcome) == ("allow", "deny")
    assert record.reason == "obligation.unsupported"
    assert [rule.id for rule in record.rules] == ["m"]


async def test_the_rewritten_payload_is_what_is_forwarded() -> None:
    rules = [{"id": "l", "effect": "allow", "obligations": [{"type": "limit_rows", "max": 1}]}]

    answer = await flow.carry(toy.call(CALL), path(Paper(), toy.bundle(rules)))

    assert isinstance(answer, Forward)
    assert answer.payload["rewritten"] is True
    assert answer.decision.rewritten == answer.payload


async def test_without_obligations_the_identical_payload_is_forwarded() -> None:
    call = toy.call(CALL)

    answer = await flow.carry(call, path(Paper(), toy.bundle(ALLOW)))

    assert isinstance(answer, Forward)
    assert answer.payload is call.payload


class BreaksLater(toy.Knows):
    """A fact source with a mistake of ours in it."""

    async def fetch(self, keys: object) -> Facts:
        raise ZeroDivisionError


class BreaksAtOnce(toy.Knows):
    """Another."""

    def at_hand(self, keys: object) -> Facts:
        raise ZeroDivisionError


@pytest.mark.parametrize("source", [BreaksLater(), BreaksAtOnce()])
async def test_our_own_mistake_ends_as_a_recorded_denial(source: toy.Knows) -> None:
    paper = Paper()

    answer = await flow.carry(toy.call(CALL), path(paper, toy.bundle(ALLOW), source))

    assert isinstance(answer, Refuse)
    assert answer.decision.reason == "internal"
    assert [record.id for record in paper.records] == [answer.decision.id]


async def test_the_bundle_is_read_once_a_call() -> None:
    first, second = toy.bundle(ALLOW), toy.bundle(DENY)
    reads: list[Bundle] = []

    def snapshot() -> Bundle:
        reads.append(first if not reads else second)
        return reads[-1]

    paper = Paper()
    moving = flow.Path(snapshot, paper, toy.Knows(), lambda: CallId("n"), lambda: "now")

    answer = await flow.carry(toy.call(CALL), moving)

    assert len(reads) == 1
    assert answer.decision.policy == first.stamp


async def test_the_outcome_is_a_second_record_linked_to_the_first() -> None:
    paper = Paper()
    road = path(paper, toy.bundle(ALLOW))
    answer = await flow.carry(toy.call(CALL), road)
    assert isinstance(answer, Forward)

    await flow.settle(answer, road, flow.outcome_record(answer, road, upstream_status="200"))

    decision, outcome = paper.records
    assert isinstance(outcome, OutcomeRecord)
    assert (outcome.parent, outcome.upstream_status) == (decision.id, "200")


async def test_a_fact_that_never_comes_ends_after_three_rounds() -> None:
    knows = toy.Knows()
    rules = [{"id": "e", "effect": "allow", "when": "entity('a', 'b').c"}]

    answer = await flow.carry(toy.call(CALL), path(Paper(), toy.bundle(rules), knows))

    assert answer.decision.reason == "fact.missing"
    assert len(knows.asked) == flow.FACT_ROUNDS_MAX + 1


async def test_the_facts_that_were_used_are_in_the_record() -> None:
    paper = Paper()
    knows = toy.Knows({"a:b": {"c": True}})
    rules = [{"id": "e", "effect": "allow", "when": "entity('a', 'b').c"}]

    await flow.carry(toy.call(CALL), path(paper, toy.bundle(rules), knows))

    (record,) = paper.records
    assert isinstance(record, DecisionRecord)
    functions: list[Json] = [fact.function for fact in record.facts]
    assert sorted(functions) == ["entity", "revoked"]


async def test_a_call_whose_facts_are_at_hand_waits_for_its_record_alone() -> None:
    class AtHand(toy.Knows):
        def at_hand(self, keys: frozenset[FactKey]) -> Facts:
            return {key: Fact(value=False, source="toy", revision="1") for key in keys}

    paper, knows = Paper(), AtHand()

    begun = flow.begin(toy.call(CALL), path(paper, toy.bundle(ALLOW), knows))

    assert isinstance(begun, flow.Begun)
    assert paper.records == []
    assert isinstance(await flow.finish(begun), Forward)
    assert (len(paper.records), knows.asked) == (1, [])


class Revokes(toy.Knows):
    """Has whatever is at hand, and the subject revoked whenever a test says so."""

    is_revoked = False

    def at_hand(self, keys: frozenset[FactKey]) -> Facts:
        asked = [key for key in keys if key.function == "revoked"]
        return {key: Fact(self.is_revoked, "toy", "1") for key in asked}

    async def fetch(self, keys: frozenset[FactKey]) -> Facts:
        self.is_revoked = True
        return await super().fetch(keys)


async def test_who_is_revoked_while_a_fact_is_waited_for_is_not_permitted() -> None:
    paper, knows = Paper(), Revokes({"a:b": {"c": True}})
    rules = [{"id": "e", "effect": "allow", "when": "entity('a', 'b').c"}]
    road = path(paper, toy.bundle(rules), knows)

    with pytest.raises(RecordError, match="revoked"):
        await flow.carry(toy.call(CALL), road)

    assert paper.records == []
    assert (await flow.carry(toy.call(CALL), road)).decision.reason == "revoked"


async def test_who_is_revoked_while_a_handle_is_waited_for_is_not_permitted() -> None:
    knows = Revokes()

    class Slow(Paper):
        async def handles(self, persons: Collection[str]) -> Mapping[str, str]:
            knows.is_revoked = True
            return await super().handles(persons)

    paper = Slow()
    road = path(paper, toy.bundle(ALLOW), knows)

    with pytest.raises(RecordError, match="revoked"):
        await flow.carry(toy.call(CALL), road)

    assert paper.records == []
    assert (await flow.carry(toy.call(CALL), road)).decision.reason == "revoked"


async def test_where_the_time_went_is_told_once_a_call_and_stage_by_stage() -> None:
    told: list[list[float]] = []
    ticks = count()
    road = flow.Path(
        bundle=lambda: toy.bundle(ALLOW),
        ledger=Paper(),
        facts=toy.Knows(),
        new_id=lambda: CallId("new"),
        now=lambda: "2026-01-01T12:00:01.000000Z",
        timed=lambda took_s, calls: told.extend([took_s] * calls),
        clock_s=lambda: float(next(ticks)),
    )

    await flow.carry(toy.call(CALL), road)

    # Each stage was looked at once, a tick after the one before.
    assert told == [[1.0] * len(STAGES)]


async def test_an_outcome_tells_of_the_stages_of_its_call_in_whole_microseconds() -> None:
    ticks = count()
    road = msgspec.structs.replace(
        path(Paper(), toy.bundle(ALLOW)), clock_s=lambda: next(ticks) * 2.5e-6
    )

    answer = await flow.carry(toy.call(CALL), road)
    assert isinstance(answer, Forward)
    for _ in range(10):
        road.clock_s()
    outcome = flow.outcome_record(answer, road)

    # A tick each; the record itself is no stage of theirs; ten and one went by upstream.
    assert outcome.timings_us == {
        "parse": 2, "facts": 2, "decide": 2, "enforce": 2, "durable": 2, "upstream": 27
    }  # fmt: skip


async def test_stages_that_took_less_than_a_microsecond_are_left_out() -> None:
    still = msgspec.structs.replace(path(Paper(), toy.bundle(ALLOW)), clock_s=lambda: 1.0)

    answer = await flow.carry(toy.call(CALL), still)

    assert isinstance(answer, Forward)
    assert flow.outcome_record(answer, still).timings_us == {}


async def test_how_long_a_record_was_waited_for_is_no_part_of_what_the_upstream_took() -> None:
    now_s = [1.0]

    class Slow(Paper):
        """A ledger that takes a second."""

        async def write(self, record: AnyRecord, side: object = ()) -> None:
            now_s[0] += 1.0
            await super().write(record, side)

    road = msgspec.structs.replace(path(Slow(), toy.bundle(ALLOW)), clock_s=lambda: now_s[0])

    answer = await flow.carry(toy.call(CALL), road)
    assert isinstance(answer, Forward)
    now_s[0] += 0.5
    outcome = flow.outcome_record(answer, road)

    assert outcome.timings_us == {"durable": 1_000_000, "upstream": 500_000}
