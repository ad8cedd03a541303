"""The decision record: what it says, what it never says, and how large it may be."""

from collections.abc import Mapping
from hashlib import sha256
from types import SimpleNamespace
from typing import Any

import msgspec
import orjson
import pytest

from sidecar.record.canonical import encode
from sidecar.record.inputs import Secrets
from sidecar.record.limits import RECORD_BYTES_MAX
from sidecar.record.persons import persons_of
from sidecar.record.write import Keeping, decision_record
from sidecar.terms.call import Call, Identity, Party
from sidecar.terms.decision import (
    BundleStamp,
    Decision,
    Fact,
    FactKey,
    Facts,
    Obligation,
    RuleError,
    RuleSpoke,
    TargetDecision,
)
from sidecar.terms.domain import Needs, Vocabulary, Word
from sidecar.terms.reasons import reason
from sidecar.terms.record import DecisionRecord, SideObject
from sidecar.terms.request import Action, ParseStatus, Request, Resource, Target
from sidecar.terms.words import CallId, PolicyName, PolicyVersion, RuleId
from tests.tables import rows

TIME = "2026-11-21T10:00:00.000000Z"
STAMP = BundleStamp("demo", PolicyVersion("1.0.0"), "sha256:00")
ALICE = Party("user", "alice", {"groups": ["finance"]})
BOT = Party("agent", "expense-bot")
ALICES = "p_0000000000000000000000"
SECRETS = Secrets(bytes(32))


class Paper:
    """A bundle and its one domain, of which a record needs only the words and the engine."""

    engine = "paper/1"

    def __init__(self, *sensitive: str, needs: tuple[str, ...] = ()) -> None:
        words = tuple(Word(path, "dyn", "a word", sensitive=True) for path in sensitive)
        vocabulary = Vocabulary(words={"sql": words}, phases={"sql": ("call",)})
        self.domains: dict[str, Any] = {"sql": SimpleNamespace(vocabulary=vocabulary)}
        self._needs = Needs(frozenset(needs))

    def needs(self, protocol: str) -> Needs:
        return self._needs


def target(given: dict[str, Any]) -> Target:
    return Target(
        Action("select", "read", given.get("action", {})),
        Resource(
            given.get("type", "table"),
            given.get("id", "hr.x"),
            "erp",
            ("pii",),
            given.get("resource", {}),
        ),
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
        subject=Party(
            given.get("type", "user"),
            given.get("subject_id", "alice"),
            given.get("subject", ALICE.properties),
        ),
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


def kept(
    asked: Request,
    bundle: Paper,
    said: Decision | None = None,
    then: Decision | None = None,
    facts: Facts | None = None,
    handles: Mapping[str, str] | None = None,
) -> tuple[DecisionRecord, tuple[SideObject, ...]]:
    """Return the record of a request and its side objects; the first person is Alice."""
    said = said or decision(asked)
    if handles is None:
        handles = {person: f"p_{n:022d}" for n, person in enumerate(persons_of(asked))}
    keeping = Keeping(bundle, handles, SECRETS)
    return decision_record(call(asked), asked, said, then or said, facts or {}, keeping)


def recorded(
    asked: Request, bundle: Paper, said: Decision | None = None, **fields: Any
) -> DecisionRecord:
    record, _ = kept(asked, bundle, said or decision(asked, **fields))
    return record


def at(value: Any, path: str) -> Any:
    for step in path.split("."):
        value = value[step]
    return value


@pytest.mark.parametrize("row", rows("record/masking.yaml"))
def test_case(row):
    asked = request(row.given["request"])
    before = msgspec.json.encode(asked)

    record, side = kept(asked, Paper(*row.given["words"], needs=tuple(row.given.get("needs", []))))

    text = record.input.text
    for path, expected in row.want.get("sealed", {}).items():
        (one,) = side
        assert one.digest == record.input.sealed_object
        assert at(orjson.loads(SECRETS.unseal(asked.id, one.data) or b""), path) == expected
    assert bool(side) is ("sealed" in row.want)
    assert record.input.form == row.want.get("form", "masked")
    assert list(record.input.missing) == row.want.get("missing", [])
    for path, expected in row.want.get("at", {}).items():
        assert at(orjson.loads(text or ""), path) == expected
    for secret in row.want.get("nowhere", []):
        assert secret not in encode(record).decode()
        assert all(secret.encode() not in one.data for one in side)
    # What was decided is forwarded afterwards: masking must not have touched it.
    assert msgspec.json.encode(asked) == before


def test_the_record_says_who_what_why_and_by_which_policy():
    asked = request({})

    record = orjson.loads(encode(recorded(asked, Paper(), message="closed to agents")))

    assert record["kind"] == "decision"
    assert record["subject"] == {"type": "user", "id": ALICES}
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

    made, _ = kept(asked, Paper(), said, refused)
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

    record, _ = kept(asked, Paper(), said, facts=facts)

    assert [fact.function for fact in record.facts] == ["entity", "revoked"]
    digests = [SECRETS.digest(text) for text in (b'{"x":1.5}', b"false")]
    assert [fact.digest for fact in record.facts] == digests
    assert [fact.arguments for fact in record.facts] == [("user", "***"), (f"user:{ALICES}",)]
    assert (record.facts[1].source, record.facts[1].revision) == ("ledger", "3")


def test_the_digest_is_over_what_was_there_before_masking():
    one, other = (request({"request": {"sql": {"params": [value]}}}) for value in (1, 2))

    records = [recorded(asked, Paper("request.sql.params")) for asked in (one, other)]

    assert records[0].input.text == records[1].input.text
    assert records[0].input.digest != records[1].input.digest


def test_the_digest_cannot_be_guessed_without_the_key():
    asked = request({})
    one, other = (
        decision_record(
            call(asked), asked, decision(asked), decision(asked), {},
            Keeping(Paper(), {"user:alice": ALICES}, Secrets(bytes([number]) * 32)),
        )[0]
        for number in (1, 2)
    )  # fmt: skip

    assert one.input.text == other.input.text
    assert one.input.digest != other.input.digest
    plain = sha256((one.input.text or "").encode()).hexdigest()
    assert plain not in one.input.digest + other.input.digest


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

    assert recorded(asked, Paper()).input.text_object is not None


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
        ({"request": {"sql": {"text": "x" * 100_000}}}, {}, []),
        ({"request": {"sql": {"text": '"' * 40_000}}}, {}, []),
        ({"request": {"sql": {"text": "x" * 20_000_000}}}, {}, ["input.text"]),
        ({"targets": [{"id": f"t{n}"} for n in range(3000)]}, {}, ["targets[256:3000]"]),
        ({}, {"message": "m" * 90_000}, ["texts[2048:]"]),
        (
            {},
            {"errors": tuple(RuleError("p/r", "r" * 500, "t" * 500) for _ in range(500))},
            ["errors[256:500]", "errors[64:256]", "errors[16:64]"],
        ),
        (
            {},
            {"obligations": (Obligation("redact", "x", {"fields": ["f" * 50] * 9000}),)},
            ["texts[2048:]", "texts[256:]"],
        ),
        ({"targets": [{"id": "é" * 90_000}]}, {}, ["texts[2048:]"]),
    ],
    ids=[
        "text",
        "escapes",
        "no end",
        "targets",
        "message",
        "errors",
        "lists in values",
        "one long id",
    ],
)
def test_a_record_is_cut_to_its_bound_and_says_what_was_cut(given, fields, missing):
    asked = request(given)

    record, side = kept(asked, Paper(), decision(asked, **fields))

    assert len(encode(record)) <= RECORD_BYTES_MAX
    assert record.input.text is None
    assert [what for what in record.input.missing if what in missing] == missing
    assert record.input.text_object == (side[0].digest if side else None)
    assert bool(side) is ("input.text" not in missing)
    assert all(sha256(one.data).hexdigest() in one.digest for one in side)
    assert len(record.input.digest) == len("hmac-sha256:") + 64


