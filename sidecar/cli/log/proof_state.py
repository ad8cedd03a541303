"""How far one record is proven, in a few words for `show`."""

from pathlib import Path

from sidecar.record.audit.prove import Prover
from sidecar.record.disk import DISK, why
from sidecar.record.ledger import ledger_paths
from sidecar.record.proof import identity
from sidecar.record.segments.walk import Damage
from sidecar.terms.errors import LedgerBroken


def proof_state(ledger: Path, seq: int) -> str:
    """Return whether record `seq` is proven by the signed checkpoint, and if not why not."""
    _, key_file = ledger_paths(ledger.resolve().parent)
    if not identity.is_there(key_file):
        return "not looked at: the key is not here (`sidecar log verify --key`)"
    try:
        prover = Prover(ledger, identity.load(DISK, key_file).verifier)
        if seq >= prover.checkpoint.size:
            return "not signed yet"
        prover.inclusion(seq)
    except (Damage, LedgerBroken) as error:
        return f"NOT PROVEN: {error}"
    except LookupError as error:
        return f"not proven: {error}"
    except OSError as error:
        return f"NOT PROVEN: it cannot be read: {why(error)}"
    return f"proven by the signed checkpoint of {prover.checkpoint.size} records"
