"""Export a log: verified as it is read, streamed, and there as a whole or not at all.

```
checkpoint        the signed note, as it stood when the export began
manifest.json     what was exported: form, first record, how many, whether all, digests of files
tile/<L>/<N>      the tree's hashes (C2SP tlog-tiles), partial ones as <N>.p/<W>
tile/entries/<N>  `tiles` alone: the records, each behind its length in 16 bits
records.jsonl     `jsonl` alone: a record a line, to the byte
records.csv       `csv` alone: a row a record, cells that a spreadsheet would compute escaped
records.parquet   `parquet` alone: the same columns, and the record's bytes in `record`
```
The tiles prove each exported record by itself, so a selection is proven as well as the whole. Only
what is under the checkpoint is exported. Everything is written aside in a folder that gets its name
at the end; memory holds a few hundred hashes.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final, Literal, Protocol

import msgspec

from sidecar.record.disk import DISK
from sidecar.record.keeping import snapshot
from sidecar.record.proof.checkpoint import Checkpoint, Verifier
from sidecar.record.proof.merkle import Tree
from sidecar.record.proof.nodes import LogNodes
from sidecar.record.proof.tiles import TILE_WIDTH, tile_path, tile_root
from sidecar.record.segments.segment import first_seq_of, segment_names
from sidecar.record.segments.walk import Batch, Damage, batches
from sidecar.record.verify import CHECKPOINT, Proven, open_checkpoint, read_note

Format = Literal["tiles", "jsonl", "csv", "parquet"]
MANIFEST: Final = "manifest.json"


class Manifest(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an export says of itself; only what the tiles prove is proven.

    Args:
        format: In which form the records are.
        origin: Name and epoch of the log.
        size: Records under the checkpoint.
        root: Its root, hexadecimal.
        first: The first record that is there; those before were pruned.
        records: How many were exported.
        complete: Whether that is all from `first` on.
        filters: What was asked for, where that is not all.
        files: SHA-256 of files, by name.
    """

    format: Format
    origin: str
    size: int
    root: str
    first: int
    records: int
    complete: bool
    filters: dict[str, str] = {}
    files: dict[str, str] = {}


class Rows(Protocol):
    """Where exported records go."""

    def add(self, seq: int, leaf: bytes, record: bytes) -> None:
        """Take one record."""
        ...

    def close(self) -> None:
        """Take no more."""
        ...


class Asked(msgspec.Struct, frozen=True):
    """What is to be exported.

    Args:
        format: In which form.
        rows_of: Makes what takes the records, in a folder, from a first record on.
        fits: Whether a record is one of those asked for; None for all.
        filters: What `fits` looks for, in words.
        progress: Is told how many records have been read.
    """

    format: Format
    rows_of: Callable[[Path, int], Rows]
    fits: Callable[[bytes], bool] | None = None
    filters: dict[str, str] = {}
    progress: Callable[[int], None] = lambda _count: None


class HashTiles:
    """Writes the tiles of a tree as its leaves come."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._levels: list[list[bytes]] = []
        self._counts: list[int] = []

    def add(self, leaf: bytes, level: int = 0) -> None:
        """Take the next hash of a level; a full tile is written, and goes into the one above."""
        if level == len(self._levels):
            self._levels.append([])
            self._counts.append(0)
        waiting = self._levels[level]
        waiting.append(leaf)
        if len(waiting) == TILE_WIDTH:
            tile = b"".join(waiting)
            put(self._folder / tile_path(level, self._counts[level]), tile)
            self._counts[level] += 1
            waiting.clear()
            self.add(tile_root(tile), level + 1)

    def close(self) -> None:
        """Write the tiles that are not full."""
        for level, waiting in enumerate(self._levels):
            if waiting:
                path = f"{tile_path(level, self._counts[level])}.p/{len(waiting)}"
                put(self._folder / path, b"".join(waiting))


class Entries:
    """Writes the records as entry bundles, from the first that is whole."""

    def __init__(self, folder: Path, first: int) -> None:
        self._folder = folder
        self._begin = -(-first // TILE_WIDTH) * TILE_WIDTH
        self._waiting: list[bytes] = []

    def add(self, seq: int, leaf: bytes, record: bytes) -> None:
        """Take one record."""
        if seq < self._begin:
            return
        self._waiting.append(len(record).to_bytes(2, "big") + record)
        if len(self._waiting) == TILE_WIDTH:
            self._put("")

    def close(self) -> None:
        """Write the bundle that is not full."""
        if self._waiting:
            self._put(f".p/{len(self._waiting)}")

    def _put(self, suffix: str) -> None:
        path = tile_path("entries", self._begin // TILE_WIDTH)
        put(self._folder / f"{path}{suffix}", b"".join(self._waiting))
        self._begin += TILE_WIDTH
        self._waiting.clear()


class Lines:
    """Writes a record a line."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")

    def add(self, seq: int, leaf: bytes, record: bytes) -> None:
        """Take one record."""
        self._file.write(record + b"\n")

    def close(self) -> None:
        """Take no more."""
        self._file.close()


