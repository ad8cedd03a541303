"""Every example does what its README says: its bundles load and pass, its story comes out."""

import asyncio
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sidecar.domains import by_protocol
from sidecar.review.linting import lint
from sidecar.review.testing.run import run_suites
from sidecar.runtime.bundles import load_bundle
from sidecar.runtime.config import read_config

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
BUNDLES = sorted(file.parent for file in EXAMPLES.rglob("bundle.yaml"))
STORIES = sorted(file.parent for file in EXAMPLES.glob("*/run.sh"))
NUMBERED = sorted(folder for folder in EXAMPLES.glob("[0-9]*-*") if folder.is_dir())
# The sidecar is asked for by name, as a reader of the README would.
PATH = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
COMMAND = re.compile(r"^(?:sidecar \w+ )?(examples/[\w./-]+)$", re.MULTILINE)


def named(path):
    return path.relative_to(EXAMPLES).as_posix()


def files_of(folder):
    return sorted(path.relative_to(folder) for path in folder.rglob("*"))


async def run(*command, cwd):
    process = await asyncio.create_subprocess_exec(
        *command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=cwd,
        env={"PATH": PATH, "HOME": str(cwd), "PYTHONDONTWRITEBYTECODE": "1"},
    )
    said, _ = await process.communicate()
    return process.returncode, said.decode()


@pytest.mark.parametrize("folder", BUNDLES, ids=named)
def test_an_examples_own_tests_pass_and_nothing_is_left_to_say_of_it(folder):
    bundle = load_bundle(folder, by_protocol())

    outcome = run_suites(bundle)

    assert [cell for cell in outcome.cells if not cell.passed] == []
    assert outcome.opinion.disagreements == []
    assert outcome.ran > 0
    assert lint(bundle) == []


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*/sidecar.yaml")), ids=named)
def test_an_examples_configuration_is_read(file):
    config = read_config(file, file.read_bytes())

    assert config.workloads
    assert config.listeners
    assert config.bundle.joinpath("bundle.yaml").is_file()


@pytest.mark.parametrize("folder", NUMBERED, ids=named)
def test_an_example_is_a_story_of_one_shape(folder):
    assert {"README.md", "policy", "run.sh"} <= {path.name for path in folder.iterdir()}
    assert len((folder / "run.sh").read_text("utf-8").splitlines()) < 60


@pytest.mark.parametrize("folder", NUMBERED, ids=named)
def test_a_readme_names_what_is_there(folder):
    readme = (folder / "README.md").read_text("utf-8")

    commands = COMMAND.findall(readme)
    assert commands == [f"examples/{named(folder)}/policy", f"examples/{named(folder)}/run.sh"]
    shown = re.findall(r"`((?:policy/)?\w+\.(?:yaml|jsonl|json|txt|py|sh))`", readme)
    assert [name for name in shown if not (folder / name).exists()] == []
    assert "policy/bundle.yaml" not in shown


@pytest.mark.e2e
@pytest.mark.timeout(90)
@pytest.mark.parametrize("folder", STORIES, ids=named)
async def test_a_story_comes_out_and_leaves_nothing_behind(folder, tmp_path):
    if shutil.which("curl", path=PATH) is None:
        pytest.skip("no curl")
    copy = tmp_path / folder.name
    shutil.copytree(folder, copy)
    before = files_of(copy)

    code, said = await run(copy / "run.sh", cwd=tmp_path)

    assert code == 0, said
    assert files_of(copy) == before


@pytest.mark.e2e
@pytest.mark.timeout(90)
async def test_a_story_that_does_not_come_out_says_so(tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(EXAMPLES / "3-data-postgres", copy)
    catalogue = copy / "policy" / "catalog.yaml"
    catalogue.write_text(catalogue.read_text("utf-8").replace("labels: [payment]", "labels: []"))

    code, said = await run(copy / "run.sh", cwd=tmp_path)

    assert code == 1, said


def transcripts(readme):
    """Return what psql printed for each statement of the README's story."""
    (block,) = re.findall(r"^```text\n(erp=>.*?)\n```", readme, re.MULTILINE | re.DOTALL)
    return block.split("\n\n")


@pytest.mark.e2e
@pytest.mark.timeout(90)
async def test_the_demo_comes_out():
    code, said = await run(sys.executable, "-m", "examples.demo", cwd=ROOT)

    assert code == 0, said
    printed = "\n".join(line.rstrip() for line in said.splitlines())
    for shown in transcripts((ROOT / "README.md").read_text("utf-8")):
        assert re.search(re.escape(shown).replace("…", r"\S+"), printed), shown
