"""Let a new key follow the old one, in a ledger that nobody writes.

```
<key>.next  ─▶  record key_rotated, signed by both  ─▶  checkpoint and snapshots signed by both
            ─▶  <key>.next becomes <key>
```
Each step is durable before the next, and each can be done again: whoever is interrupted rotates
once more, and what was begun is finished with the key that the record names. Until then a ledger
whose log names another key than the one that stands there does not open.
"""

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sidecar.record import disk
from sidecar.record.canonical import split
from sidecar.record.commit import Committer
from sidecar.record.disk import Io
from sidecar.record.fold import Fold
from sidecar.record.keeping import snapshot
from sidecar.record.keeping.grounds import lock
from sidecar.record.keeping.history import KEY_ROTATED, Rotation, rotation
from sidecar.record.keeping.outside import Outside
from sidecar.record.proof import identity, place
from sidecar.record.proof.checkpoint import Verifier
from sidecar.record.proof.identity import Identity
from sidecar.terms.errors import LedgerBroken
from sidecar.terms.ids import rfc3339, uuid7
from sidecar.terms.record import SCHEMA, AdminRecord


def rotate(
    folder: Path, key_file: Path, by: str, outside: Outside, folds: tuple[Fold, ...] = ()
) -> Verifier:
    """Return the key that the ledger is signed with from now on.

    Args:
        folder: The ledger's.
        key_file: Where the key stands.
        by: Who asked for it.
        outside: The disk, clocks, randomness.
        folds: Those that the sidecar opens the ledger with: their states stay in snapshots.

    Raises:
        LedgerBroken: The ledger is not intact, not ours, or another process writes it.
    """
    io = outside.io
    try:
        fd = lock(io, folder)
        try:
            # Else the old key would stand there under another name.
            disk.remove_left(io, key_file)
            begun = identity.next_key(io, key_file)
            old = identity.load(io, key_file)._replace(following=begun)
            if outside.machine is not None:
                place.check(io, folder, key_file, outside.machine, is_marked=old.marks is not None)
                place.keep(io, folder, key_file, outside.machine, outside.random_bytes)
            committer = Committer(folder, fd, old, folds, outside)
        except (OSError, LedgerBroken):
            disk.let_go(io, fd)
            raise
        new = _followed(committer, old, key_file, by, outside)
        _sign_snapshots(io, folder, old, new)
        identity.take_next(io, key_file)
        return identity.load(io, key_file).verifier
    except OSError as error:
        raise LedgerBroken(f"{error.filename or folder}: {disk.why(error)}") from error


def _followed(
    committer: Committer, old: Identity, key_file: Path, by: str, outside: Outside
) -> Ed25519PrivateKey:
    """Return the key that the log names as the next, and has signed what is there with it."""
    new, said = old.following, committer.history.rotation
    try:
        if new is None or said is None or said.new != _text(old, new):
            # Nothing of what was begun, if anything was, is in the log.
            new = identity.make_next(outside.io, key_file)
            _record(committer, old, new, by, outside)
        committer.signing.sign(new)
    finally:
        committer.close()
    return new


def _text(old: Identity, key: Ed25519PrivateKey) -> str:
    return Verifier(old.origin, key.public_key()).text()


def _record(
    committer: Committer, old: Identity, new: Ed25519PrivateKey, by: str, outside: Outside
) -> None:
    # What the ledger has to tell of itself goes first, so that the number is known.
    committer.commit([])
    said: Rotation = rotation(committer.size, old.origin, old.key, new)
    now_us = outside.now_us()
    id = uuid7(now_us // 1000, outside.random_bytes(10))
    detail = {
        "old": said.old,
        "new": said.new,
        "by_old": said.by_old,
        "by_new": said.by_new,
        "by": by,
    }
    committer.commit([split(AdminRecord(SCHEMA, id, rfc3339(now_us), KEY_ROTATED, detail))])
    if committer.history.rotation != said:
        raise LedgerBroken("the key was not rotated: somebody else has written in between")


def _sign_snapshots(io: Io, folder: Path, old: Identity, new: Ed25519PrivateKey) -> None:
    for first_seq in snapshot.first_seqs(io.names(folder)):
        found = snapshot.read(io, folder, first_seq, [old.verifier])
        if found is not None:
            snapshot.write(io, folder, found, old.key, new)
    disk.sync_folder(io, folder)
