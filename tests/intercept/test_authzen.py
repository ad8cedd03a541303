"""AuthZEN over the ask listener: tests/cases/intercept/authzen_*.yaml, and its answers."""

import pytest

from sidecar.intercept.authzen import discovery, evaluation_json, read_evaluation
from sidecar.terms.decision import BundleStamp, Decision, Obligation
from sidecar.terms.errors import EnvelopeError
from sidecar.terms.reasons import reason
from sidecar.terms.words import CallId, PolicyVersion
from tests.intercept.ask_stand import Stand
from tests.tables import rows

ALICE = {"type": "user", "id": "alice"}
RECORD = {"type": "record", "id": "1"}
ENTITIES = b"user:\n  alice: {roles: [admin]}\n"


@pytest.fixture
async def stand():
    found = await Stand(entities=ENTITIES, public_url="https://pdp.example/base/").start()
    yield found
    await found.stop()


@pytest.fixture
async def strangers():
    """A stand that knows nothing of anybody, so that nobody is an admin."""
    found = await Stand().start()
    yield found
    await found.stop()


def asked(name, **more):
    return {"subject": ALICE, "action": {"name": name}, "resource": RECORD, **more}


@pytest.mark.parametrize("row", rows("intercept/authzen_requests.yaml"))
def test_request(row):
    if "error" in row.want:
        with pytest.raises(EnvelopeError) as error:
            read_evaluation(row.given)
        assert row.want["error"] in str(error.value)
        return
    envelope = read_evaluation(row.given)

    assert set(envelope.call) == {"subject", "action", "resource", "context"}
    assert envelope.subject is not None
    assert envelope.subject.id == row.given["subject"]["id"]


@pytest.mark.parametrize("row", rows("intercept/authzen_batches.yaml"))
async def test_batch(strangers, row):
    body = {"subject": row.table["subject"], "resource": row.table["resource"], **row.given}

    answer = await strangers.evaluate_all(body)

    assert row.want.get("status", 200) == answer.status
    assert row.want["records"] == len(strangers.ledger.records)
    if "decisions" in row.want:
        entries = answer.json["evaluations"]
        assert "decision" not in answer.json
        assert row.want["decisions"] == [entry["decision"] for entry in entries]
        for status, entry in zip(row.want.get("errors", []), entries, strict=False):
            error = entry["context"].get("error")
            assert status == (error and error["status"])
    elif "decision" in row.want:
        assert row.want["decision"] == answer.json["decision"]


async def test_a_permit_says_which_rule_of_which_policy_and_version(stand):
    answer = await stand.evaluate(asked("read"))

    (record,) = stand.ledger.records
    context = answer.json["context"]
    assert answer.json["decision"] is True
    assert context["id"] == record.id
    assert context["rules"] == [{"policy": "records", "id": "read", "effect": "allow"}]
    assert context["policy"]["version"].startswith("1.0.0-dev+")
    assert "reason_admin" not in context


async def test_a_denial_says_why_to_the_admin_and_the_message_to_the_user(stand):
    answer = await stand.evaluate(asked("erase"))

    context = answer.json["context"]
    assert answer.json["decision"] is False
    assert context["reason_admin"] == {"403": "rule: records/never"}
    assert context["reason_user"] == {"403": "records are kept"}


async def test_what_needs_a_human_is_false_with_the_approval(stand):
    answer = await stand.evaluate(asked("buy"))

    assert answer.json["decision"] is False
    assert answer.json["context"]["outcome"] == "step_up"
    assert answer.json["context"]["approval"]["status"] == "pending"


async def test_a_rule_can_ask_the_entities_file_about_the_subject(stand):
    admin = await stand.evaluate(asked("write"))
    other = await stand.evaluate(asked("write", subject={"type": "user", "id": "bob"}))

    assert (admin.json["decision"], other.json["decision"]) == (True, False)


async def test_context_is_a_claim_unless_its_key_may_be_said(stand):
    said = await stand.evaluate(asked("audit", context={"purpose": "audit"}))
    alone = asked("audit", context={"purpose": "audit"}, subject={"type": "service", "id": "self"})
    claimed = await stand.evaluate(alone, key="self")

    assert (said.json["decision"], claimed.json["decision"]) == (True, False)


async def test_a_subject_for_whom_the_caller_may_not_speak_is_403(stand):
    answer = await stand.evaluate(asked("read"), key="self")

    assert answer.status == 403
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.body.decode() == "workload `self` may not speak for this `user`"
    assert stand.ledger.records == []


