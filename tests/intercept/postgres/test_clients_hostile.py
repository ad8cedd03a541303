"""What no driver sends: each is refused in its place, or ends the connection that said it.

In a reply a letter is a message's type; with an error stands its SQLSTATE, with ReadyForQuery the
state of the transaction, and `END` is the end of the connection.
"""

import asyncio
import struct

import pytest

from sidecar.intercept.postgres.protocol import wire
from tests.intercept.postgres.stand import (
    CLOSED,
    OPEN,
    Raw,
    bind,
    close,
    describe,
    execute,
    parse,
    query,
    startup,
)  # fmt: skip

pytestmark = pytest.mark.e2e

USER = {"user": "expense-bot", "database": "postgres"}
WHO = b"user\0expense-bot\0database\0postgres\0"
S, H = wire.SYNC, wire.FLUSH
SCRAM = b"SCRAM-SHA-256\0"


async def reply(raw: Raw, *, readies: int = 0) -> str:
    """Return what comes up to the end, or until the server has been ready so many times."""
    found: list[str] = []
    try:
        while not readies or "".join(found).count("Z") < readies:
            kind, body = await raw.message()
            code = {b"E": wire.fields(body).get("C", "")}.get(kind, "")
            code = body.decode() if kind == b"Z" else code
            found.append(kind.decode() + code)
    except asyncio.IncompleteReadError:
        found.append("END")
    return " ".join(found)


def sasl(mechanism: bytes, size: int, first: bytes) -> bytes:
    return startup(**USER) + wire.message(b"p", mechanism, struct.pack("!i", size), first)


STARTS = {
    "a length of nothing": (b"\0\0\0\0", "E08P01 END"),
    "a length below its own": (b"\0\0\0\3", "E08P01 END"),
    "the greatest length": (b"\x7f\xff\xff\xff\0\3\0\0", "E08P01 END"),
    "a negative length": (b"\xff\xff\xff\xff", "E08P01 END"),
    "a user twice": (startup(**USER, User="alice"), "E08P01 END"),
    "no user": (startup(database="postgres"), "E28000 END"),
    "no end": (wire.packet(wire.PROTOCOL_3_0, WHO), "E08P01 END"),
    "more behind the end": (wire.packet(wire.PROTOCOL_3_0, WHO, b"\0x\0y\0\0"), "E08P01 END"),
    "options": (startup(**USER, options="-c role=hr"), "E42501 END"),
    "a path that is none": (startup(**USER, search_path="public,"), "E22023 END"),
    "replication": (startup(**USER, replication="database"), "E42501 END"),
    "no replication": (startup(**USER, Replication="false"), "E42501 END"),
    "another role": (startup(**USER, role="postgres"), "E42501 END"),
    "another session": (startup(**USER, session_authorization="postgres"), "E42501 END"),
    "a subject": (startup(**USER, **{"sidecar.subject_token": "x"}), "E42501 END"),
    "an escape for a terminal": (startup(**USER, application_name="\x1b[31m"), "E08P01 END"),
    "bytes that are no text": (
        wire.packet(wire.PROTOCOL_3_0, WHO, b"application_name\0\xff\0\0"), "E08P01 END",
    ),
    "another encoding": (startup(**USER, client_encoding="SJIS"), "E22023 END"),
    "900 settings": (startup(**USER, **{f"x{n}": "" for n in range(900)}), "E42501 END"),
    "10,000 settings": (startup(**USER, **{f"x{n}": "" for n in range(10_000)}), "E08P01 END"),
    "protocol 2": (startup(131_072, **USER), "E0A000 END"),
    "protocol 4": (startup(4 << 16, **USER), "E0A000 END"),
    "another protocol": (b"GET / HTTP/1.1\r\n\r\n", "E08P01 END"),
    "TLS that is not spoken": (b"\x16\x03\x01\x02\0\1\0\0\0", "E08P01 END"),
    "a short key to cancel": (wire.packet(wire.CANCEL_REQUEST, b"1234"), "E08P01 END"),
    "a long key to cancel": (wire.packet(wire.CANCEL_REQUEST, b"1" * 500), "E08P01 END"),
    "a key that is nobody's": (wire.packet(wire.CANCEL_REQUEST, b"12345678"), "END"),
    "a query in place of a proof": (startup(**USER) + query(CLOSED), "R E08P01 END"),
    "a bind in place of a proof": (startup(**USER) + bind() + execute() + S, "R E08P01 END"),
    "a proof of impossible length": (startup(**USER) + b"p\0\0\0\3", "R E08P01 END"),
    "a proof of excessive length": (startup(**USER) + b"p\x7f\xff\xff\xff", "R E08P01 END"),
    "another mechanism": (sasl(b"PLAIN\0", 1, b"x"), "R E08P01 END"),
    "a channel that is not offered": (sasl(b"SCRAM-SHA-256-PLUS\0", 1, b"x"), "R E08P01 END"),
    "nothing of a proof": (sasl(SCRAM, -1, b""), "R E08P01 END"),
    "somebody else's identity": (sasl(SCRAM, 20, b"n,a=alice,n=,r=abcd\0"), "R E28P01 END"),
    "an extension": (sasl(SCRAM, 16, b"n,,m=1,n=,r=abcd"), "R E28P01 END"),
}  # fmt: skip


