"""Recorded decisions that are decided anew, a second."""

import asyncio
import os
import time
from itertools import count
from pathlib import Path

import msgspec

from sidecar import flow
from sidecar.domains import by_protocol
from sidecar.facts.sources import Revocations, Sources
from sidecar.policy.bundle import Bundle, compile_bundle
from sidecar.record.inputs import Secrets, secrets_path
from sidecar.record.ledger import Ledger, ledger_paths
from sidecar.review.replay import run
from sidecar.review.replay.lines import shares
from sidecar.runtime.bundles import Store
from sidecar.terms.call import Call
from sidecar.terms.ids import rfc3339
from sidecar.terms.words import CallId
from tests.bench.report import table
from tests.bench.rules import bundle_of
from tests.review import history

# Of all calls, so many are different questions: an application asks the same few, an agent others.
MIXES = {"1,000 questions": 1000, "each another": 0}
PERSONS = 50


def measure(folder: Path, records: int) -> None:
    """Print the table."""
    then = compile_bundle(_files(10), by_protocol())
    now = compile_bundle(_files(11), by_protocol())
    rows = []
    for number, (name, questions) in enumerate(MIXES.items()):
        state = folder / f"state-{number}"
        state.mkdir(mode=0o700)
        Store(state / "bundles").keep(then)
        asyncio.run(_record(state, then, records, questions))
        for bundle, what in ((then, "the same bundle"), (now, "another")):
            asked = run.Asked(state)
            used, began = time.process_time(), time.perf_counter()
            counts = run.replay(asked, bundle, None, lambda _: None)
            used, took = time.process_time() - used, time.perf_counter() - began
            assert (counts.records, counts.gone) == (records, 0)
            cpu_us = used / records * 1e6
            one, two = f"{records / took:.0f}", _parallel(asked, bundle, records)
            rows.append((name, what, f"{cpu_us:.1f}", one, two))
    columns = ("calls", "decided by", "CPU us each", "a second", "two processes")
    table(f"replay of {records:,} records", columns, rows)


def _parallel(asked: run.Asked, bundle: Bundle, records: int) -> str:
    size = sum(share.size for share in shares(asked.path))
    if size < run.PARALLEL_BYTES_MIN:
        return "too few"
    began = time.perf_counter()
    counts = run.replay(msgspec.structs.replace(asked, processes=2), bundle, None, lambda _: None)
    assert counts.records == records
    return f"{records / (time.perf_counter() - began):.0f}"


def _files(rules: int) -> dict[str, bytes]:
    return {name: text.encode() for name, text in bundle_of(rules, rules).items()}


async def _record(state: Path, bundle: Bundle, records: int, questions: int) -> None:
    """Write a log of SQL and HTTP calls of agents that act for people."""
    ledger = Ledger.open(*ledger_paths(state))
    numbers = count()
    path = flow.Path(
        bundle=lambda: bundle,
        ledger=ledger,
        facts=Sources({"revoked": Revocations(history.Nobody())}),
        new_id=lambda: CallId(f"other-{next(numbers)}"),
        now=lambda: rfc3339(history.START_US),
        secrets=Secrets.open(secrets_path(state)),
    )
    for first in range(0, records, 256):
        some = range(first, min(first + 256, records))
        await asyncio.gather(*(flow.carry(_call(number, questions), path) for number in some))
    await ledger.close()


def _call(number: int, questions: int) -> Call:
    which = number % questions if questions else number
    said = {"http": f"GET http://api.test/things/{which}"}
    if which % 2:
        said = {"sql": f"SELECT note FROM notes WHERE note = 'n{which}'"}
    (made,) = history.calls([{
        **said, "subject": f"user:person{which % PERSONS}", "actors": ["agent:expense-bot"],
    }])  # fmt: skip
    random = os.urandom(6).hex()
    time = rfc3339(history.START_US + number)
    return msgspec.structs.replace(made, id=CallId(f"01920000-0000-7000-8000-{random}"), time=time)
