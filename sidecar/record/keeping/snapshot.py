"""Snapshots: what is known of all records before a segment, so that a start reads only the last.

`<first_seq>.snap` is a signed note: the tree's frontier, the hashes of leaves whose tile is not
full yet, which segments stood before, and the state of each fold. It is derived: without it a start
reads more. A snapshot is believed because the ledger's key has signed it, and only where the
records that follow it lead to the root that was signed last. The snapshot of the first segment that
is left, once others were pruned, is what stands for their records.
"""

from base64 import b64decode, b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sidecar.record import disk
from sidecar.record.disk import Io
from sidecar.record.fold import Fold
from sidecar.record.limits import SNAPSHOT_BYTES_MAX
from sidecar.record.proof.checkpoint import Verifier, note_text, signed_note
from sidecar.record.proof.merkle import HASH_BYTES, Tree
from sidecar.record.proof.tiles import TILE_WIDTH
from sidecar.terms.call import Json

_FIRST_LINE: Final = "doorward.snapshot/1"
_SUFFIX: Final = ".snap"


class Snapshot(msgspec.Struct, frozen=True):
    """What is known of all records before number `size`.

    Args:
        origin: Name and epoch of the log.
        size: How many records there were, and the first number of the segment that follows.
        frontier: The roots of the tree's perfect subtrees, largest first, base64.
        leaves: Hashes of the leaves since the last full tile, base64.
        segments: Which segments stood before, by their first number.
        folds: The state of each fold, by its name.
    """

    origin: str
    size: int
    frontier: list[str]
    leaves: str
    segments: list[int]
    folds: dict[str, Json]

    def tree(self) -> Tree:
        """Return the tree; ValueError when the frontier is not one."""
        return Tree(self.size, [b64decode(node) for node in self.frontier])

    def leaf_bytes(self) -> bytes:
        """Return the hashes of the leaves since the last full tile."""
        found = b64decode(self.leaves)
        if len(found) != self.size % TILE_WIDTH * HASH_BYTES:
            msg = "not the leaves of a tree of this size"
            raise ValueError(msg)
        return found

    def restore(self, folds: Sequence[Fold]) -> bool:
        """Give each fold its state; return whether the snapshot has one for each."""
        if any(fold.name not in self.folds for fold in folds):
            return False
        for fold in folds:
            fold.restore(self.folds[fold.name])
        return True


def of(
    origin: str, tree: Tree, leaves: bytes, segments: Sequence[int], folds: Sequence[Fold]
) -> Snapshot:
    """Return the snapshot of what is known now."""
    return Snapshot(
        origin,
        tree.size,
        [b64encode(node).decode() for node in tree.frontier],
        b64encode(leaves).decode(),
        list(segments),
        {fold.name: fold.state() for fold in folds},
    )


def name_of(first_seq: int) -> str:
    """Return the file name of the snapshot of what is before `first_seq`."""
    return f"{first_seq:020d}{_SUFFIX}"


def first_seqs(names: Sequence[str]) -> list[int]:
    """Return for which segments there are snapshots among `names`."""
    stems = (name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX))
    return sorted(int(stem) for stem in stems if len(stem) == 20 and stem.isdigit())


def write(io: Io, folder: Path, snapshot: Snapshot, *keys: Ed25519PrivateKey) -> None:
    """Put the snapshot in its place, signed and durable."""
    text = f"{_FIRST_LINE}\n{msgspec.json.encode(snapshot).decode()}\n"
    note = signed_note(text, snapshot.origin, *keys)
    disk.replace(io, folder / name_of(snapshot.size), note)


def read(io: Io, folder: Path, first_seq: int, trusted: Sequence[Verifier]) -> Snapshot | None:
    """Return the snapshot of what is before `first_seq`, None when there is none of ours."""
    try:
        note = disk.read_all(io, folder / name_of(first_seq), SNAPSHOT_BYTES_MAX)
        texts = [note_text(note, key) for key in trusted]
        found = _read(next((text for text in texts if text is not None), ""))
    except (OSError, ValueError, msgspec.DecodeError):
        return None
    is_ours = found.origin in {key.name for key in trusted} and found.size == first_seq
    return found if is_ours else None


def unproven(io: Io, folder: Path, first_seq: int) -> Snapshot | None:
    """Return what a snapshot says, whoever says it: its tree has to be proven by a signed root."""
    try:
        note = disk.read_all(io, folder / name_of(first_seq), SNAPSHOT_BYTES_MAX)
        found = _read(note.decode().rpartition("\n\n")[0] + "\n")
        found.tree()
    except (OSError, ValueError, msgspec.DecodeError):
        return None
    return found if found.size == first_seq else None


def _read(text: str) -> Snapshot:
    first, _, rest = text.partition("\n")
    if first != _FIRST_LINE:
        msg = "not a snapshot"
        raise ValueError(msg)
    return msgspec.json.decode(rest, type=Snapshot)
