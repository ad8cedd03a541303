"""`SET sidecar.subject_token`: whose behalf a pooled connection speaks on."""

import pytest

from sidecar.intercept.postgres.protocol import wire
from tests.intercept.postgres.stand import (
    ALICE,
    MALLORY,
    OPEN,
    Raw,
    bind,
    execute,
    parse,
    party,
    query,
)

pytestmark = pytest.mark.e2e


async def states(raw: Raw, count: int = 1) -> list[str]:
    """Return the SQLSTATE, or nothing, of each of `count` ReadyForQuery."""
    found = []
    for _ in range(count):
        said = await raw.until(b"Z")
        found.append(next((wire.fields(body)["C"] for kind, body in said if kind == b"E"), ""))
    return found


def subjects(stand) -> list[str]:
    return [party(one.subject) for one in stand.ledger.decisions]


async def test_a_token_names_the_subject_until_the_next_one(stand):
    raw = await Raw.logged_in(stand)

    raw.send(query(OPEN), query(f"SET sidecar.subject_token = '{ALICE}'"), query(OPEN))
    raw.send(query(f"set session sidecar.subject_token to '{MALLORY}';"), query(OPEN))

    assert await states(raw, 5) == ["", "", "", "", "42501"]
    assert subjects(stand) == ["user:bob", "user:alice", "user:mallory"]
    assert {one.asserted_by for one in stand.ledger.decisions[1:]} == {"expense-bot"}
    assert [party(one) for one in stand.ledger.decisions[1].actors] == ["agent:expense-bot"]
    await raw.close()


async def test_the_token_never_reaches_the_server_or_the_ledger(stand):
    raw = await Raw.logged_in(stand)
    before = len(stand.server.log())

    raw.send(query("SET sidecar.subject_token = 'swk_not-a-key'"))
    raw.send(query(f"SET sidecar.subject_token = '{ALICE}'"), query("SHOW sidecar.subject_token"))

    assert (await states(raw, 2)) == ["42501", ""]
    assert "swk_" not in stand.server.log()[before:]
    assert "swk_" not in repr(stand.ledger.records)
    await raw.close()


@pytest.mark.parametrize(
    ("user", "key", "token"),
    [
        ("expense-bot", "swk_bot-key", "swk_unknown"),
        ("expense-bot", "swk_bot-key", "swk_robot"),
        ("loner", "swk_loner", ALICE),
    ],
    ids=["nobody's token", "a token that names no subject", "a workload that may not"],
)
async def test_a_token_that_is_not_accepted_is_refused_and_changes_nothing(stand, user, key, token):
    raw = await Raw.logged_in(stand, user, key)

    raw.send(query(f"SET sidecar.subject_token = '{token}'"), query(OPEN))

    assert await states(raw, 2) == ["42501", ""]
    refused, allowed = stand.ledger.decisions
    assert (refused.outcome, refused.reason) == ("deny", "parse.session")
    assert party(refused.subject) == party(allowed.subject)
    await raw.close()


async def test_a_local_token_ends_with_its_transaction(stand):
    raw = await Raw.logged_in(stand)

    raw.send(query("BEGIN"), query(f"SET LOCAL sidecar.subject_token = '{ALICE}'"), query(OPEN))
    raw.send(query("COMMIT"), query(OPEN))

    assert await states(raw, 5) == [""] * 5
    assert subjects(stand) == ["user:bob", "user:alice", "user:alice", "user:bob"]
    await raw.close()


async def test_a_local_token_in_a_pipeline_ends_at_the_sync_that_ends_its_transaction(stand):
    raw = await Raw.logged_in(stand)

    raw.send(parse("BEGIN"), bind(), execute())
    raw.send(parse(f"SET LOCAL sidecar.subject_token = '{ALICE}'"), bind(), execute())
    raw.send(parse(OPEN), bind(), execute(), parse("COMMIT"), bind(), execute(), wire.SYNC)
    raw.send(parse(OPEN), bind(), execute(), wire.SYNC)

    assert await states(raw, 2) == ["", ""]
    assert subjects(stand) == ["user:bob", "user:alice", "user:alice", "user:bob"]
    await raw.close()


LOCAL = f"SET LOCAL sidecar.subject_token = '{ALICE}'"


@pytest.mark.parametrize(
    "end",
    [
        "COMMIT AND CHAIN", "rollback work and chain", "END AND CHAIN",
        "ROLLBACK /* to */ AND CHAIN -- to",
    ],
)  # fmt: skip
async def test_a_local_token_ends_with_its_transaction_although_the_next_one_begins(stand, end):
    raw = await Raw.logged_in(stand)

    raw.send(*map(query, ("BEGIN", LOCAL, OPEN, end, OPEN)))

    assert await states(raw, 5) == [""] * 5
    assert subjects(stand) == ["user:bob", "user:alice", "user:alice", "user:bob"]


