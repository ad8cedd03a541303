"""Every record is RFC 8785 to the byte, whatever stands in it; a foreign oracle says so."""

import json
from contextlib import suppress
from typing import Any

import orjson
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from sidecar.record.canonical import encode, on_profile, place_of, split
from sidecar.record.recorder.shape import check
from sidecar.record.recorder.wire import Garbled, Item
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


# Names around those of the place and the mark, and those whose order hangs on how letters count.
NAMES = st.sampled_from(["l", "lo", "log", "logs", "lz", "m", "mark", "marks", "n", "\ue000", "😀"])
STYLES = st.fixed_dictionaries(
    {
        "ensure_ascii": st.booleans(),
        "sort_keys": st.booleans(),
        "separators": st.sampled_from([(",", ":"), (", ", ": ")]),
    }
)
TAME = STYLES.map(lambda style: style | {"separators": (",", ":"), "ensure_ascii": False})


def is_canonical(text: bytes) -> bool:
    with suppress(ValueError):
        return oracle(text) == text
    return False


@given(
    st.dictionaries(NAMES | TEXT, WILD, max_size=3),
    st.dictionaries(NAMES, st.none() | st.floats() | st.text(max_size=3), max_size=3),
    st.booleans(),
    STYLES | TAME,
)
def test_what_a_worker_brings_is_taken_if_and_only_if_it_is_canonical_and_on_the_profile(
    detail, more, is_tame, style
):
    said: dict[str, Any] = {"detail": on_profile(detail) if is_tame else detail}
    behind = {"time": "t"} | {name: member for name, member in more.items() if name < "time"}
    with_names: Any = {"event": "refusals", "id": "i1", "kind": "ops"}
    head, tail = (
        json.dumps(one, default=str, **style).encode("utf-8", "surrogatepass")
        for one in (said | with_names, behind)
    )
    whole = b'%b,%b,"mark":"m",%b' % (head[:-1], place_of("test", "00", 7), tail[1:])

    taken = False
    with suppress(Garbled):
        check(Item("i1", head[:-1], tail[1:], strict=True))
        taken = True

    if taken:
        assert is_canonical(whole)
    elif is_canonical(whole):
        assert on_profile(json.loads(whole)) != json.loads(whole)
