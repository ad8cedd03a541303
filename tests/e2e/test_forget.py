"""A person is forgotten while the sidecar serves: everywhere at once, and not a byte is left."""

import asyncio
from typing import Any

import pytest

from tests.e2e.harness import READ, Site, until

ASKED = {**READ, "subject": {"type": "user", "id": "alice@example.test"}}

MAIL, WORD = "zqE.x@example.org", "wqAlice"
MAILS = (MAIL, "zqE.x%40example.org", "zqE.x%2540example.org", "zqE%2Ex", "%7AqE")


def naming(id: str, coded: str) -> list[dict[str, Any]]:
    """Return calls that name the person who asks where only a thing or a word is expected."""
    asked: list[dict[str, Any]] = [
        {
            "protocol": "http",
            "call": {"method": "GET", "url": f"http://api.test/x/{coded}?owner={coded}&{coded}=1"},
        },
        {"protocol": "http", "call": {"method": "GET", "url": f"http://api.test/x/{id.upper()}"}},
        {
            "protocol": "authzen",
            "call": {
                "action": {"name": id},
                "resource": {"type": "doc", "id": id.upper(), "properties": {id: coded}},
            },
        },
        {
            "protocol": "mcp",
            "call": {
                "server": "w",
                "message": {
                    "jsonrpc": "2.0",
                    "id": id,
                    "method": "tools/call",
                    "params": {"name": coded, "arguments": {coded: 1}},
                },
            },
        },
        {
            "protocol": "sql",
            "call": {"dialect": "postgres", "text": f'SELECT "{id}" AS "{coded}" FROM "{id}"'},
        },
        {
            "protocol": "k8s",
            "call": {"method": "GET", "path": f"/api/v1/namespaces/{coded}/pods/{coded}"},
        },
    ]
    subject = {"type": "user", "id": id}
    return [{**call, "subject": subject, "actors": [{"type": "agent", "id": id}]} for call in asked]


def holders(site: Site, text: bytes) -> list[str]:
    """Return the files of the state folder that hold `text`."""
    files = [file for file in site.state.rglob("*") if file.is_file()]
    return [file.name for file in files if text in file.read_bytes()]


@pytest.mark.e2e
@pytest.mark.timeout(60)
@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_person_is_forgotten_by_a_sidecar_that_serves(site, workers):
    text = site.config.read_text()
    site.config.write_text(
        text.replace("id: client", "id: client\n  may_assert: {subjects: [user]}", 1)
    )
    async with site.running("--workers", workers) as sidecar:
        clients = [await sidecar.client(nth=nth % 2) for nth in range(6)]
        replies = await asyncio.gather(*(client.decide(ASKED) for client in clients))
        assert {reply.status for reply in replies} == {200}
        before = {one["subject"]["id"] for one in site.records() if one["kind"] == "decision"}

        done = await site.sidecar(
            "log", "forget", "user:alice@example.test", "--state", str(site.state)
        )

        assert done.code == 0, done.err
        for client in clients:
            assert (await client.decide(ASKED)).status == 200
        after = [one["subject"]["id"] for one in site.records() if one["kind"] == "decision"]
        again = await site.sidecar("log", "forget", "user:nobody", "--state", str(site.state))
        assert again.code == 1
        assert await sidecar.stop() == 0

    assert len(before) == 1
    assert len(set(after) - before) == 1
    assert set(after[len(clients) :]).isdisjoint(before)
    assert holders(site, b"alice@example.test") == []
    (told,) = [one for one in site.records() if one.get("event") == "person_forgotten"]
    assert told["detail"]["handle"].removeprefix("user:") in before
    await site.verified()


@pytest.mark.e2e
@pytest.mark.timeout(60)
async def test_who_is_named_everywhere_is_forgotten_everywhere(site):
    text = site.config.read_text()
    asserts = "id: client\n  may_assert: {subjects: [user], actors: ['agent:*']}"
    site.config.write_text(text.replace("id: client", asserts, 1))
    async with site.running() as sidecar:
        client = await sidecar.client()
        calls = [
            *naming(WORD, "wqA%6cice"),
            *(one for way in MAILS[:3] for one in naming(MAIL, way)),
        ]
        # Thrice: what is asked again is recorded from what is known of it.
        for call in calls * 3:
            reply = await client.decide(call)
            assert reply.status == 200, reply
        for id_ in (WORD, MAIL):
            done = await site.sidecar("log", "forget", f"user:{id_}", "--state", str(site.state))
            assert done.code == 0, done.err
        assert await sidecar.stop() == 0

    assert len([one for one in site.records() if one["kind"] == "decision"]) == len(calls) * 3
    for way in (*MAILS, WORD, "wqA%6c"):
        for case in (way, way.upper(), way.lower()):
            assert holders(site, case.encode()) == []
    told = [one["input"]["text"] for one in site.records() if one["kind"] == "decision"]
    # Paths that may mean several things are refused, and are in no record.
    assert len([one for one in told if "/x/p_" in one]) >= len(calls) // 2
    await site.verified()


@pytest.mark.e2e
@pytest.mark.timeout(60)
async def test_nobody_is_forgotten_by_a_sidecar_that_serves_while_a_hold_stands(site):
    text = site.config.read_text()
    site.config.write_text(
        text.replace("id: client", "id: client\n  may_assert: {subjects: [user]}", 1)
    )
    state = ("--state", str(site.state))
    forget = ("log", "forget", "user:alice@example.test", *state)
    async with site.running() as sidecar:
        client = await sidecar.client()
        assert (await client.decide(ASKED)).status == 200
        held = await site.sidecar("log", "hold", "case-17", "--reason", "a request", *state)
        refused = await site.sidecar(*forget)
        await until(lambda: "hold_placed" in [one.get("event") for one in site.records()], 5)
        released = await site.sidecar("log", "release", "case-17", *state)
        done = await site.sidecar(*forget)
        await until(lambda: "hold_released" in [one.get("event") for one in site.records()], 5)
        assert await sidecar.stop() == 0

    assert (held.code, released.code, done.code) == (0, 0, 0)
    assert refused.code == 1
    assert "the ledger is held (case-17)" in refused.err
    await site.verified()
