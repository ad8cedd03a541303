"""Uses that pass in one piece leave everything as if each message had been taken by itself."""

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.intercept.postgres.protocol import wire
from sidecar.intercept.postgres.protocol.answers import Answers
from sidecar.intercept.postgres.protocol.denial import Denial
from sidecar.intercept.postgres.protocol.expected import Expected, Form
from sidecar.intercept.postgres.protocol.pipeline import Pipeline
from sidecar.intercept.postgres.protocol.prepared import Lease, Statement, Statements
from sidecar.intercept.postgres.protocol.session_names import NameUse
from sidecar.intercept.postgres.protocol.uses import Uses
from tests.intercept.postgres.stand import (
    Raw,
    Stand,
    agree,
    bind,
    close,
    describe,
    execute,
    parse,
    query,
)

READY = wire.message(b"Z", b"I")
RUN = execute() + wire.SYNC
SEEN = describe(b"P") + RUN
ROW = wire.message(b"D", b"\0\1\0\0\0\2ab")
DESCRIBED = wire.message(b"T", b"\0\1" + b"x" * 24)
DONE = wire.message(b"C", b"SELECT 2\0")
BOUND = wire.message(b"2")
WHOLE = BOUND + ROW + ROW + DONE + READY
NOTICE = wire.message(b"N", b"Mnote\0\0")
ERROR = wire.message(b"E", b"SERROR\0VERROR\0C22012\0Mdivision by zero\0\0")


def lease(**due: Any) -> Lease:
    forward = SimpleNamespace(decision=SimpleNamespace(obligations=()))
    return Lease(forward, None, "", 0, 0.0, **due)  # type: ignore[arg-type]


def plain(**more: Any) -> Statement:
    return Statement("", b"", lease(), **more)


def prepared(statement: Statement, name: bytes = b"s") -> Pipeline:
    """Return a pipeline in which the server has confirmed a name."""
    pipeline = Pipeline()
    pipeline.sent(Expected(b"P", name, statements=(statement,)))
    pipeline.sent(Expected(b"S"))
    Answers(pipeline, agree).feed(wire.message(b"1") + READY)
    return pipeline


def used(pipeline: Pipeline, data: bytes) -> Statements | None:
    """Return the same, whatever came before: what the last use was like is remembered."""
    found = []
    for before in (b"", bind(b"s") + RUN, bind(b"s") + SEEN, bind() + RUN):
        uses = Uses(pipeline)
        uses.used_by(before)
        found.append(uses.used_by(data))
    assert found == found[:1] * len(found)
    return None if found[0] is None else found[0][0]


@pytest.mark.parametrize("rest", [RUN, SEEN])
def test_a_use_is_one_statement_and_nothing_else(rest: bytes) -> None:
    statement = plain()

    assert used(prepared(statement), bind(b"s") + rest) == (statement,)
    assert used(prepared(statement, b""), bind() + rest) == (statement,)


@pytest.mark.parametrize(
    "data",
    [
        b"B",
        b"B\0\0\0\4",
        b"B\0\0\0\5\0" + RUN,
        b"B\0\0\0\6\0s" + RUN,
        b"B\0\0\0\x07\0s\0" + RUN,
        b"B\0\0\0\0" + bind(b"s")[5:] + RUN,
        b"B\xff\xff\xff\xff" + bind(b"s")[5:] + RUN,
        b"B" + len(bind(b"s") + RUN).to_bytes(4, "big") + bind(b"s")[5:] + RUN,
        bind(b"s"),
        bind(b"s") + execute(),
        bind(b"s") + execute() + wire.FLUSH,
        bind(b"s") + RUN[:-1],
        bind(b"s") + RUN + b"Q",
        bind(b"s") + RUN + wire.query(b"drop table t"),
        bind(b"s") + RUN + bind(b"s") + RUN,
        bind(b"s") + parse("select 1") + RUN,
        bind(b"s") + describe(b"S", b"s") + RUN,
        bind(b"s") + describe(b"P", b"p") + RUN,
        bind(b"s") + close(b"S", b"s") + RUN,
        bind(b"s") + execute(b"p") + wire.SYNC,
        bind(b"s") + execute(rows=1) + wire.SYNC,
        bind(b"s", b"p") + RUN,
        bind(b"t") + RUN,
        bind() + RUN,
        bind(b"s" * 64) + RUN,
        parse("select 1") + RUN,
    ],
)
def test_what_is_more_or_less_or_other_is_taken_message_by_message(data: bytes) -> None:
    assert used(prepared(plain()), data) is None


