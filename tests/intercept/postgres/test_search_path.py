"""The search path is the pinned one: who asks for it has it, and nobody has another."""

import psycopg
import pytest

from tests.intercept.postgres.stand import BOT, Raw, bundle, query, startup

pytestmark = pytest.mark.e2e


async def test_the_session_is_pinned_whatever_the_role_says(stand):
    stand.server.psql("alter role erp set search_path = hr; alter role erp set datestyle = German")
    try:
        async with await psycopg.AsyncConnection.connect(stand.dsn()) as connection:
            path = await (await connection.execute("SHOW search_path")).fetchall()
    finally:
        stand.server.psql("alter role erp reset all")

    assert path == [('"public"',)]


@pytest.mark.parametrize("said", ["public", ' "public" ', "PUBLIC"])
async def test_a_client_may_ask_for_the_pinned_search_path(stand, said):
    raw = await Raw.connect(stand)
    raw.send(startup(user="expense-bot", database="postgres", search_path=said))
    await raw.prove(BOT)
    await raw.until(b"Z")

    for text in ("SET search_path = public", "SET SESSION search_path TO 'public'"):
        raw.send(query(text))
        # From PostgreSQL 18 on it is told that the text of the setting is another.
        assert (await raw.kinds()).replace("S", "") == "CZ"

    raw.send(query("SHOW search_path"), query("SET search_path TO public, hr"))
    assert await raw.kinds() == "TDCZ"
    assert await raw.kinds() == "EZ"


@pytest.mark.parametrize("said", ["hr", "public, hr", '"PUBLIC"', '"$user", public', ""])
async def test_a_client_that_asks_for_another_search_path_is_refused(stand, said):
    raw = await Raw.connect(stand)
    raw.send(startup(user="expense-bot", database="postgres", search_path=said))
    await raw.prove(BOT)

    words = await raw.last_words()

    assert (words["C"], "search_path" in words["M"]) == ("42501", True)


async def test_a_search_path_that_moves_in_the_database_ends_the_session(stand):
    if int(stand.server.psql("show server_version_num")) < 180000:
        pytest.skip("this PostgreSQL does not tell its search_path")
    stand.server.psql(
        "create table public.moves(n int); grant all on public.moves to erp;"
        "create function public.move() returns trigger language plpgsql as $$"
        " begin perform set_config('search_path', 'hr', false); return new; end $$;"
        "create trigger move before insert on public.moves for each row execute function move()"
    )
    stand.bundle = bundle(public="public: {tables: {moves: {columns: [n]}}}")
    raw = await Raw.logged_in(stand)

    raw.send(query("INSERT INTO moves VALUES (1)"))
    words = await raw.last_words()
    stand.server.psql("drop table public.moves; drop function public.move")

    assert (words["C"], "search_path" in words["M"]) == ("57P01", True)
