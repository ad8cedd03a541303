"""Names that mean one thing here and might mean another to the server: none may be believed."""

import asyncio

import pytest

from sidecar.intercept.postgres.protocol import wire
from tests.intercept.postgres.stand import (
    ALICE,
    POLICY,
    Raw,
    bind,
    bundle,
    close,
    execute,
    parse,
    query,
)
from tests.intercept.postgres.test_names import states
from tests.intercept.postgres.test_obligations import LIMITED, limited, ready

pytestmark = pytest.mark.e2e

HARMLESS = "SELECT note FROM public.scratch"
CLOSED = "SELECT name, salary FROM hr.compensation LIMIT 2"
ALICE_ALONE = POLICY.replace(
    "'compensation' in resource.labels",
    "'compensation' in resource.labels && subject.id != 'alice'",
)
FILTERED = (
    POLICY
    + """    - id: mine
      effect: modify
      match: {resources: ["table:finance.expenses"]}
      obligations: [{type: filter_rows, where: "id < 50"}]
"""
)
AS_ALICE = f"SET sidecar.subject_token = '{ALICE}'"
AS_ITSELF = "SET sidecar.subject_token = ''"


async def with_portal(stand, policy: str = ALICE_ALONE) -> Raw:
    """Return a client with a harmless portal `c` in an open transaction."""
    stand.bundle = bundle(policy)
    raw = await Raw.logged_in(stand)
    await states(raw, "BEGIN")
    raw.send(parse(HARMLESS, b"s"), bind(b"s", b"c"), wire.SYNC)
    assert await ready(raw) == ("12Z", [])
    return raw


@pytest.mark.parametrize(
    "between",
    [
        ("COMMIT", AS_ALICE, "BEGIN", f"DECLARE c CURSOR WITH HOLD FOR {CLOSED}", "COMMIT"),
        ("CLOSE c", AS_ALICE, f"DECLARE c CURSOR FOR {CLOSED}"),
        ("COMMIT", "BEGIN", AS_ALICE, f"DECLARE c CURSOR FOR {CLOSED}"),
    ],
    ids=["held over", "closed in SQL", "closed with its transaction"],
)
async def test_a_portal_that_is_gone_does_not_run_a_cursor_of_its_name(stand, between):
    raw = await with_portal(stand)
    assert await states(raw, *between, AS_ITSELF) == [""] * (len(between) + 1)

    raw.send(execute(b"c"), wire.SYNC)

    assert await ready(raw) == ("EZ", ["34000"])


async def test_a_cursor_is_not_read_by_a_bind_of_its_name_that_fails(stand):
    stand.bundle = bundle(ALICE_ALONE)
    raw = await Raw.logged_in(stand)
    await states(raw, "BEGIN", AS_ALICE, f"DECLARE c CURSOR FOR {CLOSED}", AS_ITSELF)

    raw.send(parse(HARMLESS), bind(b"", b"c"), wire.SYNC, execute(b"c"), wire.SYNC)

    found = [await ready(raw), await ready(raw)]
    assert found == [("1EZ", ["42P03"]), ("EZ", ["34000"])]


async def test_rows_of_a_cursor_are_bounded_whoever_runs_it(stand):
    raw = await with_portal(stand, LIMITED)
    limited(stand)
    await states(raw, "CLOSE c", "DECLARE c CURSOR FOR SELECT id FROM finance.expenses")

    raw.send(execute(b"c", 20), wire.SYNC)

    assert await ready(raw) == ("EZ", ["34000"])


async def test_a_cursor_that_a_bind_cannot_take_stays_what_it_was(stand):
    raw = await Raw.logged_in(stand)
    cursor = "DECLARE c CURSOR FOR SELECT id FROM finance.expenses"
    await states(raw, "BEGIN", cursor, "SAVEPOINT a")
    raw.send(parse("SELECT 1"), bind(b"", b"c"), wire.SYNC)
    assert await ready(raw) == ("1EZ", ["42P03"])

    assert await states(raw, "ROLLBACK TO a", "FETCH c") == ["", ""]


async def test_a_portal_that_is_closed_takes_the_cursor_of_its_name_along(stand):
    raw = await Raw.logged_in(stand)
    await states(raw, "BEGIN", "DECLARE c CURSOR FOR SELECT id FROM finance.expenses")
    raw.send(close(b"P", b"c"), wire.SYNC)
    assert await ready(raw) == ("3Z", [])

    assert await states(raw, "FETCH c") == ["42501"]


async def test_execute_means_what_a_parse_before_it_may_have_put_behind_the_name(stand):
    stand.bundle = bundle(ALICE_ALONE)
    raw = await Raw.logged_in(stand)
    await states(raw, f"PREPARE p AS {HARMLESS}", AS_ALICE)

    raw.send(close(b"S", b"p"), parse(CLOSED, b"p"))
    raw.send(parse(AS_ITSELF), bind(), execute(), parse("EXECUTE p"), bind(), execute(), wire.SYNC)

    assert await ready(raw) == ("3112CEZ", ["42501"])
    assert stand.ledger.decisions[-1].reason == "parse.unknown_name"


