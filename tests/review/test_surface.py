"""What an agent may reach is what the PDP would say, or a condition; never more."""

import asyncio
from html.parser import HTMLParser
from typing import Any

import pytest

from sidecar import flow
from sidecar.domains import by_protocol
from sidecar.policy.bundle import Bundle, compile_bundle
from sidecar.review.surface.page import page, undecided, words
from sidecar.review.surface.reach import Caller, Reached, reach
from sidecar.syntax.yaml12 import dump
from sidecar.terms.call import Party
from sidecar.terms.decision import Fact, FactKey, Facts
from tests.review import history
from tests.review.shelf import document
from tests.tables import Row, rows

ALICE = Party("user", "alice", {"groups": ["finance"]})
BOT = Caller(ALICE, (Party("agent", "bot"),))


def bundle_of(given: dict) -> Bundle:
    head = {"name": "t", "version": "1.0.0", "layers": given.get("layers", ["org"])}
    spec = {"rules": given["rules"], "variables": given.get("variables", {})}
    files = {
        "bundle.yaml": dump(head).encode(),
        "p.yaml": document("Policy", "p", spec),
        "c.yaml": document("Catalog", "c", history.CATALOG),
    }
    return compile_bundle(files, by_protocol())


def reached(bundle: Bundle, caller: Caller = BOT) -> dict[str, Reached]:
    return {f"{one.thing.cls} {one.thing.resource}": one for one in reach(bundle, caller)}


@pytest.mark.parametrize("row", rows("review/surface.yaml"))
def test_case(row: Row) -> None:
    found = reached(bundle_of(row.given))

    for name, want in row.want.items():
        one = found[name]
        assert one.status == want["status"], (name, one)
        assert "how" not in want or words(one) == want["how"]
        assert "unknown" not in want or list(one.unknown) == want["unknown"]


class Nobody:
    async def fetch(self, keys: frozenset[FactKey]) -> Facts:
        return {key: Fact(value=False, source="test", revision="1") for key in keys}


STATEMENTS = (
    "SELECT id, note FROM notes",
    "SELECT salary FROM hr.salaries WHERE name = 'x'",
    "UPDATE notes SET note = 'x' WHERE id = 1",
    "DELETE FROM orders",
    "INSERT INTO orders (id) VALUES (1)",
)
CONDITIONS = (
    "true",
    "'compensation' in resource.labels",
    "actor.id == 'bot'",
    "!delegated",
    "action.class == 'read' || context.time < '2027'",
    "action.name == 'select' && 'finance' in subject.properties.groups",
    "subject.properties.none == 1",
    "subject.properties.none == 1 || resource.type == 'table'",
    "subject.properties.none == 1 && resource.type == 'table'",
    "resource.id.startsWith('public') ? request.sql.statements == 1 : false",
    "targets.exists(t, 'compensation' in t.resource.labels)",
    "!(resource.labels.exists(l, l == 'personnel') && request.sql.verbs == ['select'])",
)
EFFECTS = ("allow", "deny", "step_up", "modify")


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("effect", EFFECTS)
def test_no_call_comes_out_otherwise_than_its_things(effect, condition) -> None:
    """Whatever the rule: an allowed thing is not refused, a denied one is not permitted."""
    rule = {"id": "r", "effect": effect, "when": condition}
    if effect == "modify":
        rule["obligations"] = [{"type": "limit_rows", "max": 5}]
    base = [] if effect == "allow" else [{"id": "all", "effect": "allow"}]
    bundle = bundle_of({"rules": [*base, rule]})
    found = reached(bundle)
    said: list[dict[str, Any]] = [{"sql": text, "actors": ["agent:bot"]} for text in STATEMENTS]
    for one in said:
        one.update(subject="user:alice", properties=ALICE.properties)

    for call in history.calls(said):
        request = flow.understand(call, bundle)
        decision, _ = asyncio.run(flow.judge(request, bundle, Nobody()))
        for target in decision.targets:
            thing = found[f"{target.action.cls} {target.resource.key}"]
            permitted = target.outcome in ("allow", "modify")
            assert not (thing.status == "allowed" and not permitted), (thing, target)
            assert not (thing.status == "denied" and target.outcome != "deny"), (thing, target)
            assert not (thing.status == "approval" and permitted), (thing, target)


def test_what_is_not_known_of_a_caller_stays_a_condition() -> None:
    rules = [{"id": "f", "effect": "allow", "when": "'finance' in subject.properties.groups"}]
    bundle = bundle_of({"rules": rules})
    stranger = Caller(Party("user", "x"), (Party("agent", "bot"),), is_whole=False)

    one = reached(bundle, stranger)["read table:public.notes"]

    assert one.status == "conditional"
    assert undecided([one]) == {"subject.properties.groups": 1}


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.text = ""

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


EVIL = "</title><script>alert(1)</script><img src=x onerror=alert(1)>\"'&"


def test_the_page_holds_everything_itself_and_runs_nothing() -> None:
    rules = [
        {"id": "all", "effect": "allow", "when": f"context.time != {EVIL!r}"},
        {"id": "k", "effect": "allow", "match": {"resources": ["k8s/pods:<script>*"]}},
    ]
    found = reach(bundle_of({"rules": rules}), BOT)

    text = page(EVIL, f"bundle {EVIL}", found)
    parsed = _Page()
    parsed.feed(text)

    names = {tag for tag, _ in parsed.tags}
    assert names.isdisjoint({"script", "img", "link", "iframe", "object", "a", "form", "image"})
    assert all(not name.startswith("on") for _, attrs in parsed.tags for name in attrs)
    assert not any({"src", "href", "style"} & attrs.keys() for _, attrs in parsed.tags)
    assert "url(" not in text
    assert "@import" not in text
    policy = next(a["content"] for tag, a in parsed.tags if "http-equiv" in a)
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "svg" in names
    assert sum(1 for tag, _ in parsed.tags if tag == "rect") == len(found)
    assert EVIL in parsed.text
