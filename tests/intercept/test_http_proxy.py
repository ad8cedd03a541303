"""The HTTP proxy on the loopback interface, between a raw client and a real upstream."""

import asyncio
import hashlib

import pytest

from sidecar.intercept.http_proxy import HttpProxy, HttpProxySettings
from sidecar.terms.errors import ConfigError
from tests.intercept.http_stand import KEY, POLICY, READS_BODY, Stand, standing
from tests.intercept.scarce import few_descriptors
from tests.tables import rows

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("row", rows("intercept/http_smuggling.yaml"))
async def test_what_must_not_reach_the_upstream(row):
    raw = row.given.replace("KEY", f"Sidecar-Authorization: Bearer {KEY}").encode()

    async with standing() as stand:
        answer = await stand.send(raw.replace(b"RAW", b"\xff\xfe"))

    assert int(answer.split()[1]) == row.want
    assert stand.upstream.seen == []
    assert stand.events == (["decision"] if row.want == 403 else [])


async def test_a_permitted_call_is_recorded_forwarded_and_settled_in_this_order():
    async with standing() as stand:
        status, head, body = await stand.ask("GET /users/7?q=a%20b")

    assert (status, body) == (200, b"hello")
    assert "x-seen: yes" in head
    assert stand.events == ["decision", "upstream", "outcome"]
    assert stand.upstream.seen[0][:2] == ("GET", "/users/7?q=a%20b")
    decision, outcome = stand.ledger.records
    assert [target.resource for target in decision.targets] == ["route:/users/{id}"]
    alice = stand.ledger.known_handles()["user:alice"]
    assert (decision.subject.id, decision.actors[0].id) == (alice, "bot")
    assert outcome.parent == decision.id
    assert (outcome.result, outcome.upstream_status, outcome.bytes) == ("forwarded", "200", 5)
    assert outcome.digest == f"sha256:{hashlib.sha256(b'hello').hexdigest()}"
    assert {"parse", "decide", "durable", "upstream"} <= outcome.timings_us.keys()


async def test_a_denial_is_recorded_and_never_forwarded():
    async with standing() as stand:
        status, head, body = await stand.ask("DELETE /users/7")

    assert status == 403
    assert "content-type: application/problem+json" in head
    assert b"users are kept" in body
    assert b"users/kept" in body
    assert stand.events == ["decision"]


async def test_nothing_goes_out_when_nothing_can_be_recorded_and_it_recovers():
    async with standing() as stand:
        stand.ledger.is_full = True
        lost, _, body = await stand.ask("GET /users/7")
        stand.ledger.is_full = False
        found, _, _ = await stand.ask("GET /users/7")

    assert (lost, found) == (503, 200)
    assert b"record.lost" in body
    assert stand.events == ["decision", "upstream", "outcome"]


async def test_an_outcome_that_cannot_be_recorded_stops_what_follows_until_it_is():
    async with standing() as stand:
        stand.ledger.refuses_outcomes = True
        first, _, _ = await stand.ask("GET /users/7")
        second, _, _ = await stand.ask("GET /users/7")
        stand.ledger.refuses_outcomes = False
        third, _, _ = await stand.ask("GET /users/7")

    assert (first, second, third) == (200, 503, 200)
    assert stand.events == ["decision", "upstream", "outcome", "decision", "upstream", "outcome"]


async def test_an_upstream_that_is_not_there_is_a_failed_outcome():
    async with standing(upstream_up=False) as stand:
        status, _, body = await stand.ask("GET /users/7")

    assert status == 502
    assert b"upstream.failed" in body
    assert [one.result for one in stand.outcomes] == ["failed"]


@pytest.mark.parametrize("framing", ["length", "chunks"])
async def test_half_an_answer_does_not_look_whole(framing):
    async with standing() as stand:
        status, head, body = await stand.ask(f"GET /broken/{framing}")

    assert status == 200
    assert ("content-length: 9" in head) == (framing == "length")
    assert not body.endswith(b"0\r\n\r\n")
    assert len(body) < 9 + len(b"4\r\n\r\n")
    assert [one.result for one in stand.outcomes] == ["failed"]


