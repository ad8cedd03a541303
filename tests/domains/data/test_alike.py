"""Texts of one form mean the same: what is known of one is known of all."""

import random

import pytest

from sidecar.domains.data.catalogue import compile_catalogue
from sidecar.domains.data.parse import parse
from sidecar.domains.data.parse.text.alike import Shape, form_of
from sidecar.terms.call import Call, Identity, Party, forget_calls
from sidecar.terms.errors import ParseError
from sidecar.terms.words import CallId
from tests.tables import Row, rows

SEED = 20_260
STRINGS = ("'a'", "''", "'pg_class'", "'hr.pay'", "'1'", "'; drop table t'", "'%'", "'{1}'")
NUMBERS = ("0", "1", "2", "25", "54", "999999999")
TABLES = {"public.t": ["id", "a", "b", "name"], "public.u": ["id", "t_id"]}
# Beside those of the table, what may be thought to hang on its literals.
MORE = (
    "select t.id from t join u on u.t_id = t.id where t.a = 1 and u.id in (2, 3)",
    "select id from t where a = 1 union select id from u where id = 2",
    "select coalesce(a, 1), round(b, 2), substring(name, 1, 3) from t where id = 1",
    "select cast(a as numeric(6, 2)), cast(name as varchar(10)) from t where id = 1",
    "select count(a) from t group by b having count(a) > 5",
    "select distinct a from t where b = 1 order by a = 2",
    "select (select id from u where t_id = 3) from t where (a, b) = (1, 2)",
    "update t set a = 1, name = 'x' where id = 3 returning a + 1",
    "insert into t (id, name) select id + 1, name from t where name = 'x'",
    "select id from t where a = 1 = (b = 2)",
    "select 1 + 2 from t where 1 = 1",
    "select id from pg_type where typname = 'x'",
    "select id from missing where id = 1",
    "select missing from t where id = 1",
    "select id from t where id = 5; drop table t",
)


@pytest.mark.parametrize("row", rows("data/alike.yaml"))
def test_a_text_has_the_form(row: Row) -> None:
    found = form_of(row.given.encode())

    assert (None if found is None else found.decode()) == row.want


def meaning(text: str) -> object:
    payload = {"dialect": "postgres", "text": text, "catalog": TABLES}
    identity = Identity(Party("user", "x"), (), "scram")
    # Else what is known of one would be the answer for the other.
    forget_calls()
    try:
        call = Call(CallId("i"), "t", "l", "u", "sql", payload, identity, {})
        found = parse(call, compile_catalogue([]))
    except ParseError as error:
        return error.reason
    native = {name: value for name, value in found.native.items() if name != "text_sha256"}
    return found.targets, native, found.parse


GIVEN = [row.values[0].given for row in rows("data/alike.yaml") if row.values[0].want]


@pytest.mark.parametrize("text", [*GIVEN, *MORE])
def test_texts_of_one_form_mean_the_same(text: str) -> None:
    chance, form = random.Random(SEED), form_of(text.encode())
    assert form is not None

    for _ in range(6):
        other = form.decode()
        while "?" in other:
            other = other.replace("?s", chance.choice(STRINGS), 1)
            other = other.replace("?n", chance.choice(NUMBERS), 1)
        assert form_of(other.encode()) == form
        assert Shape(form).holds(other.encode())
        assert meaning(other) == meaning(text), other


# What may be put into a text, or in the place of a letter of it.
INSERTED: tuple[str, ...] = (
    *"'\"?-=>< ,;()+*.0159\\$aé\x01\x1b\n_",
    "--", "=>", "''", "' or '1", "?n", "?s", "/*", "::", "5 ", "1e5", "77", "123456789",
)  # fmt: skip


def changed(text: str, chance: random.Random) -> str:
    """Return `text` with something put into it, or instead of some of it."""
    at = chance.randrange(len(text) + 1)
    return text[:at] + chance.choice(INSERTED) + text[at + chance.randrange(3) :]


@pytest.mark.parametrize("text", [*GIVEN, *MORE])
def test_what_a_shape_holds_has_its_form(text: str) -> None:
    chance, form = random.Random(SEED), form_of(text.encode())
    assert form is not None
    shape = Shape(form)
    assert shape.holds(text.encode())

    for _ in range(600):
        other = changed(text, chance)
        if chance.random() < 0.5:
            other = changed(other, chance)
        # It answers for all of them, though it need not.
        assert shape.holds(other.encode()) is (form_of(other.encode()) == form), other


@pytest.mark.parametrize(
    "other",
    [
        "select id from t where a = '' and b = ''",
        "select id from t where a = 'x'' and b = 5",
        "select id from t where a = 'x' or c = 'y' and b = 5",
        "select id from t where a = 'x--' and b = 5",
        "select id from t where a = 'x=>' and b = 5",
        "select id from t where a = 'x?' and b = 5",
        "select id from t where a = 'é' and b = 5",
        "select id from t where a = '\\' and b = 5",
        "select id from t where a = '\x1b' and b = 5",
        "select id from t where a = '\x7f' and b = 5",
        "select id from t where a = 'x' and b = ",
        "select id from t where a = 'x' and b = 5 ",
        "select id from t where a = 'x' and b = 5;",
        "select id from t where a = 'x' and b = 5.5",
        "select id from t where a = 'x' and b = 1234567890",
        "select id from t where a = 'x' and b = -5",
        "select id from t where a = 'x' and b = ?n",
        "select id from t where a = 5 and b = 5",
        "select id from t where a = ' and b = 5",
        "SELECT id from t where a = 'x' and b = 5",
    ],
)
def test_a_shape_does_not_hold(other: str) -> None:
    form = form_of(b"select id from t where a = 'x' and b = 5")
    assert form is not None

    assert not Shape(form).holds(other.encode())