@pytest.mark.parametrize(
    "statement",
    [
        Statement("", b""),
        Statement("", b"", lease(rows_max=1)),
        Statement("", b"", lease(is_quiet=True)),
        Statement("", b"", lease(copies="in")),
        Statement("", b"", lease(copies="out")),
        Statement("", b"", lease(names=(NameUse("fetch", "c"),))),
        plain(said={"params": [1]}),
    ],
)
def test_where_more_is_due_than_a_lease_each_message_is_looked_at(statement: Statement) -> None:
    assert used(prepared(statement), bind(b"s") + RUN) is None


def _denied() -> Expected:
    return Expected(b"P", b"x", denial=Denial("42501", "no"), nonce="n")


@pytest.mark.parametrize(
    "before",
    [
        (Expected(b"Q"),),
        (Expected(b"P", b"s", statements=(plain(),)),),
        (Expected(b"B", statements=(plain(),)),),
        (_denied(),),
        (Expected(b"Q", statements=(Statement("", b"", lease(is_quiet=True)),)),),
    ],
)
def test_while_anything_else_is_unanswered_each_message_is_looked_at(
    before: tuple[Expected, ...],
) -> None:
    pipeline = prepared(plain())
    for one in before:
        pipeline.sent(one)

    assert used(pipeline, bind(b"s") + RUN) is None


def test_what_the_server_skips_is_no_use() -> None:
    pipeline = prepared(plain())
    pipeline.sent(Expected(b"B"))
    Answers(pipeline, agree).feed(ERROR)

    assert len(pipeline) == 0
    assert used(pipeline, bind(b"s") + RUN) is None


def state(pipeline: Pipeline, of: Lease) -> object:
    values = None if of.values is None else of.values.hexdigest()
    told = (of.uses, of.rows, of.size, of.status, of.result, values, list(pipeline.touched) == [of])
    seen = (pipeline.status, pipeline.syncs, pipeline.readies, pipeline.segment, len(pipeline))
    return told, seen, pipeline.portals.candidates(b"", pipeline.segment) != ()


PARSED = wire.message(b"1")
EXPECTED = {
    b"BES": WHOLE,
    b"BDES": BOUND + DESCRIBED + ROW + DONE + READY,
    b"PBES": PARSED + WHOLE,
    b"PBDES": PARSED + BOUND + wire.message(b"n") + DONE + READY,
    b"Q": DESCRIBED + ROW + DONE + READY,
}
SAID = {
    b"BES": bind(b"s") + RUN,
    b"BDES": bind(b"s") + SEEN,
    b"PBES": parse("select 1") + bind() + RUN,
    b"PBDES": parse("select 1") + bind() + SEEN,
    b"Q": query("select 1"),
}
_PIECES = st.lists(
    st.sampled_from(
        (*EXPECTED.values(), PARSED, BOUND, ROW, DESCRIBED, wire.message(b"n"), DONE, READY,
         NOTICE, ERROR, wire.message(b"Z", b"T"), wire.message(b"Z", b"E"), wire.message(b"s"),
         wire.message(b"I"), b"D\0\0\0\1", DONE + READY, DONE + wire.message(b"Z", b"T"))
    ),
    max_size=9,
)  # fmt: skip


def form_of(kinds: bytes) -> Form:
    """Return the form of what a client says."""
    uses, data = Uses(prepared(plain())), SAID[kinds]
    used, asked = uses.used_by(data), None if kinds[:1] == b"B" else uses.asked_by(data)
    form = used[1] if used is not None else asked.form if asked is not None else None
    assert form is not None
    assert form.kinds == kinds
    return form


