"""What stands in examples/ci works: the walk-through as shown, the templates as far as parsed."""

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest

from sidecar.cli import root
from sidecar.domains import by_protocol
from sidecar.runtime.bundles import load_bundle
from sidecar.runtime.dryrun import dry_call
from sidecar.syntax.yaml12 import load_documents
from sidecar.terms.ids import rfc3339
from sidecar.terms.words import CallId
from tests import walk
from tests.review import history

ROOT = Path(__file__).parents[1]
CI = ROOT / "examples" / "ci"


def recorded(folder: Path) -> None:
    """Write the state folder of a sidecar that has decided the calls of the page."""
    lines = (CI / "calls.jsonl").read_text().splitlines()
    calls = [
        msgspec.structs.replace(
            dry_call(line),
            id=CallId(f"00000000-0000-7000-8000-{number:012d}"),
            time=rfc3339(history.START_US + number * 1_000_000),
            listener="ask",
        )
        for number, line in enumerate(lines)
    ]
    history.record(folder / "yesterday", load_bundle(CI / "policies", by_protocol()), calls)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    if shutil.which("git") is None:
        pytest.skip("needs git")
    shutil.copytree(CI / "policies", tmp_path / "policies")
    shutil.copy(CI / "calls.jsonl", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    recorded(tmp_path)
    return tmp_path


@pytest.mark.timeout(60)
def test_the_walk_through_comes_out_as_the_page_shows(repository: Path) -> None:
    done = walk.steps((CI / "README.md").read_text())

    for step in done:
        said = walk.taken(step, repository)
        if step.shown is not None:
            assert walk.comes_out(step.shown, said), f"{step.body}{said}"

    assert sum(step.shown is not None for step in done) == 7
    assert sum(step.language == "diff" for step in done) == 2


@pytest.mark.parametrize(
    ("shown", "real", "same"),
    [
        ("a\n", "a\n", True),
        ("a\n", "a\nb\n", False),
        ("a …\n", "a b\n", True),
        ("a …\n", "a b\nc\n", False),
        ("…\nc\n", "a\nb\nc\n", True),
        ("a\n…\n", "b\na\n", False),
        ("a.c\n", "abc\n", False),
    ],
)
def test_only_what_is_left_out_may_be_anything(shown: str, real: str, same: bool) -> None:
    assert walk.comes_out(shown, real) is same


def read(name: str) -> Any:
    (document,) = load_documents(name, (ROOT / name).read_bytes())
    return document.value


def scripts(value: Any, *names: str) -> Iterator[str]:
    """Yield the shell texts of a template: what stands under these names, wherever they are."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in names:
                yield from [inner] if isinstance(inner, str) else inner
            else:
                yield from scripts(inner, *names)
    elif isinstance(value, list):
        for inner in value:
            yield from scripts(inner, *names)


def hooks() -> Iterator[str]:
    (configured,) = read("examples/ci/pre-commit-config.yaml")["repos"]
    entries = {hook["id"]: hook for hook in read(".pre-commit-hooks.yaml")}
    for hook in configured["hooks"]:
        yield shlex.join([*shlex.split(entries[hook["id"]]["entry"]), *hook["args"]])
    for hook in entries.values():
        yield shlex.join([*shlex.split(hook["entry"]), *hook["args"]])


COMMANDS = [
    *scripts(read("examples/ci/github-workflow.yaml"), "run"),
    *scripts(read("examples/ci/gitlab-ci.yaml"), "script", "before_script"),
    *hooks(),
]


@pytest.mark.parametrize("line", [line for line in COMMANDS if line.startswith("sidecar ")])
def test_every_command_of_a_template_is_one_that_is_understood(repository: Path, line: str) -> None:
    (repository / "recorded.jsonl").write_bytes(b"")
    words = shlex.split(line.partition(" > ")[0])[1:]
    command: click.Command = root
    context = click.Context(root, info_name="sidecar")

    while isinstance(command, click.Group):
        name, *words = words
        found = command.get_command(context, name)
        assert found is not None, name
        command = found
        context = click.Context(command, info_name=name, parent=context)

    # Raises where an option, its value or an argument is none of the command's.
    command.make_context(command.name, words, parent=context.parent)


def test_each_question_is_asked_by_every_template() -> None:
    github = " ".join(scripts(read("examples/ci/github-workflow.yaml"), "run"))
    gitlab = " ".join(scripts(read("examples/ci/gitlab-ci.yaml"), "script"))

    for asked in (github, gitlab):
        verbs = set(re.findall(r"sidecar (\w+(?: diff)?)", asked))
        assert verbs == {"lint", "fmt", "test", "bundle diff", "replay"}
        for option in ("--format junit", "--fail-under 100", "--mutate", "--fail-on gain"):
            assert option in asked, option
    assert github.count("--format sarif") == 2
    assert {"sidecar-lint", "sidecar-fmt", "sidecar-test"} == {
        hook["id"] for hook in read(".pre-commit-hooks.yaml")
    }


def test_what_a_workflow_uploads_is_what_it_wrote() -> None:
    (job,) = read("examples/ci/github-workflow.yaml")["jobs"].values()

    written = set(re.findall(r"(?:> |--coverage-file )(\S+)", " ".join(scripts(job, "run"))))
    uploaded = {
        name
        for step in job["steps"]
        for value in ("sarif_file", "path")
        for name in str(step.get("with", {}).get(value, "")).split()
    }
    assert uploaded == written
    assert job["permissions"] == {"contents": "read", "security-events": "write"}


def test_no_template_puts_what_others_wrote_into_a_script() -> None:
    assert [line for line in COMMANDS if "${{" in line] == []


def test_reports_name_files_as_the_repository_does(repository: Path) -> None:
    coverage = "sidecar test policies --coverage-format lcov\n"
    lint = "sidecar lint policies --format sarif\n"

    told = walk.taken(walk.Step("sh", coverage, None), repository)
    (repository / "policies" / "orders_test.yaml").unlink()
    found = walk.taken(walk.Step("sh", lint, None), repository)

    assert re.findall(r"^SF:(.*)$", told, re.MULTILINE) == ["policies/orders.yaml"]
    assert set(re.findall(r'"uri": "(.*)"', found)) == {"policies/orders.yaml"}
    assert str(repository) not in told + found


def test_gitlab_finds_the_coverage_where_it_is_said() -> None:
    pattern = read("examples/ci/gitlab-ci.yaml")["coverage"]["coverage"].strip("/")

    found = re.search(pattern, "16 passed\ncoverage 93.3 %: rules 2/2\n", re.MULTILINE)

    assert found
    assert found[1] == "93.3"
