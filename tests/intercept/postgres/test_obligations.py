"""Rows that are bounded, and words of the server that do not pass, while an obligation is due."""

import psycopg
import pytest

from sidecar.intercept.postgres.protocol import wire
from sidecar.intercept.postgres.protocol.guard import hushed
from tests.intercept.postgres.stand import (
    POLICY,
    Raw,
    bind,
    bundle,
    describe,
    execute,
    parse,
    query,
)
from tests.intercept.postgres.test_upstream import rewriting

pytestmark = pytest.mark.e2e

OPEN = "SELECT amount FROM finance.expenses ORDER BY id"
LIMITED = (
    POLICY
    + """    - id: few
      effect: modify
      match: {resources: ["table:finance.expenses"]}
      obligations: [{type: limit_rows, max: 3}]
"""
)


async def ready(raw: Raw) -> tuple[str, list[str]]:
    found = await raw.until(b"Z")
    states = [wire.fields(body)["C"] for kind, body in found if kind == b"E"]
    return "".join(kind.decode() for kind, _ in found), states


def limited(stand):
    """Let three rows pass, and let nothing but the listener see to it."""
    stand.bundle = bundle(LIMITED)
    rewriting(stand)


async def test_a_query_is_cut_off_behind_its_last_row(stand):
    limited(stand)
    raw = await Raw.logged_in(stand)

    raw.send(query(OPEN), query("SELECT 1"))

    assert await ready(raw) == ("TDDDEZ", ["42501"])
    assert await ready(raw) == ("TDCZ", [])
    outcome = (await stand.outcomes(1))[0]
    assert (outcome.result, outcome.uses) == ("blocked", 1)
    await raw.close()


@pytest.mark.parametrize("most", [2**31 - 1, 2**32 - 1, 2**63 - 1])
async def test_a_bound_beyond_what_the_protocol_can_say_is_a_bound(stand, most):
    stand.bundle = bundle(LIMITED.replace("max: 3", f"max: {most}"))
    rewriting(stand)
    raw = await Raw.logged_in(stand)

    raw.send(query(f"{OPEN} LIMIT 1"), parse(OPEN), bind(), execute(rows=2), execute(), wire.SYNC)

    assert await ready(raw) == ("TDCZ", [])
    assert (await ready(raw))[0].endswith("DCZ")
    await raw.close()


@pytest.mark.parametrize("rows", [0, 1, 3])
async def test_a_query_within_its_bound_looks_as_without_one(stand, rows):
    limited(stand)
    raw = await Raw.logged_in(stand)

    raw.send(query(f"SELECT amount FROM finance.expenses WHERE id <= {rows}"))

    assert await ready(raw) == ("T" + "D" * rows + "CZ", [])
    outcome = (await stand.outcomes(1))[0]
    assert (outcome.result, outcome.rows, outcome.upstream_status) == ("forwarded", rows, "SELECT")
    await raw.close()


async def test_a_statement_without_rows_is_not_described_where_a_query_would_not_be(stand):
    limited(stand)
    raw = await Raw.logged_in(stand)

    raw.send(query("UPDATE finance.expenses SET amount = amount WHERE id = 1"))

    assert await ready(raw) == ("CZ", [])
    await raw.close()


async def test_a_query_that_fails_says_so_and_the_connection_goes_on(stand):
    limited(stand)
    raw = await Raw.logged_in(stand)

    raw.send(query("SELECT amount / (id - id) FROM finance.expenses"), query("SELECT 1"))

    assert (await ready(raw))[1] == ["22012"]
    assert await ready(raw) == ("TDCZ", [])
    await raw.close()


async def test_a_transaction_is_failed_by_a_row_too_many_and_undone(stand):
    limited(stand)
    raw = await Raw.logged_in(stand)

    raw.send(query("BEGIN"), query("INSERT INTO scratch VALUES ('cut off', 1)"), query(OPEN))
    raw.send(query("SELECT 1"), query("COMMIT"))
    raw.send(query("SELECT note FROM scratch WHERE note = 'cut off'"))

    answers = [await ready(raw) for _ in range(6)]
    assert [states for _, states in answers] == [[], [], ["42501"], ["25P02"], [], []]
    assert answers[-1][0] == "TCZ"
    await raw.close()


async def test_what_writes_and_returns_too_much_is_undone(stand):
    limited(stand)
    raw = await Raw.logged_in(stand)

    raw.send(query("UPDATE finance.expenses SET amount = -1 RETURNING id"))
    raw.send(query("SELECT id FROM finance.expenses WHERE amount = -1"))

    assert await ready(raw) == ("TDDDEZ", ["42501"])
    assert await ready(raw) == ("TCZ", [])
    await raw.close()


@pytest.mark.parametrize("said", [bind() + execute(), execute()], ids=["statement", "portal"])
async def test_behind_a_query_nothing_has_the_empty_name(stand, said):
    stand.bundle = bundle(LIMITED)
    raw = await Raw.logged_in(stand)

    raw.send(query("BEGIN"), query(OPEN), said, wire.SYNC)

    assert await ready(raw) == ("CZ", [])
    assert await ready(raw) == ("TDDDCZ", [])
    assert await ready(raw) in (("EZ", ["26000"]), ("EZ", ["34000"]))
    await raw.close()


