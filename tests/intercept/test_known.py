"""A question that was asked before is a question of whoever asks it now."""

import json

import pytest

from sidecar.intercept import limits
from sidecar.record.canonical import split
from sidecar.terms.errors import RecordError
from sidecar.terms.record import MadeRecord
from tests.intercept.ask_stand import KEYS, Stand, read_answer

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


async def test_what_is_kept_is_weighed(stand, monkeypatch) -> None:
    monkeypatch.setattr("sidecar.intercept.known.KNOWN_BODIES_BYTES_MAX", 100_000)
    kept, held = stand.listener._known, []
    for number in range(40):
        for _ in range(3):
            await stand.decide(numbered(number))
        held.append(len(kept._known))

    assert 1 < max(held) < 10
    assert set(kept._weights) <= set(kept._known)
    assert kept._weight == sum(kept._weights.values()) <= 100_000


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


def numbered(number):
    return {**CALL, "context": {"number": number}}


def known_numbers(stand):
    """Return which of the numbered calls are known."""
    bodies = (json.loads(body) for *_, body in stand.listener._known._known)
    return sorted(body["context"]["number"] for body in bodies)


async def test_what_is_asked_over_and_over_stays_while_others_come_and_go(
    stand, monkeypatch
) -> None:
    monkeypatch.setattr("sidecar.intercept.known.KNOWN_BODIES_MAX", 2)
    for number in range(10):
        for _ in range(TIMES):
            await stand.decide(CALL)
        for _ in range(2):
            await stand.decide(numbered(number))
    bodies = [json.loads(body) for *_, body in stand.listener._known._known]

    assert CALL in bodies
    assert len(bodies) == 2


async def test_one_asked_more_often_takes_the_place_of_one_asked_less(stand, monkeypatch) -> None:
    monkeypatch.setattr("sidecar.intercept.known.KNOWN_BODIES_MAX", 2)
    for number, times in ((0, 8), (1, 2), (2, 2), (2, 1)):
        for _ in range(times):
            await stand.decide(numbered(number))

    assert known_numbers(stand) == [0, 2]


async def test_what_nobody_asks_any_more_goes_in_the_end(stand, monkeypatch) -> None:
    monkeypatch.setattr("sidecar.intercept.known.KNOWN_BODIES_MAX", 2)
    for number in (0, 1):
        for _ in range(16):
            await stand.decide(numbered(number))
    for _ in range(8):
        for number in (2, 3):
            await stand.decide(numbered(number))

    assert known_numbers(stand) == [2, 3]


class OneConnection:
    """Sends the same bytes again and again over one connection."""

    def __init__(self, stand, reader, writer, call=CALL):
        body = json.dumps(call).encode()
        head = (
            f"POST /v1/decide HTTP/1.1\r\nHost: 127.0.0.1:{stand.port}\r\n"
            f"Sidecar-Authorization: Bearer {KEYS['gateway']}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self._data = head.encode() + body
        self._reader = reader
        self.writer = writer

    async def ask(self):
        """Return the answer to the same question."""
        self.writer.write(self._data)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
        return read_answer(head + await self._reader.readexactly(length))


@pytest.fixture
async def same(stand):
    found = OneConnection(stand, *await stand.connect())
    yield found
    found.writer.close()


async def test_what_one_connection_asks_again_and_again_is_recorded_each_time(stand, same) -> None:
    ids = [(await same.ask()).json["id"] for _ in range(2 * TIMES)]

    assert len(set(ids)) == 2 * TIMES
    assert [record.id for record in stand.ledger.records] == ids
    assert isinstance(stand.ledger.records[-1], MadeRecord)
    assert sum(stand.runtime.outcomes.values()) == 2 * TIMES


async def test_what_one_connection_asks_again_is_decided_again(stand, same) -> None:
    before = [(await same.ask()).json["permitted"] for _ in range(2 * TIMES)]
    stand.revocations.parties.add("service:gateway")
    stand.revocations.epoch += 1
    after = (await same.ask()).json["permitted"]

    assert (set(before), after) == ({True}, False)


async def test_a_record_that_is_refused_at_once_is_no_answer_and_the_next_is_one(
    stand, same
) -> None:
    def refuse(record, side=()):
        raise RecordError("too many records are waiting")

    for _ in range(2 * TIMES):
        await same.ask()
    stand.ledger.write, takes = refuse, stand.ledger.write
    refused = [await same.ask() for _ in range(TIMES)]
    stand.ledger.write = takes

    assert {(one.status, one.json["title"]) for one in refused} == {(503, "record.lost")}
    assert (await same.ask()).status == 200
    assert sum(stand.runtime.outcomes.values()) == 2 * TIMES + 1
