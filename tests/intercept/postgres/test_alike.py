"""Texts that differ in literals alone are known from one another; each is recorded as its own."""

import asyncio
import hashlib
from types import SimpleNamespace
from typing import Any

import msgspec
import orjson
import pytest

from sidecar.intercept.postgres import outcomes
from sidecar.intercept.postgres.protocol import wire
from sidecar.record.canonical import split
from sidecar.record.inputs import Secrets
from sidecar.record.inputs.again import Form, Outcome
from sidecar.terms.errors import RecordError
from sidecar.terms.record import DecisionRecord, MadeRecord, Stencil
from sidecar.terms.words import CallId
from tests.intercept.postgres.stand import (
    POLICY,
    Raw,
    Stand,
    bind,
    bundle,
    execute,
    parse,
    query,
)

OFTEN = 12
CLOSED = POLICY.replace("'compensation' in resource.labels", "true")
BY_DIGEST = """
apiVersion: sidecar/v1
kind: Policy
metadata: {name: trial}
spec:
  rules:
    - {id: open, effect: allow}
    - {id: not-that, effect: deny, when: "request.sql.text_sha256 == '%s'"}
"""
MASKED = """
apiVersion: sidecar/v1
kind: Policy
metadata: {name: trial}
spec:
  rules:
    - id: own
      effect: allow
      obligations: [{type: filter_rows, on: "table:finance.expenses", where: "id < 5"}]
"""


def text(number: int | str) -> str:
    return f"select amount from finance.expenses where id = {number}"


def shown(messages: list[tuple[bytes, bytes]]) -> tuple[str, list[bytes]]:
    """Return the kinds of messages, and the values of their rows of one column."""
    rows = [body[6:] for kind, body in messages if kind == b"D"]
    return b"".join(kind for kind, _ in messages).decode(), rows


async def asked(client: Raw, number: int | str, *, is_parsed: bool = False) -> Any:
    if is_parsed:
        client.send(parse(text(number)), bind(), execute(), wire.SYNC)
    else:
        client.send(query(text(number)))
    return shown(await client.until(b"Z"))


async def familiar(stand: Stand, *, is_parsed: bool = False) -> Raw:
    """Return a client who has asked for texts of one form until that is known."""
    client = await Raw.logged_in(stand)
    kinds = "12DCZ" if is_parsed else "TDCZ"
    for number in range(1, OFTEN):
        assert await asked(client, number, is_parsed=is_parsed) == (kinds, [b"%d0" % number])
    assert isinstance(stand.ledger.all_decisions[-1], MadeRecord)
    return client


def said(record: DecisionRecord | MadeRecord) -> dict[str, Any]:
    """Return a record as it stands in the log."""
    halves = split(record)
    found: dict[str, Any] = orjson.loads(halves.head + b"," + halves.tail)
    return found


def common(record: DecisionRecord | MadeRecord) -> dict[str, Any]:
    """Return what a record says without id, time, session and digest."""
    found = said(record)
    kept = orjson.loads(found["input"].pop("text"))
    for name in ("id", "time"):
        del found[name], kept[name]
    del found["input"]["digest"], kept["context"]["time"], kept["context"]["session"]
    return found | {"kept": kept}


@pytest.mark.parametrize("is_parsed", [False, True])
async def test_each_is_recorded_as_if_it_were_read_by_itself(stand: Stand, is_parsed: bool) -> None:
    client = await familiar(stand, is_parsed=is_parsed)
    await asked(client, 77, is_parsed=is_parsed)
    made = stand.ledger.all_decisions[-1]
    other = await Raw.logged_in(stand)
    await asked(other, 77, is_parsed=is_parsed)
    read = stand.ledger.all_decisions[-1]

    assert (type(made), type(read)) == (MadeRecord, DecisionRecord)
    assert common(made) == common(read)
    kept = said(made)["input"]
    assert orjson.loads(kept["text"])["request"]["sql"]["text_sha256"] == (
        hashlib.sha256(text(77).encode()).hexdigest()
    )
    secrets = stand.listener._path.secrets
    assert secrets.digest(kept["text"].encode()) == kept["digest"]


