"""Ids, times and the spelling of resource ids."""

import uuid

from hypothesis import given
from hypothesis import strategies as st

from sidecar.terms.ids import rfc3339, uuid7, uuid7_head, uuid7_tails
from sidecar.terms.request import Resource
from sidecar.terms.words import component, path_component

texts = st.text(st.characters(blacklist_categories=["Cs"]))


@given(st.integers(0, 2**48 - 1), st.binary(min_size=10, max_size=10))
def test_ids_are_version_7_and_carry_their_time(moment: int, random: bytes) -> None:
    found = uuid.UUID(uuid7(moment, random))

    assert (found.version, found.variant) == (7, uuid.RFC_4122)
    assert found.int >> 80 == moment


@given(st.binary(min_size=30, max_size=30))
def test_ids_that_are_cut_out_of_one_text_are_such_ids_as_well(random: bytes) -> None:
    found = [uuid.UUID(uuid7_head(7) + tail) for tail in uuid7_tails(random)]

    assert [(one.version, one.variant, one.int >> 80) for one in found] == [
        (7, uuid.RFC_4122, 7)
    ] * 3
    # 74 bits of each are random, so those of one say nothing of the next.
    assert uuid7_tails(random[10:20]) == [str(found[1])[15:]]


def test_later_ids_sort_later() -> None:
    assert uuid7(1, b"\xff" * 10) < uuid7(2, b"\0" * 10)


def test_times_have_six_decimals() -> None:
    assert rfc3339(1_767_225_600_000_001) == "2026-01-01T00:00:00.000001Z"


@given(st.lists(texts, min_size=1, max_size=3), st.lists(texts, min_size=1, max_size=3))
def test_different_components_never_make_the_same_id(a: list[str], b: list[str]) -> None:
    assert (".".join(map(component, a)) == ".".join(map(component, b))) == (a == b)


@given(texts)
def test_an_id_holds_no_star_and_no_control_character(text: str) -> None:
    for spelt in (component(text), path_component(text)):
        assert "*" not in spelt
        assert not any(ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 for char in spelt)


def test_dots_stay_in_paths_and_not_in_components() -> None:
    assert (component("a.b"), path_component("a.b")) == ("a%2Eb", "a.b")


def test_a_resource_is_matched_by_type_and_id() -> None:
    assert Resource("table", "hr.pay").key == "table:hr.pay"
