"""What a bench says and on what it was measured: figures stand beside others of the same run."""

import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

SYNCS = 50
ROUNDS = 5


def say(line: str = "") -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: the first column is words, the others are numbers.

    A row that is shorter than the heads ends with words, for what could not be measured.
    """
    say(f"\n{title}")
    whole = [heads, *(row for row in rows if len(row) == len(heads))]
    widths = [max(len(row[at]) for row in whole) for at in range(len(heads))]
    widths[0] = max(len(row[0]) for row in (heads, *rows))
    for row in (heads, *rows):
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=False)]
        say("  " + "  ".join(cells).rstrip())


def machine(folder: Path) -> None:
    """Print what this is measured on."""
    load = " ".join(f"{one:.2f}" for one in os.getloadavg())
    say(f"machine  {platform.platform()}, {_processor()}, {os.cpu_count()} cores, load {load}")
    say(f"python   {platform.python_implementation()} {platform.python_version()}")
    say(f"disk     a durable wait (write and fdatasync of 1 KiB) takes {_sync_us(folder):.0f} us")


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _sync_us(folder: Path) -> float:
    """Return the median time until what was written is durable in `folder`."""
    sync = getattr(os, "fdatasync", os.fsync)
    file = folder / "durable"
    fd = os.open(file, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    try:
        taken = []
        for _ in range(SYNCS):
            began = time.perf_counter()
            os.write(fd, bytes(1024))
            sync(fd)
            taken.append(time.perf_counter() - began)
    finally:
        os.close(fd)
        file.unlink()
    return statistics.median(taken) * 1e6


def each_us(what: Callable[[], object], seconds: float) -> float:
    """Return how long `what` takes in us: the best of some rounds, as more is the machine's."""
    began = time.perf_counter()
    what()
    once_s = max(time.perf_counter() - began, 1e-7)
    count = max(int(seconds / ROUNDS / once_s), 1)
    rounds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(count):
            what()
        rounds.append((time.perf_counter() - began) / count)
    return min(rounds) * 1e6


def cpu_s(group: Sequence[int]) -> float | None:
    """Return the CPU time that these processes have used, None where the system does not say."""
    try:
        stats = [Path(f"/proc/{pid}/stat").read_text() for pid in group]
    except OSError:
        return None
    fields = [stat.rpartition(") ")[2].split() for stat in stats]
    # proc_pid_stat(5): utime and stime are fields 14 and 15, counted from the id.
    ticks = sum(int(one[11]) + int(one[12]) for one in fields)
    return ticks / os.sysconf("SC_CLK_TCK")
