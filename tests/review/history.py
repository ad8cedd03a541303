"""A ledger on the disk, written by the path itself: what replay, suggest and the like read."""

import asyncio
import hashlib
import json
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import msgspec

from sidecar import flow
from sidecar.domains import by_protocol
from sidecar.facts.sources import Entities, Provider, Revocations, Sources
from sidecar.policy.bundle import Bundle, compile_bundle
from sidecar.record.inputs import Secrets, secrets_path
from sidecar.record.ledger import Ledger, Settings, ledger_paths
from sidecar.runtime.bundles import Store, keep_bytes
from sidecar.runtime.dryrun import dry_call
from sidecar.runtime.reload import kept_file, take_entities
from sidecar.terms.call import Call, Identity, Party
from sidecar.terms.ids import rfc3339
from sidecar.terms.words import CallId
from tests.record import sample
from tests.review.shelf import HEAD, document

START_US = 1_790_000_000_000_000
CATALOG = {
    "protocol": "sql",
    "dialect": "postgres",
    "search_path": ["public"],
    "schemas": {
        "hr": {
            "labels": ["personnel"],
            "tables": {"salaries": {"labels": ["compensation"], "columns": ["name", "salary"]}},
        },
        "public": {
            "tables": {
                "notes": {"columns": ["id", "author", "note"]},
                "orders": {"columns": ["id", "total"]},
            }
        },
    },
}
ALL = [{"id": "all", "effect": "allow"}]
CALLS: list[dict[str, Any]] = [
    {"sql": "SELECT note FROM notes WHERE id = 7", "subject": "user:alice"},
    {"sql": "SELECT note FROM notes", "subject": "user:bob", "actors": ["agent:bot"]},
    {"sql": "SELECT salary FROM hr.salaries"},
    {"http": "GET http://api.test/things/1"},
]


def bundle_of(rules: Any, catalog: Any = None, version: str = "1.0.0", **spec: Any) -> Bundle:
    """Return a bundle of one policy `p` over every domain."""
    head = HEAD.replace(b"1.0.0", version.encode())
    files = {
        "bundle.yaml": head,
        "p.yaml": document("Policy", "p", {"rules": rules, **spec}),
        "catalog.yaml": document("Catalog", "c", catalog or CATALOG),
    }
    return compile_bundle(files, by_protocol())


def written(bundle: Bundle, folder: Path) -> Path:
    """Return the folder in which the files of a bundle stand."""
    for name, data in {**bundle.files, **bundle.test_files}.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return folder


def calls(said: Sequence[Mapping[str, Any]]) -> list[Call]:
    """Return the calls that rows of a table say in few words."""
    return [_call(one, number) for number, one in enumerate(said)]


def _call(said: Mapping[str, Any], number: int) -> Call:
    if "sql" in said:
        envelope = {"protocol": "sql", "call": {"dialect": "postgres", "text": said["sql"]}}
    elif "authzen" in said:
        action, resource = said["authzen"].split(" ", 1)
        type_, _, id_ = resource.partition(":")
        asks = {"action": {"name": action}, "resource": {"type": type_, "id": id_}}
        envelope = {"protocol": "authzen", "call": asks}
    else:
        method, url = said["http"].split(" ", 1)
        call = {"method": method, "url": url}
        envelope = {"protocol": "http", "call": {**call, **said.get("call", {})}}
    asked = dry_call(json.dumps(envelope))
    kind, _, name = said.get("subject", "service:batch").partition(":")
    subject = Party(kind, name, said.get("properties", {}))
    actors = tuple(Party(*one.split(":", 1)) for one in said.get("actors", ()))
    context = {**asked.context, **said.get("context", {})}
    return msgspec.structs.replace(
        asked,
        id=CallId(f"00000000-0000-7000-8000-{number:012d}"),
        time=rfc3339(START_US + number * 1_000_000),
        listener="ask",
        identity=Identity(subject, actors),
        context=context,
    )


def recorded(state: Path) -> Path:
    """Return a state folder in which `CALLS` are on the record, all of them permitted."""
    return record(state, bundle_of(ALL), calls(CALLS))


class Nobody:
    """Nobody is revoked, or those that are listed."""

    def __init__(self, *revoked: str) -> None:
        self.epoch = 1
        self._revoked = revoked

    def is_revoked(self, party: str) -> bool:
        return party in self._revoked


def record(
    state: Path,
    bundle: Bundle,
    asked: Sequence[Call],
    *,
    revoked: Sequence[str] = (),
    entities: bytes | None = None,
    how: Settings | None = None,
) -> Path:
    """Return a state folder in which these calls are on the record."""
    state.mkdir(mode=0o700, exist_ok=True)
    Store(state / "bundles").keep(bundle)
    sources = _sources(state, Nobody(*revoked), entities)
    asyncio.run(_record(state, bundle, asked, sources, how or sample.settings()))
    return state


def _sources(state: Path, nobody: Nobody, entities: bytes | None) -> Sources:
    providers: dict[str, Provider] = {"revoked": Revocations(nobody)}
    if entities is not None:
        table = Entities(lambda: 0)
        digest = f"sha256:{hashlib.sha256(entities).hexdigest()}"
        keep_bytes(kept_file(state / "entities", digest), entities)
        take_entities(state / "entities", digest, "entities.yaml", table)
        providers["entity"] = table
    return Sources(providers)


async def _record(
    state: Path, bundle: Bundle, asked: Sequence[Call], sources: Sources, how: Settings
) -> None:
    ledger = Ledger.open(*ledger_paths(state), how)
    numbers = count()
    path = flow.Path(
        bundle=lambda: bundle,
        ledger=ledger,
        facts=sources,
        new_id=lambda: CallId(f"other-{next(numbers)}"),
        now=lambda: rfc3339(START_US),
        secrets=Secrets.open(secrets_path(state)),
    )
    for call in asked:
        await flow.carry(call, path)
    await sample.until_idle(ledger)
    await ledger.close()
