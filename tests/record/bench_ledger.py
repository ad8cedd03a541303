"""Records made durable a second, and what one costs: `python -m tests.record.bench_ledger`."""

import asyncio
import sys
import tempfile
import time
from pathlib import Path

from sidecar.record.canonical import split
from sidecar.record.disk import Disk
from sidecar.record.ledger import Ledger, ledger_paths
from sidecar.record.verify import verify
from tests.record import sample
from tests.record.test_write import Paper, recorded, request

RECORDS = 20_000
LOOPS = 2_000


class ThreadClock(Disk):
    """Remembers how much CPU the committer's thread has used at its last write."""

    def __init__(self) -> None:
        self.cpu_s = 0.0
        self.syncs = 0

    def fdatasync(self, fd: int) -> None:
        self.syncs += 1
        super().fdatasync(fd)
        self.cpu_s = time.thread_time()


async def main() -> None:
    asked = request({"targets": [{"id": f"finance.expenses.column_{n}"} for n in range(6)]})
    record = recorded(asked, Paper("request.sql.params"))
    size = len(split(record).head) + len(split(record).tail)
    paper = Paper("request.sql.params")
    _say(f"record          {size} bytes, 6 targets")
    _say(f"decision_record {_us(lambda: recorded(asked, paper)):8.1f} us")
    _say(f"encode          {_us(lambda: split(record)):8.1f} us")
    for in_flight in (1, 64):
        await _group_commit(record, in_flight)


async def _group_commit(record, in_flight: int) -> None:
    count = RECORDS if in_flight > 1 else RECORDS // 10
    with tempfile.TemporaryDirectory(dir=".") as folder:
        disk = ThreadClock()
        how = sample.settings(disk)
        ledger = Ledger.open(*ledger_paths(Path(folder)), how)

        async def write() -> None:
            for _ in range(count // in_flight):
                await ledger.write(record)

        began = time.perf_counter()
        await asyncio.gather(*(write() for _ in range(in_flight)))
        took_s = time.perf_counter() - began
        written = ledger.size
        await ledger.close()
        began = time.perf_counter()
        report = verify(ledger_paths(Path(folder))[0], ledger.verifier)
        verify_s = time.perf_counter() - began
    assert report.intact
    _say(
        f"{in_flight:>3} in flight   {written / took_s:8.0f} records/s, "
        f"{written / disk.syncs:.1f} a sync, "
        f"committer {disk.cpu_s / written * 1e6:.1f} us CPU each, "
        f"verify {written / verify_s:.0f} records/s"
    )


def _us(what) -> float:
    began = time.perf_counter()
    for _ in range(LOOPS):
        what()
    return (time.perf_counter() - began) / LOOPS * 1e6


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    asyncio.run(main())