async def test_no_words_of_the_server_pass_by_way_of_a_name_that_changes(stand):
    stand.bundle = bundle(FILTERED)
    raw = await Raw.logged_in(stand)
    await states(raw, f"PREPARE p AS {HARMLESS}")

    raw.send(close(b"S", b"p"), parse("SELECT department::int FROM finance.expenses", b"p"))
    raw.send(wire.SYNC, query("EXECUTE p"))

    assert [await ready(raw), await ready(raw)] == [("31Z", []), ("EZ", ["42501"])]


async def test_a_name_of_sql_stays_when_a_parse_of_it_fails(stand):
    raw = await Raw.logged_in(stand)
    await states(raw, "PREPARE p AS SELECT 1")

    raw.send(parse("SELECT 2", b"p"), wire.SYNC, query("EXECUTE p"))

    assert [await ready(raw), await ready(raw)] == [("EZ", ["42P05"]), ("TDCZ", [])]


async def test_a_bind_of_what_is_not_there_leaves_the_unnamed_statement(stand):
    raw = await Raw.logged_in(stand)
    raw.send(parse("SELECT 1"), wire.SYNC, bind(b"nothing"), wire.SYNC)
    assert [await ready(raw), await ready(raw)] == [("1Z", []), ("EZ", ["26000"])]

    raw.send(bind(), execute(), wire.SYNC)

    assert await ready(raw) == ("2DCZ", [])


async def test_a_bounded_query_that_the_server_skips_does_not_end_the_pipeline(stand):
    stand.bundle = bundle(LIMITED)
    raw = await Raw.logged_in(stand)
    raw.send(parse("INSERT INTO public.scratch VALUES ('half', 1)", b"u"), wire.SYNC)
    await ready(raw)
    raw.send(parse("SELECT 1/0"), bind(), execute(), wire.FLUSH)
    await raw.until(b"E")

    raw.send(query("SELECT id FROM finance.expenses LIMIT 1"), wire.SYNC)
    raw.send(bind(b"u"), execute(), parse("SELECT 1/0"), bind(), execute(), wire.SYNC)

    assert [(await ready(raw))[1], (await ready(raw))[1]] == [[], ["22012"]]
    assert stand.server.psql("select count(*) from scratch where note = 'half'").strip() == "0"


async def test_a_bounded_query_behind_what_is_about_to_fail_is_skipped_as_one_message(stand):
    stand.bundle = bundle(LIMITED)
    raw = await Raw.logged_in(stand)

    raw.send(parse("SELECT 1/0"), bind(), execute(), query("SELECT id FROM finance.expenses"))
    raw.send(wire.SYNC, query("SELECT 1"))

    assert [(await ready(raw))[1], (await ready(raw))[1]] == [["22012"], []]


async def test_bounded_queries_in_a_pipeline_end_one_after_the_other(stand):
    limited(stand)
    raw = await Raw.logged_in(stand)

    raw.send(*[query("SELECT id FROM finance.expenses")] * 8)

    assert [await ready(raw) for _ in range(8)] == [("TDDDEZ", ["42501"])] * 8


async def test_what_the_server_skips_is_not_waited_for(stand):
    reads = "has(request.sql.params) && request.sql.params.size() > 5"
    stand.bundle = bundle(POLICY + f'    - {{id: p, effect: deny, when: "{reads}"}}\n')
    raw = await Raw.logged_in(stand)
    raw.send(parse("SELECT 1/0"), bind(), execute(), wire.FLUSH)
    await raw.until(b"E")

    raw.send(parse("SELECT 2"), bind(), execute(), wire.SYNC, query("SELECT 3"))

    assert [await ready(raw), await ready(raw)] == [("Z", []), ("TDCZ", [])]


@pytest.mark.parametrize(
    "said",
    [
        query("UPDATE finance.expenses SET amount = amount WHERE id = 1"),
        parse("UPDATE finance.expenses SET amount = amount WHERE id = 1"),
    ],
)
async def test_what_is_permitted_when_the_client_has_gone_has_an_outcome(stand, said):
    raw = await Raw.logged_in(stand)
    write, is_durable, is_asked = stand.ledger.write, asyncio.Event(), asyncio.Event()

    async def late(record, side=()):
        is_asked.set()
        await is_durable.wait()
        await write(record, side)

    ended, is_over = stand.listener.ended, asyncio.Event()

    def gone(session):
        ended(session)
        is_over.set()

    stand.ledger.write, stand.listener.ended = late, gone
    raw.send(said)
    await is_asked.wait()
    await raw.close()
    async with asyncio.timeout(5):
        await is_over.wait()
    is_durable.set()

    (outcome,) = await stand.outcomes(1)
    assert (outcome.result, outcome.upstream_status, outcome.uses) == ("failed", "skipped", 0)
