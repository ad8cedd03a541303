"""The decision record: what it says, what it never says, and how large it may be."""

from hashlib import sha256
from types import SimpleNamespace
from typing import Any

import msgspec
import orjson
import pytest

from sidecar.record.canonical import encode
from sidecar.record.limits import RECORD_BYTES_MAX
from sidecar.record.write import decision_record
from sidecar.terms.call import Call, Identity, Party
from sidecar.terms.decision import (
    BundleStamp,
    Decision,
    Fact,
    FactKey,
    Obligation,
    RuleError,
    RuleSpoke,
    TargetDecision,
)
from sidecar.terms.domain import Vocabulary, Word
from sidecar.terms.reasons import reason
from sidecar.terms.record import DecisionRecord
from sidecar.terms.request import Action, ParseStatus, Request, Resource, Target
from sidecar.terms.words import CallId, PolicyName, PolicyVersion, RuleId
from tests.tables import rows

TIME = "2026-11-21T10:00:00.000000Z"
STAMP = BundleStamp("demo", PolicyVersion("1.0.0"), "sha256:00")
ALICE = Party("user", "alice", {"groups": ["finance"]})
BOT = Party("agent", "expense-bot")


class Paper:
    """A bundle and its one domain, of which a record needs only the words and the engine."""

    engine = "paper/1"

    def __init__(self, *sensitive: str) -> None:
        words = tuple(Word(path, "dyn", "a word", sensitive=True) for path in sensitive)
        vocabulary = Vocabulary(words={"sql": words}, phases={"sql": ("call",)})
        self.domains: dict[str, Any] = {"sql": SimpleNamespace(vocabulary=vocabulary)}


def target(given: dict[str, Any]) -> Target:
    return Target(
        Action("select", "read", given.get("action", {})),
        Resource("table", given.get("id", "hr.x"), "erp", ("pii",), given.get("resource", {})),
    )


def request(given: dict[str, Any]) -> Request:
    return Request(
        id=CallId("id-1"),
        time=TIME,
        listener="erp",
        upstream="erp",
        domain="data",
        phase="call",
        protocol="sql",
        subject=msgspec.structs.replace(ALICE, properties=given.get("subject", ALICE.properties)),
        actors=(BOT,),
        targets=tuple(map(target, given.get("targets", [{}]))),
        context={"time": TIME, **given.get("context", {})},
        request=given.get("request", {"sql": {}}),
        parse=ParseStatus("complete", "sql"),
        parts=tuple(map(request, given.get("parts", []))),
    )


def decision(asked: Request, outcome: Any = "deny", **fields: Any) -> Decision:
    decided = tuple(
        TargetDecision(one.action, one.resource, outcome, ("p/r",)) for one in asked.targets
    )
    return Decision(
        **{
            "id": asked.id,
            "outcome": outcome,
            "reason": reason("rule"),
            "policy": STAMP,
            "targets": decided,
            "rules": (RuleSpoke(RuleId("r"), PolicyName("p"), "deny", "org", "sha256:01"),),
            **fields,
        }
    )


def call(asked: Request) -> Call:
    identity = Identity(asked.subject, asked.actors, "key", asserted_by="gateway")
    return Call(asked.id, TIME, "erp", "erp", "sql", {}, identity)


def recorded(
    asked: Request, bundle: Paper, said: Decision | None = None, **fields: Any
) -> DecisionRecord:
    said = said or decision(asked, **fields)
    return decision_record(call(asked), asked, said, said, {}, bundle)


def at(value: Any, path: str) -> Any:
    for step in path.split("."):
        value = value[step]
    return value


@pytest.mark.parametrize("row", rows("record/masking.yaml"))
def test_case(row):
    asked = request(row.given["request"])
    before = msgspec.json.encode(asked)

    record = recorded(asked, Paper(*row.given["words"]))

    text = record.input.text
    assert record.input.form == row.want.get("form", "masked")
    assert list(record.input.missing) == row.want.get("missing", [])
    for path, expected in row.want.get("at", {}).items():
        assert at(orjson.loads(text or ""), path) == expected
    for secret in row.want.get("nowhere", []):
        assert secret not in encode(record).decode()
    # What was decided is forwarded afterwards: masking must not have touched it.
    assert msgspec.json.encode(asked) == before


def test_the_record_says_who_what_why_and_by_which_policy():
    asked = request({})

    record = orjson.loads(encode(recorded(asked, Paper(), message="closed to agents")))

    assert record["kind"] == "decision"
    assert record["subject"] == {"type": "user", "id": "alice"}
    assert record["actors"] == [{"type": "agent", "id": "expense-bot"}]
    assert (record["verified"], record["asserted_by"]) == ("key", "gateway")
    assert (record["effect"], record["outcome"], record["reason"]) == ("deny", "deny", "rule")
    assert record["policy"] == {"bundle": "demo", "version": "1.0.0", "digest": "sha256:00"}
    assert record["engine"] == "paper/1"
    assert record["message"] == "closed to agents"
    assert record["targets"] == [
        {
            "action": "select",
            "class": "read",
            "resource": "table:hr.x",
            "upstream": "erp",
            "outcome": "deny",
            "labels": ["pii"],
            "rules": ["p/r"],
        }
    ]


