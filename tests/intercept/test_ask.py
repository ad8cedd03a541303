"""The ask listener on real sockets: who may ask, what is answered, and what is on the record."""

import asyncio
import os

import pytest

from sidecar.intercept.authzen import Turns
from tests.intercept.ask_stand import WORKLOADS, Stand
from tests.tables import rows

CALL = {"protocol": "http", "call": {"method": "GET", "url": "http://api.example/b"}}
GOOD = b'{"protocol": "http", "call": {"method": "GET", "url": "http://api.example/b"}}'
HEAD = b"POST /v1/decide HTTP/1.1\r\nHost: localhost\r\n"
BODY_BYTES_MAX = 4096


@pytest.fixture
async def stand():
    found = await Stand(body_bytes_max=BODY_BYTES_MAX).start()
    yield found
    await found.stop()


@pytest.fixture
async def local(tmp_path):
    """A stand with a Unix socket, whose workload `me` is the user that runs the tests."""
    me = {"id": "me", "uids": [os.getuid()], "may_assert": {"subjects": ["user"]}}
    found = await Stand(workloads=[*WORKLOADS, me]).start(tmp_path)
    yield found
    await found.stop()


def spoilt(row):
    """Return what a row changes of a good request."""
    told = row.given
    body = told.get("body", GOOD.decode()) * told.get("repeat", 1)
    if "raw_body" in told:
        body = told["raw_body"] + "x" * told["repeat_byte"]
    headers = [tuple(pair) for pair in told.get("headers", [])]
    return (
        told.get("method", "POST"),
        told.get("path", "/v1/decide"),
        {
            "body": body.encode(),
            "headers": headers,
            "key": told.get("key", "gateway"),
        },
    )


@pytest.mark.parametrize("row", rows("intercept/ask_refusals.yaml"))
async def test_refusal(stand, row):
    method, path, rest = spoilt(row)

    answer = await stand.send(method, path, **rest)

    assert row.want["status"] == answer.status
    if "code" in row.want:
        assert row.want["code"] == answer.json["title"]
        assert answer.headers["content-type"] == "application/problem+json"
        assert stand.runtime.refusals == {(row.want["code"], "tcp"): 1}
    assert stand.ledger.records == []


async def test_a_call_is_answered_and_on_the_record_under_one_id(stand):
    answer = await stand.decide(CALL)

    decision = answer.json
    (record,) = stand.ledger.records
    assert answer.status == 200
    assert (decision["permitted"], decision["outcome"], decision["reason"]) == (
        True,
        "allow",
        "permitted",
    )
    assert decision["id"] == record.id
    assert decision["policy"]["bundle"] == "ask"
    assert (record.listener, record.verified, record.asserted_by) == ("ask", "key", None)
    assert answer.body.endswith(b"}\n")
    assert stand.runtime.outcomes == {("http", "allow"): 1}


async def test_a_denial_is_200_and_on_the_record(stand):
    answer = await stand.decide(
        {"protocol": "http", "call": {"method": "DELETE", "url": "http://a/b"}}
    )

    assert (answer.status, answer.json["permitted"], answer.json["reason"]) == (
        200,
        False,
        "no_rule",
    )
    assert [record.outcome for record in stand.ledger.records] == ["deny"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"protocol": "http", "call": {"method": "GET"}}, "parse."),
        ({"protocol": "http", "call": {"method": "GET", "url": "http://a/../b"}}, "parse."),
        ({"protocol": "gopher", "call": {}}, "parse.protocol"),
    ],
)
async def test_a_call_that_cannot_be_parsed_is_a_recorded_denial(stand, body, reason):
    answer = await stand.decide(body)

    assert (answer.status, answer.json["permitted"]) == (200, False)
    assert answer.json["reason"].startswith(reason)
    assert len(stand.ledger.records) == 1


async def test_the_record_names_who_spoke_for_whom(stand):
    body = {
        **CALL,
        "subject": {"type": "user", "id": "bob"},
        "actors": [{"type": "agent", "id": "helper"}],
    }

    await stand.decide(body)

    (record,) = stand.ledger.records
    bob = stand.ledger.known_handles()["user:bob"]
    assert (record.subject.type, record.subject.id, record.asserted_by) == ("user", bob, "gateway")
    assert [actor.id for actor in record.actors] == ["helper"]