async def test_headers_of_the_connection_and_of_identity_end_here():
    async with standing() as stand:
        await stand.ask(
            "GET /users/7",
            "Connection: close, X-Private",
            "X-Private: 1",
            "Keep-Alive: 5",
            "TE: trailers",
            "Proxy-Authorization: Basic x",
            "X_Forwarded_User: root",
            "X-Forwarded-For: 1.2.3.4",
            "X-Forwarded-User: root",
            "X-Real-IP: 1.2.3.4",
            "Remote-User: root",
            "Forwarded: for=1.2.3.4",
            "Sidecar-Subject: root",
            "Authorization: Bearer app",
            "Accept: a/b",
            "X-Kept: 1",
        )

    # The last is the proxy's own: each call has a connection of its own.
    assert stand.upstream.names() == {"host", "authorization", "accept", "x-kept", "connection"}
    assert ("Connection", "close") in stand.upstream.seen[0][2]


async def test_the_upstream_credential_replaces_the_app_s():
    async with standing(authorization="Bearer secret") as stand:
        await stand.ask("GET /users/7", "Authorization: Bearer app")

    sent = [value for name, value in stand.upstream.seen[0][2] if name.lower() == "authorization"]
    assert sent == ["Bearer secret"]
    assert "secret" not in repr(stand.proxy._settings)


async def test_headers_of_the_upstream_s_connection_end_here_and_a_packed_answer_stays_packed():
    async with standing() as stand:
        status, head, body = await stand.ask("GET /packed")

    assert (status, body) == (200, b"\x1f\x8b packed")
    assert "content-encoding: gzip" in head
    assert "x-hop" not in head
    assert "keep-alive" not in head


async def test_what_is_refused_before_a_call_is_counted():
    async with standing() as stand:
        await stand.ask("GET /users/7", key=None)
        await stand.ask("GET /users/7")
        await stand.ask("DELETE /users/7")

    assert stand.refusals == [("web", "identity.unproven", "tcp")]
    assert stand.outcomes_counted == ["allow", "deny"]


@pytest.mark.parametrize(
    "url", ["ftp://a", "http://u:p@a", "http://a?b", "http://a#b", "http://", "http://a b", "a"]
)
def test_an_upstream_is_a_place_and_nothing_else(url):
    stand = Stand()

    with pytest.raises(ConfigError, match="listener `web`"):
        HttpProxy(HttpProxySettings("web", "crm", url), stand.path, stand.identify)


async def test_a_redirect_is_the_app_s_to_follow():
    async with standing() as stand:
        status, head, _ = await stand.ask("GET /moved")

    assert status == 302
    assert "location: http://elsewhere/" in head


async def test_head_keeps_the_length_and_has_no_body():
    async with standing() as stand:
        status, head, body = await stand.ask("HEAD /users/7")

    assert (status, body) == (200, b"")
    assert "content-length: 5" in head


async def test_a_judged_body_is_forwarded_to_the_byte():
    body = b'{ "role" :\t"user" }\n'

    async with standing(POLICY + READS_BODY) as stand:
        status, _, _ = await stand.ask(
            "POST /make",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            body=body,
        )

    assert status == 200
    assert stand.upstream.bodies == [body]


async def test_a_judged_body_in_chunks_is_forwarded_whole():
    async with standing(POLICY + READS_BODY) as stand:
        status, _, _ = await stand.ask(
            "POST /make",
            "Content-Type: application/json",
            "Transfer-Encoding: chunked",
            body=b'9\r\n{"role": \r\n4\r\n"u"}\r\n0\r\n\r\n',
        )

    assert status == 200
    assert stand.upstream.bodies == [b'{"role": "u"}']


