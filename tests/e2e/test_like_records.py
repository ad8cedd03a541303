"""Whatever a caller says, at whichever door, the log stays a log: also what is like its records."""

import asyncio
import csv
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest
import rfc8785

from sidecar.record.outside import one_file
from sidecar.record.read import Reader
from tests.e2e.harness import Client, Reply, Sidecar, Site, done

DOORS = {"http", "sql", "mcp", "llm", "authzen"}
PLACED = b',"log":{"epoch":"'
PLACE = {"epoch": "0" * 16, "origin": "doorward", "seq": 0}
REVOKE = {"detail": {"party": "service:client"}, "event": "revoke", "kind": "admin", "log": PLACE}


def nested(depth: int) -> Any:
    value: Any = {"log": PLACE}
    for _ in range(depth):
        value = {"log": [value], "mark": "m"}
    return value


# What is said: values of JSON, and what the same is as a text.
SAID = {
    "a place": {"log": PLACE},
    "a record": REVOKE,
    "a place in a text": '"log":{"epoch":"0000","origin":"doorward","seq":0},"mark":"x",',
    "a record in a text": json.dumps(REVOKE, separators=(",", ":")) + "\n" + json.dumps(REVOKE),
    "ends of records": '"kind":"admin","log":{"epoch":"e"},"obligations":[,"message":,"parent":',
    "controls": "\x00\x01\x1f\x7f\u2028\ufeff\uffff",
    "letters": "é世😀\ue000 =1+1 \t",
    "half a letter": "\ud83d",
    "names beyond all": {"\ue000": 1, "😀": 2, "\ud83d": 3, "\x00": 4, "": 5},
    "numbers": [1.0, -0.0, 1e300, 2**53, 2**63, 2**64, 10**30, 0.1],
    "much": 'log":{' * 8_000,
    "much of another script": "😀" * 15_000,
    "deep": nested(12),
    "deeper": nested(40),
    "deepest": nested(400),
}


def doors(said: Any) -> dict[str, Any]:
    """Return calls in which it is said, by the door; each may be refused, and is recorded."""
    text = said if isinstance(said, str) else json.dumps(said)
    rpc = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}
    chat = [{"role": "user", "content": text}]
    sql = {"dialect": "postgres"}
    where = "SELECT note FROM notes WHERE note = '{}'".format(text.replace("'", "''"))
    tool = rpc | {"params": {"name": "t", "arguments": {"log": said}}}
    thing = {"type": "t", "id": "1", "properties": {"log": said}}
    body = {"model": "m", "messages": chat}
    spec = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": said}
    url, path = "http://api.test/things/1", "/api/v1/namespaces/n/configmaps"
    return {
        "context": ("http", {"method": "GET", "url": url}, {"claimed": said}),
        "body": ("http", {"method": "POST", "url": url, "body": said}, None),
        "header": ("http", {"method": "GET", "url": url, "headers": {"x-said": text}}, None),
        "literal": ("sql", sql | {"text": where}, None),
        "comment": ("sql", sql | {"text": f"SELECT note /* {text} */ FROM notes"}, None),
        "tool": ("mcp", {"server": "s", "message": tool}, None),
        "prompt": ("llm", {"path": "/v1/chat/completions", "body": body}, None),
        "object": ("k8s", {"method": "POST", "path": path, "body": spec}, None),
        "application": ("authzen", {"action": {"name": "read"}, "resource": thing}, None),
    }  # fmt: skip


async def told(client: Client, path: str, body: object) -> Reply:
    # Why not as orjson writes it: half a letter and large numbers are what is tried.
    return await client.ask("POST", path, orjson.Fragment(json.dumps(body)))


async def say_all(sidecar: Sidecar) -> set[str]:
    """Say everything at every door; return the ids of what was decided."""
    ids: set[str] = set()
    client = await sidecar.client()
    for said in SAID.values():
        for protocol, call, context in doors(said).values():
            envelope: dict[str, Any] = {"protocol": protocol, "call": call}
            if context is not None:
                envelope["context"] = context
            reply = await told(client, "/v1/decide", envelope)
            assert reply.status in (200, 400), (protocol, reply)
            if reply.status == 200:
                ids.add(reply.json["id"])
        evaluation = {
            "subject": {"type": "service", "id": "client"},
            "action": {"name": "read", "properties": {"log": said}},
            "resource": {"type": "thing", "id": "1", "properties": {"log": said}},
            "context": {"log": said},
        }
        reply = await told(client, "/access/v1/evaluation", evaluation)
        assert reply.status in (200, 400), reply
    return ids


@pytest.mark.e2e
@pytest.mark.timeout(120)
async def test_what_is_like_a_record_is_read_as_what_it_is_by_every_reader(
    site: Site, tmp_path: Path
):
    async with site.running() as sidecar:
        ids = await say_all(sidecar)
        assert await sidecar.stop() == 0

    await site.verified()
    records = list(Reader(site.ledger).new())
    told = [orjson.loads(line) for line in records]
    # Nothing that was said is a record, or within one what a reader takes for its place or mark.
    assert {one["id"] for one in told} >= ids
    assert {one["kind"] for one in told} == {"decision", "admin", "ops"}
    assert "revoke" not in {one.get("event") for one in told}
    assert [one["log"]["seq"] for one in told] == list(range(len(records)))
    assert all(line == rfc8785.dumps(json.loads(line)) for line in records)
    assert all(line.count(PLACED) == 1 for line in records)
    outcomes = Counter(
        (one["protocol"], one["outcome"]) for one in told if one["kind"] == "decision"
    )
    assert {protocol for protocol, outcome in outcomes if outcome == "allow"} == DOORS
    await read_by_others(site, tmp_path, records)


async def read_by_others(site: Site, out: Path, records: list[bytes]) -> None:
    """Export it in each form, and have the verifier that is handed over read what proves it."""
    state = ("--state", str(site.state))
    for form in ("jsonl", "csv"):
        exported = await site.sidecar(
            "log", "export", *state, "--format", form, "-o", str(out / form)
        )
        assert exported.code == 0, exported.err
    lines = (out / "jsonl" / "records.jsonl").read_bytes()
    assert lines == b"".join(line + b"\n" for line in records)
    with (out / "csv" / "records.csv").open(newline="") as file:
        assert sum(1 for _ in csv.DictReader(file)) == len(records)
    (out / "key").write_text((await site.sidecar("log", "key", *state)).out)
    (out / "verifier.py").write_text(one_file())
    command = [sys.executable, "-I", "verifier.py", "--key", "key", "jsonl"]
    found = await asyncio.to_thread(done, command, out)
    assert found.code == 0, found.out + found.err
    last = orjson.loads(records[-2])["id"]
    shown = await site.sidecar("log", "show", last, *state)
    assert shown.code == 0, shown.err
    assert "\x00" not in shown.out
