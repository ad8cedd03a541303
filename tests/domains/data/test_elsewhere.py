"""What another process says of a long text is what this one says of it, and holds for nothing else.

Every statement of the tables is made long by space behind it: what it means stays the same.
"""

import msgspec
import pytest

from sidecar.domains.data import DOMAIN, DataDomain, done_elsewhere
from sidecar.domains.data.limits import CACHED_CHARS_MAX, KEPT_BYTES_MAX, TEXT_BYTES_MAX
from sidecar.domains.data.parse import elsewhere
from sidecar.terms.decision import Obligation
from sidecar.terms.domain import Elsewhere, Needs
from sidecar.terms.errors import EnforceError, ParseError
from tests.domains.data.test_rewrite import obligations_of
from tests.domains.data.test_sql import TABLE, call_of, catalogue_of, decision_of, request_of
from tests.tables import rows

AWAY = DataDomain("sha256:here")
# So long that this process would keep nothing of it either.
LONG = " " * CACHED_CHARS_MAX
SAID = ("data/targets.yaml", "data/definitions.yaml", "data/relatives.yaml", "data/hostile.yaml",
        "data/definitions_refused.yaml")  # fmt: skip


@pytest.fixture(autouse=True)
def _nothing_is_known():
    elsewhere._kept.clear()


def outcome(do):
    """Return what is said, or how it is refused."""
    try:
        return do()
    except (ParseError, EnforceError) as error:
        return type(error), error.reason, str(error)


def elsewhere_done(do, catalogue, errands=3):
    """Return what `do` comes to where another process does what takes long, and what it did."""
    done: list[Elsewhere] = []
    while True:
        try:
            return do(), done
        except Elsewhere as away:
            assert len(done) < errands
            done.append(away)
            away.take(done_elsewhere(away.work, catalogue))


def read(text, spec=TABLE, domain=AWAY, **payload):
    call, catalogue = call_of(text, **payload), catalogue_of(spec)
    return elsewhere_done(
        lambda: outcome(lambda: domain.parse(call, catalogue, Needs())), catalogue
    )


@pytest.mark.parametrize("file", SAID)
def test_another_process_reads_what_this_one_reads(file):
    for row in (param.values[0] for param in rows(file)):
        text = row.given + LONG
        elsewhere._kept.clear()
        here, nobody = read(text, row.table["catalog"], DOMAIN)
        there, asked = read(text, row.table["catalog"])

        assert there == here, row.it
        assert nobody == []
        assert len(asked) == (len(text) <= TEXT_BYTES_MAX)


def test_a_long_text_is_asked_about_once():
    text = "SELECT a FROM t" + LONG

    _, first = read(text)
    _, second = read(text)

    assert [away.bundle for away in first] == ["sha256:here"]
    assert second == []


def test_a_short_text_is_read_at_once():
    assert read("SELECT a FROM t")[1] == []


def test_nobody_is_asked_about_a_text_that_is_too_large():
    said, asked = read("SELECT a FROM t" + " " * TEXT_BYTES_MAX)

    assert said[1] == "parse.too_large"
    assert asked == []


def test_nobody_is_asked_about_half_a_character():
    said, asked = read("SELECT a FROM t\ud800" + LONG)

    assert said[1] == "parse.encoding"
    assert asked == []


def test_nobody_is_asked_about_the_catalogue_of_a_call():
    parsed, asked = read("SELECT z FROM x" + LONG, catalog={"public.x": ["z"]})

    assert parsed.native["reads"] == {"public.x": ["z"]}
    assert asked == []


def test_a_refusal_is_known_the_next_time():
    text = "SELECT a FROM nowhere" + LONG

    first, _ = read(text)
    second, asked = read(text)

    assert first == second
    assert first[1] == "parse.unknown_table"
    assert asked == []


def test_drift_that_this_process_knows_holds_there_too():
    text = "SELECT * FROM t" + LONG

    assert read(text)[0].native["reads"] == {"public.t": ["a", "b"]}
    assert read(text, drift={"public.t": ["c"]})[0][1] == "catalogue.drift"


