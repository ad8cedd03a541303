"""`sidecar log key --rotate`: a new key follows, and the log says so under both."""

import getpass
from pathlib import Path

from sidecar.record.fold import OpenDecisions, Revocations
from sidecar.record.ledger import OUTSIDE
from sidecar.record.rekey import rotate


def rotate_key(ledger: Path, key_file: Path) -> None:
    """Let a new key follow the one at `key_file`, while no sidecar writes the ledger.

    Raises:
        LedgerBroken: The ledger is not intact, or a sidecar writes it.
    """
    rotate(ledger, key_file, getpass.getuser(), OUTSIDE, (Revocations(), OpenDecisions()))
