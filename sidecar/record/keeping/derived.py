"""Compare with the records what was derived from them: tiles, and snapshots.

Neither is believed by anybody, so a changed one makes nothing wrong; but nobody had a reason to
change it, and whoever copies a log for others copies its tiles.
"""

from collections.abc import Sequence
from pathlib import Path

from sidecar.record import disk
from sidecar.record.disk import Io
from sidecar.record.keeping import snapshot
from sidecar.record.limits import SNAPSHOT_BYTES_MAX
from sidecar.record.proof.checkpoint import Verifier, note_text
from sidecar.record.proof.merkle import Tree
from sidecar.record.proof.tiles import TILE_WIDTH, Tiles, tile_path, tile_root
from sidecar.record.segments.walk import Batch, Damage


class Derived:
    """Compares the tiles and snapshots in the ledger's folder with the records."""

    def __init__(self, io: Io, folder: Path) -> None:
        self._io, self._folder = io, folder
        self._tiles = Tiles(io, folder)
        self._waiting: list[bytes] = []
        self._first = -1
        self._snapshots: list[tuple[str, int, bytes]] = []

    def take(self, batch: Batch, leaves: Sequence[bytes], tree: Tree) -> None:
        """Compare what is full with these records. Damage where it is not theirs."""
        if self._first < 0:
            # The tile of what was pruned is compared from its first record that is there.
            self._first = -(-batch.first_seq // TILE_WIDTH) * TILE_WIDTH
        if not batch.records:
            self._check_snapshot(batch.first_seq, tree)
        skipped = max(self._first - batch.first_seq, 0) if not self._waiting else 0
        self._waiting += leaves[skipped:]
        while len(self._waiting) >= TILE_WIDTH:
            tile = b"".join(self._waiting[:TILE_WIDTH])
            self._check_tile(0, self._first // TILE_WIDTH, tile)
            del self._waiting[:TILE_WIDTH]
            self._first += TILE_WIDTH

    def end(self, size: int, keys: Sequence[Verifier]) -> None:
        """Refuse snapshots that none of the ledger's keys has signed. Damage where there is one."""
        for name, first_seq, note in self._snapshots:
            if not any(_is_by(note, key) for key in keys):
                text = "the snapshot is not signed by the ledger's key"
                raise Damage(name, None, first_seq, text)

    def _check_tile(self, level: int, number: int, tile: bytes) -> None:
        found = self._tiles.get(level, number)
        if found is not None and found != tile:
            seq = number * TILE_WIDTH ** (level + 1)
            text = "the tile is not that of the records"
            raise Damage(f"tiles/{tile_path(level, number)}", None, seq, text)
        if number % TILE_WIDTH == TILE_WIDTH - 1:
            above = number // TILE_WIDTH
            below = [self._tiles.get(level, above * TILE_WIDTH + at) for at in range(TILE_WIDTH)]
            if None not in below:
                roots = [tile_root(one) for one in below if one is not None]
                self._check_tile(level + 1, above, b"".join(roots))

    def _check_snapshot(self, first_seq: int, tree: Tree) -> None:
        name = snapshot.name_of(first_seq)
        try:
            note = disk.read_all(self._io, self._folder / name, SNAPSHOT_BYTES_MAX)
        except OSError:
            return
        found = snapshot.unproven(self._io, self._folder, first_seq)
        if found is None or found.tree().root() != tree.root():
            raise Damage(name, None, first_seq, "the snapshot is not of the records before it")
        self._snapshots.append((name, first_seq, note))


def _is_by(note: bytes, key: Verifier) -> bool:
    try:
        return note_text(note, key) is not None
    except ValueError:
        return False
