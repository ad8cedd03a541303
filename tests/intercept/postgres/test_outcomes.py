"""A client that is faster than the disk: it is held, and nothing is lost."""

import pytest

from sidecar.intercept.postgres import outcomes, session
from sidecar.intercept.postgres.protocol import wire
from tests.intercept.postgres.stand import OPEN, Raw, bind, execute, parse, query

pytestmark = pytest.mark.e2e

SYNC = wire.message(b"S")
# Each is a decision of its own, and so an outcome.
ROUND = query(OPEN)


def uses(stand):
    return sum(one.uses or 0 for one in stand.ledger.outcomes)


async def test_a_client_faster_than_the_disk_is_not_cut_off(stand, monkeypatch):
    monkeypatch.setattr(outcomes, "OUTCOMES_MAX", 8)
    raw = await Raw.logged_in(stand)
    stand.ledger.is_slow = True

    for _ in range(8):
        raw.send(ROUND)
        assert await raw.kinds() == "TDCZ"
    raw.send(ROUND * 500)
    stand.ledger.catch_up()
    for _ in range(500):
        assert await raw.kinds() == "TDCZ"
    await stand.ledger.until(lambda: uses(stand) == 508)

    assert {one.result for one in stand.ledger.outcomes} == {"forwarded"}
    await raw.close()


async def test_no_more_outcomes_wait_than_the_bound_and_the_client_waits_instead(
    stand, monkeypatch
):
    monkeypatch.setattr(outcomes, "OUTCOMES_MAX", 8)
    monkeypatch.setattr(session, "WAITING_BYTES_MAX", 256)
    raw = await Raw.logged_in(stand)
    (held,) = stand.listener._sessions
    stand.ledger.is_slow = True

    raw.send(ROUND * 100)
    for _ in range(8):
        await raw.until(b"Z")
    other = await Raw.logged_in(stand, "alice", "swk_alice-key")
    while held._pipeline.syncs:
        # Another client is served meanwhile, and what is under way has time to be answered.
        other.send(query(OPEN))
        assert await other.kinds() == "TDCZ"
    at_least, more = held._outcomes.is_full(0), held._outcomes.is_full(-1)
    is_held = held._is_held
    stand.ledger.catch_up()
    await stand.ledger.until(lambda: uses(stand) >= 100)

    assert (at_least, more, is_held) == (True, False, True)
    assert held._is_held is False
    await raw.close()
    await other.close()


async def test_uses_of_a_prepared_statement_are_told_of_once_a_second(stand, monkeypatch):
    monkeypatch.setattr(outcomes, "OUTCOMES_EVERY_S", 0.01)
    raw = await Raw.logged_in(stand)
    raw.send(parse(OPEN, b"s"), (bind(b"s") + execute() + SYNC) * 50)
    for _ in range(50):
        await raw.until(b"Z")

    await stand.ledger.until(lambda: uses(stand) == 50)

    assert len(stand.ledger.outcomes) < 50
    assert sum(one.rows or 0 for one in stand.ledger.outcomes) == 50
    await raw.close()


async def test_a_use_that_fails_is_told_of_at_once_with_those_before_it(stand):
    raw = await Raw.logged_in(stand)
    asked = "SELECT 1 / (id - 3) FROM finance.expenses WHERE id = $1"
    raw.send(wire.parse(b"s", asked.encode(), b"\0\1\0\0\0\x17"), SYNC)
    await raw.until(b"Z")
    for number in (b"1", b"2", b"3"):
        values = b"\0\0\0\1\0\0\0\1" + number + b"\0\0"
        raw.send(wire.message(b"B", b"\0s\0", values), execute(), SYNC)
        await raw.until(b"Z")

    found = await stand.outcomes(2)

    assert [(one.uses, one.result) for one in found] == [(1, "forwarded"), (2, "failed")]
    await raw.close()


async def test_one_sync_may_bring_more_outcomes_than_the_bound(stand, monkeypatch):
    monkeypatch.setattr(outcomes, "OUTCOMES_MAX", 4)
    raw = await Raw.logged_in(stand)
    names = [b"s%d" % number for number in range(12)]

    raw.send(*(parse(OPEN, name) + bind(name) + execute() for name in names), SYNC)

    assert await raw.kinds() == "12DC" * len(names) + "Z"
    assert len(await stand.outcomes(len(names))) == len(names)
    raw.send(query(OPEN))
    assert await raw.kinds() == "TDCZ"
    await raw.close()


async def test_a_client_that_leaves_while_it_is_held_leaves_its_outcomes(stand, monkeypatch):
    monkeypatch.setattr(outcomes, "OUTCOMES_MAX", 4)
    raw = await Raw.logged_in(stand)
    stand.ledger.is_slow = True

    raw.send(ROUND * 50)
    for _ in range(4):
        await raw.until(b"Z")
    await raw.close()
    stand.ledger.catch_up()

    await stand.ledger.until(lambda: uses(stand) >= 4)


