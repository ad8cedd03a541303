"""YAML: bounds and refusals with their places, and where each node stands."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sidecar.syntax import yaml12
from sidecar.syntax.limits import YAML_DEPTH_MAX, YAML_NODES_MAX
from sidecar.syntax.yaml12 import Document, dump, load_documents
from sidecar.terms.errors import PolicyError
from tests.tables import Row, rows


def problem(text: str) -> str:
    with pytest.raises(PolicyError) as refused:
        load_documents("f", text.encode())
    return refused.value.problems[0]


def composed(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Yield every path of a node tree of the library, with its place."""
    yield path, (node.start_mark.line + 1, node.start_mark.column + 1)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from composed(value, (*path, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for at, value in enumerate(node.value):
            yield from composed(value, (*path, at))


@pytest.mark.parametrize("row", rows("syntax/yaml_places.yaml"))
def test_a_place(row: Row) -> None:
    (document,) = load_documents("f", row.given["text"].encode())

    assert document.where(*row.given["path"]) == row.want


texts = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=8)
values = st.recursive(
    st.none() | st.integers(-9, 9) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(texts, values, min_size=1, max_size=4))
def test_places_are_those_of_the_library(value: dict[str, Any]) -> None:
    text = dump(value)
    (document,) = load_documents("f", text.encode())
    expected = dict(composed(yaml.compose(text, Loader=yaml.SafeLoader)))

    assert dict(document.positions) == expected
    assert len(document.positions) == len(expected)


@given(st.dictionaries(texts, values, min_size=1, max_size=4))
def test_the_reader_in_python_reads_the_same(value: dict[str, Any]) -> None:
    text = dump(value).encode()
    (fast,) = load_documents("f", text)
    (slow,) = with_loader(yaml.SafeLoader, text)

    assert (slow.value, dict(slow.positions)) == (fast.value, dict(fast.positions))


def with_loader(loader: type, text: bytes) -> list[Document]:
    usual = yaml12._LOADER
    yaml12._LOADER = loader
    try:
        return load_documents("f", text)
    finally:
        yaml12._LOADER = usual


def test_nesting_is_bounded_where_it_goes_too_deep() -> None:
    assert load_documents("f", ("[" * YAML_DEPTH_MAX + "]" * YAML_DEPTH_MAX).encode())
    deep = "[" * (YAML_DEPTH_MAX + 1)
    assert problem(deep) == f"f:1:{YAML_DEPTH_MAX + 1}: nested deeper than {YAML_DEPTH_MAX}"
    assert problem("[" * 1_000_000).endswith(f"nested deeper than {YAML_DEPTH_MAX}")


def test_the_number_of_nodes_is_bounded() -> None:
    assert problem("[" + "1," * YAML_NODES_MAX + "]").endswith(f"more than {YAML_NODES_MAX} nodes")


def test_what_is_wrong_is_said_before_what_follows_is_read() -> None:
    assert problem("a: *b\nc: [") == "f:1:4: aliases (`*name`) are not read"
