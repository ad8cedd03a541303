"""What is read and refused before a socket comes into it."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.intercept.postgres.ends.startup import Startup, packet_end, read_packet
from sidecar.intercept.postgres.limits import CANDIDATES_MAX, STATEMENT_BYTES_MAX
from sidecar.intercept.postgres.protocol import wire
from sidecar.intercept.postgres.protocol.answers import Answers
from sidecar.intercept.postgres.protocol.denial import Denial, nonce
from sidecar.intercept.postgres.protocol.expected import Expected
from sidecar.intercept.postgres.protocol.naming import read_token_set
from sidecar.intercept.postgres.protocol.pipeline import Pipeline
from sidecar.intercept.postgres.protocol.prepared import Lease, Names, Statement, is_leasable
from sidecar.terms.domain import Needs
from tests.intercept.postgres.stand import agree
from tests.tables import rows

ERROR = wire.error("42601", "syntax error at or near something")
READY = wire.message(b"Z", b"I")


@pytest.mark.parametrize("row", rows("postgres/startup.yaml"))
def test_startup(row):
    said, want = row.given, row.want
    words = b"".join(word.encode() + b"\0" for word in said["settings"])
    code = (said.get("major", 3) << 16) | said.get("minor", 0)
    data = wire.packet(code, words, said.get("end", "\0").encode())

    if "refused" in want:
        with pytest.raises(wire.Refused) as refused:
            read_packet(data)
        assert refused.value.code == want["refused"]
    elif "malformed" in want:
        with pytest.raises(wire.ProtocolError):
            read_packet(data)
    else:
        found = read_packet(data)
        assert isinstance(found, Startup)
        assert (found.user, found.database) == (want["user"], want["database"])
        assert found.settings == want["settings"]
        asked = want.get("search_path")
        assert found.search_path == (None if asked is None else tuple(asked))
        assert bool(found.negotiation) == ("declined" in want)
        assert list(found.unknown) == want.get("declined", [])


@pytest.mark.parametrize("row", rows("postgres/subject_token.yaml"))
def test_subject_token(row):
    found = read_token_set(row.given)

    said = None if found is None else {"token": found.token, "local": found.is_local}
    assert said == row.want


@given(st.binary(max_size=64))
def test_no_packet_breaks_the_reader(data):
    try:
        end = packet_end(data)
        if end is not None:
            read_packet(data[:end])
    except (wire.ProtocolError, wire.Refused):
        pass


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\0\0\0\7",
        b"\0\0\x27\x11",
        b"\xff\xff\xff\xff",
    ],
    ids=["TLS without asking", "HTTP", "too short", "10,001 bytes", "negative"],
)
def test_what_is_no_startup_packet_is_refused_at_its_first_bytes(data):
    with pytest.raises(wire.ProtocolError):
        packet_end(data)


@pytest.mark.parametrize(
    "data",
    [
        b"Z",
        b"p\0\0\0\4",
        b"\0\0\0\0\0",
        b"Q\0\0\0\3",
        b"Q" + (STATEMENT_BYTES_MAX + 5).to_bytes(4, "big"),
        b"S\0\0\0\5",
        b"X\0\0\0\5",
        b"B\xff\xff\xff\xff",
    ],
)
def test_messages_that_clients_do_not_send_are_refused_at_their_header(data):
    with pytest.raises(wire.ProtocolError):
        wire.frame_at(data, 0)


@pytest.mark.parametrize(
    ("read", "body"),
    [
        (wire.statement_text, b"SELECT 1"),
        (wire.statement_text, b"SELECT 1\0; DROP\0"),
        (wire.statement_text, b""),
        (wire.parse_parts, b"s\0SELECT 1"),
        (wire.parse_parts, b"s\0SELECT 1\0"),
        (wire.parse_parts, b"s\0SELECT 1\0\0\1"),
        (wire.parse_parts, b"s\0SELECT 1\0\0\0x"),
        (wire.parse_parts, b"s\0SELECT 1\0hidden\0\0\0"),
        (wire.parse_parts, b"n" * 64 + b"\0SELECT 1\0\0\0"),
        (wire.bind_parts, b"portal\0statement"),
        (wire.bind_parts, b"p" * 64 + b"\0s\0"),
        (wire.bind_parts, b"p\0" + b"s" * 64 + b"\0"),
        (wire.execute_portal, b"p\0\0\0\0"),
        (wire.execute_portal, b"p\0\0\0\0\0\0"),
        (wire.kind_and_name, b"Xs\0"),
        (wire.kind_and_name, b"Ss\0x\0"),
        (wire.kind_and_name, b""),
    ],
)
def test_a_malformed_message_is_refused(read, body):
    with pytest.raises(wire.ProtocolError):
        read(body)


def test_an_error_carries_no_nul_and_no_more_than_fits():
    fields = wire.fields(wire.error("42501", "a\0b" + "x" * 9999, "d", None)[5:])

    assert fields["M"].startswith("a b")
    assert len(fields["M"]) == 2000
    assert "H" not in fields


def sent(*expected: Expected) -> Answers:
    pipeline = Pipeline()
    for one in expected:
        pipeline.sent(one)
    return Answers(pipeline, agree)


def denied(kind: bytes = b"Q") -> tuple[Expected, bytes]:
    word = nonce(b"0123456789abcdef")
    denial = Denial("42501", "no", "decision 1")
    said = wire.error("42601", f'syntax error at or near "{word.decode()}"')
    return Expected(kind, denial=denial, nonce=word.decode()), said


def test_only_the_error_with_the_word_is_reworded():
    expected, said = denied()

    assert sent(expected).feed(said + READY) == wire.error("42501", "no", "decision 1") + READY
    assert sent(denied()[0]).feed(ERROR + READY) == ERROR + READY
    assert sent(Expected(b"Q")).feed(said + READY) == said + READY


@pytest.mark.parametrize("answer", [b"1", b"C", b"I", b"2", b"s"])
def test_a_server_that_executes_what_was_denied_ends_the_connection(answer):
    with pytest.raises(wire.ProtocolError):
        sent(denied()[0]).feed(wire.message(answer, b"SELECT 1\0"))


@pytest.mark.parametrize(
    ("expected", "answer"),
    [
        ((), READY),
        ((), ERROR),
        ((), wire.message(b"C", b"SELECT 1\0")),
        ((Expected(b"S"),), wire.message(b"1")),
        ((Expected(b"E"),), READY),
        ((Expected(b"B"),), wire.message(b"1")),
        ((Expected(b"E"),), wire.message(b"T", b"\0\0")),
        ((Expected(b"Q"),), wire.message(b"G", b"\0\0\0")),
        ((Expected(b"Q"),), wire.message(b"H", b"\0\0\0")),
        ((Expected(b"Q"),), wire.message(b"W", b"\0\0\0")),
        ((Expected(b"Q"),), wire.message(b"R", b"\0\0\0\0")),
        ((Expected(b"Q"),), wire.message(b"Z", b"X")),
        ((Expected(b"Q"),), b"D\0\0\0\1"),
        ((), wire.message(b"D", b"row")),
        ((Expected(b"B"),), wire.message(b"D", b"row")),
        ((Expected(b"S"),), wire.message(b"D", b"row")),
        ((denied()[0],), wire.message(b"D", b"row")),
        ((denied(b"P")[0],), wire.message(b"D", b"row")),
        ((Expected(b"Q"),), wire.message(b"d", b"row")),
        ((Expected(b"Q"),), wire.message(b"c")),
        ((Expected(b"Q"),), wire.message(b"t", b"\0\0")),
        ((Expected(b"D", closes=b"S"),), wire.message(b"t", b"\0\2\0\0\0\x17")),
        ((Expected(b"Q"),), b"C\x7f\xff\xff\xff"),
        ((Expected(b"Q"),), wire.message(b"S", b"client_encoding\0SJIS\0")),
        ((Expected(b"Q"),), wire.message(b"S", b"standard_conforming_strings\0off\0")),
        ((Expected(b"Q"),), wire.message(b"S", b"search_path\0hr\0")),
        ((Expected(b"Q"),), wire.message(b"S", b'search_path\0"Public"\0')),
        ((Expected(b"Q"),), wire.message(b"S", b"search_path\0public, hr\0")),
        ((Expected(b"Q"),), wire.message(b"S", b"search_path\0public,\0")),
        ((Expected(b"Q"),), wire.message(b"S", b"search_path\0\xff\0")),
    ],
)
def test_an_answer_that_cannot_be_is_refused(expected, answer):
    with pytest.raises(wire.ProtocolError):
        sent(*expected).feed(answer)


@pytest.mark.parametrize("said", ["public", '"public"', "", '""', "pg_catalog", '"pg_catalog"'])
def test_a_search_path_under_which_no_name_means_anything_else_passes(said):
    told = wire.message(b"S", b"search_path\0", said.encode() + b"\0")

    assert sent(Expected(b"Q")).feed(told) == told


def test_a_fatal_error_passes_whenever_it_comes():
    fatal = wire.error("57P01", "terminating", fatal=True)

    assert sent().feed(fatal) == fatal


@given(st.lists(st.integers(1, 40), min_size=1, max_size=30))
def test_pieces_of_any_size_give_the_same_answers(sizes):
    expected, said = denied(b"P")
    stream = wire.message(b"1") + wire.message(b"2") + wire.message(b"T", b"\0\1" + b"x" * 50)
    stream = wire.message(b"2") + wire.message(b"D", b"y" * 90) + wire.message(b"C", b"SELECT 1\0")
    stream += wire.message(b"N", b"Mnote\0\0") + said + READY
    answers = sent(Expected(b"B"), Expected(b"E"), expected, Expected(b"S"))

    out, at = b"", 0
    while at < len(stream):
        size = sizes[at % len(sizes)]
        out += answers.feed(stream[at : at + size])
        at += size

    assert out == stream.replace(said, wire.error("42501", "no", "decision 1"))


def bounded(rows_max: int) -> Statement:
    """Return a statement of which so many rows may pass."""
    decision = SimpleNamespace(obligations=())
    forward = SimpleNamespace(decision=decision)
    lease = Lease(forward, None, "", 0, 0.0, rows_max=rows_max, is_quiet=True)  # type: ignore[arg-type]
    return Statement("", b"", lease).bound()


@given(
    st.lists(st.integers(1, 60), min_size=1, max_size=30),
    st.lists(st.integers(0, 200), max_size=12),
    st.integers(0, 6),
)
def test_no_byte_of_a_row_too_many_passes_in_pieces_of_any_size(sizes, rows, rows_max):
    expected = Expected(b"E", statements=(bounded(rows_max),))
    sent_rows = [wire.message(b"D", bytes([65 + at]) * size) for at, size in enumerate(rows)]
    end = wire.message(b"s") if len(rows) > rows_max else wire.message(b"C", b"SELECT\0")
    stream = b"".join(sent_rows) + wire.message(b"N", b"Mnote\0\0") + end + READY
    answers = sent(expected, Expected(b"S"))

    out, at = b"", 0
    while at < len(stream):
        size = sizes[at % len(sizes)]
        out += answers.feed(stream[at : at + size])
        at += size

    told = b"" if len(rows) > rows_max else end
    assert out == b"".join(sent_rows[:rows_max]) + told + READY


def test_a_name_stands_for_all_that_the_server_may_have():
    old, new, newest = (Statement(text, text.encode()) for text in ("old", "new", "newest"))
    names = Names()

    names.propose(b"s", (old,), 0)
    assert names.candidates(b"s", 0) == (old,)
    names.propose(b"s", (new,), 1)
    assert names.candidates(b"s", 1) == (new,)
    assert names.candidates(b"s", 2) == (old, new)
    names.settle(b"s", confirmed=True)
    names.settle(b"s", confirmed=False)
    assert names.candidates(b"s", 3) == (old,)
    names.propose(b"s", (newest,), 3)
    assert names.settle(b"s", confirmed=True) == (old,)
    assert names.candidates(b"s", 4) == (newest,)
    assert names.close(b"s") == (newest,)
    assert names.candidates(b"s", 4) == ()
    assert CANDIDATES_MAX >= 2


@pytest.mark.parametrize(
    ("path", "leasable"),
    [
        ("subject.properties.groups", True),
        ("context.ip", True),
        ("context.timezone", True),
        ("context", False),
        ("context.time", False),
        ("context.time.x", False),
        ("session.labels", False),
        ("request", False),
        ("request.sql", False),
        ("request.sql.params", False),
        ("request.sql.verbs", True),
    ],
)
def test_a_lease_is_given_only_where_nothing_varies(path, leasable):
    assert is_leasable(Needs(frozenset({"resource.labels", path}))) == leasable
