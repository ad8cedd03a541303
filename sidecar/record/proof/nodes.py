"""The hashes of complete subtrees of one log: from its tiles where they are full, else its records.

Tiles are not believed: whoever uses these hashes proves what comes of them against a signed root,
and asks again without tiles when that fails.
"""

from bisect import bisect_right
from pathlib import Path

from sidecar.record.disk import Io
from sidecar.record.proof.merkle import HASH_BYTES, leaf_hashes, parents
from sidecar.record.proof.tiles import HEIGHT, TILE_WIDTH, Tiles
from sidecar.record.segments.segment import first_seq_of, segment_names
from sidecar.record.segments.walk import Damage, batches


class LogNodes:
    """The hashes of the ledger in `folder`; those that were looked at are kept."""

    def __init__(self, io: Io, folder: Path, origin: str, *, with_tiles: bool = True) -> None:
        self._io, self._folder, self._origin = io, folder, origin
        self._tiles = Tiles(io, folder) if with_tiles else None
        self._seen: dict[tuple[int, int], bytes | None] = {}
        self._leaves: dict[int, list[bytes]] = {}
        self._firsts: list[int] = []

    def node(self, level: int, index: int) -> bytes:
        """Return the hash over the 2^level leaves that begin with leaf index·2^level.

        Raises:
            LookupError: Neither tiles nor records have it.
            Damage: The records are not intact.
        """
        tile_level, within = divmod(level, HEIGHT)
        first = index << within
        tile = self._tile(tile_level, first // TILE_WIDTH)
        if tile is not None:
            at = first % TILE_WIDTH * HASH_BYTES
            return _folded([tile[at + n * HASH_BYTES :][:HASH_BYTES] for n in range(1 << within)])
        if level == 0:
            return self._leaf(index)
        if tile_level == 0:
            return _folded([self._leaf(seq) for seq in range(first, first + (1 << level))])
        left, right = self.node(level - 1, 2 * index), self.node(level - 1, 2 * index + 1)
        return _folded([left, right])

    def _tile(self, level: int, number: int) -> bytes | None:
        if self._tiles is None:
            return None
        if (level, number) not in self._seen:
            self._seen[level, number] = self._tiles.get(level, number)
        return self._seen[level, number]

    def _leaf(self, seq: int) -> bytes:
        """Return the hash of a leaf, by reading the segment that holds it."""
        first = self._first_of(seq)
        if first not in self._leaves or seq - first >= len(self._leaves[first]):
            self._leaves[first] = self._read(first)
        if seq - first >= len(self._leaves[first]):
            msg = f"there is no record {seq}"
            raise LookupError(msg)
        return self._leaves[first][seq - first]

    def _first_of(self, seq: int) -> int:
        """Return which record the segment begins with that holds `seq`."""
        if not self._firsts:
            names = segment_names(self._io.names(self._folder))
            self._firsts = [first_seq_of(name) for name in names]
        at = bisect_right(self._firsts, seq)
        if at == 0:
            msg = f"record {seq} was pruned, and no tile holds its hash"
            raise LookupError(msg)
        return self._firsts[at - 1]

    def _read(self, first: int) -> list[bytes]:
        """Return the hashes of the leaves of the segment that begins with `first`."""
        found: list[bytes] = []
        try:
            for batch in batches(self._io, self._folder, self._origin, first):
                if batch.said.first_seq != first:
                    break
                found += leaf_hashes(batch.records)
        except Damage as damage:
            # A writer may be in the middle of its last record.
            if not damage.torn:
                raise
        return found


def _folded(nodes: list[bytes]) -> bytes:
    while len(nodes) > 1:
        nodes = parents(nodes)
    return nodes[0]
