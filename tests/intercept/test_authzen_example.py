"""examples/authzen does what its README says: its blocks load and decide, its story runs."""

import asyncio
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sidecar.runtime.config import read_config
from tests.intercept.ask_stand import Stand
from tests.intercept.test_authzen_conformance import bundle
from tests.tables import rows

EXAMPLE = Path(__file__).parents[2] / "examples" / "authzen"
README = (EXAMPLE / "README.md").read_text("utf-8")
BLOCK = re.compile(r"```yaml\n# ([\w/.]+)[^\n]*\n(.*?)```", re.DOTALL)


def blocks():
    """The files that the README shows, by their names."""
    return {name: text.encode() for name, text in BLOCK.findall(README)}


@pytest.fixture
async def documents():
    files = blocks()
    entities = files.pop("entities.yaml")
    files.pop("sidecar.yaml")
    stand = await Stand(files, entities=entities).start()
    yield stand
    await stand.stop()


def test_the_readme_shows_the_files_that_its_steps_speak_of():
    assert sorted(blocks()) == [
        "bundle.yaml",
        "catalog/documents.yaml",
        "entities.yaml",
        "params/staff.yaml",
        "policies/documents.yaml",
        "sidecar.yaml",
    ]


def test_the_readmes_configuration_and_the_examples_own_are_read(tmp_path):
    for data in (blocks()["sidecar.yaml"], (EXAMPLE / "sidecar.yaml").read_bytes()):
        assert read_config(tmp_path / "sidecar.yaml", data).workloads


@pytest.mark.parametrize("row", rows("intercept/authzen_readme.yaml"))
async def test_the_readmes_bundle_decides_as_it_says(documents, row):
    told = row.given
    body = {
        "subject": {"type": "user", "id": told["who"]},
        "action": {"name": told["does"]},
        "resource": {"type": "document", "id": told["id"], "properties": told.get("said", {})},
    }

    answer = await documents.evaluate(body)

    spoke = answer.json["context"]["rules"]
    found = {
        "decision": answer.json["decision"],
        "rules": [rule["id"] for rule in spoke if "status" not in rule],
        "errors": [rule["id"] for rule in spoke if rule.get("status") == "error"],
    }
    assert {"errors": [], **row.want} == found


@pytest.mark.parametrize("name", ["todo", "certification"])
async def test_each_bundle_loads(name):
    stand = await Stand(bundle(name)).start()
    await stand.stop()

    assert stand.bundle.name == name


@pytest.mark.e2e
@pytest.mark.timeout(60)
async def test_the_story_runs_and_leaves_nothing_behind():
    if shutil.which("curl") is None:
        pytest.skip("no curl")
    before = sorted(EXAMPLE.rglob("*"))
    sidecar = str(Path(sys.executable).with_name("sidecar"))

    process = await asyncio.create_subprocess_exec(
        "/bin/sh",
        EXAMPLE / "run.sh",
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={"SIDECAR": sidecar, "PATH": "/usr/bin:/bin"},
    )
    said, _ = await process.communicate()

    ready, mine, ricks, both = said.decode().splitlines()
    assert process.returncode == 0
    assert ready.startswith("ready ")
    assert (mine[:16], ricks[:17]) == ('{"decision":true', '{"decision":false')
    assert both.count('"decision":') == 2
    assert sorted(EXAMPLE.rglob("*")) == before
