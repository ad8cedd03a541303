"""Every record is RFC 8785 to the byte, whatever stands in it; a foreign oracle says so."""

import json

import orjson
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from sidecar.record.canonical import encode, place_of, split
from tests.record.sample import admin

TEXT = st.text(max_size=20)
WILD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.binary(max_size=5)
    | st.text(st.characters(categories=["Cs"]), max_size=2),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


def oracle(data: bytes) -> bytes:
    """RFC 8785 by somebody else's hand."""
    return rfc8785.dumps(json.loads(data))


@given(st.dictionaries(TEXT, WILD, max_size=6))
def test_a_record_is_canonical(detail):
    record = admin(1, detail=detail)

    encoded = encode(record)

    assert encoded == oracle(encoded)
    assert encoded.isascii() or all(key.isascii() for key in keys_of(json.loads(encoded)))


@given(st.dictionaries(TEXT, WILD, max_size=6), st.integers(0, 2**53 - 1))
def test_a_record_in_its_place_is_canonical(detail, seq):
    placed = split(admin(1, log=detail)).at(place_of("test", "00", seq))

    assert placed == oracle(placed)
    assert orjson.loads(placed)["log"] == {"epoch": "00", "origin": "test", "seq": seq}


@given(st.dictionaries(TEXT, st.integers(), min_size=2, max_size=6))
def test_no_two_keys_become_one(detail):
    assert len(orjson.loads(encode(admin(1, detail=detail)))["detail"]["detail"]) == len(detail)


def keys_of(value):
    if isinstance(value, dict):
        for key, member in value.items():
            yield key
            yield from keys_of(member)
    elif isinstance(value, list):
        for member in value:
            yield from keys_of(member)
