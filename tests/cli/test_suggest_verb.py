"""`sidecar suggest`: a folder that tests and lint are content with."""

from typing import Any

from tests.review import history

OPEN = [{"id": "all", "effect": "allow"}]
CALLS: list[dict[str, Any]] = [
    {"sql": "SELECT note FROM notes", "subject": "user:bob", "actors": ["agent:bot"]},
    {"http": "GET http://api.test/things/1"},
]


def test_a_draft_passes_its_own_tests_and_is_clean(tmp_path, sidecar) -> None:
    bundle = history.bundle_of(OPEN)
    state = history.record(tmp_path / "state", bundle, history.calls(CALLS))
    draft = tmp_path / "draft"

    said = sidecar("suggest", "--from", state, "-o", draft)

    assert said.code == 0, said.err
    assert "drafted from 2 decisions" in said.out
    assert "# 2 times on 2 resources" in (draft / "policies/suggested-bot.yaml").read_text()
    assert sidecar("test", draft).code == 0
    assert sidecar("lint", "--strict", draft).code == 0
    assert sidecar("suggest", "--from", state, "-o", draft).code == 2
    assert "kind: Policy" in sidecar("suggest", "--from", state).out


def test_nothing_permitted_is_nothing_drafted(tmp_path, sidecar) -> None:
    bundle = history.bundle_of([{"id": "none", "effect": "deny"}])
    state = history.record(tmp_path / "state", bundle, history.calls(CALLS))

    assert sidecar("suggest", "--from", state).code == 6


def test_without_the_bundle_that_decided_its_catalogues_are_asked_for(tmp_path, sidecar) -> None:
    bundle = history.bundle_of(OPEN)
    state = history.record(tmp_path / "state", bundle, history.calls(CALLS))
    for file in (state / "bundles").iterdir():
        file.unlink()
    base = history.written(bundle, tmp_path / "base")

    refused = sidecar("suggest", "--from", state)

    assert refused.code == 2
    assert "--base" in refused.err
    assert sidecar("suggest", "--from", state, "--base", base).code == 0
