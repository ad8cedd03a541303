"""Records, and ledgers that are small enough to be looked at byte by byte."""

import asyncio
import os
from pathlib import Path
from typing import Any

import msgspec

from sidecar.record.disk import DISK, Io
from sidecar.record.keeping.outside import Outside
from sidecar.record.ledger import Ledger, Settings, ledger_paths
from sidecar.record.proof import place
from sidecar.record.read import Reader
from sidecar.record.segments.segment import segment_names
from sidecar.record.verify import Report, verify
from sidecar.terms.record import SCHEMA, AdminRecord
from sidecar.terms.words import CallId

TIME = "2026-11-21T10:00:00.000000Z"


class Clock:
    """Clocks that stand still until they are told to go on."""

    def __init__(self) -> None:
        self.now_s = 1_800_000_000.0

    def now_us(self) -> int:
        return int(self.now_s * 1_000_000)

    def monotonic_s(self) -> float:
        return self.now_s


def outside(io: Io = DISK, clock: Clock | None = None, **bounds: Any) -> Outside:
    """Return a disk and a clock; full segments stay open to be looked at, unless told."""
    clock = clock or Clock()
    bounds = {"seals": False, "reserve_bytes": 4096, "upkeep_quiet_s": 0.0, **bounds}
    return Outside(io, clock.now_us, clock.monotonic_s, os.urandom, **bounds)


def settings(io: Io = DISK, clock: Clock | None = None, **bounds: Any) -> Settings:
    return Settings(name="test", outside=outside(io, clock, **bounds))


def admin(number: int, event: str = "reload", **detail: Any) -> AdminRecord:
    return AdminRecord(SCHEMA, CallId(f"id-{number}"), TIME, event, detail)


def told(number: int, **detail: Any) -> AdminRecord:
    """Return what a worker may say as well."""
    return admin(number, "subject_set", **detail)


async def written(state: Path, count: int, how: Settings | None = None) -> Ledger:
    """Return an open ledger after `count` records."""
    ledger = Ledger.open(*ledger_paths(state), how or settings())
    stands(state)
    for number in range(count):
        await ledger.write(admin(number))
    return ledger


def stands(state: Path) -> None:
    """Let the commands find the ledger where they look for it."""
    place.keep(DISK, *ledger_paths(state), place.machine_id(), os.urandom)


async def closed(state: Path, count: int, how: Settings | None = None) -> Report:
    """Return the report on a ledger of `count` records that was closed as it should be."""
    ledger = await written(state, count, how)
    await ledger.close()
    folder, _ = ledger_paths(state)
    return verify(folder, ledger.verifier)


def segments(state: Path) -> list[Path]:
    folder, _ = ledger_paths(state)
    return [folder / name for name in segment_names(DISK.names(folder))]


def records(state: Path) -> list[dict[str, Any]]:
    folder, _ = ledger_paths(state)
    return [msgspec.json.decode(line) for line in Reader(folder).new()]


def ids(state: Path) -> list[str]:
    return [record["id"] for record in records(state) if record["id"].startswith("id-")]


def pruned(state: Path) -> int:
    """Return how many records at the beginning are gone."""
    return int(segments(state)[0].name[:20])


async def until_idle(ledger: Ledger) -> None:
    """Return once full segments are tiled, sealed and pruned."""
    async with asyncio.timeout(20):
        while ledger._committer.is_tending or ledger._busy_since_s is not None:  # noqa: ASYNC110 - another thread does it
            await asyncio.sleep(0.005)