async def test_a_local_token_ends_within_a_pipeline_that_begins_the_next_transaction(stand):
    raw = await Raw.logged_in(stand)
    raw.send(query("BEGIN"), query(LOCAL))
    assert await states(raw, 2) == ["", ""]

    for one in ("COMMIT", "BEGIN", OPEN):
        raw.send(parse(one), bind(), execute())
    raw.send(wire.SYNC, query(OPEN))

    assert await states(raw, 2) == ["", ""]
    assert subjects(stand) == ["user:bob", "user:alice", *["user:bob"] * 3]


async def test_a_local_token_in_the_next_transaction_of_a_pipeline_holds(stand):
    raw = await Raw.logged_in(stand)
    raw.send(query("BEGIN"))
    assert await states(raw) == [""]

    for one in ("COMMIT", "BEGIN", LOCAL):
        raw.send(parse(one), bind(), execute())
    raw.send(wire.SYNC, query(OPEN))

    assert await states(raw, 2) == ["", ""]
    assert subjects(stand)[-1] == "user:alice"


@pytest.mark.parametrize(
    ("said", "want"),
    [
        (("SAVEPOINT s", LOCAL, "ROLLBACK TO s"), "0A000"),
        (("SAVEPOINT s", LOCAL, "ROLLBACK WORK TO SAVEPOINT s"), "0A000"),
        (("SAVEPOINT s", LOCAL, "ROLLBACK TO s; SELECT 1"), "0A000"),
        ((LOCAL, "SAVEPOINT s", "ROLLBACK TO s"), ""),
        (("SAVEPOINT s", "ROLLBACK TO s", LOCAL), ""),
    ],
)
async def test_no_return_to_a_savepoint_takes_a_subject_back_unseen(stand, said, want):
    raw = await Raw.logged_in(stand)

    raw.send(*map(query, ("BEGIN", *said, OPEN)))

    *before, last = await states(raw, 2 + len(said))
    assert before == [""] * len(said) + [want]
    assert last == ("25P02" if want else "")
    assert want or subjects(stand)[-1] == "user:alice"


async def test_savepoints_of_a_transaction_that_is_over_are_forgotten(stand):
    raw = await Raw.logged_in(stand)

    for one in ("BEGIN", "SAVEPOINT s", "COMMIT", "BEGIN", LOCAL, "SAVEPOINT s", "ROLLBACK TO s"):
        raw.send(query(one))
        assert await states(raw) == [""]


async def test_a_local_token_outside_a_transaction_is_warned_of_and_does_nothing(stand):
    raw = await Raw.logged_in(stand)

    raw.send(query(f"SET LOCAL sidecar.subject_token = '{ALICE}'"))
    assert await raw.kinds() == "NCZ"
    raw.send(query(OPEN))

    assert await states(raw) == [""]
    assert subjects(stand) == ["user:bob"]
    await raw.close()


@pytest.mark.parametrize(
    "statement",
    [
        "SET sidecar.subject_token = ''",
        "SET sidecar.subject_token TO DEFAULT",
        "RESET ALL",
        "DISCARD ALL",
    ],
)
async def test_it_returns_to_the_workloads_own_subject(stand, statement):
    raw = await Raw.logged_in(stand)

    raw.send(query(f"SET sidecar.subject_token = '{ALICE}'"), query(statement), query(OPEN))

    assert await states(raw, 3) == ["", "", ""]
    assert subjects(stand)[-1] == "user:bob"
    await raw.close()


async def test_a_statement_prepared_for_one_is_decided_again_for_another(stand):
    raw = await Raw.logged_in(stand)
    raw.send(parse(OPEN, b"s"), bind(b"s"), execute(), wire.SYNC)

    raw.send(query(f"SET sidecar.subject_token = '{MALLORY}'"))
    raw.send(bind(b"s"), execute(), wire.SYNC)

    assert await states(raw, 3) == ["", "", "42501"]
    assert set(subjects(stand)[1:]) == {"user:mallory"}
    await raw.close()


@pytest.mark.parametrize(
    "statement",
    [
        "SET sidecar.subject_token = E'{}'",
        'SET sidecar.subject_token = "{}"',
        "SET sidecar.subject_token = '{}', 'x'",
        "SET \"sidecar.subject_token\" = '{}'",
        "SET /**/ sidecar.subject_token = '{}'",
        "SET sidecar . subject_token = '{}'",
        "SET sidecar.subject = '{}'",
        "SET GLOBAL sidecar.subject_token = '{}'",
        "SET sidecar.subject_token = '{}'; SELECT 1",
        "SELECT set_config('sidecar.subject_token', '{}', false)",
    ],
)
async def test_any_other_spelling_is_refused_and_names_nobody(stand, statement):
    raw = await Raw.logged_in(stand)

    raw.send(query(statement.format(ALICE)), query(OPEN))

    assert await states(raw, 2) == ["42501", ""]
    assert subjects(stand) == ["user:bob", "user:bob"]
    await raw.close()
