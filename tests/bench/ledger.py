"""Records made durable a second by one ledger, and the CPU time of making one."""

import asyncio
import json
import time
import timeit
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from sidecar import flow
from sidecar.decide import decide, standing_facts
from sidecar.domains import by_protocol
from sidecar.policy.bundle import compile_bundle
from sidecar.record.audit.beside import Beside
from sidecar.record.canonical import split
from sidecar.record.disk import DISK
from sidecar.record.inputs import Secrets
from sidecar.record.keeping.derived import Derived
from sidecar.record.ledger import Ledger, ledger_paths
from sidecar.record.persons import persons_of
from sidecar.record.proof import identity
from sidecar.record.read import last_records
from sidecar.record.verify import Watch, verify
from sidecar.record.write import Keeping, decision_record
from sidecar.runtime.dryrun import dry_call
from sidecar.terms.call import Identity, Party
from sidecar.terms.decision import Decision, Fact
from sidecar.terms.record import DecisionRecord, SideObject
from tests.bench.report import table
from tests.bench.rules import CALL, bundle_of

IN_FLIGHT = (1, 64)
PARTIES: dict[str, tuple[Party, tuple[Party, ...], dict[str, Any]]] = {
    "a service": (Party("service", "payroll"), (), {}),
    "an agent for a person, from an address": (
        Party("user", "alice", {"department": "sales", "groups": ["finance"]}),
        (Party("agent", "expense-bot"),),
        {"ip": "192.0.2.7"},
    ),
}


def measure(folder: Path, seconds: float) -> None:
    """Print the table."""
    made = {name: a_record(name) for name in PARTIES}
    record, _ = made["a service"]()
    rows = []
    for in_flight in IN_FLIGHT:
        rate, wait_us, cpu_us = asyncio.run(
            _written(folder / f"ledger-{in_flight}", record, in_flight, seconds / len(IN_FLIGHT))
        )
        rows.append((f"{in_flight} in flight", f"{rate:.0f}", f"{wait_us:.0f}", f"{cpu_us:.0f}"))
    table("ledger, durable decision records", ("", "a second", "us to wait", "CPU us each"), rows)
    checked = [
        (f"{in_flight} in flight", *_verified(folder / f"ledger-{in_flight}"))
        for in_flight in IN_FLIGHT
    ]
    table("log verify, one core", ("written by", "records", "bytes each", "a second"), checked)
    costs = []
    for name, make in made.items():
        one, _ = make()
        size = split(one).size
        make_us, split_us = _cpu_us(make), _cpu_us(partial(split, one))
        costs.append((name, str(size), f"{make_us:.1f}", f"{split_us:.1f}"))
    table("one record, 10 rules that spoke", ("", "bytes", "CPU us to make", "to split"), costs)


def a_record(who: str) -> Callable[[], tuple[DecisionRecord, tuple[SideObject, ...]]]:
    """Return what makes the decision record of a call that 10 rules speak to."""
    files = {name: text.encode() for name, text in bundle_of(10, 10).items()}
    # All of them hold, so that all of them stand in the record.
    speaks = files["policies/trial.yaml"].replace(b"'label-", b"!('label-")
    speaks = speaks.replace(b"in resource.labels", b"in resource.labels)")
    files["policies/trial.yaml"] = speaks
    bundle = compile_bundle(files, by_protocol())
    call = dry_call(json.dumps(CALL).encode())
    subject, actors, context = PARTIES[who]
    identity = Identity(subject, actors)
    call = msgspec.structs.replace(call, identity=identity, context={**call.context, **context})
    request = flow.understand(call, bundle)
    facts = dict.fromkeys(standing_facts(request), Fact(False, "bench", "1"))
    decision = decide(request, bundle, facts)
    assert isinstance(decision, Decision)
    assert len(decision.rules) >= 9
    handles = dict.fromkeys(persons_of(request), f"p_{0:022d}")
    keeping = Keeping(bundle, handles, Secrets.passing())
    return partial(decision_record, call, request, decision, decision, facts, keeping)


def _verified(state: Path) -> tuple[str, str, str]:
    """Return how many records were verified, how large they are, and how many a second of CPU."""
    ledger, key_file = ledger_paths(state)
    trusted = identity.load(DISK, key_file).verifier
    used = time.thread_time()
    watches: list[Watch] = [Derived(DISK, ledger), Beside(DISK, state)]
    report = verify(ledger, trusted, watches=watches)
    used = time.thread_time() - used
    size = sum(len(record) for record in last_records(DISK, ledger, 1000)) / 1000
    return str(report.records), f"{size:.0f}", f"{report.records / used:.0f}"


def _cpu_us(what: Callable[[], object]) -> float:
    """Return the least CPU time of one call over some rounds."""
    rounds = timeit.repeat(what, timer=time.thread_time, number=500, repeat=15)
    return min(rounds) / 500 * 1e6


async def _written(
    state: Path, record: DecisionRecord, in_flight: int, seconds: float
) -> tuple[float, float, float]:
    """Return records a second, the mean wait in us and the CPU time of each in us."""
    ledger = Ledger.open(*ledger_paths(state))
    first = ledger.size
    until = time.perf_counter() + seconds

    async def write() -> None:
        while time.perf_counter() < until:
            await ledger.write(record)

    began, used = time.perf_counter(), time.process_time()
    await asyncio.gather(*(write() for _ in range(in_flight)))
    took, used = time.perf_counter() - began, time.process_time() - used
    count = ledger.size - first
    await ledger.close()
    report = verify(ledger_paths(state)[0], ledger.verifier)
    assert report.intact, report.problem
    return count / took, took / count * in_flight * 1e6, used / count * 1e6
