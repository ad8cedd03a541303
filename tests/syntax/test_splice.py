"""A text in the place of another: there and nowhere else."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.syntax.json import loads
from sidecar.syntax.splice import spliced
from tests.tables import Row, rows

NEW = 'x"'


@pytest.mark.parametrize("row", rows("syntax/splice.yaml"))
def test_a_text_is_replaced_where_it_stands(row: Row) -> None:
    text, steps = row.given["json"], row.given["steps"]

    assert spliced(text, steps, NEW) == row.want
    assert spliced(text.encode(), steps, NEW) == row.want.encode()
    assert spliced({"in": [text]}, ["in", 0, *steps], NEW) == {"in": [row.want]}


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | TEXTS,
    lambda below: st.lists(below, max_size=4) | st.dictionaries(TEXTS, below, max_size=4),
    max_leaves=12,
)


def places(value: Any, above: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Return the steps to each text in a value."""
    if isinstance(value, str):
        return [above]
    if not isinstance(value, dict | list):
        return []
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    return [place for step, one in pairs for place in places(one, (*above, step))]


@given(st.dictionaries(TEXTS, VALUES, min_size=1, max_size=4), TEXTS, st.booleans(), st.data())
def test_of_a_text_and_of_a_value_the_same_is_replaced(
    value: Any, new: str, ascii_alone: bool, data: Any
) -> None:
    found = places(value)
    if not found:
        return
    steps = data.draw(st.sampled_from(found))
    text = json.dumps(value, ensure_ascii=ascii_alone, indent=data.draw(st.sampled_from([None, 1])))
    before = copy.deepcopy(value)

    replaced = spliced(value, steps, new)

    assert value == before
    assert loads(spliced(text, steps, new)) == replaced
    assert spliced(replaced, steps, _at(value, steps)) == value


def _at(value: Any, steps: tuple[str | int, ...]) -> Any:
    for step in steps:
        value = value[step]
    return value
