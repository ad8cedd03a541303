"""What a bundle may not be, and where it says so."""

from typing import Any

import pytest

from sidecar.domains import by_protocol
from sidecar.policy.bundle import compile_bundle
from sidecar.terms.errors import PolicyError
from tests import toy
from tests.tables import Row, rows


def problems(files: dict[str, Any]) -> list[str]:
    given = {"bundle.yaml": 'name: t\nversion: "1.0.0"\n', "ok.yaml": OK, **files}
    kept = {name: text.encode() for name, text in given.items() if text is not None}
    try:
        compile_bundle(kept, toy.domains())
    except PolicyError as error:
        return list(error.problems)
    return []


OK = """apiVersion: sidecar/v1
kind: Policy
metadata: {name: ok}
spec: {rules: [{id: r, effect: allow, when: "true"}]}
"""


@pytest.mark.parametrize("row", rows("policy/load.yaml"))
def test_load(row: Row) -> None:
    assert problems(row.given) == row.want


def test_every_problem_is_told_at_once() -> None:
    broken = OK.replace("name: ok", "name: second").replace('"true"', '"nope == 1"')

    found = problems({"a.yaml": broken, "b.yaml": "x: ["})

    assert [text.split(":")[0] for text in found] == ["b.yaml", "a.yaml"]


def test_what_is_wrong_with_a_catalogue_is_told_once_though_its_domain_has_several_protocols() -> (
    None
):
    spec = "{protocol: http, routes: [{method: GET, path: /a, class: reed}]}"
    text = f"apiVersion: sidecar/v1\nkind: Catalog\nmetadata: {{name: c}}\nspec: {spec}\n"
    files = {"bundle.yaml": 'name: t\nversion: "1.0.0"\n', "c.yaml": text, "ok.yaml": OK}

    with pytest.raises(PolicyError) as found:
        compile_bundle({name: data.encode() for name, data in files.items()}, by_protocol())

    assert len(found.value.problems) == 1
