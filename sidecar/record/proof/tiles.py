"""Tiles of the Merkle tree in the layout of C2SP tlog-tiles, below `tiles/` in the ledger's folder.

```
tiles/tile/<L>/<N>   256 hashes: of leaves at level 0, of full tiles of the level below above it
```
Only full tiles are kept. They are derived: whoever reads them proves what comes of them against a
signed root, and what is absent or wrong is computed from the records again. Where records were
pruned, tiles are what is left of them; they were checked and synced before.
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from sidecar.record import disk
from sidecar.record.disk import NEW, READ, Io
from sidecar.record.limits import TILES_MENDED_MAX
from sidecar.record.proof.merkle import HASH_BYTES, parents

TILE_WIDTH: Final = 256
TILE_BYTES: Final = TILE_WIDTH * HASH_BYTES
HEIGHT: Final = 8


def tile_path(level: int | str, number: int) -> str:
    """Return where tile `number` of `level` stands below `tiles/`.

    Source: C2SP tlog-tiles, Merkle Tree.
    """
    elements = [f"{number % 1000:03d}"]
    while number := number // 1000:
        elements.append(f"x{number % 1000:03d}")
    return f"tile/{level}/{'/'.join(reversed(elements))}"


def hashes(tile: bytes) -> list[bytes]:
    """Return the hashes of a tile."""
    return [tile[at : at + HASH_BYTES] for at in range(0, len(tile), HASH_BYTES)]


def tile_root(tile: bytes) -> bytes:
    """Return the hash over a full tile, which stands in the level above."""
    nodes = hashes(tile)
    while len(nodes) > 1:
        nodes = parents(nodes)
    return nodes[0]


class Tiles:
    """The tiles of the ledger in `folder`."""

    def __init__(self, io: Io, folder: Path) -> None:
        self._io = io
        self._folder = folder / "tiles"

    def get(self, level: int, number: int) -> bytes | None:
        """Return a full tile, None when it is not there or not whole."""
        try:
            found = disk.read_all(self._io, self._path(level, number), TILE_BYTES)
        except OSError:
            return None
        return found if len(found) == TILE_BYTES else None

    def stands(self, level: int, number: int) -> bool:
        """Return whether there is something in the place of a full tile."""
        try:
            self._io.stat(self._path(level, number))
        except OSError:
            return False
        return True

    def mending(self, size: int) -> Iterator[None]:
        """Remove what a loss of power has left half of the last tiles of a tree of `size`.

        They were not synced, and are computed when they are asked for.
        """
        level, count = 0, size // TILE_WIDTH
        while count:
            for number in range(max(count - TILES_MENDED_MAX, 0), count):
                self._mend(self._path(level, number))
            level, count = level + 1, count // TILE_WIDTH
            yield

    def _mend(self, path: Path) -> None:
        with suppress(OSError):
            if self._io.stat(path).st_size != TILE_BYTES:
                self._io.unlink(path)

    def put(self, level: int, number: int, tile: bytes, *, durable: bool = False) -> None:
        """Write a full tile; it need not survive a crash unless it is `durable`."""
        assert len(tile) == TILE_BYTES
        path = self._path(level, number)
        self._io.mkdir(path.parent)
        if durable:
            disk.replace(self._io, path, tile)
            self._sync_above(path.parent)
            return
        fd = self._io.open(path, NEW)
        try:
            disk.write_all(self._io, fd, tile)
        finally:
            disk.let_go(self._io, fd)

    def sync(self, level: int, number: int) -> None:
        """Make a tile that is there durable."""
        path = self._path(level, number)
        fd = self._io.open(path, READ)
        try:
            self._io.fsync(fd)
        finally:
            disk.let_go(self._io, fd)
        disk.sync_folder(self._io, path.parent)
        self._sync_above(path.parent)

    def tiling(self, number: int, leaves: bytes) -> Iterator[None]:
        """Write the tiles that are full with `leaves`, of which the first begins tile `number`.

        A step at a time.
        """
        for at in range(0, len(leaves) - TILE_BYTES + 1, TILE_BYTES):
            self.put(0, number, leaves[at : at + TILE_BYTES])
            yield
            yield from self._above(0, number)
            number += 1

    def _above(self, level: int, number: int) -> Iterator[None]:
        """Write the tile above when tile `number` is the last that it needs."""
        while number % TILE_WIDTH == TILE_WIDTH - 1:
            number //= TILE_WIDTH
            roots = []
            for below in range(number * TILE_WIDTH, (number + 1) * TILE_WIDTH):
                tile = self.get(level, below)
                if tile is None:
                    # Absent below, absent above: it is computed when it is asked for.
                    return
                roots.append(tile_root(tile))
                yield
            level += 1
            self.put(level, number, b"".join(roots))

    def _path(self, level: int, number: int) -> Path:
        return self._folder / tile_path(level, number)

    def _sync_above(self, folder: Path) -> None:
        while folder != self._folder.parent:
            folder = folder.parent
            disk.sync_folder(self._io, folder)
