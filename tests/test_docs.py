"""What the pages say is so: every YAML block loads, every command of the README runs."""

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from sidecar.cli import VERBS
from sidecar.domains import by_protocol
from sidecar.policy.bundle import compile_bundle
from sidecar.review.run import run_suites
from sidecar.runtime.config import read_config
from sidecar.syntax.yaml12 import load_documents
from sidecar.terms.reasons import REASONS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = sorted(
    page
    for page in ROOT.rglob("*.md")
    if not {".venv", "node_modules"} & set(page.relative_to(ROOT).parts)
)
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

    outcome = run_suites(compile_bundle(files, by_protocol()))

    assert [cell.differences for cell in outcome.cells if not cell.passed] == []
    assert outcome.ran == 4
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
