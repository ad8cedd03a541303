"""Records made durable a second by one ledger, alone and with many in flight."""

import asyncio
import json
import time
from pathlib import Path

from sidecar import flow
from sidecar.decide import decide, standing_facts
from sidecar.domains import by_protocol
from sidecar.policy.bundle import compile_bundle
from sidecar.record.ledger import Ledger, ledger_paths
from sidecar.record.verify import verify
from sidecar.record.write import decision_record
from sidecar.runtime.dryrun import dry_call
from sidecar.terms.decision import Decision, Fact
from sidecar.terms.record import DecisionRecord
from tests.bench.report import table
from tests.bench.rules import CALL, bundle_of

IN_FLIGHT = (1, 64)


def measure(folder: Path, seconds: float) -> None:
    """Print the table."""
    record = a_record()
    rows = []
    for in_flight in IN_FLIGHT:
        rate, wait_us, cpu_us = asyncio.run(
            _written(folder / f"ledger-{in_flight}", record, in_flight, seconds / len(IN_FLIGHT))
        )
        rows.append((f"{in_flight} in flight", f"{rate:.0f}", f"{wait_us:.0f}", f"{cpu_us:.0f}"))
    table("ledger, durable decision records", ("", "a second", "us to wait", "CPU us each"), rows)


def a_record() -> DecisionRecord:
    """Return the decision record of the call that the ask bench sends."""
    files = {name: text.encode() for name, text in bundle_of(10, 10).items()}
    bundle = compile_bundle(files, by_protocol())
    call = dry_call(json.dumps(CALL).encode())
    request = flow.understand(call, bundle)
    facts = dict.fromkeys(standing_facts(request), Fact(False, "bench", "1"))
    decision = decide(request, bundle, facts)
    assert isinstance(decision, Decision)
    return decision_record(call, request, decision, decision, facts, bundle)


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