@pytest.mark.parametrize(
    ("kind", "body", "reason"),
    [
        ("application/json", b'{"role": "admin"}', b"users/no-admins"),
        ("application/json", b'{"role": "user", "role": "admin"}', b"parse.duplicate_key"),
        ("application/json", b'{"role": "admin"', b"parse.syntax"),
        ("text/plain", b'{"role": "admin"}', b"rule.error"),
    ],
)
async def test_a_body_that_is_not_permitted_is_not_forwarded(kind, body, reason):
    async with standing(POLICY + READS_BODY) as stand:
        status, _, answer = await stand.ask(
            "POST /make", f"Content-Type: {kind}", f"Content-Length: {len(body)}", body=body
        )

    assert status == 403
    assert reason in answer
    assert stand.events == ["decision"]


async def test_a_body_over_the_limit_is_refused_before_it_is_read():
    async with standing(POLICY + READS_BODY, body_bytes_max=4) as stand:
        declared, _, _ = await stand.ask("POST /make", "Content-Length: 5", body=b"12345")
        chunked, _, _ = await stand.ask(
            "POST /make", "Transfer-Encoding: chunked", body=b"5\r\n12345\r\n0\r\n\r\n"
        )

    assert (declared, chunked) == (413, 413)
    assert stand.events == []


async def test_a_body_that_never_comes_is_given_up():
    async with standing(POLICY + READS_BODY, body_s_max=0.05) as stand:
        status, _, _ = await stand.ask("POST /make", "Content-Length: 5", body=b"1")

    assert status == 408
    assert stand.events == []


async def test_a_body_that_no_rule_needs_streams_and_its_digest_is_recorded():
    async with standing(body_bytes_max=1) as stand:
        reader, writer = await stand.begin(
            "POST /early", "Content-Type: text/plain", "Content-Length: 6"
        )
        writer.write(b"one")
        head = await reader.readuntil(b"\r\n\r\n")
        # The upstream has answered with the first half before the second is sent.
        first = await reader.readuntil(b"one")
        writer.write(b"two")
        await reader.readuntil(b"0\r\n\r\n")
        writer.close()

    assert b" 200 " in head
    assert first.endswith(b"one")
    assert stand.upstream.bodies == [b"two"]
    (outcome,) = stand.outcomes
    assert f"request=sha256:{hashlib.sha256(b'onetwo').hexdigest()}" in outcome.digest


FORM = "Content-Type: application/x-www-form-urlencoded"
PARTS = "Content-Type: multipart/form-data; boundary=x"
JSON = "Content-Type: application/json"
PART = b'--x\r\nContent-Disposition: form-data; name="%s"\r\n\r\nDELETE\r\n--x--\r\n'


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ([FORM], b"_method=DELETE"),
        ([PARTS], PART % b"_method"),
        ([JSON], b'{"_method": "DELETE"}'),
        ([], b"_method=DELETE"),
        (["Content-Type: text/plain", "Connection: content-type"], b"_method=DELETE"),
        (["Content_Type: text/plain"], b"_method=DELETE"),
    ],
    ids=["form", "parts", "JSON", "no type", "a type that ends here", "a type that is dropped"],
)
async def test_a_body_that_no_rule_needs_cannot_change_the_method(headers, body):
    async with standing() as stand:
        status, _, answer = await stand.ask(
            "POST /users/7", *headers, f"Content-Length: {len(body)}", body=body
        )

    assert status == 403
    assert b"parse.method" in answer
    assert stand.events == ["decision"]


@pytest.mark.parametrize(
    ("kind", "body"),
    [(FORM, b"method=DELETE"), (PARTS, PART % b"a"), (JSON, b'{"a": 1e999, "a": 2}')],
    ids=["form", "parts", "JSON"],
)
async def test_a_body_that_is_held_for_its_method_alone_goes_on_to_the_byte(kind, body):
    async with standing() as stand:
        status, _, _ = await stand.ask(
            "POST /make", kind, f"Content-Length: {len(body)}", body=body
        )

    assert status == 200
    assert stand.upstream.bodies == [body]
    (outcome,) = stand.outcomes
    assert f"request=sha256:{hashlib.sha256(body).hexdigest()}" in outcome.digest


