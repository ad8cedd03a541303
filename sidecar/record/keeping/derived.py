"""Compare with the records what was derived from them: tiles, and snapshots.

Neither is believed by anybody, so a changed one makes nothing wrong; but nobody had a reason to
change it, and whoever copies a log for others copies its tiles. Of records that were pruned the
tiles are what is left: they must be there, and lead to the tree that the signed root proves.
"""

from collections.abc import Sequence
from pathlib import Path

from sidecar.record import disk
from sidecar.record.disk import Io
from sidecar.record.keeping import snapshot
from sidecar.record.limits import SNAPSHOT_BYTES_MAX
from sidecar.record.proof.checkpoint import Verifier, note_text
from sidecar.record.proof.merkle import Tree
from sidecar.record.proof.tiles import TILE_WIDTH, Tiles, hashes, tile_path, tile_root
from sidecar.record.segments.walk import Batch, Damage


class Derived:
    """Compares the tiles and snapshots in the ledger's folder with the records."""

    def __init__(self, io: Io, folder: Path) -> None:
        self._io, self._folder = io, folder
        self._tiles = Tiles(io, folder)
        self._waiting: list[bytes] = []
        self._first = -1
        self._snapshots: list[tuple[str, int, bytes]] = []
        self._gone: Damage | None = None

    def take(self, batch: Batch, leaves: Sequence[bytes], tree: Tree, signed: int) -> None:
        """Compare what is full with these records. Damage where it is not theirs."""
        if self._first < 0:
            self._begin(batch.first_seq, tree)
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
        """Refuse snapshots that none of the ledger's keys has signed. Damage where there is one.

        And tiles of pruned records that are not theirs: what those are is proven by now.
        """
        if self._gone is not None:
            raise self._gone
        for name, first_seq, note in self._snapshots:
            if not any(_is_by(note, key) for key in keys):
                text = "the snapshot is not signed by the ledger's key"
                raise Damage(name, None, first_seq, text)

    def _begin(self, first_seq: int, tree: Tree) -> None:
        """Begin with the tile of the first record that is there, before which `tree` stands."""
        number, within = divmod(first_seq, TILE_WIDTH)
        self._first = -(-first_seq // TILE_WIDTH) * TILE_WIDTH
        try:
            self._check_pruned(first_seq, tree.frontier)
            if within:
                self._waiting = hashes(self._whole(number))[:within]
                self._first = number * TILE_WIDTH
        except Damage as damage:
            self._gone = damage

    def _check_pruned(self, size: int, frontier: Sequence[bytes]) -> None:
        """Compare the tiles of the first `size` records with the perfect subtrees over these."""
        begin = 0
        for root in frontier:
            end = begin + (1 << (size - begin).bit_length() - 1)
            found, first = Tree(), begin // TILE_WIDTH
            for number in range(first, -(-end // TILE_WIDTH)):
                at = number * TILE_WIDTH
                found.extend(hashes(self._whole(number))[max(begin - at, 0) : end - at])
            if found.root() != root:
                text = f"the tiles of the pruned records up to {end - 1} are not theirs"
                raise Damage(f"tiles/{tile_path(0, first)}", None, begin, text)
            begin = end
        for number in range(TILE_WIDTH - 1, size // TILE_WIDTH, TILE_WIDTH):
            self._check_above(0, number)

    def _whole(self, number: int) -> bytes:
        """Return a tile of records that were pruned."""
        found = self._tiles.get(0, number)
        if found is None:
            text = "not a tile of 256 hashes" if self._tiles.stands(0, number) else "it is missing"
            text = f"the tile of records that were pruned: {text}"
            raise Damage(f"tiles/{tile_path(0, number)}", None, number * TILE_WIDTH, text)
        return found

    def _check_tile(self, level: int, number: int, tile: bytes) -> None:
        found = self._tiles.get(level, number)
        is_odd = found is None and self._tiles.stands(level, number)
        if is_odd or (found is not None and found != tile):
            seq = number * TILE_WIDTH ** (level + 1)
            text = "not a tile of 256 hashes" if is_odd else "the tile is not that of the records"
            raise Damage(f"tiles/{tile_path(level, number)}", None, seq, text)
        self._check_above(level, number)

    def _check_above(self, level: int, number: int) -> None:
        """Compare the tile above with those it is made of, of which `number` is the last."""
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
        except FileNotFoundError:
            return
        except OSError as error:
            text = f"the snapshot cannot be read: {error.strerror or error}"
            raise Damage(name, None, first_seq, text) from None
        found = snapshot.unproven(self._io, self._folder, first_seq)
        if found is None or found.tree().root() != tree.root():
            raise Damage(name, None, first_seq, "the snapshot is not of the records before it")
        self._snapshots.append((name, first_seq, note))


def _is_by(note: bytes, key: Verifier) -> bool:
    try:
        return note_text(note, key) is not None
    except ValueError:
        return False
