"""What is known of a text holds where catalogue, search path and upstream are the same."""

import hashlib
from collections.abc import Iterator

import pytest

from sidecar.domains.data.catalogue import compile_catalogue
from sidecar.domains.data.limits import CACHE_BYTES_MAX, CACHE_ENTRIES_MAX
from sidecar.domains.data.parse import kept, parse
from sidecar.domains.data.parse.kept import Kept
from sidecar.terms.call import Call, Identity, Json, Party, forget_calls
from sidecar.terms.errors import ParseError
from sidecar.terms.request import Parsed
from sidecar.terms.words import CallId

FIRST = {"public.t": ["id", "a"], "hr.t": ["id", "pay"]}
SECOND = {"public.t": ["id", "b"], "hr.t": ["id", "a"]}
NONE = compile_catalogue([])


@pytest.fixture(autouse=True)
def nothing_is_known() -> Iterator[None]:
    forget_calls()
    yield
    forget_calls()


def read(text: str, upstream: str = "db", **more: Json) -> Parsed:
    payload = {"dialect": "postgres", "text": text, "catalog": FIRST, **more}
    identity = Identity(Party("user", "x"), (), "scram")
    return parse(Call(CallId("i"), "t", "l", upstream, "sql", payload, identity, {}), NONE)


def named(found: Parsed) -> list[str]:
    return [target.resource.id for target in found.targets]


def test_a_text_with_other_values_is_known_by_its_form_and_has_its_own_digest() -> None:
    first, other = "select a from t where id = 1", "select a from t where id = 22"
    known = read(first)
    found = read(other)

    assert (len(kept.texts), len(kept.forms), len(kept.shapes)) == (2, 1, 1)
    assert found.targets is known.targets
    assert found.native["text_sha256"] == hashlib.sha256(other.encode()).hexdigest()
    assert known.native["text_sha256"] == hashlib.sha256(first.encode()).hexdigest()


def test_under_another_catalogue_it_is_read_anew() -> None:
    read("select a from t where id = 1")

    with pytest.raises(ParseError) as refused:
        read("select a from t where id = 2", catalog=SECOND)

    assert refused.value.reason == "parse.unknown_column"


@pytest.mark.parametrize(
    "again", ["select id from t where id = 1", "select id from t where id = 2"]
)
def test_on_another_search_path_it_is_another_table(again: str) -> None:
    assert named(read("select id from t where id = 1", search_path=["public"]))[0] == "public.t"
    assert named(read(again, search_path=["hr"]))[0] == "hr.t"
    assert named(read(again, search_path=["hr", "public"]))[0] == "hr.t"
    assert named(read(again, search_path=["public", "hr"]))[0] == "public.t"


@pytest.mark.parametrize(
    "again", ["select id from t where id = 1", "select id from t where id = 2"]
)
def test_at_another_upstream_it_is_its_own(again: str) -> None:
    read("select id from t where id = 1", "one")

    found = read(again, "two")

    assert {target.resource.upstream for target in found.targets} == {"two"}


@pytest.mark.parametrize("again", ["select a from t where id = 1", "select a from t where id = 2"])
def test_what_has_drifted_since_is_refused(again: str) -> None:
    read("select a from t where id = 1")

    with pytest.raises(ParseError) as refused:
        read(again, drift={"public.t": ["a"]})

    assert refused.value.reason == "catalogue.drift"


def test_a_name_of_a_session_is_what_it_is_in_that_session() -> None:
    said = [{"prepared": {"p": f"prepare p as select id from {name}.t where id = 1"}, "cursors": {}}
            for name in ("public", "hr")]  # fmt: skip
    for session, table in zip([*said, *said], ["public.t", "hr.t"] * 2, strict=True):
        assert named(read("execute p", session=session))[0] == table


@pytest.mark.parametrize(
    "other",
    [
        "select id, a from t where id = 1 order by 2 limit 5",
        "select id, a from t where id = 1 order by 1 limit 6",
        "select id, a from t where id = '7' order by 1 limit 5",
        "select id, a from t where id = 2 order by 1 limit 5",
        "select id, a from t where id = 2 order by 1 limit 5 -- 3",
        'select id, "a" from t where id = 2 order by 1 limit 5',
        "SELECT id, a from t where id = 2 order by 1 limit 5",
        "select id, A from t where id = 2 order by 1 limit 5",
        "select id, a from hr.t where id = 2 order by 1 limit 5",
        "select id, 'a' from t where id = 2 order by 1 limit 5",
    ],
)
def test_it_is_what_would_be_read_if_nothing_were_known(other: str) -> None:
    said: list[object] = []
    for known in ("select id, a from t where id = 1 order by 1 limit 5", other):
        forget_calls()
        for text in (known, other):
            try:
                found = read(text)
            except ParseError as error:
                said.append((text, error.reason))
            else:
                said.append((text, found.targets, found.native))

    assert said[1] == said[2] == said[3]


def test_nothing_is_known_of_what_was_refused() -> None:
    for text in ("select x from t where id = 1", "select x from t where id = 2"):
        with pytest.raises(ParseError):
            read(text)

    assert len(kept.texts) == len(kept.forms) == len(kept.shapes) == 0


def test_a_long_text_is_not_kept() -> None:
    read("select a from t where id in (" + "1, " * 2000 + "2)")

    assert len(kept.texts) == len(kept.forms) == len(kept.shapes) == 0


def test_all_of_it_is_forgotten_with_a_person() -> None:
    read("select a from t where id = 1")
    assert kept.texts.size
    assert kept.forms.size
    assert kept.shapes.size

    forget_calls()

    assert (kept.texts.size, kept.forms.size, kept.shapes.size) == (0, 0, 0)
    assert len(kept.texts) == len(kept.forms) == len(kept.shapes) == 0


def test_the_oldest_goes_where_there_is_no_room() -> None:
    some: Kept[int, int] = Kept()
    for number in range(10):
        some.put(number, number, CACHE_BYTES_MAX // 4)
        some.put(number, -1, CACHE_BYTES_MAX)

    assert [some.get(number) for number in range(5, 10)] == [None, 6, 7, 8, 9]
    assert some.size <= CACHE_BYTES_MAX


def test_there_is_room_for_so_many() -> None:
    some: Kept[int, int] = Kept()
    for number in range(CACHE_ENTRIES_MAX + 3):
        some.put(number, number, 1)

    assert len(some) == some.size == CACHE_ENTRIES_MAX
    assert (some.get(2), some.get(3)) == (None, 3)


@pytest.mark.parametrize("number", ["1", ".5", "5.", "1e3", "5e-3", "99999999999999999999"])
def test_a_number_is_read_alike_whatever_was_asked_before(number: str) -> None:
    text = "select a from t tablesample system ({0}) repeatable ({0}) where id = {0} + {0}"
    cold = read(text.format(number))
    forget_calls()
    read(text.format("7"))

    warm = read(text.format(number))

    assert len(kept.shapes) == 1
    assert (warm.targets, warm.native) == (cold.targets, cold.native)