def test_effect_is_the_pdps_and_outcome_is_what_came_after_enforcement():
    asked = request({})
    planned = Obligation("limit_rows", "table:hr.x", {"max": 5, "share": 0.5}, ("p/r",))
    said = decision(asked, "modify", obligations=(planned,))
    refused = decision(asked, "deny", reason=reason("obligation.unsupported"))

    made = decision_record(call(asked), asked, said, refused, {}, Paper())
    record = orjson.loads(encode(made))

    assert (record["effect"], record["outcome"]) == ("modify", "deny")
    assert record["reason"] == "obligation.unsupported"
    assert record["obligations"][0]["values"] == {"max": 5, "share": "0.5"}


def test_every_fact_is_named_and_its_value_is_a_digest():
    asked = request({})
    said = decision(asked)
    facts = {
        FactKey("revoked", ("user:alice",)): Fact(value=False, source="ledger", revision="3"),
        FactKey("entity", ("user", "a")): Fact({"x": 1.5}, "file", "7", 12),
    }

    record = decision_record(call(asked), asked, said, said, facts, Paper())

    assert [fact.function for fact in record.facts] == ["entity", "revoked"]
    digest = sha256(b'{"x":1.5}').hexdigest()
    assert record.facts[0].digest == f"sha256:{digest}"
    assert (record.facts[1].source, record.facts[1].revision) == ("ledger", "3")


def test_the_digest_is_over_what_was_there_before_masking():
    one, other = (request({"request": {"sql": {"params": [value]}}}) for value in (1, 2))

    records = [recorded(asked, Paper("request.sql.params")) for asked in (one, other)]

    assert records[0].input.text == records[1].input.text
    assert records[0].input.digest != records[1].input.digest
    assert records[0].input.digest == recorded(one, Paper()).input.digest


def test_bytes_and_what_json_has_no_form_for_are_recorded_all_the_same():
    asked = request({"request": {"sql": {"body": b"\x00\xff", "odd": object(), "big": 2**80}}})

    record = recorded(asked, Paper())

    assert record.input.form == "masked"
    assert "<object>" in encode(record).decode()


def test_lone_surrogates_are_recorded():
    asked = request({"targets": [{"id": "a\ud800b"}], "request": {"sql": {"x": "\udfff"}}})

    assert "a\\\\ud800b" in encode(recorded(asked, Paper())).decode()


def test_a_text_of_nothing_but_the_beginnings_of_tokens_is_read_once():
    asked = request({"request": {"sql": {"note": "eyJ" * 1_000_000}}})

    assert recorded(asked, Paper()).input.missing == ("input.text",)


def test_nesting_without_end_costs_the_input_and_not_the_record():
    deep: Any = "x"
    for _ in range(20_000):
        deep = [deep]
    asked = request({"request": {"sql": {"deep": deep}}})

    record = recorded(asked, Paper())

    assert (record.input.form, record.input.missing) == ("none", ("input", "input.digest"))
    assert encode(record)


@pytest.mark.parametrize(
    ("given", "fields", "missing"),
    [
        ({"request": {"sql": {"text": "x" * 100_000}}}, {}, ["input.text"]),
        ({"request": {"sql": {"text": '"' * 40_000}}}, {}, ["input.text"]),
        (
            {"targets": [{"id": f"t{n}"} for n in range(3000)]},
            {},
            ["input.text", "targets[256:3000]"],
        ),
        ({}, {"message": "m" * 90_000}, ["input.text", "texts[2048:]"]),
        (
            {},
            {"errors": tuple(RuleError("p/r", "r" * 500, "t" * 500) for _ in range(500))},
            ["input.text", "errors[256:500]", "errors[64:256]", "errors[16:64]"],
        ),
        (
            {},
            {"obligations": (Obligation("redact", "x", {"fields": ["f" * 50] * 9000}),)},
            ["input.text", "texts[2048:]", "texts[256:]"],
        ),
        ({"targets": [{"id": "é" * 90_000}]}, {}, ["input.text", "texts[2048:]"]),
    ],
    ids=["text", "escapes", "targets", "message", "errors", "lists in values", "one long id"],
)
def test_a_record_is_cut_to_its_bound_and_says_what_was_cut(given, fields, missing):
    asked = request(given)

    record = recorded(asked, Paper(), **fields)

    assert len(encode(record)) <= RECORD_BYTES_MAX
    assert record.input.text is None
    assert [what for what in record.input.missing if what in missing] == missing
    assert len(record.input.digest) == len("sha256:") + 64


def test_of_many_targets_those_that_were_refused_are_kept():
    asked = request({"targets": [{"id": f"t{n}" + "x" * 300} for n in range(600)]})
    said = decision(asked, "allow")
    last = msgspec.structs.replace(said.targets[-1], outcome="deny")
    said = msgspec.structs.replace(said, targets=(*said.targets[:-1], last))

    record = recorded(asked, Paper(), said)

    assert record.targets[0].outcome == "deny"
    assert len(record.targets) < 600