def put(path: Path, data: bytes) -> None:
    """Write a file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def export(ledger: Path, trusted: Verifier, out: Path, asked: Asked) -> Manifest:
    """Export the log in `ledger` to the new folder `out`.

    Args:
        ledger: The ledger's folder.
        trusted: The key that has signed it.
        out: Where there is nothing yet.
        asked: What of it, and in which form.

    Raises:
        Damage: The log is not what was signed; nothing is left at `out`.
        LookupError: The hashes of what was pruned are absent.
        OSError: It cannot be written; nothing is left at `out`.
    """
    aside = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.resolve().parent))
    try:
        manifest = _Exporting(ledger, trusted, aside, asked).run()
        put(aside / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")
        _sync(aside)
        # Fails where somebody has put something there since.
        aside.rename(out)
    finally:
        # Where it has its name there is nothing any more.
        shutil.rmtree(aside, ignore_errors=True)
    return manifest


class _Exporting:
    """One export on its way."""

    def __init__(self, ledger: Path, trusted: Verifier, out: Path, asked: Asked) -> None:
        self._ledger, self._trusted, self._out, self._asked = ledger, trusted, out, asked
        self._note = read_note(DISK, ledger)
        self._signed = open_checkpoint(CHECKPOINT, self._note, trusted)
        names = segment_names(DISK.names(ledger))
        self._first = first_seq_of(names[0]) if names else 0
        self._tiles = HashTiles(out)
        self._count = 0

    def run(self) -> Manifest:
        put(self._out / CHECKPOINT, self._note)
        tree = self._before()
        proven = Proven(tree, [(CHECKPOINT, self._signed)])
        with ExitStack() as stack:
            rows = self._asked.rows_of(self._out, self._first)
            stack.callback(rows.close)
            for batch in self._batches():
                leaves = proven.take(batch)
                self._take(batch, leaves, rows)
                self._asked.progress(batch.first_seq + len(batch.records))
        proven.check_end()
        self._tiles.close()
        return self._manifest(self._signed)

    def _batches(self) -> Iterator[Batch]:
        """Yield all records that are signed; what is newer may be on its way."""
        try:
            for batch in batches(DISK, self._ledger, self._trusted.name, self._first):
                yield batch
                if batch.first_seq + len(batch.records) >= self._signed.size:
                    return
        except Damage as damage:
            if not damage.torn or (damage.seq or 0) < self._signed.size:
                raise

    def _before(self) -> Tree:
        """Return the tree of what was pruned, and write the tiles over it."""
        if not self._first:
            return Tree()
        kept = snapshot.unproven(DISK, self._ledger, self._first)
        if kept is None:
            text = "the records before were pruned and nothing stands for them"
            raise Damage(CHECKPOINT, None, self._first, text)
        nodes = LogNodes(DISK, self._ledger, self._trusted.name)
        tree = Tree()
        for seq in range(self._first):
            leaf = nodes.node(0, seq)
            tree.extend([leaf])
            self._tiles.add(leaf)
        return tree

    def _take(self, batch: Batch, leaves: Sequence[bytes], rows: Rows) -> None:
        fits = self._asked.fits
        numbered = zip(
            range(batch.first_seq, self._signed.size), leaves, batch.records, strict=False
        )
        for seq, leaf, record in numbered:
            self._tiles.add(leaf)
            if fits is None or fits(record):
                rows.add(seq, leaf, record)
                self._count += 1

    def _manifest(self, signed: Checkpoint) -> Manifest:
        is_tiles = self._asked.format == "tiles"
        first = -(-self._first // TILE_WIDTH) * TILE_WIDTH if is_tiles else self._first
        files = {
            path.name: _sha256(path)
            for path in sorted(self._out.iterdir())
            if path.is_file() and path.name != CHECKPOINT
        }
        return Manifest(
            format=self._asked.format,
            origin=signed.origin,
            size=signed.size,
            root=signed.root.hex(),
            first=min(first, signed.size),
            records=max(signed.size - first, 0) if is_tiles else self._count,
            complete=self._asked.fits is None,
            filters=self._asked.filters,
            files=files,
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(folder: Path) -> None:
    """Make durable what was written."""
    for path in [*folder.rglob("*"), folder]:
        fd = os.open(path, os.O_RDONLY)
        with suppress(OSError):
            os.fsync(fd)
        os.close(fd)