async def test_an_agent_that_names_nobody_is_recorded_apart_from_its_user(stand):
    await stand.decide(CALL, key="bot")

    (record,) = stand.ledger.records
    alice = stand.ledger.known_handles()["user:alice"]
    assert (record.subject.id, [actor.id for actor in record.actors]) == (alice, ["bot"])
    assert record.asserted_by is None


async def test_an_app_without_the_sidecars_header_uses_authorization(stand):
    answer = await stand.decide(CALL, key=None, headers=[("Authorization", "bearer swk_self")])

    assert answer.status == 200


async def test_the_sidecars_own_header_wins_over_authorization(stand):
    answer = await stand.decide(CALL, headers=[("Authorization", "Basic eDp5")])

    assert answer.status == 200


async def test_a_401_says_how_to_prove_oneself(stand):
    without = await stand.decide(CALL, key=None)
    wrong = await stand.decide(CALL, key="swk_wrong")

    assert without.headers["www-authenticate"] == 'Bearer realm="sidecar"'
    assert wrong.headers["www-authenticate"] == 'Bearer realm="sidecar", error="invalid_token"'


async def test_a_405_says_what_is_taken(stand):
    answer = await stand.send("GET", "/v1/decide")

    assert (answer.status, answer.headers["allow"]) == (405, "POST")


async def test_nothing_of_the_server_is_told(stand):
    for answer in (await stand.decide(CALL), await stand.decide(CALL, key=None)):
        assert answer.headers["server"] == "sidecar"
        assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "data",
    [
        b"garbage\r\n\r\n",
        HEAD + b"Authorization: Bearer swk_\x00gateway\r\n\r\n",
        HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
        HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        HEAD + b"X: " + b"x" * 10_000 + b"\r\n\r\n",
        HEAD + b"X: y\r\n" * 100 + b"\r\n",
    ],
    ids=["no HTTP", "NUL in a credential", "two lengths", "length and chunks", "long", "many"],
)
async def test_what_is_not_http_is_counted_and_its_bytes_are_not_logged(stand, caplog, data):
    answer = await stand.raw(data)

    assert (answer.status, answer.json["title"]) == (400, "http")
    assert answer.headers["server"] == "sidecar"
    assert stand.runtime.refusals == {("http", "tcp"): 1}
    assert caplog.text == ""


async def test_our_own_mistake_is_500_and_no_decision(stand, caplog):
    stand.listener._health = None

    answer = await stand.send("GET", "/v1/status")

    assert (answer.status, answer.json["title"]) == (500, "internal")
    assert "failed inside the sidecar" in caplog.text
    assert b"Traceback" not in answer.body


async def test_a_batch_is_decided_in_its_order_with_a_record_each(stand):
    deny = {"protocol": "http", "call": {"method": "DELETE", "url": "http://a/b"}}

    answer = await stand.decide({"calls": [CALL, deny, CALL]})

    decisions = answer.json["decisions"]
    assert [decision["permitted"] for decision in decisions] == [True, False, True]
    assert {decision["id"] for decision in decisions} == {r.id for r in stand.ledger.records}
    assert len(stand.ledger.records) == 3


async def test_an_empty_batch_is_an_answer(stand):
    answer = await stand.decide({"calls": []})

    assert (answer.status, answer.json) == (200, {"decisions": []})


async def test_a_batch_is_bounded():
    stand = await Stand().start()
    try:
        fits = await stand.decide({"calls": [CALL] * 100})
        exceeds = await stand.decide({"calls": [CALL] * 101})
    finally:
        await stand.stop()

    assert (fits.status, exceeds.status) == (200, 400)
    assert len(stand.ledger.records) == 100


async def test_what_lists_hold_in_a_batch_is_bounded():
    call = {"protocol": "rag", "call": {"collection": "c", "candidates": [{"id": "a"}] * 1000}}
    stand = await Stand().start()
    try:
        exceeds = await stand.decide({"calls": [call] * 5})
    finally:
        await stand.stop()

    assert (exceeds.status, stand.ledger.records) == (400, [])


