"""Prove to somebody who has not the log: that a record is in it, that it has only grown.

What is handed out was verified here first, against the signed checkpoint. Tiles only make it fast:
where what they lead to is not what was signed, the records are asked instead.
"""

from pathlib import Path
from typing import NamedTuple

from sidecar.record.disk import DISK
from sidecar.record.proof.checkpoint import Checkpoint, Verifier
from sidecar.record.proof.nodes import LogNodes
from sidecar.record.proof.proofs import (
    consistency_proof,
    included_root,
    inclusion_proof,
    is_consistent,
    range_hash,
    receipt,
)
from sidecar.record.segments.walk import Damage
from sidecar.record.verify import CHECKPOINT, open_checkpoint, read_note


class Proof(NamedTuple):
    """That record `seq` is in the tree of `checkpoint`: its siblings, the leaf's first."""

    seq: int
    leaf: bytes
    hashes: list[bytes]
    checkpoint: Checkpoint


class Prover:
    """Proves what is in the ledger in `folder`, under the checkpoint that is signed there now."""

    def __init__(self, folder: Path, trusted: Verifier) -> None:
        """Take the checkpoint.

        Raises:
            Damage: There is none that the key has signed.
        """
        # First with the tiles, which are not believed, then without.
        self._sources = [
            LogNodes(DISK, folder, trusted.name, with_tiles=tiled) for tiled in (True, False)
        ]
        self.note = read_note(DISK, folder)
        self.checkpoint = open_checkpoint(CHECKPOINT, self.note, trusted)

    def inclusion(self, seq: int) -> Proof:
        """Return the proof of record `seq`.

        Raises:
            ValueError: It is not under the checkpoint, which is signed every second.
            LookupError: Neither the record nor the tiles that stand for it are there.
            Damage: The log is not what was signed.
        """
        size, root = self.checkpoint.size, self.checkpoint.root
        for nodes in self._sources:
            try:
                hashes, leaf = inclusion_proof(nodes, seq, size), nodes.node(0, seq)
            except LookupError:
                if nodes is self._sources[0]:
                    raise
                text = "those of pruned records are not theirs"
                raise Damage("tiles", None, None, text) from None
            if included_root(seq, size, leaf, hashes) == root:
                return Proof(seq, leaf, hashes, self.checkpoint)
        raise self._changed()

    def consistency(self, first: int, second: int | None = None) -> list[bytes]:
        """Return the proof that the tree of `second` records begins with that of `first`.

        Args:
            first: Size of the older tree.
            second: Size of the newer one, the checkpoint's by default.

        Raises:
            ValueError: There are no such trees under the checkpoint.
            LookupError: What was pruned is needed, and no tiles stand for it.
            Damage: The log is not what was signed.
        """
        size, root = self.checkpoint.size, self.checkpoint.root
        second = size if second is None else second
        if second > size:
            msg = f"a tree of {second} is not signed yet"
            raise ValueError(msg)
        for nodes in self._sources:
            proof = consistency_proof(nodes, first, second)
            before, after = (range_hash(nodes, 0, one) for one in (first, second))
            onwards = consistency_proof(nodes, second, size)
            is_signed = is_consistent(second, after, size, root, onwards)
            if is_signed and is_consistent(first, before, second, after, proof):
                return proof
        raise self._changed()

    def receipt(self, seq: int) -> bytes:
        """Return the tlog-proof of record `seq`: verified with it and the key, without the log."""
        return receipt(seq, self.inclusion(seq).hashes, self.note)

    def _changed(self) -> Damage:
        text = f"the first {self.checkpoint.size} records are not those that were signed"
        return Damage(CHECKPOINT, None, None, text)
