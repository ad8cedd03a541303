"""Bytes read strictly: what is read, and what is refused with which reason."""

import time
from typing import Any

import pytest

from sidecar.syntax import json
from sidecar.syntax.glob import glob
from sidecar.syntax.limits import JSON_BYTES_MAX, JSON_VALUES_MAX
from sidecar.syntax.rawpath import segments
from sidecar.syntax.yaml12 import load_documents
from sidecar.terms.errors import ParseError, PolicyError
from tests.tables import Row, rows


def outcome(read: Any) -> Any:
    try:
        return read()
    except ParseError as error:
        return error.reason
    except PolicyError as error:
        return error.problems[0]
    except ValueError:
        return "value error"


def raw(given: Any) -> bytes:
    if isinstance(given, dict):
        ahead = given.get("before", "") * given.get("ahead", 0)
        return str(ahead + given["repeat"] * given["times"] + given.get("then", "")).encode()
    return str(given).encode("utf-8").decode("unicode_escape").encode("latin-1")


@pytest.mark.parametrize("row", rows("syntax/json.yaml"))
def test_json(row: Row) -> None:
    assert outcome(lambda: {"value": json.loads(raw(row.given))}) == row.want


def test_what_stands_in_texts_is_no_value() -> None:
    text = b'["' + b"[,{:" * JSON_VALUES_MAX + b'", "\\",", "\\\\", 1]'

    assert json.loads(text)[1:] == ['",', "\\", 1]


def test_as_many_values_as_the_bound_are_read() -> None:
    most = b"[" + b"1," * (JSON_VALUES_MAX - 2) + b"1]"

    assert len(json.loads(most)) == JSON_VALUES_MAX - 1
    assert outcome(lambda: json.loads(b"[" + most + b"]")) == "parse.too_large"


HELD_S_MAX = 0.5
NESTED = b"[" * 30 + b"]" * 30


@pytest.mark.parametrize(
    "piece",
    [
        NESTED,
        b"[]",
        b"1",
        b'""',
        b'"\\\\"',
        b'"\\""',
        b'{"a":1}',
        b"0.1234567890123456789",
        b'{"a":1,"a":1}',
    ],
    ids=lambda piece: piece.decode()[:13],
)
@pytest.mark.parametrize("count_max", [JSON_BYTES_MAX, JSON_VALUES_MAX // 4])
def test_a_text_of_any_size_takes_a_moment(piece: bytes, count_max: int) -> None:
    count = min((JSON_BYTES_MAX - 100) // (len(piece) + 1), count_max)
    text = b'{"u":"\\u0061\\u003a","x":[' + b",".join([piece] * count) + b"]}"

    def took_s() -> float:
        began_s = time.thread_time()
        outcome(lambda: json.loads(text))
        return time.thread_time() - began_s

    # A machine whose processors are taken away counts that as ours: the best of a few.
    assert any(took_s() < HELD_S_MAX for _ in range(3))


@pytest.mark.parametrize("row", rows("syntax/paths.yaml"))
def test_path(row: Row) -> None:
    assert outcome(lambda: list(segments(row.given))) == row.want


@pytest.mark.parametrize("row", rows("syntax/globs.yaml"))
def test_glob(row: Row) -> None:
    pattern = row.given["pattern"] * row.given.get("times", 1)
    assert outcome(lambda: glob(pattern, row.given["text"])) == row.want


@pytest.mark.parametrize("row", rows("syntax/yaml.yaml"))
def test_yaml(row: Row) -> None:
    assert outcome(lambda: [d.value for d in load_documents("f", row.given.encode())]) == row.want


def test_yaml_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(PolicyError, match="not UTF-8"):
        load_documents("f", b"a: \xff")