async def test_others_are_served_between_calls_that_take_long():
    clock, served = iter(range(100)), list[None]()
    turns = Turns(lambda: next(clock))

    async def serve():
        while True:
            served.append(None)
            await asyncio.sleep(0)

    serving = asyncio.ensure_future(serve())
    for _ in range(5):
        # Each call has taken a second.
        await turns.next()
    serving.cancel()

    assert len(served) == 5


async def test_a_decision_that_cannot_be_recorded_is_not_said(stand):
    stand.ledger.is_full = True

    answer = await stand.decide(CALL)

    assert (answer.status, answer.json["title"]) == (503, "record.lost")
    assert b"permitted" not in answer.body
    assert stand.runtime.outcomes == {}


async def test_a_batch_with_one_lost_record_is_not_said(stand):
    stand.ledger.is_full = True

    assert (await stand.decide({"calls": [CALL, CALL]})).status == 503


async def test_it_answers_again_when_the_ledger_does(stand):
    stand.ledger.is_full = True
    await stand.decide(CALL)
    stand.ledger.is_full = False

    assert (await stand.decide(CALL)).status == 200


async def test_nothing_is_answered_before_its_record_is_durable(stand):
    stand.ledger.gate.clear()
    asking = asyncio.ensure_future(stand.decide(CALL))

    # The listener is alive and answers others, so the one answer waits for its record alone.
    assert (await stand.send("GET", "/v1/status")).status == 200
    done, _ = await asyncio.wait({asking}, timeout=0.05)
    assert not done
    assert stand.ledger.records == []

    stand.ledger.gate.set()
    assert (await asking).status == 200
    assert len(stand.ledger.records) == 1


async def test_a_revoked_subject_is_denied_before_any_policy(stand):
    stand.revocations.parties.add("user:alice")

    answer = await stand.decide(CALL, key="bot")

    assert (answer.json["permitted"], answer.json["reason"]) == (False, "revoked")


async def test_a_revoked_actor_is_denied_whoever_speaks_for_it(stand):
    stand.revocations.parties.add("agent:helper")

    answer = await stand.decide({**CALL, "actors": [{"type": "agent", "id": "helper"}]})

    assert answer.json["reason"] == "revoked"


async def test_too_many_at_a_time_wait_and_no_longer_than_they_may(monkeypatch):
    monkeypatch.setattr("sidecar.intercept.hot.limits.WAIT_S_MAX", 0.0)
    stand = await Stand(in_flight_max=1, body_s_max=0.04).start()
    stand.ledger.gate.clear()
    try:
        first = asyncio.ensure_future(stand.decide(CALL))
        await stand.ledger.reached.wait()
        second = await stand.decide(CALL)
        monkeypatch.undo()
        third = asyncio.ensure_future(stand.decide(CALL))
        stand.ledger.gate.set()

        assert (second.status, second.headers["retry-after"]) == (429, "1")
        assert [(await one).status for one in (first, third)] == [200, 200]
    finally:
        await stand.stop()


async def test_connections_are_bounded():
    stand = await Stand(connections_max=1).start()
    try:
        first, writer = await stand.connect()
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await first.readline()).startswith(b"HTTP/1.1 200")
        reader, other = await stand.connect()

        assert await reader.read() == b""

        other.close()
        writer.close()
    finally:
        await stand.stop()


async def test_a_connection_that_says_nothing_is_closed():
    stand = await Stand(idle_s_max=0.05).start()
    try:
        reader, writer = await stand.connect()
        writer.write(b"POST /v1/decide HTTP/1.1\r\nHost: local")

        assert await reader.read() == b""
        writer.close()
    finally:
        await stand.stop()


