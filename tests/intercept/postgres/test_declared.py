"""The types that a Parse gives to parameters: plain ones pass, others the text has to give too."""

import enum
import struct

import psycopg
import pytest
from psycopg.types.enum import EnumInfo, register_enum

from sidecar.domains.data.parse.text.functions import TYPES
from sidecar.intercept.postgres.protocol import wire
from sidecar.intercept.postgres.protocol.counted.room import Room
from sidecar.intercept.postgres.protocol.parameters.declared import PLAIN
from sidecar.intercept.postgres.protocol.prepared import Statement
from tests.intercept.postgres.stand import Raw, bundle, describe, execute, query
from tests.intercept.postgres.test_obligations import ready
from tests.intercept.postgres.test_values import GUARDED, a_bind

pytestmark = pytest.mark.e2e

# Left to the text, and no argument at all.
NONE = {0, 705, 2278}
REGCLASS, REGROLE, ACLITEM, ROW_OF_TYPES = 2205, 4096, 1033, 71
OWN = """
create type mood as enum ('low', 'high');
create function public.told(text) returns boolean language sql as
  $$ select count(*) > 0 from hr.compensation where name = $1 $$;
create domain public.asked as text check (public.told(value));
create table public.felt(note text, amount mood);
grant select, insert on public.felt to erp;
"""
FELT = "public: {tables: {felt: {columns: [note, amount]}, scratch: {columns: [note, amount]}}}"


@pytest.fixture(scope="module")
def own(postgres):
    """Return the numbers of somebody's own types."""
    with psycopg.connect(
        host=postgres.host, port=postgres.port, user=postgres.superuser,
        password=postgres.password, dbname="postgres", autocommit=True,
    ) as connection:  # fmt: skip
        connection.execute(OWN)
        said = connection.execute(
            "select typname::text, oid::int8 from pg_type where typname in ('mood', 'asked')"
        ).fetchall()
        yield dict(said)
        connection.execute("drop table felt; drop domain asked; drop function told; drop type mood")


@pytest.fixture
def felt(stand, own):
    stand.bundle = bundle(public=FELT)
    return stand, own


def typed(text: str, *types: int, name: bytes = b"") -> bytes:
    rest = struct.pack(f"!H{len(types)}I", len(types), *types)
    return wire.parse(name, text.encode(), rest)


def run(text: str, *types: int, value: bytes = b"hr.compensation") -> bytes:
    bound = wire.message(b"B", a_bind(*[value] * len(types)))
    return typed(text, *types) + bound + execute() + wire.SYNC


def test_plain_types_are_those_that_a_text_may_cast_to_without_a_target(postgres):
    with psycopg.connect(
        host=postgres.host, port=postgres.port, user=postgres.superuser,
        password=postgres.password, dbname="postgres",
    ) as connection:  # fmt: skip
        found = connection.execute(
            "select oid::int8 from pg_type where typname = any(%s)"
            " and typnamespace = 'pg_catalog'::regnamespace and typtype in ('b', 'r', 'm')",
            (sorted(TYPES),),
        ).fetchall()

    assert {oid for (oid,) in found} == PLAIN - NONE
    assert not PLAIN & {ACLITEM, ROW_OF_TYPES, 2206, 2210, 3734, *range(2202, 2206), REGROLE}


@pytest.mark.parametrize(
    "oid",
    [24, 2202, 2203, 2204, 2205, 2206, 3734, 3769, 4089, 4096, 4191, ACLITEM, ROW_OF_TYPES, 2210],
)
async def test_a_name_is_not_looked_up_by_a_type_that_the_text_does_not_say(stand, oid):
    raw = await Raw.logged_in(stand)

    raw.send(run("SELECT $1", oid), run("SELECT $1", oid, value=b"nothing.at_all"))

    # Found or not, the same is said.
    assert [await ready(raw) for _ in range(2)] == [("1EZ", ["42501"])] * 2
    await raw.close()


async def test_what_the_text_looks_up_is_decided_there(stand):
    raw = await Raw.logged_in(stand)

    raw.send(run("SELECT $1::regclass", REGCLASS))

    assert await ready(raw) == ("12DCZ", [])
    assert [one.resource for one in stand.ledger.decisions[-1].targets] == [
        "table:pg_catalog.pg_class"
    ]
    await raw.close()