@pytest.mark.parametrize("is_time", [True, False])
async def test_an_outcome_goes_with_the_first_decision_once_it_is_time(stand, monkeypatch, is_time):
    monkeypatch.setattr(outcomes, "OUTCOMES_APART_S", 0.0 if is_time else 60.0)
    monkeypatch.setattr(outcomes, "OUTCOMES_GATHERED_S", 60.0)
    raw = await Raw.logged_in(stand)

    for _ in range(3):
        raw.send(query(OPEN))
        assert await raw.kinds() == "TDCZ"
    before = len(stand.ledger.outcomes)
    await raw.close()

    # The end of a connection waits for no time.
    assert len(await stand.outcomes(3)) == 3
    assert (before > 0) is is_time


async def test_an_outcome_goes_with_the_next_decision_of_any_connection(stand, monkeypatch):
    monkeypatch.setattr(outcomes, "OUTCOMES_APART_S", 0.0)
    monkeypatch.setattr(outcomes, "OUTCOMES_GATHERED_S", 60.0)
    raw = await Raw.logged_in(stand)
    other = await Raw.logged_in(stand, "alice", "swk_alice-key")

    raw.send(query(OPEN))
    assert await raw.kinds() == "TDCZ"
    before = [*stand.ledger.outcomes]
    other.send(query(OPEN))
    assert await other.kinds() == "TDCZ"
    found = [*await stand.outcomes(1)]
    await other.close()
    await stand.outcomes(2)

    first, second = stand.ledger.decisions
    assert before == []
    assert [one.parent for one in found] == [first.id]
    assert [one.parent for one in stand.ledger.outcomes] == [first.id, second.id]
    await raw.close()


async def test_an_outcome_waits_for_no_decision(stand):
    raw = await Raw.logged_in(stand)

    raw.send(query(OPEN))
    assert await raw.kinds() == "TDCZ"

    (found,) = await stand.outcomes(1)
    assert found.parent == stand.ledger.decisions[0].id
    await raw.close()


CURSOR = "DECLARE c CURSOR FOR " + OPEN
FAILS = parse("SELECT 1/0") + bind() + execute()
# Each use of what gives a name is decided by itself.
USED = bind(b"s") + execute()


@pytest.mark.parametrize(
    "sent",
    [
        FAILS + parse(CURSOR, b"s") + USED + SYNC,
        query("BEGIN") + query("SELECT 1/0") + parse(CURSOR, b"s") + USED + SYNC,
        parse(CURSOR, b"s") + SYNC + parse(CURSOR, b"s") + USED + SYNC,
        parse(CURSOR, b"s") + SYNC + (FAILS + USED + SYNC) * 3,
    ],
    ids=["behind what fails", "in a failed transaction", "behind a name that is taken", "often"],
)
async def test_what_is_decided_for_a_use_that_the_server_skips_has_its_outcome(stand, sent):
    raw = await Raw.logged_in(stand)

    raw.send(sent, query(OPEN))
    for _ in range(1 + sent.count(SYNC) + sent.count(b"Q\0")):
        await raw.until(b"Z")
    await raw.close()
    # What is decided while the client leaves is told of as well.
    await stand.listener.drain(1)

    permitted = {one.id for one in stand.ledger.all_decisions if one.listener_forwarded}
    assert permitted == {one.parent for one in stand.ledger.outcomes}


OTHER = "SELECT 1"


@pytest.mark.parametrize(
    "use",
    [bind(b"s") + execute(), bind(b"s", b"p") + execute(b"p", 1) * 2],
    ids=["once", "a portal"],
)
async def test_a_use_is_told_of_with_what_was_run_whatever_else_the_name_might_mean(stand, use):
    raw = await Raw.logged_in(stand)
    raw.send(parse(OPEN, b"s"), SYNC)
    await raw.until(b"Z")

    # The name is taken, but that is not known yet when it is used.
    raw.send(parse(OTHER, b"s"), SYNC, use, SYNC)
    await raw.until(b"Z")
    await raw.until(b"Z")
    await raw.close()

    told = await stand.outcomes(2)
    ran, other = stand.ledger.decisions
    assert [(one.result, one.uses) for one in told if one.parent == other.id] == [("failed", 0)]
    assert [(one.result, one.uses) for one in told if one.parent == ran.id] == [
        ("forwarded", use.count(b"E\0"))
    ]


async def test_each_that_a_name_might_mean_and_was_decided_anew_has_its_outcome(stand):
    raw = await Raw.logged_in(stand)
    raw.send(parse(OPEN, b"s"), SYNC)
    await raw.until(b"Z")

    stand.ledger.is_stuck = True
    raw.send(parse(OTHER, b"s"), SYNC, bind(b"s"), execute(), SYNC)
    await stand.ledger.until(lambda: stand.ledger.held == 1)
    stand.revoked.epoch += 1
    stand.ledger.catch_up()
    await raw.until(b"Z")
    await raw.until(b"Z")
    await raw.close()
    await stand.listener.drain(1)

    permitted = {one.id for one in stand.ledger.all_decisions if one.listener_forwarded}
    assert permitted == {one.parent for one in stand.ledger.outcomes}
