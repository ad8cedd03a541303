"""COPY both ways, message by message and with real clients."""

import psycopg
import pytest

from sidecar.intercept.postgres.protocol import wire
from tests.intercept.postgres.stand import Raw, bind, execute, parse, query
from tests.intercept.postgres.test_obligations import ready

pytestmark = pytest.mark.e2e

IN = "COPY scratch (note, amount) FROM STDIN"
OUT = "COPY finance.expenses (id) TO STDOUT"
DONE = wire.message(b"c")


@pytest.fixture
async def raw(stand):
    stand.server.psql("truncate public.scratch")
    return await Raw.logged_in(stand)


def data(text: str) -> bytes:
    return wire.message(b"d", text.encode())


def fail(why: str = "changed my mind") -> bytes:
    return wire.message(b"f", why.encode() + b"\0")


def stored(stand) -> str:
    return str(stand.server.psql("select count(*) from public.scratch")).strip()


async def test_rows_go_in_and_are_counted(stand, raw):
    raw.send(query(IN), data("a\t1\nb\t2\n"), data("c\t3\n"), DONE, query("SELECT 1"))

    assert await ready(raw) == ("GCZ", [])
    assert await ready(raw) == ("TDCZ", [])
    outcome = (await stand.outcomes(1))[0]
    assert (outcome.upstream_status, outcome.rows, outcome.result) == ("COPY", 3, "forwarded")
    assert (outcome.bytes or 0) >= 12


async def test_rows_come_out_and_are_counted(stand, raw):
    raw.send(query(OUT), query("SELECT 1"))

    kinds, states = await ready(raw)
    assert (kinds, states) == ("H" + "d" * 100 + "cCZ", [])
    assert await ready(raw) == ("TDCZ", [])
    outcome = (await stand.outcomes(1))[0]
    assert (outcome.upstream_status, outcome.rows) == ("COPY", 100)
    assert (outcome.bytes or 0) > 500


async def test_copy_may_be_prepared(stand, raw):
    raw.send(parse(IN, b"s"), bind(b"s"), execute(), wire.SYNC)
    # The Sync came before the server knew that it copies, and is ignored there as data begins.
    raw.send(data("a\t1\n"), DONE, wire.SYNC, parse(OUT), bind(), execute(), wire.SYNC)

    assert await ready(raw) == ("12GCZ", [])
    assert await ready(raw) == ("12H" + "d" * 100 + "cCZ", [])


async def test_a_client_may_change_its_mind(stand, raw):
    raw.send(query(IN), data("a\t1\n"), fail(), query("SELECT count(*) FROM scratch"))

    assert await ready(raw) == ("GEZ", ["57014"])
    assert await ready(raw) == ("TDCZ", [])


@pytest.mark.parametrize("rest", [(), (DONE,), (fail(),), (DONE, DONE, fail())])
async def test_data_behind_an_error_is_dropped(stand, raw, rest):
    raw.send(query(IN), data("not enough\n"))
    assert await ready(raw) == ("GEZ", ["22P04"])

    raw.send(data("b\t2\n"), *rest, query("SELECT count(*) FROM scratch"))

    assert (await ready(raw))[1] == []


async def test_an_error_in_prepared_copy_discards_up_to_the_sync(stand, raw):
    raw.send(parse(IN), bind(), execute(), data("wrong\n"), DONE)
    raw.send(parse("INSERT INTO scratch VALUES ('behind', 1)"), bind(), execute(), wire.SYNC)
    raw.send(query("SELECT 1"))

    assert await ready(raw) == ("12GEZ", ["22P04"])
    assert await ready(raw) == ("TDCZ", [])
    assert stored(stand) == "0"


async def test_a_denial_with_data_behind_it_takes_none_of_it(stand, raw):
    raw.send(query("COPY hr.compensation FROM STDIN"), data("1\ta\t1\n"), DONE, query("SELECT 1"))

    assert await ready(raw) == ("EZ", ["42501"])
    assert await ready(raw) == ("TDCZ", [])


async def test_a_prepared_denial_with_data_behind_it_takes_none_of_it(stand, raw):
    raw.send(parse("COPY hr.compensation FROM STDIN"), bind(), execute(), data("1\ta\t1\n"), DONE)
    raw.send(wire.SYNC, query("SELECT 1"))

    assert await ready(raw) == ("EZ", ["42501"])
    assert await ready(raw) == ("TDCZ", [])


@pytest.mark.parametrize("smuggled", [query("DROP TABLE scratch"), parse(OUT), bind(), execute()])
async def test_a_statement_inside_of_data_ends_the_connection(stand, raw, smuggled):
    raw.send(query(IN), data("a\t1\n"), smuggled)

    assert (await raw.until(b"E"))[0][0] == b"G"
    assert await raw.rest() == b""
    assert stored(stand) == "0"


async def test_data_that_looks_like_messages_is_data(stand, raw):
    raw.send(query(IN), data("Q\\000\t1\n"), data("X\t2\n"), DONE)

    assert (await ready(raw))[0][-1] == "Z"
    assert len(stand.ledger.decisions) == 1


async def test_who_leaves_in_the_middle_leaves_nothing(stand, raw):
    raw.send(query(IN), data("a\t1\n"))
    await raw.until(b"G")
    await raw.close()

    (outcome,) = await stand.outcomes(1)
    assert outcome.result == "unknown"
    assert stored(stand) == "0"


@pytest.mark.parametrize(
    "asked",
    [
        "COPY scratch FROM '/etc/passwd'",
        "COPY scratch TO '/tmp/x'",
        "COPY scratch TO PROGRAM 'cat'",
        "COPY scratch FROM PROGRAM 'cat'",
        "COPY (SELECT salary FROM hr.compensation) TO STDOUT",
        "COPY hr.compensation TO STDOUT",
        "COPY (DELETE FROM hr.compensation RETURNING salary) TO STDOUT",
    ],
)
async def test_other_copies_are_denied(stand, raw, asked):
    raw.send(query(asked))

    assert await ready(raw) == ("EZ", ["42501"])


async def test_psycopg_copies_both_ways(stand):
    stand.server.psql("truncate public.scratch")
    async with await psycopg.AsyncConnection.connect(stand.dsn()) as connection:
        cursor = connection.cursor()
        async with cursor.copy(IN) as copy:
            for number in range(1000):
                await copy.write_row((f"row {number}", number))
        async with cursor.copy("COPY scratch (note) TO STDOUT") as copy:
            seen = [row async for row in copy.rows()]
        await connection.rollback()

    assert len(seen) == 1000
