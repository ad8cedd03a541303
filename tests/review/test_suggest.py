"""A draft permits what was observed, no more than that, loads, is clean, and passes its tests."""

import asyncio
from pathlib import Path

import pytest

from sidecar import flow
from sidecar.domains import by_protocol
from sidecar.policy.bundle import Bundle, compile_bundle
from sidecar.review.linting import lint
from sidecar.review.replay.recorded import read_recorded
from sidecar.review.replay.run import Asked, replay
from sidecar.review.suggest import drafted, files_of, observe
from sidecar.review.suggest.files import catalogue_files
from sidecar.review.testing.run import run_suites
from sidecar.terms.decision import Decision, Fact, FactKey, Facts
from tests.review import history
from tests.tables import Row, rows

OPEN = [
    {"id": "all", "effect": "allow"},
    {"id": "never", "effect": "deny", "match": {"classes": ["delete"]}, "message": "no"},
    {
        "id": "few",
        "effect": "modify",
        "match": {"resources": ["table:public.orders"]},
        "obligations": [{"type": "limit_rows", "max": 5}],
    },
]


class Nobody:
    async def fetch(self, keys: frozenset[FactKey]) -> Facts:
        return {key: Fact(value=False, source="test", revision="1") for key in keys}


def decided(bundle: Bundle, said: dict) -> Decision:
    (call,) = history.calls([said])
    request = flow.understand(call, bundle)
    decision, _ = asyncio.run(flow.judge(request, bundle, Nobody()))
    assert request.parse.status == "complete", request.parse
    return decision


def draft_of(state: Path, bundle: Bundle) -> Bundle:
    seen = observe(read_recorded(state))
    files = files_of(drafted(seen), seen, catalogue_files(bundle.files), by_protocol())
    return compile_bundle(files, by_protocol())


@pytest.mark.parametrize("row", rows("review/suggest.yaml"))
def test_case(row: Row, tmp_path) -> None:
    bundle = history.bundle_of(OPEN, row.given.get("catalog"))
    state = history.record(tmp_path / "s", bundle, history.calls(row.given["calls"]))

    draft = draft_of(state, bundle)

    for said in row.want["permits"]:
        decision = decided(draft, said)
        assert decision.permitted, said
        types = [one.type for one in decision.obligations]
        assert types == row.want.get("obligations", [])
    for said in row.want.get("refuses", ()):
        assert not decided(draft, said).permitted, said
    outcome = run_suites(draft)
    assert (outcome.failed, outcome.ran > 0) == (0, True)
    assert lint(draft) == []
    again = replay(Asked(state, as_read=True), draft, None, lambda _: None)
    assert not again.has("allow-to-deny")
    assert not again.has("deny-to-allow")
    assert again.gone == 0


def test_what_a_caller_is_called_ends_no_text_of_the_draft(tmp_path) -> None:
    names = [
        'x"\n    - {id: evil, effect: allow}',
        "# a: b",
        "*&!|>%@`",
        "\\",
        "'",
        "é\u2028",
        "\U0001f4ce",
        "\\\\U0001f4ce",
    ]
    calls = [{"http": "GET http://api.test/a", "subject": f"service:{name}"} for name in names]
    bundle = history.bundle_of(OPEN)
    state = history.record(tmp_path / "s", bundle, history.calls(calls))

    draft = draft_of(state, bundle)

    assert len(draft.rules) == len(names)
    for said in calls:
        assert decided(draft, said).permitted
    assert not decided(draft, {"http": "GET http://api.test/a", "subject": "service:y"}).permitted


def test_a_person_in_no_group_is_drafted_by_its_id_where_that_is_known(tmp_path) -> None:
    bundle = history.bundle_of(OPEN)
    calls = history.calls([{"http": "GET http://api.test/a", "subject": "user:alice"}])
    state = history.record(tmp_path / "s", bundle, calls)

    known = observe(read_recorded(state))
    (state / "persons.table").unlink()
    unknown = observe(read_recorded(state))

    assert [who.id for who in known.evidence] == ["alice"]
    assert unknown.left_out == {"nobody knows who it was": 1}
