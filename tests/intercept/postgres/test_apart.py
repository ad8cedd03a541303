"""A Query that begins a transaction before its statement: each by itself, and one answer."""

import pytest

from sidecar.intercept.postgres.protocol import wire
from tests.intercept.postgres.stand import (
    ALICE,
    CLOSED,
    OPEN,
    Raw,
    bind,
    execute,
    parse,
    party,
    query,
)
from tests.intercept.postgres.test_obligations import limited

pytestmark = pytest.mark.e2e

TEN = "SELECT id FROM finance.expenses ORDER BY id"
DECLARED = f"DECLARE c CURSOR WITH HOLD FOR {TEN}"


async def told(raw: Raw, text: str) -> tuple[str, str]:
    """Return the kinds of what a Query is answered, and the SQLSTATE or the last status."""
    raw.send(query(text))
    said = await raw.until(b"Z")
    code = next((wire.fields(body)["C"] for kind, body in said if kind == b"E"), "")
    return "".join(kind.decode() for kind, _ in said), code or said[-1][1].decode()


def done(stand) -> list[str]:
    """Return the action of each decision, in order."""
    return [one.targets[0].action for one in stand.ledger.all_decisions]


@pytest.mark.parametrize(
    ("asked", "answered", "actions"),
    [
        ([f"BEGIN;{OPEN}"], [("CTDCZ", "T")], ["begin", "select"]),
        ([f"BEGIN; {OPEN}; COMMIT;"], [("CTDCCZ", "I")], ["begin", "select", "commit"]),
        ([f"BEGIN;{CLOSED};COMMIT", OPEN], [("CEZ", "42501"), ("EZ", "25P02")],
         ["begin", "select", "select"]),
        (["BEGIN; SELECT 1/0; COMMIT", "SHOW jit"], [("CEZ", "22012"), ("EZ", "25P02")],
         ["begin", "select", "show"]),
        (["BEGIN", f"SAVEPOINT a;{CLOSED}", f"ROLLBACK TO a; {OPEN}", "COMMIT"],
         [("CZ", "T"), ("CEZ", "42501"), ("CTDCZ", "T"), ("CZ", "I")],
         ["begin", "savepoint", "select", "rollback", "select", "commit"]),
        ([f"BEGIN;{DECLARED};FETCH 3 IN c", "CLOSE c"], [("CCTDDDCZ", "T"), ("CZ", "T")],
         ["begin", "select", "select", "close"]),
        (["BEGIN; COPY scratch TO STDOUT; COMMIT"], [("CHcCCZ", "I")],
         ["begin", "select", "commit"]),
    ],
)  # fmt: skip
async def test_each_statement_is_decided_and_sent_by_itself(stand, asked, answered, actions):
    raw = await Raw.logged_in(stand)

    assert [await told(raw, text) for text in asked] == answered
    assert done(stand) == actions
    await raw.close()


@pytest.mark.parametrize(
    "asked",
    [
        [f"BEGIN; {OPEN}; {OPEN}"],
        ["BEGIN READ ONLY", "COMMIT; BEGIN; DELETE FROM scratch"],
        ["BEGIN READ ONLY", "SAVEPOINT a; COMMIT"],
    ],
)
async def test_a_second_statement_and_a_way_out_are_refused_as_a_whole(stand, asked):
    raw = await Raw.logged_in(stand)
    for text in asked[:-1]:
        await told(raw, text)

    assert await told(raw, asked[-1]) == ("EZ", "42501")
    assert stand.ledger.decisions[-1].reason == "parse.multi_statement"
    assert len(stand.ledger.all_decisions) == len(asked)
    await raw.close()


async def test_a_transaction_names_its_subject_in_the_same_text(stand):
    raw = await Raw.logged_in(stand)

    said = await told(raw, f"BEGIN; SET LOCAL sidecar.subject_token = '{ALICE}'; {OPEN}; COMMIT")
    await told(raw, OPEN)

    assert said == ("CCTDCCZ", "I")
    found = [party(one.subject) for one in stand.ledger.all_decisions]
    assert found == ["user:bob", "user:alice", "user:alice", "user:bob"]
    assert "swk_" not in repr(stand.ledger.records)
    await raw.close()


async def test_rows_are_bounded_within_it(stand):
    limited(stand)
    raw = await Raw.logged_in(stand)

    kinds, code = await told(raw, f"BEGIN; {TEN}; COMMIT")

    assert (kinds.count("D"), kinds[-2:], code) == (3, "EZ", "42501")
    assert (await told(raw, "ROLLBACK")) == ("CZ", "I")
    await raw.close()


async def test_no_transaction_is_ended_of_which_no_sync_has_told_yet(stand):
    raw = await Raw.logged_in(stand)
    raw.send(parse("BEGIN"), bind(), execute(), wire.FLUSH)
    await raw.until(b"C")

    assert await told(raw, "BEGIN; DELETE FROM scratch; COMMIT") == ("EZ", "42501")
    assert stand.ledger.decisions[-1].reason == "parse.multi_statement"
    await raw.close()


async def test_what_follows_waits_for_all_of_it(stand):
    raw = await Raw.logged_in(stand)

    raw.send(query(f"BEGIN;{OPEN}"), query(OPEN), query(f"SAVEPOINT a;{OPEN}"), query("COMMIT"))

    found = [await raw.kinds() for _ in range(4)]
    assert found == ["CTDCZ", "TDCZ", "CTDCZ", "CZ"]
    await raw.close()
