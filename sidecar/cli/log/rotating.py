"""`sidecar log key --rotate` and `--moved`: another key, another place; the log says so itself."""

import asyncio
import getpass
import os
import time
from pathlib import Path

import msgspec

from sidecar.record.disk import DISK
from sidecar.record.fold import OpenDecisions, Revocations
from sidecar.record.ledger import OUTSIDE, Ledger, Settings, ledger_paths
from sidecar.record.proof import place
from sidecar.record.rekey import rotate
from sidecar.terms.ids import rfc3339, uuid7
from sidecar.terms.record import SCHEMA, AdminRecord


def rotate_key(ledger: Path, key_file: Path) -> None:
    """Let a new key follow the one at `key_file`, while no sidecar writes the ledger.

    Raises:
        LedgerBroken: The ledger is not intact, or a sidecar writes it.
    """
    here = msgspec.structs.replace(OUTSIDE, machine=place.machine_id())
    rotate(ledger, key_file, getpass.getuser(), here, (Revocations(), OpenDecisions()))


def moved(state: Path) -> None:
    """Record that the ledger stands here from now on, and let it.

    Raises:
        LedgerBroken: It is not intact, or a sidecar writes it.
        RecordError: It cannot be recorded.
    """
    folder, key_file = ledger_paths(state)
    machine = place.machine_id()
    said = {
        "from": place.known(DISK, key_file) or "",
        "to": place.here(DISK, folder, machine),
        "by": getpass.getuser(),
    }
    now_us = time.time_ns() // 1000
    id = uuid7(now_us // 1000, os.urandom(10))
    asyncio.run(_record(state, AdminRecord(SCHEMA, id, rfc3339(now_us), place.MOVED, said)))
    place.keep(DISK, folder, key_file, machine, os.urandom)


async def _record(state: Path, record: AdminRecord) -> None:
    # Wherever it stands: that is what is said here.
    ledger = Ledger.open(*ledger_paths(state), Settings(folds=(OpenDecisions(),)))
    try:
        await ledger.write(record)
    finally:
        await ledger.close()
