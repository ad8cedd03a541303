"""Two ways to the same tokens, and what is kept of a catalogue from one statement to the next."""

import contextlib
import random
import time
from functools import partial

import msgspec
import pytest

from sidecar.domains.data.catalogue import Table, TableKey
from sidecar.domains.data.catalogue.relations import relations_of
from sidecar.domains.data.parse.statement import read_statement
from sidecar.domains.data.parse.text import lexer
from sidecar.domains.data.parse.text.canonical import canonical
from sidecar.terms.errors import ParseError

PLAIN = (
    "select a, b.c from t as x where x.n >= 7 and s <> 'it' group by 1 order by 2 desc limit $1",
    "insert into \"Some\" (a) values (1, 'x') on conflict do nothing returning a::text, b[1]",
    "update t set a = a + 1, b = null where c - 1 < d / 2 or e % 2 = 0; delete from t",
    "SELECT count(*) FROM t WHERE a || b != 'x' and $12 = 0.5",
)
PIECES = [
    *"'\"$.;:()[]*-+/=<>@! \n\t\f\v\reEuUbBxXnN&_0159aZ,é\u00a0\u2028\u212aİ",
    *("--", "/*", "*/", "::", ":=", "=>", 'U&"', "u&'", "E'", "$$", "$a$", "1.", "..", ".5", "1e5"),
    *("1x", "$1a", "a$1", '""', "''", "<=>", "->>", "x" * 63, "é" * 32),
]


def cut(read, text):
    try:
        return read(text)
    except ParseError as error:
        return error.reason, str(error)


def made(pieces, _):
    return [lexer._FIXED.get(piece) or lexer._plain(piece) for piece in pieces]


@pytest.mark.fuzz
def test_what_is_cut_by_one_pattern_is_cut_as_the_scanner_cuts_it(scaled):
    chance = random.Random(7)
    plain = 0
    for _ in range(scaled(3_000, 300_000)):
        text = chance.choice(PLAIN)
        for _ in range(chance.randint(0, 3)):
            at = chance.randrange(len(text) + 1)
            text = text[:at] + chance.choice(PIECES) + text[at + chance.randint(0, 2) :]
        pieces = lexer._PLAIN.findall(text)
        if "" in pieces or lexer._CONTROL.search(text):
            continue
        plain += 1
        mine = cut(partial(made, pieces), text)
        assert cut(lexer._scanned, text) == mine, text
    assert plain > scaled(3_000, 300_000) / 5


def test_a_text_of_plain_tokens_is_cut_by_one_pattern():
    assert [text for text in PLAIN if "" in lexer._PLAIN.findall(text)] == [PLAIN[3]]


def test_a_copy_of_a_catalogue_with_other_tables_finds_its_own_columns():
    key = TableKey("public", "t")
    first = relations_of({key: Table(key, (), {"a": ()})}, {}, ("public",), {})
    statement = lexer.tokens("select * from t")
    assert read_statement(statement, first, ("public",)).tables[0].columns == {"a": None}

    other = msgspec.structs.replace(first, tables={key: Table(key, (), {"b": ()})})

    assert read_statement(statement, other, ("public",)).tables[0].columns == {"b": None}


# Of each as much as a text may hold: by the square, or worse, they take seconds up to hours.
LONG = [
    "select 1" + " " * 32_000, " " * 32_000, "a" * 32_000 + "'", "a" * 30_000 + "é",
    "9" * 32_000 + ".5", "$" + "9" * 32_000 + "a",
    "select 1" + "+" * 32_000 + "1", "select " + "=*" * 16_000,
    "select 1 +" + "-" * 32_000, "'a" * 16_000, "*/" * 16_000,
    "(a) update b " * 2_400, "(a) delete from b " * 1_800,
    "insert into t " + "on conflict (a b) " * 1_700, "with w as (select 1) values (1), " * 900,
    "select " + "distinct on (a) f(b), " * 1_400,
    "select " + "a[1].b, " * 4_000 + "(a).b", "select a" + "[b]" * 8_000 + ".c" + "[1].c" * 40,
    "select " + "a[1]." * 6_000 + "b", "select (a)" + ".b[c]" * 6_000, "[1].a " * 5_000,
]  # fmt: skip


@pytest.mark.parametrize("text", LONG, ids=range(len(LONG)))
def test_a_long_text_is_cut_and_written_in_the_time_of_its_length(text):
    began_s = time.thread_time()

    with contextlib.suppress(ParseError):
        canonical(lexer.tokens(text))

    assert time.thread_time() - began_s < 0.4


@pytest.mark.parametrize("signs", [64, 65, 1000])
def test_an_operator_that_is_longer_than_postgresql_has_is_refused(signs):
    with pytest.raises(ParseError, match="too long"):
        lexer.tokens(f"select 1 {'*' * signs} 1")

    assert lexer.tokens(f"select 1 {'*' * 63} 1 {'+' * 63} 1 /{'-' * signs}\n 1")