def test_what_stands_behind_a_name_is_read_there():
    session = {"prepared": {"p": "SELECT a FROM t" + LONG}}

    parsed, asked = read("EXECUTE p", session=session)

    assert parsed.native["reads"] == {"public.t": ["a"]}
    assert len(asked) == 1


def test_what_is_said_for_one_catalogue_holds_for_no_other():
    text = "SELECT a FROM t" + LONG
    labelled = {
        "protocol": "sql",
        "schemas": {"public": {"tables": {"t": {"labels": ["pii"], "columns": ["a", "b"]}}}},
    }
    read(text)

    parsed, asked = read(text, labelled)

    assert len(asked) == 1
    assert all(target.resource.labels == ("pii",) for target in parsed.targets)


def test_a_process_with_another_catalogue_says_nothing():
    other = catalogue_of({"protocol": "sql", "schemas": {"public": {"tables": {}}}})
    call, catalogue = call_of("SELECT a FROM t" + LONG), catalogue_of(TABLE)

    def do():
        return outcome(lambda: AWAY.parse(call, catalogue, Needs()))

    said, _ = elsewhere_done(do, other)

    assert said[:2] == (ParseError, "internal")


def test_an_answer_that_was_displaced_is_asked_for_again():
    text = "SELECT a FROM t" + LONG
    read(text)
    elsewhere._kept[("filler", "", (), "")] = elsewhere._Kept(elsewhere.Sent(""), KEPT_BYTES_MAX)

    parsed, asked = read(text)

    assert len(asked) == 1
    assert parsed.native["reads"] == {"public.t": ["a"]}


@pytest.mark.parametrize("answer", [b"", b"\x80", b"\xc1", msgspec.msgpack.encode({"type": "X"})])
def test_what_is_no_answer_is_not_taken(answer):
    call = call_of("SELECT b FROM t" + LONG)
    with pytest.raises(Elsewhere) as away:
        AWAY.parse(call, catalogue_of(TABLE), Needs())

    with pytest.raises(msgspec.MsgspecError):
        away.value.take(answer)


REWRITES = [param.values[0] for param in rows("data/rewrite.yaml")]


def rewritten(text, due, spec, domain):
    call, catalogue = call_of(text), catalogue_of(spec)
    request = request_of(call, DOMAIN.parse(call, catalogue, Needs()))
    decision = decision_of(outcome="modify", obligations=tuple(due))
    return elsewhere_done(
        lambda: outcome(lambda: domain.rewrite(call, request, decision, catalogue)), catalogue
    )


@pytest.mark.timeout(60)
def test_another_process_rewrites_as_this_one():
    done = 0
    for row in REWRITES:
        text = row.given["text"] + LONG
        due = obligations_of(row.given["due"], row.table)
        elsewhere._kept.clear()
        here, nobody = rewritten(text, due, row.table["catalog"], DOMAIN)
        there, asked = rewritten(text, due, row.table["catalog"], AWAY)

        assert there == here, row.it
        assert nobody == []
        done += len(asked)
    # Nothing is rewritten where nothing is due, nor of a session's own statements.
    assert done > 0.9 * len(REWRITES)


def test_what_is_sent_for_one_principal_is_not_sent_for_another():
    text = "SELECT id FROM people" + LONG
    spec = REWRITES[0].table["catalog"]
    due = [
        msgspec.convert(
            {"type": "filter_rows", "target": "table:public.people", "values": {"where": [where]}},
            Obligation,
        )
        for where in ("id = 1", "id = 2")
    ]

    sent = [rewritten(text, [one], spec, AWAY) for one in due]

    assert [len(asked) for _, asked in sent] == [1, 1]
    assert ["1" in sent[0][0]["text"], "2" in sent[1][0]["text"]] == [True, True]
    assert sent[0][0] != sent[1][0]
