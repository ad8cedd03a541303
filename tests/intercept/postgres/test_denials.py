"""Denials, leases and outcomes, message by message, against a real PostgreSQL."""

import pytest

from sidecar.intercept.postgres.protocol import wire
from tests.intercept.postgres.stand import (
    CLOSED,
    OPEN,
    POLICY,
    Raw,
    bind,
    bundle,
    close,
    describe,
    execute,
    parse,
    party,
    query,
)

pytestmark = pytest.mark.e2e

LATE = "SELECT 1 / (id - id) FROM finance.expenses WHERE id = 3"
NOTHING = POLICY.replace('when: "true"', 'when: "false"')


async def ready(raw: Raw) -> tuple[str, list[str]]:
    """Return the kinds of what comes up to ReadyForQuery, and the SQLSTATEs among it."""
    found = await raw.until(b"Z")
    states = [wire.fields(body)["C"] for kind, body in found if kind == b"E"]
    return "".join(kind.decode() for kind, _ in found), states


async def test_a_denial_in_the_middle_of_a_pipeline_is_answered_in_its_place(stand):
    raw = await Raw.logged_in(stand)

    raw.send(parse(OPEN), bind(), execute(), parse(CLOSED), bind(), execute(), wire.SYNC)
    raw.send(parse(OPEN), bind(), execute(), wire.SYNC)

    assert await ready(raw) == ("12DCEZ", ["42501"])
    assert await ready(raw) == ("12DCZ", [])
    await raw.close()


@pytest.mark.parametrize("size", [1, 2, 3, 7])
async def test_messages_may_arrive_in_pieces_of_any_size(stand, size):
    raw = await Raw.logged_in(stand)
    said = parse(OPEN) + bind() + execute() + parse(CLOSED) + bind() + wire.SYNC + query(OPEN)

    for at in range(0, len(said), size):
        raw.send(said[at : at + size])

    assert await ready(raw) == ("12DCEZ", ["42501"])
    assert await ready(raw) == ("TDCZ", [])
    await raw.close()


async def test_a_name_keeps_the_statement_that_the_server_took(stand):
    raw = await Raw.logged_in(stand)
    raw.send(parse(OPEN, b"s"), wire.SYNC)
    assert await ready(raw) == ("1Z", [])

    raw.send(parse("SELECT 1", b"s"), wire.SYNC)
    assert await ready(raw) == ("EZ", ["42P05"])
    stand.bundle = bundle(POLICY.replace("'compensation' in", "'x' in").replace("mallory", "bob"))
    raw.send(bind(b"s"), wire.SYNC)

    assert await ready(raw) == ("EZ", ["42501"])
    last = stand.ledger.decisions[-1]
    assert "table:finance.expenses" in [target.resource for target in last.targets]
    await raw.close()


async def test_a_name_that_two_statements_may_stand_for_needs_both_permitted(stand):
    raw = await Raw.logged_in(stand)
    raw.send(parse(OPEN, b"s"), wire.SYNC)
    await ready(raw)
    only_sessions = POLICY.replace('when: "true"', "when: \"action['class'] == 'connect'\"")
    stand.bundle = bundle(only_sessions)

    # The second Parse fails, but nobody knows yet when the Bind is sent.
    raw.send(parse("SELECT 1", b"s"), wire.SYNC, bind(b"s"), execute(), wire.SYNC)

    assert await ready(raw) == ("EZ", ["42P05"])
    assert await ready(raw) == ("EZ", ["42501"])
    await raw.close()


async def test_a_new_bundle_ends_the_lease_of_a_prepared_statement(stand):
    raw = await Raw.logged_in(stand)
    raw.send(parse(OPEN, b"s"), bind(b"s"), execute(), wire.SYNC)
    assert await ready(raw) == ("12DCZ", [])

    stand.bundle = bundle(NOTHING)
    raw.send(bind(b"s"), execute(), wire.SYNC)
    denied = await ready(raw)
    stand.bundle = bundle()
    raw.send(bind(b"s"), execute(), wire.SYNC)

    assert denied == ("EZ", ["42501"])
    assert await ready(raw) == ("2DCZ", [])
    await raw.close()


async def test_a_portal_bound_before_a_new_bundle_is_decided_again(stand):
    raw = await Raw.logged_in(stand)
    raw.send(query("BEGIN"), parse("SELECT id FROM finance.expenses"), bind(b"", b"p"))
    raw.send(execute(b"p", 2), wire.SYNC)
    assert await ready(raw) == ("CZ", [])
    assert await ready(raw) == ("12DDsZ", [])

    stand.bundle = bundle(NOTHING)
    raw.send(execute(b"p", 2), wire.SYNC)

    assert await ready(raw) == ("EZ", ["42501"])
    await raw.close()


