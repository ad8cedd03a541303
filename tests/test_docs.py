"""What the pages say is so: every YAML block loads, every command of the README runs."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from sidecar.cli import VERBS, root
from sidecar.domains import by_protocol
from sidecar.policy.bundle import compile_bundle
from sidecar.review.linting import lint
from sidecar.review.linting.checks.words import TYPES
from sidecar.review.testing.run import run_suites
from sidecar.runtime.config import read_config
from sidecar.syntax.yaml12 import load_documents
from sidecar.terms.reasons import REASONS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
CALLS = README.partition("### Calls")[2].partition("\n### ")[0]
PAGES = sorted(
    page
    for page in ROOT.rglob("*.md")
    if not {".venv", "node_modules"} & set(page.relative_to(ROOT).parts)
)
# Its suite shows how a test is written; it does not test every rule of every block.
LEFT_TO_THE_READER = {"untested", "unused-label", "unused-variable", "untyped-attribute"}
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(text: str, language: str) -> list[str]:
    return [body for found, body in _BLOCK.findall(text) if found == language]


def named(text: str) -> dict[str, bytes]:
    """Return the YAML blocks by the path that their first line names."""
    found: dict[str, bytes] = {}
    for number, block in enumerate(blocks(text, "yaml")):
        path = re.match(r"# ([\w/.-]+\.yaml)", block)
        found[path.group(1) if path else f"unnamed-{number}.yaml"] = block.encode()
    return found


def test_the_readme_is_a_bundle_whose_tests_pass() -> None:
    files = named(README)
    config = files.pop("sidecar.yaml")

    bundle = compile_bundle(files, by_protocol())
    outcome = run_suites(bundle)

    assert [cell.differences for cell in outcome.cells if not cell.passed] == []
    assert outcome.ran == 4
    assert [one for one in lint(bundle) if one.code not in LEFT_TO_THE_READER] == []
    assert read_config(Path("sidecar.yaml"), config).listeners


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_yaml_block_is_yaml_that_we_read(page: Path) -> None:
    for number, block in enumerate(blocks(page.read_text(), "yaml")):
        assert load_documents(f"{page.name}[{number}]", block.encode())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if not target.startswith("https://"):
            assert (page.parent / target).exists(), target


def envelopes() -> list[tuple[str, str]]:
    """Return every envelope that a domain's page shows, with the page's name."""
    return [
        (page.parent.name, block)
        for page in sorted((ROOT / "sidecar" / "domains").glob("*/README.md"))
        for block in blocks(page.read_text(), "json")
    ]


@pytest.mark.parametrize(("page", "envelope"), envelopes())
def test_every_envelope_of_a_domains_page_is_read_whole(page: str, envelope: str) -> None:
    asked = json.loads(envelope)

    said = CliRunner().invoke(root, ["parse", "--json", "-"], input=envelope)

    request = json.loads(said.stdout)
    assert request["parse"]["status"] == "complete", request["parse"]
    assert (request["domain"], request["protocol"]) == (page, asked["protocol"])


def test_every_protocol_that_is_read_has_an_envelope() -> None:
    shown = {json.loads(envelope)["protocol"] for _, envelope in envelopes()}

    # GraphQL and JSON-RPC are named and not read yet.
    assert shown == set(by_protocol()) - {"graphql", "jsonrpc"}


def test_the_readmes_table_has_every_key_of_a_call() -> None:
    told = dict(re.findall(r"^\| ([a-z0-9]+) \| (`.*) \|$", CALLS, re.MULTILINE))

    for _, envelope in envelopes():
        asked = json.loads(envelope)
        for key in asked["call"]:
            assert f"`{key}`" in told[asked["protocol"]], (asked["protocol"], key)


def test_the_decision_of_the_readme_is_the_one_that_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    envelope = re.findall(r"printf '%s' '(.*?)' \|", README, re.DOTALL)[0]

    said = CliRunner().invoke(root, ["decide", "-b", "policies", "-"], input=envelope)

    assert _elided(json.loads(blocks(README, "json")[0]), json.loads(said.stdout))


def _elided(shown: Any, real: Any) -> bool:
    """Return whether `real` is what is shown, where a text that ends in `…` shows its beginning."""
    if isinstance(shown, dict):
        return list(shown) == list(real) and all(_elided(shown[key], real[key]) for key in shown)
    if isinstance(shown, list):
        return len(shown) == len(real) and all(map(_elided, shown, real))
    if isinstance(shown, str) and shown.endswith("…"):
        return str(real).startswith(shown[:-1])
    return bool(shown == real)


def test_every_type_that_lint_knows_is_in_the_readme() -> None:
    table = README.partition("### Resources: type:id")[2].partition("\n### ")[0]

    for kind in {kind for kinds in TYPES.values() for kind in kinds}:
        assert f"`{kind}:" in table or (kind.endswith("/") and f"`{kind}" in table), kind


def test_the_row_that_shows_how_a_table_is_written_is_a_real_one() -> None:
    (block,) = blocks((ROOT / "tests" / "README.md").read_text(), "yaml")
    real = ROOT / "tests" / "cases" / "decide" / "precedence.yaml"
    (shown,) = load_documents("shown", block.encode())
    (table,) = load_documents("table", real.read_bytes())

    for key in ("rules", "cases"):
        assert [one for one in shown.value[key] if one not in table.value[key]] == []


def test_every_verb_is_in_the_readme() -> None:
    for verb in VERBS:
        assert f"`sidecar {verb}" in README, verb


def test_every_reason_has_a_sentence() -> None:
    assert all(text and not text.endswith(".") for text in REASONS.values())


@pytest.mark.e2e
@pytest.mark.timeout(90)
def test_the_commands_of_the_readme_run(tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("needs curl")
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        port = str(trial.getsockname()[1])
    script = "set -euo pipefail\n" + "\n".join(blocks(README, "sh"))
    script = re.sub(r"^make (\w+).*$", rf"make -C '{ROOT}' -n \1", script, flags=re.MULTILINE)
    # A free port in place of the usual one, which another sidecar on this machine may hold.
    script = script.replace("8282", port).replace(
        "sidecar init mine", f"sidecar init mine; sed -i.bak s/8282/{port}/ mine/sidecar.yaml", 1
    )
    (tmp_path / "policies").symlink_to(ROOT / "policies")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=80,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "exit code 10" in done.stdout
    assert "personal-data-is-for-people" in done.stdout
    assert "intact" in done.stdout
