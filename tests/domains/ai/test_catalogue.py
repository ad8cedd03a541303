"""What catalogue files say of servers, models, collections and agents, and which are refused."""

from typing import Any

import pytest

from sidecar.domains.ai import DOMAIN
from sidecar.domains.ai.catalogue import AiCatalogue
from sidecar.terms.domain import CatalogueFile
from sidecar.terms.errors import PolicyError
from tests.tables import rows


def compiled(*specs: dict[str, Any]) -> AiCatalogue:
    files = [CatalogueFile(f"{'cdef'[i]}.yaml", spec, {}, {}) for i, spec in enumerate(specs)]
    catalogue = DOMAIN.catalogue(files)
    assert isinstance(catalogue, AiCatalogue)
    return catalogue


@pytest.mark.parametrize("row", rows("ai/catalogue.yaml"))
def test_a_file_that_says_what_cannot_be_is_refused(row):
    with pytest.raises(PolicyError) as caught:
        compiled(row.given)

    assert row.want == list(caught.value.problems)


def test_no_file_is_an_empty_catalogue():
    assert compiled().empty
    assert not compiled({"protocol": "a2a", "agents": {"x": {}}}).empty


def test_a_problem_says_where_it_stands():
    positions: dict[tuple[str | int, ...], tuple[int, int]] = {
        ("spec", "servers", "crm", "tools", "x", "class"): (9, 16)
    }
    spec = {"protocol": "mcp", "servers": {"crm": {"tools": {"x": {"class": "?"}}}}}

    with pytest.raises(PolicyError, match=r"c.yaml:9:16: `class` is one of"):
        DOMAIN.catalogue([CatalogueFile("c.yaml", spec, positions, {})])


def test_labels_unite_over_files_and_globs():
    catalogue = compiled(
        {"protocol": "mcp", "servers": {"crm": {"tools": {"x": {"labels": ["b"]}}}}},
        {"protocol": "mcp", "resources": {"tool:*/x": {"labels": ["c"]}}},
        {"protocol": "llm", "resources": {"tool:crm/*": {"labels": ["a"]}}},
    )

    assert catalogue.resource("tool", "crm/x", "default").labels == ("a", "b", "c")


def test_of_properties_the_most_exact_statement_wins():
    catalogue = compiled(
        {"protocol": "a2a", "agents": {"bot": {"properties": {"tier": 3}}}},
        {
            "protocol": "a2a",
            "resources": {
                "agent:bo*": {"properties": {"tier": 2, "zone": "eu"}},
                "agent:*": {"properties": {"tier": 1, "zone": "us"}},
            },
        },
    )

    assert catalogue.resource("agent", "bot", "default").properties == {"tier": 3, "zone": "eu"}


def test_what_is_said_of_one_upstream_is_not_said_of_another():
    catalogue = compiled(
        {
            "protocol": "mcp",
            "upstream": "prod",
            "servers": {"crm": {"tools": {"x": {"labels": ["live"], "class": "read"}}}},
        }
    )

    assert catalogue.resource("tool", "crm/x", "prod").labels == ("live",)
    assert catalogue.tool("crm/x", "prod").cls == "read"
    assert catalogue.resource("tool", "crm/x", "test").labels == ()
    assert catalogue.tool("crm/x", "test").cls == "execute"


def test_a_tool_is_described_once():
    spec = {"protocol": "mcp", "servers": {"crm": {"tools": {"x": {}}}}}

    with pytest.raises(PolicyError, match=r"d.yaml:1:1: this tool is described in another file"):
        compiled(spec, {**spec, "upstream": "prod"})


def test_a_tool_may_be_described_for_each_upstream():
    spec = {"protocol": "mcp", "servers": {"crm": {"tools": {"x": {"class": "read"}}}}}

    catalogue = compiled({**spec, "upstream": "a"}, {**spec, "upstream": "b"})

    assert catalogue.tool("crm/x", "b").cls == "read"
    assert catalogue.tool("crm/x", "c").cls == "execute"


@pytest.mark.parametrize(
    ("pattern", "id", "is_said"),
    [
        ("file:///a%20b", "files/file:///a%2520b", True),
        ("file:///*.csv", "files/file:///x/y.csv", True),
        (r"file:///a\*b", "files/file:///a%2Ab", True),
        (r"file:///a\*b", "files/file:///axb", False),
        ("file:///a", "files/file:///ab", False),
    ],
)
def test_globs_over_uris_are_written_as_uris_are(pattern, id, is_said):
    spec = {"servers": {"files": {"resources": {pattern: {"labels": ["a"]}}}}, "protocol": "mcp"}

    labels = compiled(spec).resource("resource", id, "default").labels

    assert labels == (("a",) if is_said else ())