async def test_each_has_an_outcome_of_its_own(stand: Stand) -> None:
    client = await familiar(stand)
    await client.close()

    outcomes = await stand.outcomes(OFTEN - 1)
    ids = [said(one)["id"] for one in stand.ledger.all_decisions]
    assert len(set(ids)) == OFTEN - 1
    assert sorted(one.parent for one in outcomes) == sorted(ids)
    assert {(one.result, one.uses, one.rows) for one in outcomes} == {("forwarded", 1, 1)}


async def test_another_bundle_is_asked_at_once(stand: Stand) -> None:
    client = await familiar(stand)

    stand.bundle = bundle(CLOSED)
    assert await asked(client, 50) == ("EZ", [])
    stand.bundle = bundle()
    assert await asked(client, 51) == ("TDCZ", [b"510"])


async def test_who_is_revoked_is_refused_at_once(stand: Stand) -> None:
    client = await familiar(stand)

    stand.revoked.parties.add("user:bob")
    stand.revoked.epoch += 1
    assert await asked(client, 50) == ("EZ", [])
    stand.revoked.parties.clear()
    stand.revoked.epoch += 1
    assert await asked(client, 51) == ("TDCZ", [b"510"])


async def test_a_rule_that_knows_a_text_by_its_digest_is_asked_of_each(stand: Stand) -> None:
    digest = hashlib.sha256(text(50).encode()).hexdigest()
    stand.bundle = bundle(BY_DIGEST % digest)
    client = await Raw.logged_in(stand)
    for number in range(1, OFTEN):
        assert await asked(client, number) == ("TDCZ", [b"%d0" % number])

    assert await asked(client, 50) == ("EZ", [])
    assert await asked(client, 51) == ("TDCZ", [b"510"])


async def test_a_rule_that_begins_to_know_a_text_by_its_digest_is_asked(stand: Stand) -> None:
    client = await familiar(stand)
    digest = hashlib.sha256(text(50).encode()).hexdigest()

    stand.bundle = bundle(BY_DIGEST % digest)

    assert await asked(client, 50) == ("EZ", [])


async def test_what_is_rewritten_is_rewritten_each_time(stand: Stand) -> None:
    stand.bundle = bundle(MASKED)
    client = await Raw.logged_in(stand)

    for number in range(1, OFTEN):
        kinds, rows = await asked(client, number)
        assert rows == ([b"%d0" % number] if number < 5 else [])
        assert kinds.startswith("T")


@pytest.mark.parametrize(
    "other",
    [
        "'7'::int", "7 or exists (select from hr.compensation)", "7; select 1",
        "(select employee_id from hr.compensation)", "7 union select salary from hr.compensation",
    ],
)  # fmt: skip
async def test_what_is_of_another_form_is_read_by_itself(stand: Stand, other: str) -> None:
    client = await familiar(stand)

    kinds, rows = await asked(client, other)

    assert (kinds, rows) == (("TDCZ", [b"70"]) if other == "'7'::int" else ("EZ", []))


async def test_a_text_that_is_written_like_a_form_is_no_text_of_it(stand: Stand) -> None:
    client = await familiar(stand)
    count = len(stand.ledger.all_decisions)

    assert await asked(client, "?n") == ("EZ", [])

    (found,) = stand.ledger.all_decisions[count:]
    assert isinstance(found, DecisionRecord)
    assert found.outcome == "deny"


@pytest.mark.parametrize("is_parsed", [False, True])
async def test_what_cannot_be_recorded_is_not_sent(stand: Stand, is_parsed: bool) -> None:
    client = await familiar(stand, is_parsed=is_parsed)
    await stand.outcomes(OFTEN - 1)

    stand.ledger.is_full = True
    if is_parsed:
        client.send(parse(text(50)), bind(), execute(), wire.SYNC)
    else:
        client.send(query(text(50)))
    first = await client.until(b"Z")
    stand.ledger.is_full = False

    assert [kind for kind, _ in first] == [b"E", b"Z"]
    assert wire.fields(first[0][1])["C"] == "58030"