@pytest.mark.parametrize("name", STARTS)
async def test_nobody_gets_in_with(stand, name):
    sent, want = STARTS[name]
    raw = await Raw.connect(stand)

    raw.send(sent)

    assert await reply(raw) == want
    assert stand.ledger.decisions == []


BROKEN = {
    "an unknown type": b"Z\0\0\0\4",
    "a type of the server's": b"N\0\0\0\4",
    "a proof, again": wire.message(b"p", b"x\0"),
    "a startup packet, again": startup(user="alice", database="postgres"),
    "a key to cancel": wire.packet(wire.CANCEL_REQUEST, b"12345678"),
    "a length below its own": b"Q\0\0\0\3",
    "a length of nothing": b"S\0\0\0\0",
    "the greatest length": b"Q\x7f\xff\xff\xff",
    "a negative length": b"B\xff\xff\xff\xff",
    "a Sync with a body": b"S\0\0\0\5x",
    "a Query without its end": b"Q\0\0\0\5x",
    "a Query without a text": b"Q\0\0\0\4",
    "a Query of two strings": wire.message(b"Q", b"SELECT 1\0SELECT 2\0"),
    "a Parse without a text": wire.message(b"P", b"\0"),
    "a Parse without types": wire.message(b"P", b"\0SELECT 1\0"),
    "a Parse with a negative count": wire.message(b"P", b"\0SELECT 1\0\xff\xff"),
    "a Parse with more types than it says": wire.message(b"P", b"\0SELECT 1\0\0\1" + b"\0" * 5),
    "a Bind without a statement": wire.message(b"B", b"\0"),
    "an Execute without a count": wire.message(b"E", b"\0\0"),
    "a Describe of what there is not": wire.message(b"D", b"X\0"),
    "a Close of nothing": wire.message(b"C", b"S"),
    "a name that would be cut": parse("SELECT 1", b"n" * 64),
    "a query in data of COPY": query("COPY scratch FROM STDIN") + query(OPEN),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
async def test_a_connection_ends_that_says(stand, name):
    raw = await Raw.logged_in(stand)

    raw.send(BROKEN[name])

    assert (await reply(raw)).removeprefix("G ") == "E08P01 END"


RUN = bind() + execute() + S
LINE = wire.message(b"d", b"x\t1\n")
ORDERS = {
    "a Bind of nothing": (RUN, "E26000 ZI"),
    "an Execute of nothing": (execute(b"p") + S, "E34000 ZI"),
    "an Execute of a closed portal": (
        parse(OPEN) + bind(b"", b"p") + close(b"P", b"p") + execute(b"p") + S, "1 2 3 E34000 ZI",
    ),
    "a Bind of a closed statement": (
        parse(OPEN, b"s") + close(b"S", b"s") + bind(b"s") + S, "1 3 E26000 ZI",
    ),
    "a negative count of rows": (parse(OPEN) + bind() + execute(b"", 2**32 - 1) + S, "1 2 D C ZI"),
    "a flood of Flush": (H * 3000 + S, "ZI"),
    "a flood of Sync": (S * 500, " ".join(["ZI"] * 500)),
    "what stands behind a denial": (parse(CLOSED) + RUN[:-5] + parse(OPEN) + RUN, "E42501 ZI"),
    "a denial behind a run": (
        parse(OPEN) + RUN[:-5] + parse(CLOSED) + RUN, "1 2 D C E42501 ZI",
    ),
    "no name, denied": (parse(OPEN) + S + parse(CLOSED) + S + RUN, "1 ZI E42501 ZI E26000 ZI"),
    "a name, denied": (
        parse(OPEN, b"s") + S + parse(CLOSED, b"s") + S + bind(b"s") + execute() + S,
        "1 ZI E42501 ZI 2 D C ZI",
    ),
    "a portal behind its transaction": (
        query("BEGIN") + parse(OPEN) + bind(b"", b"p") + execute(b"p", 1) + S + query("COMMIT")
        + execute(b"p") + S, "C ZT 1 2 D s ZT C ZI E34000 ZI",
    ),
    "a denied Query behind an error": (
        parse("SELECT 1/0") + bind() + execute() + query(CLOSED) + S + query(OPEN),
        "1 E22012 ZI T D C ZI",
    ),
    "a name that outlives a rollback": (
        query("BEGIN") + query("SAVEPOINT a") + query(f"PREPARE t AS {OPEN}")
        + query("ROLLBACK TO a") + query("EXECUTE t") + query("COMMIT"),
        "C ZT C ZT C ZT C ZT T D C ZT C ZI",
    ),
    "a cursor that does not": (
        query("BEGIN") + query("SAVEPOINT a") + query(f"DECLARE c CURSOR FOR {OPEN}")
        + query("ROLLBACK TO a") + parse(OPEN) + bind(b"", b"c") + execute(b"c") + S
        + query("FETCH c") + query("ROLLBACK"), "C ZT C ZT C ZT C ZT 1 2 D C ZT E42501 ZE C ZI",
    ),
    "a name of SQL, by the protocol": (
        query(f"PREPARE z AS {OPEN}") + bind(b"z") + execute() + S, "C ZI E26000 ZI",
    ),
    "a name of the protocol, by SQL": (
        parse(OPEN, b"z") + S + query("EXECUTE z"), "1 ZI E42501 ZI",
    ),
    "data of no COPY": (
        LINE + wire.message(b"c") + wire.message(b"f", b"\0") + query(OPEN), "T D C ZI",
    ),
    "Sync and Flush in data of COPY": (
        parse("COPY scratch FROM STDIN") + RUN + LINE + S + H + wire.message(b"f", b"\0") + S,
        "1 2 G E57014 ZI",
    ),
    "data behind data that failed": (
        parse("COPY scratch FROM STDIN") + RUN[:-5] + wire.message(b"d", b"x\tbad\n") + LINE * 5
        + wire.message(b"c") + S + query(OPEN), "1 2 G E22P02 ZI T D C ZI",
    ),
    "a function by its number": (
        wire.message(b"F", struct.pack("!I", 2954), b"\0" * 8), "E42501 ZI",
    ),
    "a Describe of nothing": (describe(b"S", b"x") + S, "E26000 ZI"),
    "no text": (parse("") + RUN, "1 2 I ZI"),
    "a sequence named by a value": (parse("SELECT nextval($1)") + S, "E42501 ZI"),
    "a setting named by a value": (parse("SELECT set_config($1, $2, false)") + S, "E42501 ZI"),
    "a quote inside a letter of SJIS": (
        wire.message(b"Q", b"SELECT '\x83\x5c', (SELECT max(salary) FROM hr.compensation), ''\0"),
        "E42501 ZI",
    ),
    "a quote behind a letter of GBK": (
        wire.message(b"Q", b"SELECT '\xbf\x27, salary FROM hr.compensation --'\0"), "E42501 ZI",
    ),
    "half a pair of UTF-16": (wire.message(b"Q", b"SELECT '\xed\xa0\x80'\0"), "E42501 ZI"),
    "a mark before the text": (query("\ufeffSELECT 1"), "E42501 ZI"),
    "a space that is none": (query("SELECT\u00a01"), "E42501 ZI"),
    "a name that another folding makes": (
        query(f"PREPARE k AS {OPEN}") + query("EXECUTE \u212a"), "C ZI E42501 ZI",
    ),
    "a name that is cut": (query("PREPARE " + "x" * 64 + " AS SELECT 1"), "E42501 ZI"),
}  # fmt: skip


@pytest.mark.parametrize("name", ORDERS)
async def test_a_connection_goes_on_after(stand, name):
    sent, want = ORDERS[name]
    raw = await Raw.logged_in(stand)

    raw.send(sent)

    assert await reply(raw, readies=want.count("Z")) == want
    raw.send(query(OPEN))
    assert await reply(raw, readies=1) == "T D C ZI"


async def test_who_waits_for_a_query_that_is_skipped_goes_on(stand):
    raw = await Raw.logged_in(stand)
    slow = "SELECT count(*) FROM finance.expenses a, finance.expenses b, finance.expenses c"

    # The server discards the Query, and whether the Execute has a portal hangs on its answer.
    raw.send(parse(slow), bind(), execute(), describe(b"S", b"none"), query(OPEN), execute(b"p"))
    assert await raw.kinds(b"E") == "12DCE"
    raw.send(S)

    assert await reply(raw, readies=1) == "ZI"


@pytest.mark.parametrize(
    ("sent", "what"),
    [
        (wire.message(b"F", b"\0" * 12), "FunctionCall"),
        (wire.message(b"Q", b"SELECT '\xff'\0"), "a statement that is not UTF-8"),
    ],
    ids=["by its number", "in no text"],
)
async def test_who_asks_for_what_is_not_read_is_told_what(stand, sent, what):
    raw = await Raw.logged_in(stand)

    raw.send(sent)
    (_, told), _ = await raw.until(b"Z")
    stand.ledger.is_full = True
    raw.send(sent)
    (_, lost), _ = await raw.until(b"Z")

    assert wire.fields(told)["M"] == f"denied by policy: {what} is not read"
    assert "decision " in wire.fields(told)["D"]
    assert wire.fields(lost)["C"] == "58030"


async def test_a_text_that_is_known_is_still_refused_with_a_control_character(stand):
    raw = await Raw.logged_in(stand)
    asked = "SELECT amount FROM finance.expenses WHERE department = '{}'"

    for value in ("a", "b", "c", "d"):
        raw.send(query(asked.format(value)))
        assert await reply(raw, readies=1) == "T C ZI"
    raw.send(query(asked.format("a\x1b[31m")))

    assert await reply(raw, readies=1) == "E42501 ZI"


@pytest.mark.parametrize(
    "scope", ["role erp", "database postgres", "role erp in database postgres"]
)
async def test_no_setting_of_a_role_or_a_database_changes_what_a_name_means(stand, scope):
    stand.server.psql(
        "create table hr.scratch(note text, amount numeric);"
        "grant select on hr.scratch to erp; insert into hr.scratch values ('x', 1)"
    )
    settings = {"search_path": "hr", "standard_conforming_strings": "off", "backslash_quote": "on"}
    settings |= {"client_encoding": "'SJIS'", "transform_null_equals": "on"}
    for name, value in settings.items():
        stand.server.psql(f"alter {scope} set {name} = {value}")

    raw = await Raw.logged_in(stand)
    raw.send(query("SELECT * FROM scratch"))
    found = await reply(raw, readies=1)
    for name in settings:
        stand.server.psql(f"alter {scope} reset {name}")
    stand.server.psql("drop table hr.scratch")

    assert found == "T C ZI"
