"""Uses that pass in one piece leave everything as if each message had been taken by itself."""

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.intercept.postgres.protocol import wire
from sidecar.intercept.postgres.protocol.answers import Answers
from sidecar.intercept.postgres.protocol.denial import Denial
from sidecar.intercept.postgres.protocol.expected import Expected
from sidecar.intercept.postgres.protocol.pipeline import Pipeline
from sidecar.intercept.postgres.protocol.prepared import Lease, Statement
from sidecar.intercept.postgres.protocol.session_names import NameUse
from sidecar.intercept.postgres.protocol.uses import Uses
from tests.intercept.postgres.stand import Raw, Stand, bind, close, describe, execute, parse

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
    Answers(pipeline).feed(wire.message(b"1") + READY)
    return pipeline


@pytest.mark.parametrize("rest", [RUN, SEEN])
def test_a_use_is_one_statement_and_nothing_else(rest: bytes) -> None:
    statement = plain()

    assert Uses(prepared(statement)).used_by(bind(b"s") + rest) == (statement,)
    assert Uses(prepared(statement, b"")).used_by(bind() + rest) == (statement,)


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
    assert Uses(prepared(plain())).used_by(data) == ()


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
    assert Uses(prepared(statement)).used_by(bind(b"s") + RUN) == ()


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

    assert Uses(pipeline).used_by(bind(b"s") + RUN) == ()


def test_what_the_server_skips_is_no_use() -> None:
    pipeline = prepared(plain())
    pipeline.sent(Expected(b"B"))
    Answers(pipeline).feed(ERROR)

    assert len(pipeline) == 0
    assert Uses(pipeline).used_by(bind(b"s") + RUN) == ()


def state(pipeline: Pipeline, of: Lease) -> object:
    told = (of.uses, of.rows, of.size, of.status, of.result, list(pipeline.touched) == [of])
    seen = (pipeline.status, pipeline.syncs, pipeline.readies, pipeline.segment, len(pipeline))
    return told, seen, pipeline.portals.candidates(b"", pipeline.segment) != ()


_PIECES = st.lists(
    st.sampled_from(
        (WHOLE, BOUND, ROW, DESCRIBED, wire.message(b"n"), DONE, READY, NOTICE, ERROR,
         wire.message(b"Z", b"T"), wire.message(b"Z", b"E"), wire.message(b"s"),
         wire.message(b"I"), b"D\0\0\0\1", BOUND + DESCRIBED + ROW + DONE + READY)
    ),
    max_size=9,
)  # fmt: skip


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


@given(st.lists(st.booleans(), min_size=1, max_size=3), _PIECES, st.integers(1, 200))
def test_whatever_is_answered_all_is_as_message_by_message(
    described: list[bool], pieces: list[bytes], size: int
) -> None:
    told = []
    for is_short in (True, False):
        statement = plain()
        pipeline = prepared(statement)
        uses = Uses(pipeline)
        for is_described in described:
            uses.sent((statement,), bind(b"s") + (SEEN if is_described else RUN))
        if not is_short:
            uses.unfold()
        out = played(uses, Answers(pipeline), b"".join(pieces), size)
        uses.unfold()
        assert statement.lease is not None
        told.append((out, state(pipeline, statement.lease)))

    # What cannot be ends both; how much of the same piece passed before it is no matter.
    short, long = told
    assert short == long or (short[0].endswith(b"!") and long[0].endswith(b"!"))


def test_of_a_use_that_is_never_answered_nobody_knows_what_became() -> None:
    statement = plain()
    pipeline = prepared(statement)
    uses = Uses(pipeline)
    uses.sent((statement,), bind(b"s") + RUN)

    uses.unfold()
    pipeline.abandon()

    assert statement.lease is not None
    assert (statement.lease.result, statement.lease.uses) == ("unknown", 1)


def test_within_a_message_nothing_is_taken_for_an_answer() -> None:
    pipeline = prepared(plain())
    answers = Answers(pipeline)
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