async def test_a_revocation_ends_the_lease_of_a_prepared_statement(stand):
    raw = await Raw.logged_in(stand)
    raw.send(parse(OPEN, b"s"), bind(b"s"), execute(), wire.SYNC)
    assert await ready(raw) == ("12DCZ", [])

    stand.revoked.parties.add("user:bob")
    stand.revoked.epoch += 1
    raw.send(bind(b"s"), execute(), wire.SYNC)

    assert await ready(raw) == ("EZ", ["42501"])
    assert stand.ledger.decisions[-1].reason == "revoked"
    await raw.close()


@pytest.mark.parametrize("path", ["context.time != ''", "context['time'] != ''", "has(session.x)"])
async def test_rules_that_read_what_varies_leave_no_lease(stand, path):
    stand.bundle = bundle(POLICY.replace('when: "true"', f'when: "true || {path}"'))
    raw = await Raw.logged_in(stand)

    raw.send(parse(OPEN, b"s"), wire.SYNC)
    await ready(raw)
    before = len(stand.ledger.decisions)
    raw.send(bind(b"s"), wire.SYNC)
    await ready(raw)

    assert len(stand.ledger.decisions) == before + 1
    await raw.close()


async def test_a_statement_that_was_never_prepared_does_not_exist(stand):
    raw = await Raw.logged_in(stand)

    raw.send(bind(b"nobody"), execute(), wire.SYNC, execute(b"nobody"), wire.SYNC)

    assert await ready(raw) == ("EZ", ["26000"])
    assert await ready(raw) == ("EZ", ["34000"])
    await raw.close()


async def test_a_closed_statement_does_not_exist(stand):
    raw = await Raw.logged_in(stand)

    raw.send(parse(OPEN, b"s"), describe(b"S", b"s"), close(b"S", b"s"), wire.SYNC)
    assert await ready(raw) == ("1tT3Z", [])
    raw.send(bind(b"s"), execute(), wire.SYNC)

    assert await ready(raw) == ("EZ", ["26000"])
    await raw.close()


async def test_a_denied_parse_leaves_a_name_as_it_was(stand):
    raw = await Raw.logged_in(stand)
    raw.send(parse(OPEN, b"s"), wire.SYNC)
    await ready(raw)

    raw.send(parse(CLOSED, b"s"), bind(b"s"), execute(), wire.SYNC)
    raw.send(bind(b"s"), execute(), wire.SYNC)

    assert await ready(raw) == ("EZ", ["42501"])
    assert await ready(raw) == ("2DCZ", [])
    await raw.close()


async def test_a_query_behind_an_error_is_discarded_as_the_server_does(stand):
    raw = await Raw.logged_in(stand)

    raw.send(parse(LATE), bind(), execute(), query(OPEN), parse(OPEN), wire.SYNC)
    raw.send(query(OPEN))

    assert await ready(raw) == ("12EZ", ["22012"])
    assert await ready(raw) == ("TDCZ", [])
    await raw.close()


async def test_words_that_look_like_a_denial_are_not_taken_for_one(stand):
    raw = await Raw.logged_in(stand)

    raw.send(query("SELECT sidecar_denied_00000000000000000000000000000000"))
    raw.send(query("SELECT cast('sidecar_denied_0' as int)"))

    assert (await ready(raw))[1] == ["42501"]
    assert (await ready(raw))[1] == ["22P02"]
    await raw.close()


async def test_function_calls_are_refused_and_recorded(stand):
    raw = await Raw.logged_in(stand)

    raw.send(wire.message(b"F", b"\0\0\4\x05", b"\0" * 6), query(OPEN))

    assert await ready(raw) == ("EZ", ["42501"])
    assert await ready(raw) == ("TDCZ", [])
    assert stand.ledger.decisions[0].reason.startswith("parse.")
    await raw.close()


async def test_a_statement_that_is_not_utf8_is_refused_and_recorded(stand):
    raw = await Raw.logged_in(stand)

    raw.send(wire.query(b"SELECT '\xff'"), query(OPEN))

    assert await ready(raw) == ("EZ", ["42501"])
    assert await ready(raw) == ("TDCZ", [])
    assert stand.ledger.decisions[0].reason.startswith("parse.")
    await raw.close()