def played(uses: Uses, answers: Answers, stream: bytes, size: int) -> bytes:
    """Return what the client is sent when the server's stream comes in pieces of a size."""
    out = b""
    for at in range(0, len(stream), size):
        data = stream[at : at + size]
        passed = uses.answered(data) if answers.is_between else 0
        out += data[:passed]
        if passed < len(data):
            uses.unfold()
            try:
                out += answers.feed(data[passed:])
            except wire.ProtocolError:
                return out + b"!"
    return out


@given(
    st.lists(st.sampled_from((*SAID,)), min_size=1, max_size=3),
    st.integers(0, 3),
    _PIECES,
    st.integers(1, 200),
)
def test_whatever_is_answered_all_is_as_message_by_message(
    said: list[bytes], right: int, pieces: list[bytes], size: int
) -> None:
    told = []
    stream = b"".join([EXPECTED[kinds] for kinds in said[:right]] + pieces)
    for is_short in (True, False):
        statement = plain()
        pipeline = prepared(statement)
        uses = Uses(pipeline)
        for number, kinds in enumerate(said):
            uses.sent((statement,), form_of(kinds))
            # Bytes of the Bind that nothing here reads.
            uses.went(SAID[kinds].replace(b"\0" * 6, b"\0\0\0\0\0%d" % number))
        if not is_short:
            uses.unfold()
        out = played(uses, Answers(pipeline, agree), stream, size)
        uses.unfold()
        assert statement.lease is not None
        told.append((out, state(pipeline, statement.lease)))

    # What cannot be ends both; how much of the same piece passed before it is no matter.
    short, long = told
    assert short == long or (short[0].endswith(b"!") and long[0].endswith(b"!"))


@pytest.mark.parametrize("kinds", [b"PBES", b"PBDES", b"Q"])
def test_what_is_asked_anew_is_one_text_run_once_and_nothing_else(kinds: bytes) -> None:
    asked = Uses(prepared(plain())).asked_by(SAID[kinds])

    assert asked is not None
    assert (asked.text, asked.form.kinds) == (b"select 1", kinds)


TYPED = wire.parse(b"", b"select 1", b"\0\2\0\0\0\x17\0\0\0\x17")
ASK = parse("select 1")


@pytest.mark.parametrize(
    "data",
    [
        b"Q",
        query("")[:5] + b"\0\0\0\0\0\0",
        wire.query(b"select 1")[:-1],
        wire.query(b"select 1") + b"Q",
        wire.query(b"select 1") + wire.query(b"drop table t"),
        wire.message(b"Q", b"select 1\0drop table t\0"),
        wire.message(b"Q", b"select 1"),
        b"Q\0\0\0\x04" + wire.query(b"select 1")[5:],
        ASK,
        ASK + wire.SYNC,
        ASK + bind() + execute(),
        ASK + bind() + execute() + wire.FLUSH,
        ASK + bind() + RUN + b"Q",
        ASK + bind() + RUN + wire.query(b"drop table t"),
        ASK + ASK + bind() + RUN,
        ASK + bind() + bind() + RUN,
        ASK + describe(b"S") + bind() + RUN,
        ASK + bind(b"s") + RUN,
        ASK + bind(b"", b"p") + RUN,
        ASK + bind() + execute(rows=1) + wire.SYNC,
        ASK + b"B\0\0\0\4" + RUN,
        ASK + b"B\0\0\0\6\0\0" + RUN,
        ASK + b"B\xff\xff\xff\xff" + bind()[5:] + RUN,
        parse("select 1", b"s") + bind() + RUN,
        parse("select 1", b"s") + bind(b"s") + RUN,
        wire.message(b"P", b"\0select 1\0") + bind() + RUN,
        wire.message(b"P", b"\0select 1\0\0\1") + bind() + RUN,
        wire.message(b"P", b"\0select 1\0\0\0\0\0\0\x17") + bind() + RUN,
        wire.message(b"P", b"\0select 1") + bind() + RUN,
        b"P\0\0\0\0" + ASK[5:] + bind() + RUN,
        b"P\xff\xff\xff\xff" + ASK[5:] + bind() + RUN,
    ],
)
def test_what_is_more_than_one_text_is_taken_message_by_message(data: bytes) -> None:
    assert Uses(prepared(plain())).asked_by(data) is None