def test_of_many_targets_those_that_were_refused_are_kept():
    asked = request({"targets": [{"id": f"t{n}" + "x" * 300} for n in range(600)]})
    said = decision(asked, "allow")
    last = msgspec.structs.replace(said.targets[-1], outcome="deny")
    said = msgspec.structs.replace(said, targets=(*said.targets[:-1], last))

    record = recorded(asked, Paper(), said)

    assert record.targets[0].outcome == "deny"
    assert len(record.targets) < 600


def test_values_that_filled_holes_are_masked_and_persons_are_handles():
    asked = request({"subject": {"department": "sales-7", "groups": []}})
    condition = {"text": "a = ${0} and b = ${1} and c = ${2}", "values": ["sales-7", "alice", 7]}
    planned = Obligation("filter_rows", "user:alice", {"where": [condition]}, ("p/r",))

    record = recorded(asked, Paper(), obligations=(planned,))

    assert record.obligations[0].target == f"user:{ALICES}"
    assert record.obligations[0].values == {
        "where": [{"text": condition["text"], "values": ["***", ALICES, "***"]}]
    }


def test_a_message_and_an_error_name_nobody():
    asked = request({})
    errors = (RuleError("p/r", "user:alice", "alice is not a number"),)

    record = recorded(asked, Paper(), message="alice may not, malice may", errors=errors)

    assert record.message == f"{ALICES} may not, malice may"
    assert record.errors[0] == RuleError("p/r", f"user:{ALICES}", f"{ALICES} is not a number")


def test_a_person_without_a_handle_has_no_name():
    asked = request({"context": {"ip": "192.0.2.7"}})
    keeping = Keeping(Paper(), {}, SECRETS)

    record, _ = decision_record(call(asked), asked, decision(asked), decision(asked), {}, keeping)

    text = encode(record).decode()
    assert "alice" not in text
    assert "192.0.2.7" not in text
    assert record.subject.id == "p_unknown"


def test_who_speaks_for_another_is_named_when_it_is_a_machine():
    asked = request({"subject_id": "gateway"})

    assert recorded(asked, Paper()).asserted_by == ALICES
    assert recorded(request({}), Paper()).asserted_by == "gateway"


def test_a_machine_is_named_in_clear():
    asked = request({"type": "service", "subject_id": "payroll"})

    assert recorded(asked, Paper()).subject.id == "payroll"