@pytest.mark.parametrize("text", ["SELECT $1", "SELECT amount FROM scratch WHERE note = $1"])
async def test_checks_of_a_domain_are_not_run_by_its_number(felt, text):
    stand, own = felt
    raw = await Raw.logged_in(stand)

    raw.send(run(text, own["asked"], value=b"name1"), run(text, own["asked"], value=b"nobody"))

    assert [await ready(raw) for _ in range(2)] == [("1EZ", ["42501"])] * 2
    await raw.close()


async def test_an_enumeration_is_known_by_its_number_where_the_text_says_it_too(felt):
    stand, own = felt
    raw = await Raw.logged_in(stand)

    raw.send(
        run("INSERT INTO felt VALUES ($1, $2)", 25, own["mood"], value=b"low"),
        run("SELECT note FROM felt WHERE amount = $1", own["mood"], value=b"low"),
        run("SELECT $1", own["mood"], value=b"low"),
        query("SELECT 1"),
    )

    assert [await ready(raw) for _ in range(4)] == [
        ("12CZ", []), ("12DCZ", []), ("1EZ", ["42501"]), ("TDCZ", []),
    ]  # fmt: skip
    await raw.close()


async def test_a_named_statement_is_used_again_once_its_types_are_found(felt):
    stand, own = felt
    raw = await Raw.logged_in(stand)
    raw.send(typed("SELECT note FROM felt WHERE amount = $1", own["mood"], name=b"s"), wire.SYNC)
    raw.send(typed("SELECT $1", own["mood"], name=b"t"), wire.SYNC)
    assert [await ready(raw) for _ in range(2)] == [("1Z", [])] * 2

    for name in (b"s", b"t", b"s", b"t"):
        bound = wire.message(b"B", a_bind(b"high", name=name))
        raw.send(bound, describe(b"P"), execute(), wire.SYNC)

    assert [await ready(raw) for _ in range(4)] == [("2TCZ", []), ("EZ", ["42501"])] * 2
    await raw.close()


async def test_a_refused_value_is_an_outcome(stand):
    raw = await Raw.logged_in(stand)

    raw.send(run("SELECT $1", REGCLASS))

    assert await ready(raw) == ("1EZ", ["42501"])
    await stand.ledger.until(lambda: len(stand.ledger.outcomes) > 0)
    assert stand.ledger.outcomes[0].result == "blocked"
    await raw.close()


async def test_a_type_that_fails_to_be_found_fails_the_parse_alone(felt):
    stand, own = felt
    raw = await Raw.logged_in(stand)

    raw.send(run("SELECT missing FROM felt WHERE amount = $1", own["mood"]), query("SELECT 1"))
    raw.send(typed("SELECT 1", own["mood"]), wire.SYNC, query("SELECT 1"))

    assert [await ready(raw) for _ in range(4)] == [
        ("EZ", ["42501"]), ("TDCZ", []), ("EZ", ["42P18"]), ("TDCZ", []),
    ]  # fmt: skip
    await raw.close()


async def test_where_rules_read_values_one_of_such_a_type_denies(felt):
    stand, own = felt
    stand.bundle = bundle(GUARDED, FELT)
    raw = await Raw.logged_in(stand)

    raw.send(run("SELECT note FROM felt WHERE amount = $1", own["mood"], value=b"low"))

    assert await ready(raw) == ("1EZ", ["42501"])
    await raw.close()


def test_types_that_a_parse_gives_take_room():
    kept = [Statement("", b"", given=b"\0\0\0\x17" * 8000) for _ in range(200)]
    room = Room(lambda: tuple(kept))

    assert sum(room.has_for(one) for one in kept) < 100


class Mood(enum.Enum):
    """As the database has it."""

    low = "low"
    high = "high"


async def test_a_driver_sends_an_enumeration_that_it_has_looked_up(felt):
    stand, own = felt
    dsn = stand.dsn()
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        register_enum(EnumInfo("mood", own["mood"], 0, ["low", "high"]), connection, Mood)
        said = "SELECT %s = amount FROM felt LIMIT 0"
        for prepare in (False, True, True):
            found = await connection.execute(said, (Mood.low,), prepare=prepare, binary=prepare)
            assert await found.fetchall() == []
