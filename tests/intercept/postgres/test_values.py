"""Values of parameters, for rules that read them."""

import contextlib

import asyncpg
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.intercept.postgres.protocol import wire
from sidecar.intercept.postgres.protocol.parameters.values import (
    Unread,
    bound_values,
    described_types,
)
from tests.intercept.postgres.stand import BOT, POLICY, Raw, bind, bundle, execute, parse, query
from tests.intercept.postgres.test_obligations import ready
from tests.tables import rows

e2e = pytest.mark.e2e


def a_bind(*values: bytes | None, code: int = 0, name: bytes = b"") -> bytes:
    sent = b"".join(
        b"\xff\xff\xff\xff" if one is None else len(one).to_bytes(4, "big") + one for one in values
    )
    formats = b"\0\1" + code.to_bytes(2, "big")
    return b"\0" + name + b"\0" + formats + len(values).to_bytes(2, "big") + sent + b"\0\0"


@pytest.mark.parametrize("row", rows("postgres/values.yaml"))
def test_value(row):
    said = row.given
    raw = said["text"].encode() if "text" in said else None
    if "hex" in said:
        raw = bytes.fromhex(str(said["hex"]) + said.get("more", ""))
    body = a_bind(raw, code=int("hex" in said))

    if row.want == "unread":
        with pytest.raises(Unread):
            bound_values(body, (said["type"],))
    else:
        (value,) = bound_values(body, (said["type"],))
        assert (value, type(value)) == (row.want["value"], type(row.want["value"]))


@given(st.binary(max_size=80))
def test_no_bind_breaks_the_reader(data):
    with contextlib.suppress(Unread, wire.ProtocolError):
        bound_values(b"\0\0" + data, (23, 25))


@given(st.binary(max_size=24))
def test_no_value_breaks_its_reader(data):
    for oid in (16, 20, 21, 23, 25, 700, 701, 1042, 1043, 1700, 2950):
        for code in (0, 1):
            with contextlib.suppress(Unread):
                bound_values(a_bind(data, code=code), (oid,))


@pytest.mark.parametrize("body", [b"\0\1\0\0\0", b"\0\0\0", b""])
def test_a_malformed_description_is_refused(body):
    with pytest.raises(wire.ProtocolError):
        described_types(body)


GUARDED = (
    POLICY
    + """    - id: small-ids
      effect: deny
      when: "has(request.sql.params) && request.sql.params[0] > 10"
      message: only the first ten
"""
)
ASKED = "SELECT amount FROM finance.expenses WHERE id = $1"


@pytest.fixture
def guarded(stand):
    stand.bundle = bundle(GUARDED)
    return stand


@e2e
@pytest.mark.parametrize(
    ("value", "code", "answer"),
    [
        (b"3", 0, ("2DCZ", [])),
        (b"\0\0\0\3", 1, ("2DCZ", [])),
        (b"11", 0, ("EZ", ["42501"])),
        (b" 0011", 0, ("EZ", ["42501"])),
        (b"\0\0\0\x0b", 1, ("EZ", ["42501"])),
        # What is not read denies: PostgreSQL may read it.
        (b"0xb", 0, ("EZ", ["42501"])),
        (None, 0, ("EZ", ["42501"])),
    ],
)
async def test_each_use_is_decided_on_its_values(guarded, value, code, answer):
    raw = await Raw.logged_in(guarded)
    raw.send(parse(ASKED, b"s"), wire.SYNC)
    assert await ready(raw) == ("1Z", [])

    raw.send(wire.message(b"B", a_bind(value, code=code, name=b"s")), execute(), wire.SYNC)

    assert await ready(raw) == answer
    await raw.close()


@e2e
async def test_values_may_be_sent_at_once_with_their_statement(guarded):
    raw = await Raw.logged_in(guarded)

    for value in (b"3", b"11"):
        raw.send(parse(ASKED), wire.message(b"B", a_bind(value)), execute(), wire.SYNC)

    assert await ready(raw) == ("12DCZ", [])
    assert await ready(raw) == ("1EZ", ["42501"])
    await raw.close()


@e2e
async def test_a_bind_that_another_takes_the_place_of_has_its_outcome(guarded):
    raw = await Raw.logged_in(guarded)
    raw.send(parse(ASKED, b"s"), wire.SYNC)
    for value in (b"3", b"4"):
        raw.send(wire.message(b"B", a_bind(value, name=b"s")))
    raw.send(execute(), wire.SYNC)

    assert await ready(raw) == ("1Z", [])
    assert await ready(raw) == ("22DCZ", [])
    await raw.close()
    await guarded.listener.drain(1)
    permitted = {one.id for one in guarded.ledger.all_decisions if one.listener_forwarded}
    assert permitted == {one.parent for one in guarded.ledger.outcomes}


@e2e
async def test_a_parse_that_fails_is_told_and_the_connection_goes_on(guarded):
    raw = await Raw.logged_in(guarded)
    guarded.server.psql("alter table public.scratch drop column if exists amount")

    raw.send(parse("SELECT amount FROM scratch WHERE amount = $1"), wire.SYNC, query("SELECT 1"))

    answers = [await ready(raw) for _ in range(2)]
    guarded.server.psql("alter table public.scratch add column amount numeric")
    assert answers == [("EZ", ["42703"]), ("TDCZ", [])]
    await raw.close()


@e2e
async def test_what_was_prepared_before_somebody_asked_is_prepared_again(stand):
    raw = await Raw.logged_in(stand)
    raw.send(parse(ASKED, b"s"), wire.SYNC)
    assert await ready(raw) == ("1Z", [])

    stand.bundle = bundle(GUARDED)
    raw.send(wire.message(b"B", a_bind(b"11", name=b"s")), execute(), wire.SYNC)

    assert await ready(raw) == ("EZ", ["26000"])
    await raw.close()


@e2e
async def test_a_statement_without_parameters_has_none(guarded):
    raw = await Raw.logged_in(guarded)
    guarded.bundle = bundle(
        GUARDED.replace("request.sql.params[0] > 10", "request.sql.params == []")
    )

    raw.send(parse("SELECT 1"), bind(), execute(), wire.SYNC)

    assert await ready(raw) == ("1EZ", ["42501"])
    await raw.close()


@e2e
async def test_no_value_stands_in_a_record(guarded):
    raw = await Raw.logged_in(guarded)
    guarded.bundle = bundle(GUARDED.replace("[0] > 10", "[0] == 'none of yours'"))
    asked = parse("SELECT id FROM finance.expenses WHERE department = $1")

    raw.send(asked, wire.message(b"B", a_bind(b"quite unlikely")), execute(), wire.SYNC)
    await raw.until(b"Z")

    assert "quite unlikely" not in repr(guarded.ledger.records)
    await raw.close()


@e2e
async def test_drivers_are_decided_on_their_values(guarded):
    connection = await asyncpg.connect(
        host="127.0.0.1", port=guarded.port, user="expense-bot", password=BOT, database="postgres"
    )
    assert await connection.fetchval(ASKED, 3) == 30
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.fetchval(ASKED, 11)
    await connection.close()
    async with await psycopg.AsyncConnection.connect(guarded.dsn(), autocommit=True) as other:
        said = ASKED.replace("$1", "%s")
        rows_found = await (await other.execute(said, (3,))).fetchall()
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await other.execute(said, (11,))

    assert rows_found[0][0] == 30
