"""Forget a person: in a ledger at rest under its lock, else by the sidecar that runs on it."""

import asyncio
from pathlib import Path

from sidecar.record.ledger import Ledger, ledger_paths
from sidecar.record.verify import is_locked
from sidecar.runtime.processes.admin import ask_running
from sidecar.terms.errors import LedgerBroken


def forget(folder: Path, person: str) -> bool:
    """Erase `person`, a `type:id`; return whether it was known.

    Args:
        folder: The ledger's own folder, in its state folder.
        person: `type:id`, or with the handle in the place of the id.

    Raises:
        LedgerBroken: It is not intact, or who writes it does not answer.
        RecordError: The erasure could not be recorded or done.
    """
    state = folder.resolve().parent
    if not is_locked(folder):
        return asyncio.run(_forget(state, person))
    known = ask_running(state, person)
    if known is None:
        raise LedgerBroken(f"{folder}: a process writes it and does not answer; stop it first")
    return known


async def _forget(state: Path, person: str) -> bool:
    ledger = Ledger.open(*ledger_paths(state))
    try:
        return await ledger.forget(person)
    finally:
        await ledger.close()
