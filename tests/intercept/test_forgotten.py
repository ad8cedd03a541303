"""Nothing that a process keeps of calls for speed outlives the person whom they named.

The whole memory of this process is looked through for a name: whatever can be reached from anything
that lives, and so from anything that could say the name again.
"""

import asyncio
import codecs
import gc
import json
from collections.abc import Iterator
from types import FrameType, ModuleType
from typing import Any, TypeAlias

import pytest

from sidecar.domains import by_protocol
from sidecar.intercept.postgres.texts import Texts
from sidecar.policy.bundle import compile_bundle
from sidecar.terms.call import Call, Identity, Party, forget_calls
from sidecar.terms.words import CallId
from tests.e2e.harness import BUNDLE
from tests.intercept.ask_stand import KEYS, Stand

POLICY = """\
apiVersion: sidecar/v1
kind: Policy
metadata: {name: trial}
spec:
  rules:
    - {id: open, effect: allow}
    - {id: named, effect: deny, match: {resources: ["doc:none-*"]}}
    - {id: like, effect: deny, when: "glob('none*', subject.id) || subject.id.matches('none')"}
    - {id: own, effect: deny, when: "glob(subject.id + '*x', 'none') || 'x'.matches(subject.id)"}
"""
# Turned round, so that this file does not hold it.
NAME = codecs.encode("MdrVyfn.uvyy", "rot13")[::-1]


def calls() -> Iterator[tuple[str, dict[str, Any]]]:
    """Return calls of every kind that remembers something, each with its path."""
    name = NAME[::-1]
    asked: list[dict[str, Any]] = [
        {"protocol": "http", "call": {"method": "GET", "url": f"http://{name}.test/x/{name}"}},
        {"protocol": "sql", "call": _sql(f"SELECT note FROM notes WHERE note = '{name}'")},
        {"protocol": "sql", "call": _sql(f'SELECT note AS "{name}" FROM notes')},
        {"protocol": "k8s", "call": {"method": "GET", "path": f"/api/v1/namespaces/{name}/pods"}},
        {"protocol": "rag", "call": {"collection": name, "candidates": []}},
    ]
    subject = {"type": "user", "id": name}
    for call in asked:
        yield "/v1/decide", {**call, "subject": subject}
    resource = {"type": "doc", "id": name}
    evaluation = {"subject": subject, "action": {"name": "can_read"}, "resource": resource}
    yield "/access/v1/evaluation", evaluation


def _sql(text: str) -> dict[str, str]:
    return {"dialect": "postgres", "text": text}


Connection: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def ask(connection: Connection, path: str, said: dict[str, Any]) -> int:
    """Ask on a connection that stays open; return the status."""
    reader, writer = connection
    body = json.dumps(said)
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Sidecar-Authorization: Bearer {KEYS['gateway']}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    writer.write((head + body).encode())
    answer = await reader.readuntil(b"\r\n\r\n")
    length = int(answer.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    await reader.readexactly(length)
    return int(answer.split()[1])


def holders() -> list[str]:
    """Return what in this process holds the name, by the types on the way to it."""
    gc.collect()
    # What stood when the tests were collected, caches of modules too, is looked through as well.
    gc.unfreeze()
    name = NAME[::-1]
    raw = name.encode()
    found: list[str] = []
    met: set[int] = set()
    waiting: list[tuple[object, str]] = [(one, type(one).__name__) for one in gc.get_objects()]
    own = {id(waiting), id(found)}
    while waiting:
        one, way = waiting.pop()
        if id(one) in met or id(one) in own or isinstance(one, FrameType | ModuleType):
            continue
        met.add(id(one))
        for each in gc.get_referents(one):
            if (isinstance(each, str) and name in each) or (
                isinstance(each, bytes | bytearray) and raw in each
            ):
                found.append(way)
            elif not gc.is_tracked(each):
                waiting.append((each, f"{way}.{type(each).__name__}"))
    return found


async def _asked_everything(stand: Stand, connection: Connection) -> None:
    for path, said in calls():
        for _ in range(4):
            assert await ask(connection, path, said) == 200
    stand.ledger.records.clear()
    stand.ledger._named().clear()


async def _looked_through() -> tuple[list[str], list[str]]:
    """Return what holds the name after it was asked about, before forgetting and behind."""
    stand = await Stand().start()
    files = {**BUNDLE, "policies/trial.yaml": POLICY}
    texts = {name: text.encode() for name, text in files.items()}
    stand.bundle = compile_bundle(texts, by_protocol())
    connection = await stand.connect()
    await _asked_everything(stand, connection)
    before = holders()
    forget_calls()
    behind = holders()
    connection[1].close()
    await stand.stop()
    return before, behind


@pytest.mark.timeout(120)
def test_no_object_of_the_process_holds_the_name_of_who_was_forgotten() -> None:
    # Looking through a memory holds a loop up; nobody else is on this one.
    before, behind = asyncio.run(_looked_through(), debug=False)

    assert behind == []
    # One of each at the least: bodies, heads' last requests, texts, shapes, URLs, hosts, targets.
    assert len(before) > 20


def test_no_text_of_a_connection_to_a_database_outlives_whom_it_names() -> None:
    texts, identity = Texts(), Identity(Party("user", "alice"), (), "key")
    call = Call(CallId("1"), "", "db", "db", "sql", _sql("SELECT 1"), identity)
    assert texts.keep(call) is None
    kept = texts.keep(call)
    assert kept is not None
    assert texts.get(call.payload, identity) is kept

    forget_calls()

    assert texts.get(call.payload, identity) is None
    # Nor is it known that it was asked before.
    assert texts.keep(call) is None