def test_types_of_parameters_are_no_part_of_the_text() -> None:
    asked = Uses(prepared(plain())).asked_by(TYPED + bind() + RUN)

    assert asked is not None
    assert asked.text == b"select 1"


def test_while_a_use_is_unanswered_nothing_is_asked_in_one_piece() -> None:
    statement = plain()
    uses = Uses(prepared(statement))
    uses.sent((statement,), form_of(b"BES"))

    assert uses.asked_by(SAID[b"Q"]) is None
    assert uses.asked_by(SAID[b"PBES"]) is None


@pytest.mark.parametrize("kinds", [b"PBES", b"PBDES"])
def test_while_the_unnamed_statement_is_about_to_be_another_its_use_waits_for_that(
    kinds: bytes,
) -> None:
    pipeline, other = prepared(plain(), b""), plain()
    pipeline.statements.hold(b"s", (named := plain(),))
    uses = Uses(pipeline)
    uses.sent((other,), form_of(kinds))
    use, of_name = bind() + RUN, bind(b"s") + RUN

    assert uses.used_by(use) is None
    assert uses.used_by(of_name) == ((named,), form_of(b"BES"))
    uses.answered(EXPECTED[kinds])
    assert uses.used_by(use) == ((other,), form_of(b"BES"))


def test_of_a_use_that_is_never_answered_nobody_knows_what_became() -> None:
    statement = plain()
    pipeline = prepared(statement)
    uses = Uses(pipeline)
    uses.sent((statement,), form_of(b"BES"))

    uses.unfold()
    pipeline.abandon()

    assert statement.lease is not None
    assert (statement.lease.result, statement.lease.uses) == ("unknown", 1)


def test_within_a_message_nothing_is_taken_for_an_answer() -> None:
    pipeline = prepared(plain())
    answers = Answers(pipeline, agree)
    # Anybody on the same server may write what a notification says.
    answers.feed(wire.message(b"A", b"\0\0\0\1channel\0" + WHOLE + b"\0")[:20])

    assert not answers.is_between


async def test_uses_pass_and_are_counted(stand: Stand) -> None:
    client = await Raw.logged_in(stand)
    client.send(parse("select id from finance.expenses where id < 4", b"s"), wire.SYNC)
    await client.until(b"Z")

    for rest, kinds in ((RUN, "2DDDCZ"), (SEEN, "2TDDDCZ"), (RUN, "2DDDCZ")):
        client.send(bind(b"s"), rest)
        assert await client.kinds() == kinds
    await client.close()

    outcomes = await stand.outcomes(2)
    assert len(stand.ledger.decisions) == 1
    assert sum(one.uses or 0 for one in outcomes) == 3
    assert sum(one.rows or 0 for one in outcomes) == 9


async def test_a_use_that_fails_ends_as_any_other(stand: Stand) -> None:
    client = await Raw.logged_in(stand)
    client.send(parse("select 1 / (id - id) from finance.expenses", b"s"), wire.SYNC)
    await client.until(b"Z")

    client.send(bind(b"s"), RUN)
    assert await client.kinds() == "2EZ"
    client.send(bind(b"s"), RUN)
    assert await client.kinds() == "2EZ"

    outcomes = await stand.outcomes(2)
    assert [(one.result, one.upstream_status) for one in outcomes] == [("failed", "22012")] * 2


@pytest.mark.parametrize("end", ["epoch", "bundle"])
async def test_a_use_after_the_end_of_the_lease_is_decided(stand: Stand, end: str) -> None:
    client = await Raw.logged_in(stand)
    client.send(parse("select 1 from finance.expenses", b"s"), wire.SYNC)
    await client.until(b"Z")
    client.send(bind(b"s"), RUN)
    await client.until(b"Z")
    assert len(stand.ledger.decisions) == 1

    stand.revoked.epoch += 1
    if end == "bundle":
        stand.revoked.parties.add("user:bob")
    client.send(bind(b"s"), RUN)
    kinds = await client.kinds()

    assert len(stand.ledger.decisions) == 2
    assert kinds.startswith("E" if end == "bundle" else "2D")
