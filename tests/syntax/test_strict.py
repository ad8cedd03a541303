"""Bytes read strictly: what is read, and what is refused with which reason."""

from typing import Any

import pytest

from sidecar.syntax import json
from sidecar.syntax.glob import glob
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
