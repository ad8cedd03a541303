"""`sidecar replay`: what it says, and with which code it ends."""

import asyncio
import json
import subprocess
from pathlib import Path

import pytest

from tests.record import sample
from tests.review import history
from tests.review.history import ALL


@pytest.fixture
def state(tmp_path) -> Path:
    return history.recorded(tmp_path / "state")


def test_the_command_fails_on_what_it_is_told_to_fail_on(state, tmp_path, sidecar) -> None:
    now = history.written(
        history.bundle_of([{"id": "none", "effect": "deny"}], version="2.0.0"), tmp_path / "b"
    )

    told = sidecar("replay", state, "--bundle", now)
    failed = sidecar("replay", state, "--bundle", now, "--fail-on", "allow-to-deny", "--json")
    passed = sidecar("replay", state, "--bundle", now, "--fail-on", "deny-to-allow")

    assert (told.code, failed.code, passed.code) == (0, 4, 0)
    assert "4 allow → deny" in told.out
    assert json.loads(failed.out)["changes"]["allow-to-deny"]["subjects"] == {
        "service:batch": 2,
        "user:alice": 1,
        "user:bob": 1,
    }


def test_the_command_says_when_there_was_nothing(tmp_path, sidecar) -> None:
    bundle = history.written(history.bundle_of(ALL), tmp_path / "b")
    file = tmp_path / "x.jsonl"
    file.write_bytes(b"")
    asyncio.run(sample.closed(tmp_path / "empty", 2))

    assert sidecar("replay", file, "--bundle", bundle).code == 6
    assert sidecar("replay", tmp_path / "empty", "--bundle", bundle).code == 6
    assert sidecar("replay", tmp_path / "b", "--bundle", bundle).code == 20


def test_a_revision_of_git_is_a_bundle_too(state, tmp_path, sidecar, monkeypatch) -> None:
    repository = tmp_path / "repository"
    history.written(history.bundle_of([{"id": "none", "effect": "deny"}]), repository / "policies")
    monkeypatch.chdir(repository)
    names = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b.example"}
    for name, value in {**names, **_committer(names)}.items():
        monkeypatch.setenv(name, value)
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "one"]):
        subprocess.run(["git", *command], check=True)
    history.written(history.bundle_of(ALL), repository / "policies")

    then = sidecar("replay", state, "--bundle", "HEAD:policies", "--json")
    now = sidecar("replay", state, "--bundle", "policies", "--json")

    assert json.loads(then.out)["differs"] == {"allow-to-deny": 4}
    assert json.loads(now.out)["same"] == 4


def _committer(names: dict[str, str]) -> dict[str, str]:
    return {name.replace("AUTHOR", "COMMITTER"): value for name, value in names.items()}
