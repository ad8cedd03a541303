"""A table that says nothing, or something else than it seems to, is refused."""

import pytest

from sidecar.terms.errors import PolicyError
from tests import tables


@pytest.fixture
def table(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "CASES", tmp_path)

    def write(text: str) -> list:
        (tmp_path / "deny_wins.yaml").write_text(text)
        return tables.rows("deny_wins.yaml")

    return write


def test_a_row_is_named_by_its_file_and_sentence(table):
    (found,) = table(
        "rules: [a]\ncases:\n  - {it: denies, given: {x: 1}, want: deny, source: §7}\n"
    )

    assert found.id == "deny_wins: denies"
    (row,) = found.values
    assert (row.given, row.want, row.source) == ({"x": 1}, "deny", "§7")
    assert row.table == {"rules": ["a"]}
    assert row.where == "deny_wins.yaml:3:5"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("cases:\n  - {it: denies, wants: deny}\n", "unknown keys"),
        ("cases:\n  - {it: denies}\n", "has a `want`"),
        ("cases:\n  - {want: deny}\n", "a sentence as `it`"),
        ("cases: []\n", "is empty"),
        ("rules: []\n", "a list of `cases`"),
        ("- it: denies\n", "a mapping"),
        ("", "no rows"),
        ("cases:\n  - {it: a, want: 1}\n  - {it: a, want: 2}\n", "the same name"),
    ],
)
def test_a_table_that_asserts_nothing_is_refused(table, text, problem):
    with pytest.raises(AssertionError, match=problem):
        table(text)


def test_a_repeated_key_is_refused(table):
    with pytest.raises(PolicyError, match="stands twice"):
        table("cases:\n  - {it: a, want: 1, want: 2}\n")
