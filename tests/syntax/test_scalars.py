"""A place inside of a scalar is where a person finds it, however the scalar is written."""

import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st

from sidecar.syntax.scalars import place_in
from sidecar.syntax.yaml12 import load_documents
from tests.tables import rows


def character_at(text, value, offset, path=("a",)):
    """The character of the file at the place of `value[offset]`."""
    (document,) = load_documents("f.yaml", text.encode())
    found = document.value
    for step in path:
        found = found[step]
    assert found == value
    line, column = place_in(text, *document.positions[path], value, offset)
    return text.split("\n")[line - 1][column - 1 : column]


@pytest.mark.parametrize("row", rows("syntax/scalars.yaml"))
def test_the_place_of(row):
    text, sought = row.given["text"], row.given["find"]
    (document,) = load_documents("f.yaml", text.encode())
    value = document.value["a"]

    line, column = place_in(text, *document.positions["a",], value, value.index(sought))

    assert f"{line}:{column}" == row.want


TEXTS = st.text(st.sampled_from("ab.&=()'\"\\é✌ \n"), min_size=1, max_size=60)


@given(TEXTS, st.sampled_from(["'", '"', "|", ">", None]), st.integers(8, 40), st.data())
def test_a_visible_character_is_found_or_the_escape_that_writes_it(value, style, width, data):
    assume(value.strip())
    offset = data.draw(st.sampled_from([n for n, c in enumerate(value) if c.strip()]))
    text = yaml.dump({"a": value}, default_style=style, width=width, allow_unicode=True)

    found = character_at(text, value, offset)

    assert found in (value[offset], "\\")
