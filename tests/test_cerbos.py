"""The set that came from Cerbos: both suites hold the same cells, both programs say the same."""

import shutil
import subprocess
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from sidecar.domains import by_protocol
from sidecar.review.testing.run import run_suites
from sidecar.runtime.bundles import load_bundle
from sidecar.syntax.yaml12 import load_documents

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "examples" / "cerbos"
PROGRAMS = sorted((ROOT / ".venv" / "cerbos").glob("node_modules/@cerbos/*/cerbos-*"))

Cells = dict[tuple[str, str, str], str]


def suite(file: str) -> Any:
    (document,) = load_documents(file, (FOLDER / file).read_bytes())
    return document.value


def cells(test: Any) -> Cells:
    """Return what a test expects of each principal, resource and action; silence is a denial."""
    asked = test["input"]
    found = dict.fromkeys(
        product(asked["principals"], asked["resources"], asked["actions"]), "deny"
    )
    for expected in test["expected"]:
        for action, outcome in expected["actions"].items():
            found[expected["principal"], expected["resource"], action] = outcome
    return found


def test_both_suites_expect_the_same_of_the_same_cells() -> None:
    (theirs,) = suite("cerbos/expense_test.yaml")["tests"]
    ours, _ = suite("policy/expense_test.yaml")["spec"]["tests"]
    word = {"EFFECT_ALLOW": "allow", "EFFECT_DENY": "deny", "deny": "deny"}

    assert {cell: word[said] for cell, said in cells(theirs).items()} == cells(ours)
    assert len(cells(ours)) == 210
    assert set(cells(ours).values()) == {"allow", "deny"}


def test_both_suites_ask_for_the_same_people_and_things() -> None:
    theirs = suite("cerbos/expense_test.yaml")
    ours = suite("policy/expense_test.yaml")["spec"]

    assert {
        name: (one["id"], {"roles": one["roles"], **one["attr"]})
        for name, one in theirs["principals"].items()
    } == {
        name: (one["subject"]["id"], one["subject"]["properties"])
        for name, one in ours["principals"].items()
    }
    assert {
        name: (one["kind"], one["id"], one["attr"]) for name, one in theirs["resources"].items()
    } == {
        name: (one["type"], one["id"], one["properties"]) for name, one in ours["resources"].items()
    }


def rules(file: str) -> Iterator[Any]:
    yield from suite(file).get("resourcePolicy", suite(file).get("spec"))["rules"]


def test_each_rule_has_its_counterpart_under_the_same_name() -> None:
    word = {"EFFECT_ALLOW": "allow", "EFFECT_DENY": "deny"}

    theirs = [(r["name"], word[r["effect"]], r["actions"]) for r in rules("cerbos/expense.yaml")]
    ours = [(r["id"], r["effect"], r["match"]["actions"]) for r in rules("policy/expense.yaml")]

    assert ours == theirs
    assert len(ours) == 10


def test_the_translation_passes() -> None:
    outcome = run_suites(load_bundle(FOLDER / "policy", by_protocol()))

    assert outcome.ran >= 210
    assert [cell for cell in outcome.cells if not cell.passed] == []


@pytest.mark.timeout(60)
def test_cerbos_passes_the_original(tmp_path: Path) -> None:
    if not PROGRAMS:
        pytest.skip("no cerbos in .venv/cerbos")
    shutil.copytree(FOLDER / "cerbos", tmp_path / "policies")

    done = subprocess.run(
        [PROGRAMS[0], "compile", "--color=never", tmp_path / "policies"],
        cwd=tmp_path,
        env={"HOME": str(tmp_path), "CERBOS_NO_TELEMETRY": "1"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "210 tests executed [210 OK]" in done.stdout
