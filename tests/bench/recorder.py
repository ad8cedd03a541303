"""What a record costs between a worker and the recorder, and in the recorder, in CPU time."""

import asyncio
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from sidecar.record.canonical import split
from sidecar.record.recorder.worker.client import RecorderClient
from sidecar.runtime.processes import control
from sidecar.runtime.processes.child import Child
from sidecar.runtime.processes.machine import fast_loop
from sidecar.terms.errors import RecordError
from sidecar.terms.record import AnyRecord, Written
from tests.bench.ledger import a_record
from tests.bench.report import cpu_s, table

IN_FLIGHT = 64
RECORDER = "sidecar.runtime.processes.recording"
HEADS = ("", "a second", "client us", "goal", "recorder us", "goal")


class Uncounted:
    """A meter that counts nothing."""

    def written(self, records: Sequence[AnyRecord], seconds: float) -> None: ...

    def lost(self, count: int, error: RecordError) -> None: ...


def measure(folder: Path, seconds: float) -> None:
    """Print the table."""
    record, _ = a_record("a service")()
    rows = []
    durabilities: tuple[Literal["strict", "group"], ...] = ("strict", "group")
    for durability in durabilities:
        with asyncio.Runner(loop_factory=fast_loop()) as runner:
            rate, mine, its = runner.run(
                _recorded(folder / durability, durability, record, seconds)
            )
        row = (f"{durability}, {IN_FLIGHT} in flight", f"{rate:.0f}", f"{mine:.1f}", "3")
        rows.append((*row, f"{its:.1f}", "25"))
    size = split(record).size
    table(f"recorder: records of {size} bytes, over the socket, durable", HEADS, rows)


async def _recorded(
    state: Path, durability: Literal["strict", "group"], record: AnyRecord, seconds: float
) -> tuple[float, float, float]:
    """Return records a second, and the CPU time of each in us, here and in the recorder."""
    opened = asyncio.Event()
    child = await Child.started("recorder", RECORDER, (), lambda _, message: opened.set())
    child.tell(control.Open(str(state), "bench", durability, 1))
    await opened.wait()
    client = RecorderClient(Uncounted())
    mine, its = socket.socketpair()
    child.hand(its, "bench")
    await client.attach(mine)
    halves = _free(record)
    began, used, its_used = time.perf_counter(), time.process_time(), cpu_s([child.pid]) or 0.0
    count = await _written(client, record, began + seconds)
    took, used = time.perf_counter() - began, time.process_time() - used
    its_used = (cpu_s([child.pid]) or 0.0) - its_used
    await client.close()
    child.tell(control.Stop())
    await child.ended_within(10)
    return count / took, (used / count - halves) * 1e6, its_used / count * 1e6


async def _written(client: RecorderClient, record: AnyRecord, until: float) -> int:
    """Keep so many records in flight until then; return how many became durable."""
    loop = asyncio.get_running_loop()
    over: asyncio.Future[None] = loop.create_future()
    count = flying = 0

    def again(done: Written) -> None:
        nonlocal count, flying
        failed = done.exception()
        if failed is not None:
            raise failed
        count += 1
        if time.perf_counter() < until:
            # The same id again is a record that is there already.
            numbered = type(record)(**{**_fields, "id": f"bench-{count + flying}-{count}"})
            client.write(numbered).add_done_callback(again)
        else:
            flying -= 1
            if not flying:
                over.set_result(None)

    _fields = {name: getattr(record, name) for name in record.__struct_fields__}
    for _ in range(IN_FLIGHT):
        flying += 1
        first = type(record)(**{**_fields, "id": f"bench-first-{flying}"})
        client.write(first).add_done_callback(again)
    await over
    return count


def _free(record: AnyRecord) -> float:
    """Return what a record costs here that is not the client's: its making and its bytes."""
    fields = {name: getattr(record, name) for name in record.__struct_fields__}
    began = time.process_time()
    for number in range(2000):
        split(type(record)(**{**fields, "id": f"bench-{number}"}))
    return (time.process_time() - began) / 2000
