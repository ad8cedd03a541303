"""The walls between the rooms stand, and each of them breaks when it should."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BREACHES = [
    ("The path runs one way", "decide/breach.py", "import sidecar.facts"),
    ("The path runs one way", "terms/breach.py", "import sidecar.syntax"),
    ("The path runs one way", "facts/breach.py", "import sidecar.record"),
    ("The path runs one way", "utils/__init__.py", ""),
    ("Domains do not know each other", "domains/ai/vocabulary.py", "import sidecar.domains.data"),
    ("Every domain has the same shape", "domains/ai/helpers.py", ""),
    ("The PDP does no I/O and has no clock", "decide/breach.py", "import time"),
    ("The PDP does no I/O and has no clock", "terms/breach.py", "from uuid import uuid4"),
    ("sqlglot is owned by domains.data", "domains/ai/vocabulary.py", "import sqlglot"),
    ("sqlglot is owned by domains.data", "domains/robots/enforce.py", "import sqlglot.exp"),
    ("yaml is owned by syntax", "domains/application/vocabulary.py", "import yaml"),
    ("celpy is owned by review", "policy/breach.py", "import celpy"),
    (
        "cel_expr_python is an oracle of the tests alone",
        "policy/breach.py",
        "import cel_expr_python",
    ),
    ("re2 is owned by policy", "decide/breach.py", "import re2"),
    ("aiohttp is owned by the rooms that meet the network", "policy/breach.py", "import aiohttp"),
    ("What only tests and the demo install is not imported", "runtime/breach.py", "import psycopg"),
]


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    command = Path(sys.executable).parent / "lint-imports"
    return subprocess.run(
        [command, "--no-cache", "--config", str(folder / "pyproject.toml")],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def trial(tmp_path: Path) -> Path:
    """A copy of the package in which a wall may be breached, with a fifth domain, `robots`."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "sidecar", tmp_path / "sidecar", ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    robots = tmp_path / "sidecar" / "domains" / "robots"
    for layer in ("__init__", "enforce", "parse", "catalogue", "vocabulary"):
        robots.mkdir(exist_ok=True)
        (robots / f"{layer}.py").write_text('"""A trial."""\n')
    return tmp_path


def test_every_contract_is_kept():
    linted = lint(ROOT)

    assert linted.returncode == 0, linted.stdout + linted.stderr


def test_a_fifth_domain_asks_for_no_other_edit(trial):
    linted = lint(trial)

    assert linted.returncode == 0, linted.stdout + linted.stderr


def test_a_domain_without_enforcement_is_seen(trial):
    (trial / "sidecar" / "domains" / "robots" / "enforce.py").unlink()

    linted = lint(trial)

    assert linted.returncode == 1
    assert "Missing layer in container 'sidecar.domains.robots'" in linted.stdout


@pytest.mark.parametrize(
    ("contract", "file", "line"), [pytest.param(*b, id=f"{b[1]}: {b[2]}") for b in BREACHES]
)
def test_a_breach_is_seen(trial, contract, file, line):
    breach = trial / "sidecar" / file
    breach.parent.mkdir(exist_ok=True)
    with breach.open("a") as text:
        text.write(f"\n{line}\n")

    linted = lint(trial)

    assert f"{contract} BROKEN" in linted.stdout, linted.stdout + linted.stderr
