"""A question that was asked before is a question of whoever asks it now."""

import json

import pytest

from sidecar.intercept import limits
from sidecar.record.canonical import split
from sidecar.terms.record import MadeRecord
from tests.intercept.ask_stand import Stand

CALL = {"protocol": "http", "call": {"method": "GET", "url": "http://api.example/b"}}
FOR_BOB = {**CALL, "subject": {"type": "user", "id": "bob"}}
TIMES = 4


@pytest.fixture
async def stand():
    found = await Stand().start()
    yield found
    await found.stop()


def subjects(stand):
    """Return whom each record is of; half of a record is JSON up to its place in the log."""
    heads = [json.loads(split(record).head + b"}") for record in stand.ledger.records]
    return [json.loads(head["input"]["text"])["subject"]["id"] for head in heads]


async def test_each_has_an_id_and_a_record_of_its_own(stand) -> None:
    ids = [(await stand.decide(CALL)).json["id"] for _ in range(TIMES)]

    assert len(set(ids)) == TIMES
    assert [record.id for record in stand.ledger.records] == ids
    assert isinstance(stand.ledger.records[-1], MadeRecord)


async def test_two_workloads_that_say_the_same_are_two(stand) -> None:
    for _ in range(TIMES):
        await stand.decide(CALL, key="self")
        await stand.decide(CALL, key="gateway")

    assert subjects(stand) == ["self", "gateway"] * TIMES


async def test_what_one_may_assert_another_is_refused_however_often(stand) -> None:
    for _ in range(TIMES):
        assert (await stand.decide(FOR_BOB, key="gateway")).status == 200
        assert (await stand.decide(FOR_BOB, key="self")).status == 403


async def test_the_same_bytes_mean_another_thing_at_another_path(stand) -> None:
    evaluation = {
        "subject": {"type": "service", "id": "self"},
        "action": {"name": "can_read"},
        "resource": {"type": "record", "id": "1"},
    }
    for _ in range(TIMES):
        assert (await stand.evaluate(evaluation, key="self")).status == 200
        assert (await stand.decide(evaluation, key="self")).status == 400


async def test_who_was_revoked_is_refused_what_was_permitted_before(stand) -> None:
    for _ in range(TIMES):
        assert (await stand.decide(CALL, key="self")).json["reason"] != "revoked"
    stand.revocations.parties.add("service:self")
    stand.revocations.epoch += 1

    assert (await stand.decide(CALL, key="self")).json["reason"] == "revoked"


async def test_no_more_is_kept_than_the_bounds_say(stand, monkeypatch) -> None:
    monkeypatch.setattr("sidecar.intercept.known.KNOWN_BODIES_MAX", 2)
    monkeypatch.setattr("sidecar.intercept.known.SEEN_BODIES_MAX", 3)
    large = {**CALL, "context": {"long": "x" * limits.KNOWN_BODY_BYTES_MAX}}
    for number in range(8):
        for _ in range(3):
            await stand.decide({**CALL, "context": {"number": number}})
            await stand.decide(large)

    known = stand.listener._known
    assert len(known._known) <= 2
    assert len(known._seen) <= 3
    assert all(len(body) <= limits.KNOWN_BODY_BYTES_MAX for *_, body in known._known)