@pytest.mark.parametrize("asked", [0, 4, 1000, -1])
async def test_execute_is_cut_off_whatever_it_asks_for(stand, asked):
    limited(stand)
    raw = await Raw.logged_in(stand)

    run = wire.message(b"E", b"\0", asked.to_bytes(4, "big", signed=True))
    raw.send(parse(OPEN, b"s"), bind(b"s"), run, wire.SYNC, query("SELECT 1"))

    assert await ready(raw) == ("12DDDEZ", ["42501"])
    assert await ready(raw) == ("TDCZ", [])
    await raw.close()


async def test_a_portal_is_cut_off_over_all_of_its_executes(stand):
    limited(stand)
    raw = await Raw.logged_in(stand)

    raw.send(parse(OPEN), bind(), describe(b"P"), execute(b"", 2), execute(b"", 2))
    raw.send(execute(b"", 2), wire.SYNC)

    assert await ready(raw) == ("12TDDsDEZ", ["42501"])
    await raw.close()


async def test_each_run_of_a_prepared_statement_has_a_bound_of_its_own(stand):
    limited(stand)
    raw = await Raw.logged_in(stand)
    asked = "SELECT amount FROM finance.expenses WHERE id <= 3"

    raw.send(parse(asked, b"s"), bind(b"s"), execute(), wire.SYNC)
    raw.send(bind(b"s"), execute(), wire.SYNC)

    assert await ready(raw) == ("12DDDCZ", [])
    assert await ready(raw) == ("2DDDCZ", [])
    await raw.close()


async def test_what_is_pipelined_behind_the_cut_is_discarded_up_to_the_sync(stand):
    limited(stand)
    raw = await Raw.logged_in(stand)

    raw.send(parse(OPEN), bind(), execute())
    raw.send(parse("INSERT INTO scratch VALUES ('behind', 1)"), bind(), execute(), wire.SYNC)
    raw.send(query("SELECT note FROM scratch WHERE note = 'behind'"))

    assert await ready(raw) == ("12DDDEZ", ["42501"])
    assert await ready(raw) == ("TCZ", [])
    await raw.close()


async def test_the_first_row_too_many_is_dropped_whole_however_large_it_is(stand):
    limited(stand)
    raw = await Raw.logged_in(stand)

    raw.send(query("SELECT repeat('x', 300000) FROM finance.expenses"))

    kinds, states = await ready(raw)
    assert (kinds, states) == ("TDDDEZ", ["42501"])
    await raw.close()


async def test_copy_out_ends_the_connection_behind_its_last_row(stand):
    limited(stand)
    raw = await Raw.logged_in(stand)

    raw.send(query("COPY (SELECT amount FROM finance.expenses ORDER BY id) TO STDOUT"))

    said = await raw.until(b"E")
    assert "".join(kind.decode() for kind, _ in said).strip("H") in ("E", "dE", "ddE", "dddE")
    assert wire.fields(said[-1][1])["C"] == "42501"
    assert await raw.rest() == b""


async def test_a_cursor_is_cut_off_over_all_of_its_fetches(stand):
    limited(stand)
    raw = await Raw.logged_in(stand)

    raw.send(query("BEGIN"), query(f"DECLARE c CURSOR FOR {OPEN}"))
    raw.send(query("FETCH 2 FROM c"), query("FETCH 2 FROM c"), query("ROLLBACK"))

    answers = [await ready(raw) for _ in range(5)]
    assert answers[2:4] == [("TDDCZ", []), ("TDEZ", ["42501"])]
    await raw.close()


async def test_psycopg_sees_a_row_limit_as_an_error_of_the_statement(stand):
    limited(stand)
    async with await psycopg.AsyncConnection.connect(stand.dsn(), autocommit=True) as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege) as refused:
            await connection.execute(OPEN)
        rows = await (await connection.execute("SELECT 1")).fetchall()

    assert "decision " in (refused.value.diag.message_detail or "")
    assert rows == [(1,)]


CAST = "SELECT department::int FROM finance.expenses WHERE id < 3"
UNIQUE = "INSERT INTO finance.expenses VALUES (1, 'sales', 1)"


@pytest.mark.parametrize(
    "asked", [CAST, UNIQUE, "SELECT department::regclass FROM finance.expenses"]
)
async def test_the_servers_words_are_withheld_while_an_obligation_is_due(stand, asked):
    raw = await Raw.logged_in(stand)
    raw.send(query(asked))
    plain = next(wire.fields(body) for kind, body in await raw.until(b"Z") if kind == b"E")
    limited(stand)

    raw.send(parse(asked), bind(), execute(), wire.SYNC, query(asked))

    for _ in range(2):
        told = next(wire.fields(body) for kind, body in await raw.until(b"Z") if kind == b"E")
        assert told["C"] == plain["C"]
        assert told["M"] != plain["M"]
        assert set(told) == {"S", "V", "C", "M"}
    await raw.close()