@pytest.mark.parametrize("kind", [FORM, PARTS, JSON])
async def test_a_body_that_is_held_for_its_method_has_the_bound_of_one_that_is_judged(kind):
    async with standing(body_bytes_max=4) as stand:
        status, _, _ = await stand.ask("POST /make", kind, "Content-Length: 5", body=b"12345")
        other, _, _ = await stand.ask("PUT /make", kind, "Content-Length: 5", body=b"12345")

    assert (status, other) == (413, 200)
    assert stand.events == ["decision", "upstream", "outcome"]


async def test_events_arrive_as_they_are_sent():
    async with standing() as stand:
        reader, writer = await stand.begin("GET /events")
        await reader.readuntil(b"data: 1\n\n")
        assert stand.outcomes == []
        stand.upstream.go_on.set()
        await reader.readuntil(b"data: 2\n\n")
        await reader.readuntil(b"0\r\n\r\n")
        writer.close()

    assert [one.result for one in stand.outcomes] == ["forwarded"]


async def test_an_app_that_leaves_is_still_an_outcome():
    async with standing() as stand:
        reader, writer = await stand.begin("GET /events")
        await reader.readuntil(b"data: 1\n\n")
        writer.transport.abort()
        stand.upstream.go_on.set()

    assert len(stand.outcomes) == 1


async def test_a_drain_that_cuts_a_stream_records_its_outcome():
    async with standing() as stand:
        reader, writer = await stand.begin("GET /events")
        await reader.readuntil(b"data: 1\n\n")
        await stand.proxy.drain(0.05)
        assert [one.result for one in stand.outcomes] == ["failed"]
        writer.close()


async def test_expect_is_answered_once_the_call_is_permitted():
    async with standing() as stand:
        reader, writer = await stand.begin(
            "POST /make",
            "Content-Type: text/plain",
            "Expect: 100-continue",
            "Content-Length: 1",
            "Connection: close",
        )
        asked = await reader.readuntil(b"\r\n\r\n")
        assert stand.events == ["decision"]
        writer.write(b"x")
        answer = await reader.read()
        writer.close()

    assert asked == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert b" 200 " in answer
    assert stand.upstream.bodies == [b"x"]


async def test_one_snapshot_decides_though_the_bundle_changes_meanwhile():
    async with standing(POLICY + READS_BODY) as stand:
        body = b'{"role": "user"}'
        reader, writer = await stand.begin(
            "POST /make",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            "Expect: 100-continue",
            "Connection: close",
        )
        await reader.readuntil(b"\r\n\r\n")
        old, stand.bundle = stand.bundle, None
        writer.write(body)
        answer = await reader.read()
        stand.bundle = old
        writer.close()

    assert b" 200 " in answer
    assert stand.ledger.records[0].policy.digest == old.digest


async def test_a_connection_that_says_nothing_is_closed():
    async with standing(idle_s_max=0.05) as stand:
        reader, writer = await stand.connect()
        writer.write(b"GET /x HT")
        async with asyncio.timeout(5):
            answer = await reader.read()
        writer.close()

    assert answer == b"" or b" 408 " in answer


async def test_calls_over_the_limit_are_told_to_come_back():
    async with standing(calls_max=1) as stand:
        reader, writer = await stand.begin("GET /events")
        await reader.readuntil(b"data: 1\n\n")
        status, head, _ = await stand.ask("GET /users/7")
        stand.upstream.go_on.set()
        await reader.readuntil(b"0\r\n\r\n")
        writer.close()

    assert status == 503
    assert "retry-after: 1" in head


async def test_a_caller_that_ends_its_side_is_not_answered_and_its_call_has_an_outcome():
    """A limit of the library: it ends a connection of which the other side has ended."""
    async with standing() as stand:
        reader, writer = await stand.begin("GET /users/7")
        writer.write_eof()
        found = await reader.read()
        writer.close()

    assert found == b""
    assert stand.events == ["decision", "upstream", "outcome"]
    assert [one.result for one in stand.outcomes] == ["failed"]


async def test_who_comes_when_no_descriptor_is_to_spare_is_let_go():
    async with standing() as stand:
        # Its two ends are beyond what is left.
        with few_descriptors(0):
            crowded = await stand.send(b"")
        found, _, _ = await stand.ask("GET /users/7")

    assert (crowded, found) == (b"", 200)