async def test_what_fails_is_told_of_as_failed(stand: Stand) -> None:
    client = await Raw.logged_in(stand)
    for number in range(1, OFTEN):
        client.send(query(f"select 1 / (id - {number}) from finance.expenses where id > 50"))
        assert (await client.kinds()).endswith("CZ")
    client.send(query("select 1 / (id - 70) from finance.expenses where id > 50"))
    assert (await client.kinds()).endswith("EZ")
    await client.close()

    last = (await stand.outcomes(OFTEN))[-1]
    assert (last.result, last.upstream_status) == ("failed", "22012")


async def test_what_comes_behind_a_text_waits_for_it(stand: Stand) -> None:
    client = await familiar(stand)

    client.send(query(text(50)))
    await client.drained()
    client.send(query(text(51)), query("select salary from hr.compensation"), query(text(52)))
    found = [shown(await client.until(b"Z")) for _ in range(4)]

    assert found == [("TDCZ", [b"500"]), ("TDCZ", [b"510"]), ("EZ", []), ("TDCZ", [b"520"])]


async def test_an_unnamed_statement_that_was_run_at_once_can_be_used_again(stand: Stand) -> None:
    client = await familiar(stand, is_parsed=True)
    count = len(stand.ledger.all_decisions)

    client.send(bind(), execute(), wire.SYNC)
    assert shown(await client.until(b"Z")) == ("2DCZ", [b"%d0" % (OFTEN - 1)])
    stand.revoked.parties.add("user:bob")
    stand.revoked.epoch += 1
    client.send(bind(), execute(), wire.SYNC)

    assert (await client.kinds()) == "EZ"
    assert len(stand.ledger.all_decisions) == count + 1


async def test_whoever_leaves_before_it_is_sent_leaves_an_outcome(stand: Stand) -> None:
    client = await familiar(stand)
    await stand.outcomes(OFTEN - 1)

    client.send(query(text(50)))
    await client.close()

    last = (await stand.outcomes(OFTEN))[-1]
    assert last.parent == said(stand.ledger.all_decisions[-1])["id"]
    assert last.result in ("failed", "forwarded", "unknown")


async def test_whoever_leaves_meanwhile_is_told_of_only_where_it_is_on_record(stand: Stand) -> None:
    await familiar(stand)
    (session,) = stand.listener._sessions
    desk = session._desk
    asked = desk.take_asked(query(text(50)), 0)
    assert asked is not None
    await asked.written
    lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    lost.set_exception(RecordError("the disk is full"))

    desk.is_over = True
    sent = [desk.decided(msgspec.structs.replace(asked, written=lost))]
    untold = list(desk.pipeline.touched)
    sent.append(desk.decided(asked))
    told = list(desk.pipeline.touched)
    desk.is_over = False

    assert (sent, untold, told) == ([b"", b""], [], [asked.of[0].lease])


async def test_many_forms_are_known_in_turns(stand: Stand) -> None:
    client = await Raw.logged_in(stand)
    forms = [f"select amount from finance.expenses where id {'+ 0 ' * at}= " for at in range(7)]

    for number in range(1, OFTEN):
        for form in forms:
            client.send(query(f"{form}{number}"))
            assert shown(await client.until(b"Z")) == ("TDCZ", [b"%d0" % number])

    last = stand.ledger.all_decisions[-len(forms) :]
    texts = [orjson.loads(said(one)["input"]["text"])["request"]["sql"] for one in last]
    digests = [hashlib.sha256(f"{form}{OFTEN - 1}".encode()).hexdigest() for form in forms]
    assert {type(one) for one in last} == {MadeRecord}
    assert [one["text_sha256"] for one in texts] == digests


async def test_one_form_is_known_for_whoever_asks(stand: Stand) -> None:
    client = await familiar(stand)
    found = []

    for token in ("swk_alice-key", "", "swk_alice-key"):
        client.send(query(f"SET sidecar.subject_token = '{token}'"))
        await client.until(b"Z")
        for number in range(1, OFTEN):
            assert await asked(client, number) == ("TDCZ", [b"%d0" % number])
        found.append(stand.ledger.all_decisions[-1])

    first, second, third = (said(one)["subject"] for one in found)
    assert [type(one) for one in found] == [MadeRecord] * 3
    assert first == third != second