TOLD = {
    "not null": ("UPDATE told SET id = NULL", "23502"),
    "unique": ("UPDATE told SET other = 1", "23505"),
    "check": ("UPDATE told SET id = -1", "23514"),
    "trigger": ("UPDATE told SET id = 2", "P0001"),
    "at the end": ("UPDATE told SET later = 1", "23505"),
    "a row that is new": ("INSERT INTO told (id) VALUES (-1)", "23514"),
}
FAILING = """
    drop table if exists public.told;
    create table public.told(id int not null check (id > 0), secret text default 'DE89',
        other int unique, later int unique deferrable initially deferred);
    insert into public.told values (1, 'DE89', 3, 3), (1, 'DE89', 4, 4);
    create or replace function public.tell() returns trigger language plpgsql as $$ begin
        raise notice 'told' using detail = old.secret, hint = old.secret;
        if new.id = 2 then raise 'told' using detail = old.secret, hint = old.secret; end if;
        return new; end $$;
    create trigger tells before update on public.told for each row execute function public.tell();
    grant all on public.told to erp
"""


@pytest.mark.parametrize("name", TOLD)
async def test_an_error_shows_no_row_where_no_obligation_is_due(stand, name):
    asked, state = TOLD[name]
    stand.server.psql(FAILING)
    stand.bundle = bundle(POLICY, "public: {tables: {told: {columns: [id, secret, other, later]}}}")
    raw = await Raw.logged_in(stand)

    raw.send(query(asked), parse(asked), bind(), execute(), wire.SYNC)

    for _ in range(2):
        said = [(k, wire.fields(body)) for k, body in await raw.until(b"Z") if k in (b"E", b"N")]
        assert said[-1][1]["C"] == state
        assert not any(set("DHWpq") & set(one) for _, one in said)
        assert "DE89" not in str(said)
        assert len(said[-1][1]["M"]) > 3
    await raw.close()


async def test_an_error_at_the_end_of_the_transaction_is_withheld_too(stand):
    stand.server.psql(
        "create table if not exists public.later(id int unique deferrable initially deferred);"
        "grant all on public.later to erp"
    )
    limited(stand)
    raw = await Raw.logged_in(stand)

    raw.send(query("BEGIN"), query("SELECT amount FROM finance.expenses WHERE id = 1"))
    raw.send(query("SELECT 1 / 0"))

    for _ in range(2):
        await raw.until(b"Z")
    told = next(wire.fields(body) for kind, body in await raw.until(b"Z") if kind == b"E")
    assert told["C"] == "22012"
    assert "division" not in told["M"]
    await raw.close()


@pytest.mark.parametrize(
    ("code", "is_told"),
    [
        ("57014", True), ("25P02", True), ("42501", True), ("40001", True), ("26000", True),
        ("22P02", False), ("23505", False), ("42P01", False), ("42601", False), ("P0001", False),
        ("XX000", False), ("", False),
    ],
)  # fmt: skip
def test_an_error_keeps_its_message_where_that_says_nothing_of_data(code, is_told):
    said = wire.error(code or "00000", "DE89 3704", "Key (iban)=(DE89 3704)", "look at DE89 3704")
    told = wire.fields(hushed(said[wire.HEADER_BYTES :])[wire.HEADER_BYTES :])

    assert (told["M"] == "DE89 3704") is is_told
    assert "DE89" not in "".join(value for field, value in told.items() if field != "M")


async def test_a_portal_that_was_bound_without_a_bound_is_bound_again(stand):
    stand.bundle = bundle(POLICY)
    rewriting(stand)
    raw = await Raw.logged_in(stand)
    raw.send(query("BEGIN"), parse(OPEN), bind(b"", b"p"), execute(b"p", 2), wire.SYNC)
    assert [await ready(raw) for _ in range(2)] == [("CZ", []), ("12DDsZ", [])]

    limited(stand)
    raw.send(execute(b"p", 0), wire.SYNC)

    assert await ready(raw) == ("EZ", ["34000"])
    await raw.close()


async def test_a_prepared_statement_from_before_the_bound_is_bounded(stand):
    stand.bundle = bundle(POLICY)
    rewriting(stand)
    raw = await Raw.logged_in(stand)
    raw.send(parse(OPEN, b"s"), wire.SYNC)
    await ready(raw)

    limited(stand)
    raw.send(bind(b"s"), execute(), wire.SYNC)

    assert await ready(raw) == ("2DDDEZ", ["42501"])
    await raw.close()


async def test_data_that_goes_in_is_not_counted_as_rows_that_come_out(stand):
    stand.bundle = bundle(LIMITED.replace("table:finance.expenses", "table:public.scratch"))
    rewriting(stand)
    raw = await Raw.logged_in(stand)

    raw.send(query("BEGIN"), query("COPY scratch (note, amount) FROM STDIN"))
    raw.send(wire.message(b"d", b"a\t1\n" * 9), wire.message(b"c"), query("ROLLBACK"))

    assert [await ready(raw) for _ in range(3)] == [("CZ", []), ("GCZ", []), ("CZ", [])]
    await raw.close()
