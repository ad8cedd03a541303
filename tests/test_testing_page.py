"""The page for newcomers, examples/testing.md, is run as it stands: every file, every command."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from sidecar.cli import root
from sidecar.review.testing.written import Expected, SuiteSpec, TestDoc

PAGE = (Path(__file__).parents[1] / "examples" / "testing.md").read_text()
BLOCK = re.compile(
    r"(?P<before>.*?)^```(?P<language>\w+)\n(?P<body>.*?)^```\n", re.MULTILINE | re.DOTALL
)
NAMED = re.compile(r"# ([\w/.-]+\.yaml)\n")
# What somebody changes by mistake, in the words before a command.
MISTAKE = re.compile(r"`(when: .*?)`:\s*\Z")


def blocks():
    return [found.groupdict() for found in BLOCK.finditer(PAGE)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_everything_on_the_page_comes_out_as_it_says(folder):
    policy = ""
    said = None
    ran = 0
    for block in blocks():
        body = block["body"]
        match block["language"]:
            case "yaml":
                name = NAMED.match(body)
                assert name, body
                file = folder / name[1]
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(body)
                policy = body if name[1] == "shop/orders.yaml" else policy
            case "sh":
                mistake = MISTAKE.search(block["before"])
                if mistake is not None:
                    changed, count = re.subn(r"when: actor.*", lambda _: mistake[1], policy)  # noqa: B023
                    assert count == 1
                    (folder / "shop/orders.yaml").write_text(changed)
                said = run(body)
                (folder / "shop/orders.yaml").write_text(policy)
            case "text":
                assert body == said
                ran += 1
            case other:
                pytest.fail(f"a block of {other}")
    assert ran == 8


def run(command):
    name, *arguments = command.split()
    assert name == "sidecar"
    done = CliRunner().invoke(root, arguments)
    return done.stdout


def test_every_field_of_a_suite_is_on_the_page():
    told = PAGE.partition("## What a test may say")[2]
    fields = {*SuiteSpec.__struct_fields__, *Expected.__struct_fields__, *TestDoc.__struct_fields__}
    plain = {"tests", "input", "name", "description", "expected"}
    one_of_several = {"principal", "request", "resource"}
    for field in fields - plain - one_of_several:
        assert f"`{field}" in told or f".{field}`" in told, field