async def test_an_outcome_goes_behind_what_is_sent(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await familiar(stand)
    await stand.outcomes(OFTEN - 1)
    monkeypatch.setattr(outcomes, "OUTCOMES_APART_S", 0.0)
    monkeypatch.setattr(outcomes, "OUTCOMES_GATHERED_S", 60.0)
    assert await asked(client, 50) == ("TDCZ", [b"500"])

    stand.ledger.is_stuck = True
    client.send(query(text(51)))
    await stand.ledger.until(lambda: stand.ledger.held == 1)
    before = len(stand.ledger.outcomes)
    stand.ledger.catch_up()
    assert shown(await client.until(b"Z")) == ("TDCZ", [b"510"])

    assert before == OFTEN - 1
    assert len(await stand.outcomes(OFTEN)) == OFTEN


async def test_for_another_subject_it_is_decided_anew(stand: Stand) -> None:
    client = await familiar(stand)
    stand.bundle = bundle(POLICY.replace("'mallory'", "'alice'"))
    assert await asked(client, 50) == ("TDCZ", [b"500"])

    client.send(query("SET sidecar.subject_token = 'swk_alice-key'"))
    await client.until(b"Z")

    assert await asked(client, 51) == ("EZ", [])


async def test_in_a_transaction_that_has_failed_it_fails(stand: Stand) -> None:
    client = await familiar(stand)

    client.send(query("begin"))
    assert await client.kinds() == "CZ"
    assert await asked(client, 50) == ("TDCZ", [b"500"])
    client.send(query("select salary from hr.compensation"))
    assert await client.kinds() == "EZ"
    assert await asked(client, 51) == ("EZ", [])
    client.send(query("rollback"))
    assert await client.kinds() == "CZ"
    assert await asked(client, 52) == ("TDCZ", [b"520"])


WAS, NEW = b"a" * 64, b"b" * 64
TIME, CALL = "2026-01-01T00:00:00.000000Z", CallId("0" * 36)


def outcome(*persons: str, text: bytes = WAS, head: bytes = WAS, hidden: bytes = b"") -> Outcome:
    """Return one whose record says `text` in its input and `head` around that."""
    pieces = (b"one", b"two", head, b"four", b"five", b"six")
    stencil = Stencil(
        pieces, (b"before", b"behind"), ("data", "allow", "1"), listener_forwarded=True
    )
    form = Form((b"first", b"second", text, b"last"), hidden, stencil)
    handles = {f"user:{one}": "p_x" for one in persons}
    decided: Any = SimpleNamespace(outcome="allow")
    return Outcome(decided, {}, handles, form, None)


def test_another_digest_stands_where_the_first_one_stood() -> None:
    secrets = Secrets.passing()

    made = outcome().record(CALL, TIME, secrets, (WAS, NEW))
    like = outcome(text=NEW, head=NEW).record(CALL, TIME, secrets)

    assert made is not None
    assert like is not None
    assert split(made) == split(like)
    assert made.digest == like.digest


@pytest.mark.parametrize("person", [NEW.decode(), NEW.decode().upper()])
def test_a_digest_that_is_a_persons_name_is_looked_at_like_any_text(person: str) -> None:
    secrets = Secrets.passing()

    assert outcome(person).record(CALL, TIME, secrets, (WAS, NEW)) is None
    assert outcome("somebody").record(CALL, TIME, secrets, (WAS, NEW)) is not None


@pytest.mark.parametrize(
    ("made", "is_so"),
    [
        (outcome(), True),
        (outcome(text=b"none"), False),
        (outcome(text=WAS + b" " + WAS), False),
        (outcome(head=b"none"), False),
        (outcome(head=WAS + b" " + WAS), False),
        (outcome(hidden=WAS), False),
    ],
)
def test_a_digest_is_put_only_where_it_stands_once(made: Outcome, is_so: bool) -> None:
    assert made.says_once(WAS) is is_so
