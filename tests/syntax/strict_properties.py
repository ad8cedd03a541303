"""Laws of the strict readers."""

import contextlib
import fnmatch
import json as standard
import re
from collections.abc import Callable
from typing import Any

import orjson
from hypothesis import example, given
from hypothesis import strategies as st

from sidecar.syntax import json
from sidecar.syntax.glob import glob
from sidecar.syntax.rawpath import segments
from sidecar.syntax.yaml12 import dump, load_documents
from sidecar.terms.errors import ParseError

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(blacklist_categories=["Cs"]))
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@given(values)
def test_json_reads_what_json_writes(value: Any) -> None:
    assert json.loads(standard.dumps(value)) == value


# Members may be named twice, and texts are made of what numbers, members and escapes are made of.
texts = st.text('":\\u003a{,', max_size=4)
nearly = st.recursive(
    texts.map(lambda text: standard.dumps(text, ensure_ascii=False))
    | texts.map(lambda text: '"' + text.replace("\\", "").replace('"', "") + '"')
    | st.sampled_from(('"\\u003a"', '"a"', "1", "-0", "1e5", "1E999", "0.1", "9" * 15, "9" * 16))
    | st.integers(-(2**70), 2**70).map(str)
    | st.floats(allow_nan=False, allow_infinity=False).map(repr),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda members: "[" + ",".join(members) + "]")
        | st.lists(
            st.tuples(st.sampled_from(('"a"', '"b"', '":"', '"\\u0061"')), inner), max_size=4
        ).map(lambda pairs: "{" + ",".join(": ".join(pair) for pair in pairs) + "}")
    ),
    max_leaves=8,
)


@given(nearly)
@example('{"a": {":": 1}, "a": ":"}')
@example('{"a": 1, "a": "\\u003a"}')
def test_what_is_proven_plain_is_what_the_strict_reader_reads(text: str) -> None:
    def strictly(read: Callable[[], Any]) -> Any:
        try:
            return repr(read())
        except ParseError as error:
            return error.reason

    def by_pairs() -> Any:
        return json._READER.decode(text) if is_grammar(text) else json.loads(text)

    assert strictly(lambda: json.loads(text)) == strictly(by_pairs)


def is_grammar(text: str) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


@given(st.text("\\\0u0a"))
def test_a_nul_is_found_exactly_where_it_is(text: str) -> None:
    assert json.holds_nul(standard.dumps([text, {text: 1}]).encode()) is ("\0" in text)


@given(st.binary(max_size=40))
def test_bytes_are_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(ParseError):
        json.loads(data)


printable = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12)
yaml_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | printable,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(printable, inner, max_size=3),
    max_leaves=6,
)


@given(yaml_values)
def test_yaml_reads_what_we_dump(value: Any) -> None:
    if value is None:
        return

    assert load_documents("f", dump(value).encode())[0].value == value


@given(st.text("ab*\\.", max_size=8), st.text("ab*.", max_size=8))
def test_glob_agrees_with_a_regular_expression(pattern: str, text: str) -> None:
    try:
        said = glob(pattern, text)
    except ValueError:
        return
    parts = re.findall(r"\\.|.", pattern)
    expression = "".join(".*" if part == "*" else re.escape(part[-1]) for part in parts)

    assert said == bool(re.fullmatch(expression, text, re.DOTALL))


@given(st.text("ab/.%2fF;\\?#e", max_size=12))
def test_segments_never_hold_what_another_server_would_split(path: str) -> None:
    try:
        found = segments("/" + path)
    except ParseError:
        return
    for segment in found:
        assert segment not in ("", ".", "..")
        assert not fnmatch.filter([segment], "*[/\\\\;%#?]*")