async def test_copy_data_that_nobody_asked_for_is_dropped(stand):
    raw = await Raw.logged_in(stand)

    raw.send(wire.message(b"d", b"1\t2\n"), wire.message(b"c"), wire.message(b"f", b"no\0"))
    raw.send(query(OPEN))

    assert await ready(raw) == ("TDCZ", [])
    await raw.close()


async def test_what_cannot_be_recorded_is_not_executed_and_it_recovers(stand):
    raw = await Raw.logged_in(stand)
    stand.ledger.is_full = True

    raw.send(query("INSERT INTO scratch VALUES ('unrecorded', 1)"))
    refused = await ready(raw)
    stand.ledger.is_full = False
    raw.send(query("SELECT note FROM scratch WHERE note = 'unrecorded'"))

    assert refused == ("EZ", ["58030"])
    assert await ready(raw) == ("TCZ", [])
    await raw.close()


async def test_an_outcome_that_cannot_be_recorded_ends_the_connection(stand):
    raw = await Raw.logged_in(stand)
    stand.ledger.refuses_outcomes = True

    raw.send(query(OPEN))

    assert (await raw.last_words())["C"] == "58030"


async def test_outcomes_tell_what_became_of_each_decision(stand):
    raw = await Raw.logged_in(stand)

    raw.send(query(OPEN), query("SELECT 1 / 0"), query("DELETE FROM scratch WHERE amount = -1"))
    for _ in range(3):
        await raw.until(b"Z")
    found = await stand.outcomes(3)

    said = [(one.result, one.upstream_status, one.rows, one.uses) for one in found]
    assert said == [
        ("forwarded", "SELECT", 1, 1),
        ("failed", "22012", 0, 1),
        ("forwarded", "DELETE", 0, 1),
    ]
    assert [one.parent for one in found] == [one.id for one in stand.ledger.decisions]
    await raw.close()


async def test_what_was_under_way_when_the_client_left_is_unknown(stand):
    raw = await Raw.logged_in(stand)

    raw.send(query("SELECT count(*) FROM finance.expenses a, finance.expenses b"))
    await stand.ledger.until(lambda: bool(stand.ledger.decisions))
    await raw.close()

    (outcome,) = await stand.outcomes(1)
    assert outcome.parent == stand.ledger.decisions[0].id
    assert outcome.result in ("unknown", "forwarded")


async def test_a_statement_prepared_and_never_used_is_told_of_at_the_end(stand):
    raw = await Raw.logged_in(stand)

    raw.send(parse(OPEN, b"s"), wire.SYNC)
    await ready(raw)
    await raw.close()

    (outcome,) = await stand.outcomes(1)
    assert (outcome.result, outcome.uses) == ("forwarded", 0)


async def test_a_call_says_who_from_where_and_in_which_session(stand):
    raw = await Raw.logged_in(stand)

    raw.send(query(OPEN))
    await raw.until(b"Z")

    (decision,) = stand.ledger.decisions
    assert (party(decision.subject), [*map(party, decision.actors)]) == (
        "user:bob",
        ["agent:expense-bot"],
    )
    assert (decision.verified, decision.listener, decision.upstream) == ("scram", "erp", "erp")
    await raw.close()


async def test_a_text_that_was_asked_before_is_decided_each_time(stand):
    raw = await Raw.logged_in(stand)

    for _ in range(4):
        raw.send(query(OPEN))
        assert await ready(raw) == ("TDCZ", [])
    stand.bundle = bundle(NOTHING)
    raw.send(query(OPEN))
    denied = await ready(raw)
    stand.bundle = bundle()
    stand.revoked.parties.add("user:bob")
    stand.revoked.epoch += 1
    raw.send(query(OPEN), query(OPEN), query(OPEN))
    revoked = [await ready(raw) for _ in range(3)]

    assert denied == ("EZ", ["42501"])
    assert revoked == [("EZ", ["42501"])] * 3
    assert len({one.id for one in stand.ledger.all_decisions}) == 8
    await raw.close()


async def test_a_text_that_was_asked_before_is_decided_for_who_asks_now(stand):
    raw = await Raw.logged_in(stand)
    stand.bundle = bundle(POLICY.replace("'mallory'", "'alice'"))

    for _ in range(3):
        raw.send(query(OPEN))
        assert await ready(raw) == ("TDCZ", [])
    raw.send(query("SET sidecar.subject_token = 'swk_alice-key'"), query(OPEN))

    assert await ready(raw) == ("CZ", [])
    assert await ready(raw) == ("EZ", ["42501"])
    assert party(stand.ledger.decisions[-1].subject) == "user:alice"
    await raw.close()
