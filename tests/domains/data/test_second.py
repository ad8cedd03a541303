"""PostgreSQL's own grammar beside our reading: each thing on which they must agree."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from sidecar.domains.data.catalogue import TableKey
from sidecar.domains.data.parse.second import check_session, check_statement, look
from sidecar.domains.data.parse.statement import Statement
from sidecar.terms.errors import ParseError


def claim(*tables, kind="select", functions=()):
    """Return what a reading might claim of a statement."""
    named = tuple(TableKey(*table.split(".")) for table in tables)
    return Statement(kind, (kind,), (), named, named, functions, None)


AGREED = [
    ("select 1", claim()),
    ("select a from t", claim("public.t")),
    ("select a from T", claim("public.t")),
    ('select a from "T"', claim("public.T")),
    ("select a from s.t", claim("s.t")),
    ("select a from db.s.t", claim("s.t")),
    ("with c as (select 1) select * from c", claim()),
    ("with t as (select * from t) select * from t", claim("public.t")),
    ("insert into t select * from u", claim("public.t", "public.u", kind="insert")),
    ("select a from t x for update of x", claim("public.t")),
    ("select lower(a), pg_catalog.upper(a) from t",
     claim("public.t", functions=("lower", "upper"))),
    ("select extract(year from a), a at time zone 'x' from t", claim("public.t")),
    ("select f(a), s.g(a) from t", claim("public.t", functions=("public.f", "s.g"))),
    ("select count(*) from only (t)", claim("public.t", functions=("count",))),
]  # fmt: skip

DISAGREED = [
    ("another kind", "delete from t", claim("public.t")),
    ("a statement more", "select 1; select 2", claim()),
    ("no statement", " ; ", claim()),
    ("no SQL", "select from where", claim()),
    ("a table not seen", "select a from t, u", claim("public.t")),
    ("a table too many", "select a from t", claim("public.t", "public.u")),
    ("another schema", "select a from s.t", claim("public.t")),
    ("a table in a subquery", "select (select max(b) from u) from t",
     claim("public.t", functions=("max",))),
    ("a table of a CTE's name in a schema", "with t as (select 1) select * from s.t", claim()),
    ("a table written by a CTE", "with x as (delete from u returning a) select a from x", claim()),
    ("a table made", "select a into u from t", claim("public.t")),
    ("another folding", 'select a from "T"', claim("public.t")),
    ("a name in unicode escapes", 'select a from U&"\\0075"', claim("public.t")),
    ("a function not seen", "select f(a) from t", claim("public.t")),
    ("a function too many", "select a from t", claim("public.t", functions=("lower",))),
    ("a function of another schema", "select evil.lower(a) from t",
     claim("public.t", functions=("lower",))),
    ("a function in unicode escapes", 'select U&"pg_read_f\\0069le"(a) from t', claim("public.t")),
    ("a function in FROM", "select * from dblink('x') as t(a int)", claim()),
]  # fmt: skip


@pytest.mark.parametrize(("text", "claimed"), AGREED)
def test_what_both_read_alike_passes(text, claimed):
    check_statement(text, claimed)


@pytest.mark.parametrize(("it", "text", "claimed"), DISAGREED)
def test_what_they_read_differently_is_refused(it, text, claimed):
    with pytest.raises(ParseError) as told:
        check_statement(text, claimed)

    assert told.value.reason == "parse.disagreement", it


@pytest.mark.parametrize(
    ("text", "verb"),
    [
        ("", "empty"), (";; -- nothing", "empty"), ("begin", "begin"), ("END", "end"),
        ("rollback to a", "rollback"), ("set timezone = 'x'", "set"), ("reset all", "reset"),
        ("show all", "show"), ("discard all", "discard"), ("close c", "close"),
        ("unlisten *", "unlisten"), ("deallocate a", "deallocate"),
    ],
)  # fmt: skip
def test_a_session_statement_is_one_to_both(text, verb):
    check_session(text, [verb])


@pytest.mark.parametrize(
    ("text", "verb"),
    [("select 1", "empty"), ("delete from t", "begin"), ("begin; delete from t", "begin"),
     ("set x = 1; select f()", "set"), ("", "commit")],
)  # fmt: skip
def test_data_behind_a_session_statement_is_refused(text, verb):
    with pytest.raises(ParseError, match="statements"):
        check_session(text, [verb])


def test_a_refusal_says_nothing_of_the_text():
    with pytest.raises(ParseError) as told:
        look("select 'secret-4711' from from")

    assert "4711" not in str(told.value)


@pytest.mark.parametrize(
    "text",
    ["select " + "1+" * 9_000 + "1", "select " + "(select " * 2_000 + "1" + ")" * 2_000,
     "select 1" + " union select 1" * 1_500, "select " + "case when a then " * 1_200 + "1"],
)  # fmt: skip
def test_what_is_too_deep_for_it_ends_as_a_refusal(text):
    with pytest.raises(ParseError) as told:
        look(text)

    assert told.value.reason in ("parse.too_large", "parse.disagreement")


def test_threads_do_not_get_each_others_statement():
    def read(number):
        return look(f"select f{number}(a) from t{number}")

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(read, range(2_000)))

    assert [seen.relations for seen in found] == [{(None, f"t{n}")} for n in range(2_000)]
    assert [seen.calls for seen in found] == [{(None, f"f{n}")} for n in range(2_000)]
