"""Laws of values: equality, order, sets, and the ways there and back."""

import base64
import datetime as dt
import math
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sidecar.policy.language.faults import Overflow
from sidecar.policy.language.values import (
    Duration,
    Maybe,
    Timestamp,
    Uint,
    admitted,
    equals,
    fingerprint,
    map_key,
    to_json,
    type_of,
    typed,
    untyped,
)
from sidecar.policy.language.values.texts import double_text
from tests.policy.language.calls import applied

INTS = st.integers(-(2**63), 2**63 - 1)
UINTS = st.integers(0, 2**64 - 1).map(Uint)
# Beyond 2^53 an integer beside a double is rounded, and equality is no longer transitive.
DOUBLES = st.floats(-(2.0**52), 2.0**52)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=8)
KEYS = st.one_of(INTS, UINTS, TEXTS, st.booleans())
SCALARS: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), INTS, UINTS, DOUBLES, st.integers(-3, 3).map(float), TEXTS
) | st.binary(max_size=8)
EXACT = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(st.tuples(KEYS, inner), max_size=4).map(
            lambda entries: {map_key(key): item for key, item in entries}
        )
    ),
    max_leaves=8,
)
VALUES = EXACT | st.builds(Maybe, EXACT, st.just(value=True))
SECONDS = st.integers(-62_135_596_800, 253_402_300_799)


@given(VALUES)
def test_a_value_equals_itself(value: Any) -> None:
    assert equals(value, value)


@given(VALUES, VALUES)
def test_values_are_equal_both_ways_and_exactly_when_their_fingerprints_are(
    one: Any, other: Any
) -> None:
    assert equals(one, other) is equals(other, one)
    assert equals(one, other) is (fingerprint(one) == fingerprint(other))


@given(st.lists(EXACT, min_size=1, max_size=3))
def test_nan_anywhere_makes_a_value_unequal_to_itself(values: list[Any]) -> None:
    value = [*values, {"a": math.nan}]

    assert not equals(value, value)
    assert fingerprint(value) != fingerprint(value)


@given(EXACT)
def test_the_typed_form_loses_nothing(value: Any) -> None:
    back = untyped(typed(value))

    assert equals(back, value)
    assert type_of(back) == type_of(value)


@given(VALUES)
def test_every_value_is_admitted_and_has_a_form_in_json(value: Any) -> None:
    assert admitted(value) is value
    assert type(to_json(value)) in {type(None), bool, int, float, str, list, dict}


@given(st.floats())
def test_the_text_of_a_double_reads_back(number: float) -> None:
    text = double_text(number)

    assert float(text) == number or math.isnan(number)
    assert math.copysign(1, float(text)) == math.copysign(1, number) or math.isnan(number)


@given(INTS | UINTS | st.floats(allow_nan=False), INTS | UINTS | st.floats(allow_nan=False))
def test_of_two_numbers_exactly_one_holds(one: Any, other: Any) -> None:
    held = [applied(name, [one, other]) for name in ("_<_", "_==_", "_>_")]

    assert held.count(True) == 1
    assert applied("_<=_", [one, other]) is not held[2]
    assert applied("_>=_", [one, other]) is not held[0]


@given(INTS, INTS)
def test_quotient_and_remainder_make_up_the_dividend(one: int, other: int) -> None:
    assume(other != 0 and (one, other) != (-(2**63), -1))

    quotient, rest = applied("_/_", [one, other]), applied("_%_", [one, other])

    assert quotient * other + rest == one
    assert abs(rest) < abs(other)


@given(st.sampled_from(["_+_", "_-_", "_*_"]), INTS, INTS)
def test_arithmetic_is_exact_or_a_fault(name: str, one: int, other: int) -> None:
    exact = {"_+_": one + other, "_-_": one - other, "_*_": one * other}[name]

    if -(2**63) <= exact < 2**63:
        assert applied(name, [one, other]) == exact
    else:
        with pytest.raises(Overflow):
            applied(name, [one, other])


@given(SECONDS, st.integers(0, 999_999_999))
def test_an_instant_reads_back_from_its_text(seconds: int, nanos: int) -> None:
    time = Timestamp(seconds * 1_000_000_000 + nanos)

    assert applied("timestamp", [applied("string", [time])]) == time
    assert applied("int", [time]) == seconds


@given(st.integers(-315_576_000_000_000_000_000, 315_576_000_000_000_000_000))
def test_a_span_reads_back_from_its_text(nanos: int) -> None:
    assert applied("duration", [applied("string", [Duration(nanos)])]) == Duration(nanos)


@given(SECONDS)
def test_the_calendar_is_that_of_python(seconds: int) -> None:
    time = Timestamp(seconds * 1_000_000_000)
    day = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=seconds)

    assert applied(".getFullYear", [time]) == day.year
    assert applied(".getMonth", [time]) == day.month - 1
    assert applied(".getDate", [time]) == day.day
    assert applied(".getDayOfYear", [time]) == day.timetuple().tm_yday - 1
    assert applied(".getDayOfWeek", [time]) == day.isoweekday() % 7
    assert applied(".getHours", [time]) == day.hour
    assert applied(".getSeconds", [time]) == day.second


@given(st.text("ab", max_size=12), st.text("ab", max_size=3))
def test_the_last_part_is_where_python_finds_it(text: str, part: str) -> None:
    assert applied(".lastIndexOf", [text, part]) == text.rfind(part)
    for last in range(len(text) + 1):
        assert applied(".lastIndexOf", [text, part, last]) == text.rfind(part, 0, last + len(part))


@given(st.binary(max_size=20))
def test_base64_reads_back_with_and_without_padding(value: bytes) -> None:
    text = applied("base64.encode", [value])

    assert text == base64.b64encode(value).decode()
    assert applied("base64.decode", [text]) == value
    assert applied("base64.decode", [text.rstrip("=")]) == value


@given(st.lists(EXACT, max_size=6), st.lists(EXACT, max_size=6))
def test_sets_agree_with_looking_at_every_pair(one: list[Any], other: list[Any]) -> None:
    within = [any(equals(item, each) for each in one) for item in other]

    assert applied("sets.contains", [one, other]) is all(within)
    assert applied("sets.intersects", [one, other]) is any(within)


@given(st.text("ab*é", max_size=8), st.text("aé", max_size=2), st.text("xé", max_size=2))
def test_replacing_by_pattern_replaces_what_is_replaced_by_text(
    text: str, old: str, new: str
) -> None:
    assert applied("regex.replace", [text, old, new]) == text.replace(old, new)