async def test_a_body_that_does_not_come_is_given_up():
    stand = await Stand(body_s_max=0.05).start()
    head = (
        b"POST /v1/decide HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        b"Authorization: Bearer swk_self\r\nContent-Type: application/json\r\n"
        b"Content-Length: 100\r\n\r\n{"
    )
    try:
        reader, writer = await stand.connect()
        writer.write(head)
        first = await reader.readline()
        writer.close()

        assert first.startswith(b"HTTP/1.1 408")
    finally:
        await stand.stop()


async def test_a_caller_that_waits_to_be_asked_for_its_body_is_asked(stand):
    answer = await stand.decide(CALL, headers=[("Expect", "100-continue")])

    assert answer.status == 200


async def test_a_request_id_is_repeated_when_it_is_fit_to_be(stand):
    told = await stand.decide(CALL, headers=[("X-Request-ID", "abc-1")])
    untold = await stand.decide(CALL)
    unfit = await stand.decide(CALL, headers=[("X-Request-ID", "x" * 300)])
    refused = await stand.decide(CALL, key=None, headers=[("X-Request-ID", "abc-2")])

    assert told.headers["x-request-id"] == "abc-1"
    assert "x-request-id" not in untold.headers
    assert "x-request-id" not in unfit.headers
    assert refused.headers["x-request-id"] == "abc-2"


async def test_health_is_open_and_says_nothing(stand):
    for path in ("/healthz", "/readyz"):
        answer = await stand.send("GET", path, key=None, headers=[("Host", "10.0.0.7:8282")])

        assert (answer.status, answer.body) == (200, b"")


async def test_it_is_not_ready_when_the_runtime_says_so(stand):
    stand.runtime.ready = False

    assert (await stand.send("GET", "/readyz", key=None)).status == 503
    assert (await stand.send("GET", "/healthz", key=None)).status == 200


async def test_metrics_and_status_are_shown_to_a_workload(stand):
    metrics = await stand.send("GET", "/metrics", key="self")
    status = await stand.send("GET", "/v1/status", key="self")

    assert metrics.body == b"sidecar_up 1\n"
    assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert status.json == {"ready": True}


async def test_localhost_is_a_name_of_the_listener_and_so_is_its_public_url():
    stand = await Stand(public_url="https://pdp.example/base").start()
    try:
        for host in ("localhost", "LOCALHOST:1", "[::1]:80", "pdp.example"):
            assert (await stand.decide(CALL, headers=[("Host", host)])).status == 200
    finally:
        await stand.stop()


async def test_a_peer_of_the_unix_socket_is_known_by_its_user(local):
    answer = await local.decide(
        {**CALL, "subject": {"type": "user", "id": "bob"}}, key=None, unix=True
    )

    (record,) = local.ledger.records
    assert answer.status == 200
    bob = local.ledger.known_handles()["user:bob"]
    assert (record.verified, record.asserted_by, record.subject.id) == ("peer", "me", bob)


async def test_a_wrong_key_on_the_unix_socket_is_not_made_good_by_the_user(local):
    answer = await local.decide(CALL, key="swk_wrong", unix=True)

    assert answer.status == 401
    assert local.runtime.refusals == {("credential", "unix"): 1}


async def test_a_key_on_the_unix_socket_names_its_own_workload(local):
    await local.decide(CALL, key="bot", unix=True)

    (record,) = local.ledger.records
    alice = local.ledger.known_handles()["user:alice"]
    assert (record.verified, record.subject.id) == ("key", alice)


async def test_a_user_that_no_workload_lists_is_nobody(tmp_path):
    stand = await Stand().start(tmp_path)
    try:
        answer = await stand.decide(CALL, key=None, unix=True)
    finally:
        await stand.stop()

    assert answer.status == 401


async def test_the_same_user_is_nobody_over_tcp(local):
    assert (await local.decide(CALL, key=None)).status == 401


async def test_draining_ends_what_was_begun(stand):
    stand.ledger.gate.clear()
    asking = asyncio.ensure_future(stand.decide(CALL))
    await stand.ledger.reached.wait()
    draining = asyncio.ensure_future(stand.listener.drain(5.0))
    await asyncio.sleep(0)
    stand.ledger.gate.set()

    assert (await asking).status == 200
    await draining
    with pytest.raises(ConnectionRefusedError):
        await stand.connect()