async def test_a_subject_that_a_batch_may_not_speak_for_is_counted_as_well(stand):
    own = asked("read", subject={"type": "service", "id": "self"})
    answer = await stand.evaluate_all({"evaluations": [asked("read"), own]}, key="self")

    assert [entry["decision"] for entry in answer.json["evaluations"]] == [False, True]
    assert stand.runtime.refusals == {("identity.assert", "tcp"): 1}


async def test_an_answer_ends_with_a_newline(stand):
    one = await stand.evaluate(asked("read"))
    many = await stand.evaluate_all({"evaluations": [asked("read")]})

    assert one.body.endswith(b"}\n")
    assert many.body.endswith(b"}\n")


@pytest.mark.parametrize("path", ["/access/v1/evaluation", "/access/v1/evaluations"])
@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{", [], 400),
        (b"", [], 400),
        (b"{}", [], 400),
        (b'{"subject": {}, "subject": {}}', [], 400),
        (b"{}", [("Content-Type", "text/plain")], 400),
    ],
)
async def test_what_is_not_a_request_is_400_with_a_message(stand, path, body, headers, status):
    answer = await stand.send("POST", path, body=body, headers=headers)

    assert status == answer.status
    assert answer.body


async def test_without_a_credential_it_is_401(stand):
    answer = await stand.evaluate(asked("read"), key=None)

    assert (answer.status, answer.headers["www-authenticate"]) == (401, 'Bearer realm="sidecar"')


async def test_without_a_ledger_it_is_503_and_no_entry_is_answered(stand):
    stand.ledger.is_full = True

    one = await stand.evaluate(asked("read"))
    many = await stand.evaluate_all(asked("read", evaluations=[{}, {}]))

    assert (one.status, many.status) == (503, 503)
    assert b"evaluations" not in many.body


async def test_a_batch_is_bounded(stand):
    fits = await stand.evaluate_all(asked("read", evaluations=[{}] * 500))
    exceeds = await stand.evaluate_all(asked("read", evaluations=[{}] * 501))

    assert len(fits.json["evaluations"]) == 500
    assert (exceeds.status, len(stand.ledger.records)) == (400, 500)


async def test_what_a_batch_repeats_is_bounded(stand):
    said = {"x": "a" * 1_000_000}

    fits = await stand.evaluate_all(asked("read", context=said, evaluations=[{}] * 8))
    exceeds = await stand.evaluate_all(asked("read", context=said, evaluations=[{}] * 9))

    assert len(fits.json["evaluations"]) == 8
    assert (exceeds.status, len(stand.ledger.records)) == (400, 8)


async def test_what_the_caller_says_of_a_case_is_masked_wherever_it_stands(stand):
    await stand.evaluate(asked("read", context={"diagnosis": "secret-1"}))

    (record,) = stand.ledger.records
    assert "diagnosis" in record.input.text
    assert "secret-1" not in record.input.text


@pytest.mark.parametrize("what", ["subject", "resource", "action"])
async def test_search_says_that_it_is_not_offered(stand, what):
    open_ = await stand.post(f"/access/v1/search/{what}", asked("read"), key=None)
    answer = await stand.post(f"/access/v1/search/{what}", asked("read"))

    assert (open_.status, answer.status) == (401, 501)
    assert answer.body == b"search is not offered yet"


async def test_discovery_is_open_and_at_the_public_url(stand):
    answer = await stand.send("GET", "/.well-known/authzen-configuration", key=None)

    assert answer.headers["content-type"] == "application/json"
    assert answer.json == discovery("https://pdp.example/base")
    assert answer.json["access_evaluation_endpoint"] == (
        "https://pdp.example/base/access/v1/evaluation"
    )


async def test_discovery_without_a_public_url_is_at_the_listeners_address():
    stand = await Stand().start()
    try:
        answer = await stand.send("GET", "/.well-known/authzen-configuration", key=None)
    finally:
        await stand.stop()

    assert answer.json["policy_decision_point"] == f"http://127.0.0.1:{stand.port}"


def test_a_permit_with_something_to_carry_out_is_no_permit_to_who_knows_only_decision():
    stamp = BundleStamp("b", PolicyVersion("1"), "sha256:0")
    duty = Obligation("mask", "record:1")
    owed = Decision(CallId("0"), "modify", reason("permitted"), stamp, obligations=(duty,))
    changed = Decision(CallId("0"), "modify", reason("permitted"), stamp, rewritten={})
    plain = Decision(CallId("0"), "allow", reason("permitted"), stamp)

    assert [evaluation_json(one)["decision"] for one in (owed, changed, plain)] == [
        False,
        False,
        True,
    ]
    assert evaluation_json(owed)["context"]["obligations"][0]["type"] == "mask"
