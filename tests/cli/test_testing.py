"""`sidecar test` beside its exit codes: files that it writes, several processes, the watch."""

import json
import re
import subprocess
from collections import deque
from pathlib import Path

import pytest
from click.testing import CliRunner
from msgspec import convert

from sidecar.cli import root
from sidecar.cli.reviewing.test import Asked, changes, rerun
from sidecar.domains import by_protocol
from sidecar.policy.bundle import compile_bundle
from sidecar.review import crowd
from sidecar.review.coverage.report import as_json, report_of
from sidecar.review.mutation.mutants import mutants_of
from sidecar.review.reports.tap import tap
from sidecar.review.reports.whole import whole
from sidecar.runtime import exits
from sidecar.runtime.exits import exit_code
from tests.bench.review import files_of

PLAIN = {
    "form": "tree",
    "only": None,
    "coverage": False,
    "coverage_form": None,
    "coverage_file": None,
    "fail_under": None,
    "since": None,
    "mutate": False,
    "jobs": 1,
    "summary": None,
    "verbose": False,
}


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "bundle"
    path.mkdir()
    for name, data in files_of(9).items():
        (path / name).write_bytes(data)
    return path


def run(*arguments, **more):
    return CliRunner().invoke(root, ["test", *map(str, arguments)], **more)


def test_coverage_goes_to_its_file_and_the_run_is_printed(folder, tmp_path):
    file = tmp_path / "lcov.info"

    done = run(folder, "--coverage-format", "lcov", "--coverage-file", file)

    assert file.read_text().startswith("TN:\nSF:desk.yaml\n")
    assert "second evaluator" in done.stdout


def test_a_file_of_coverage_is_json_where_nothing_else_is_said(folder, tmp_path):
    file = tmp_path / "coverage.json"

    run(folder, "--coverage-file", file)

    assert json.loads(file.read_text())["rules"]["total"] == 7


def test_what_changed_since_a_revision_alone_is_counted(folder):
    def git(*arguments):
        named = ("-c", "user.name=t", "-c", "user.email=t@t.test")
        subprocess.run(("git", *named, *arguments), cwd=folder, check=True, capture_output=True)

    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "before")
    policy = folder / "desk.yaml"
    policy.write_text(policy.read_text().replace("nothing is deleted", "this is not deleted"))

    since = run(folder, "--coverage-changed-since", "HEAD", "--format", "json")
    nothing = run(folder, "--coverage-changed-since", "HEAD~1")

    told = json.loads(since.stdout)["coverage"]
    assert told["rules"]["total"] == 1
    assert {one["rule"] for one in told["files"]["desk.yaml"]} == {"desk/nobody-deletes", "desk/"}
    assert exit_code(nothing.exception) == exits.USAGE


def test_a_page_is_added_to_the_file_that_is_named(folder, tmp_path):
    page = tmp_path / "summary.md"
    page.write_text("before\n")

    run(folder, "--summary", page)

    assert page.read_text().startswith("before\n### Policy tests: ")


@pytest.mark.parametrize("option", ["--summary", "--coverage-file"])
def test_a_folder_that_is_not_there_is_said_before_anything_runs(folder, tmp_path, option):
    found = run(folder, option, tmp_path / "none" / "x")

    assert exit_code(found.exception) == exits.USAGE
    assert "the folder" in str(found.exception)
    assert found.stdout == ""


@pytest.mark.parametrize("option", ["--summary", "--coverage-file"])
def test_a_file_that_cannot_be_written_is_told(folder, option):
    found = run(folder, option, Path("/dev/full"))

    assert exit_code(found.exception) == exits.USAGE
    assert "cannot be written" in str(found.exception)


def test_a_page_is_added_where_the_host_of_the_job_says(folder, tmp_path):
    page = tmp_path / "summary.md"

    run(folder, env={"GITHUB_STEP_SUMMARY": str(page)})

    assert page.read_text().startswith("### Policy tests: ")


@pytest.mark.timeout(60)
def test_several_processes_say_what_one_does(monkeypatch):
    bundle = compile_bundle(files_of(36), by_protocol())
    chosen = crowd.Chosen()
    done: list[int] = []
    one = crowd.run_spread(bundle, chosen, coverage=True, jobs=1, done=done.append)
    mutated = crowd.mutate_spread(bundle, chosen, jobs=1, done=done.append)
    monkeypatch.setattr(crowd, "CELLS_EACH", 1)

    two = crowd.run_spread(bundle, chosen, coverage=True, jobs=2, done=done.append)

    assert two.cells == one.cells
    assert two.coverage is not None
    assert one.coverage is not None
    assert as_json(report_of(bundle, two.coverage)) == as_json(report_of(bundle, one.coverage))
    assert whole(two, None, None) == whole(one, None, None)
    assert tap(two) == tap(one)
    assert mutated.killed + len(mutated.survivors) > 30
    assert sum(done) == 36 + 36 + len(list(mutants_of(bundle)))


@pytest.mark.timeout(60)
def test_mutants_that_several_processes_tried_are_those_of_one(monkeypatch):
    bundle = compile_bundle(files_of(9), by_protocol())
    one = crowd.mutate_spread(bundle, crowd.Chosen(), jobs=1, done=lambda _: None)
    monkeypatch.setattr(crowd, "CELLS_EACH", 1)

    two = crowd.mutate_spread(bundle, crowd.Chosen(), jobs=2, done=lambda _: None)

    assert two == one


def test_files_that_changed_are_named_and_the_first_time_none(folder):
    steps = deque(
        [
            lambda: None,
            lambda: (folder / "desk.yaml").write_text("changed"),
            lambda: None,
            lambda: (folder / "new.yaml").write_text("new"),
            (folder / "new.yaml").unlink,
        ]
    )

    def wait():
        if steps:
            steps.popleft()()
            return True
        return False

    found = [set(changed) for changed in changes(folder, wait)]

    assert found == [set(), {"desk.yaml"}, {"new.yaml"}, {"new.yaml"}]


def test_a_folder_that_is_away_for_a_while_is_waited_for(folder):
    away = folder.with_name("away")
    steps = deque([lambda: folder.rename(away), lambda: away.rename(folder)])

    def wait():
        return bool(steps) and (steps.popleft()(), True)[1]

    assert list(changes(folder, wait)) == [frozenset()]


def test_what_a_change_may_have_changed_is_run_again(folder, capsys):
    """A change of a suite runs that suite; one of a policy all; one that does not load none."""
    policy, suite = folder / "desk.yaml", folder / "desk_test.yaml"
    other = folder / "other_test.yaml"
    other.write_text(suite.read_text().replace('"name": "m"', '"name": "other"'))
    kept = policy.read_text()
    steps = deque(
        [
            lambda: other.write_text(other.read_text() + "\n"),
            lambda: policy.write_text("broken: ["),
            lambda: policy.write_text(kept),
        ]
    )
    told = []

    def wait():
        told.append(capsys.readouterr())
        return bool(steps) and (steps.popleft()(), True)[1]

    rerun(convert({"bundle": folder, **PLAIN}, Asked), wait)

    ran = [re.findall(r"^(m|other): matrix$", one.out, re.MULTILINE) for one in told]
    assert ran == [["m", "other"], ["other"], [], ["m", "other"]]
    assert "desk.yaml:2:1: " in told[2].err


def test_the_suites_of_files_alone_are_run():
    bundle = compile_bundle(files_of(9), by_protocol())

    assert len(crowd.Chosen(files=frozenset({"desk_test.yaml"})).cases(bundle)) == 9
    assert crowd.Chosen(files=frozenset({"other_test.yaml"})).cases(bundle) == []
