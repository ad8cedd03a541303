"""Verify a ledger as a whole: frames, checksums, order, Merkle root, signature. Constant memory.

What is proven: nothing up to the signed checkpoint was changed, removed, added or put in another
order. Records after it are only checked to be whole; a checkpoint that is held elsewhere is what
binds whoever has the key (README, Notes). Every record is read, in its open or its sealed form;
snapshots, tiles and the index are not believed. Where the log says that its first records were
pruned, the tree of those is taken from the snapshot, and the signed root proves it or does not.

Keys may follow each other. Each key signs trees up to the record that says so, and no further; the
key that is trusted may be any of them.
"""

import fcntl
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import msgspec

from sidecar.record import disk
from sidecar.record.disk import DISK, Io
from sidecar.record.keeping import snapshot
from sidecar.record.keeping.feed import Feeder
from sidecar.record.keeping.history import History, Rotation
from sidecar.record.keeping.snapshot import Snapshot
from sidecar.record.limits import NOTE_BYTES_MAX
from sidecar.record.proof.checkpoint import Checkpoint, Verifier, opened
from sidecar.record.proof.merkle import Tree, leaf_hashes
from sidecar.record.proof.nodes import LogNodes
from sidecar.record.proof.proofs import consistency_proof, is_consistent
from sidecar.record.segments.segment import first_seq_of, name_of, segment_names
from sidecar.record.segments.walk import Batch, Damage, batches

CHECKPOINT = "checkpoint"


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where the ledger stops being intact."""

    file: str
    text: str
    offset: int | None = None
    seq: int | None = None

    def __str__(self) -> str:
        """Return `file:offset: record seq: text`."""
        at = self.file if self.offset is None else f"{self.file}:{self.offset}"
        return f"{at}: {self.text}" if self.seq is None else f"{at}: record {self.seq}: {self.text}"


class Watch(Protocol):
    """Looks at each batch as the log is verified; raises Damage where something is not intact."""

    def take(self, batch: Batch, leaves: Sequence[bytes], tree: Tree, signed: int) -> None:
        """Look at the records of `batch`, whose `leaves` are the last of `tree`.

        The first `signed` of the log are: what others say could be anybody's word.
        """
        ...

    def end(self, size: int, keys: Sequence[Verifier]) -> None:
        """Look at all once more; `keys` are those that may sign for the log."""
        ...


class Report(msgspec.Struct, frozen=True):
    """What verification saw.

    Args:
        intact: Whether there is no problem.
        origin: Name and epoch of the log.
        segments: Files.
        records: Records that are whole and in order, from the first.
        signed: How many of them the checkpoint proves.
        root: The checkpoint's Merkle root, hexadecimal.
        writing: Whether a process is writing the log, whose last record may be on its way.
        problem: The first problem.
        pruned: How many records before the first that is there were pruned.
    """

    intact: bool
    origin: str
    segments: int
    records: int
    signed: int
    root: str
    writing: bool = False
    problem: Problem | None = None
    pruned: int = 0


class Proven:
    """A tree that is compared with what was signed as it grows."""

    def __init__(self, tree: Tree, signed: Iterable[tuple[str, Checkpoint]]) -> None:
        self.tree = tree
        self._signed: dict[int, list[tuple[str, bytes]]] = {}
        for file, checkpoint in signed:
            self._signed.setdefault(checkpoint.size, []).append((file, checkpoint.root))
        self._check()

    def take(self, batch: Batch) -> list[bytes]:
        """Add the records of `batch`, and return the hashes of their leaves.

        Raises:
            Damage: They do not lead to a root that was signed, or that their segment says.
        """
        tree, leaves = self.tree, leaf_hashes(batch.records)
        if batch.first_seq == batch.said.first_seq and tree.root() != batch.said.root_before:
            text = "the segment does not follow the records before it"
            raise Damage(batch.file, 0, batch.first_seq, text)
        begin = tree.size
        for size in sorted(size for size in self._signed if size > begin):
            if size <= begin + len(leaves):
                tree.extend(leaves[tree.size - begin : size - begin])
                self._check()
        tree.extend(leaves[tree.size - begin :])
        if batch.footer is not None and tree.root() != batch.footer.root:
            text = "the records of the segment are not those that its end names"
            raise Damage(batch.file, batch.end, tree.size, text)
        return leaves

    def check_end(self) -> None:
        """Refuse a log that is shorter than what was signed."""
        longest = max(self._signed)
        if longest > self.tree.size:
            text = f"{longest} records were signed and {self.tree.size} are there"
            raise Damage(self._signed[longest][0][0], None, self.tree.size, text)

    def _check(self) -> None:
        """Compare the root with that of each checkpoint of this size."""
        for file, root in self._signed.get(self.tree.size, ()):
            if self.tree.root() != root:
                text = f"the first {self.tree.size} records are not those that were signed"
                raise Damage(file, None, None, text)


class _Verification:
    """What is known so far; it stops at the first problem and tells how far it came."""

    def __init__(
        self, io: Io, folder: Path, trusted: Verifier, watches: Sequence[Watch] = ()
    ) -> None:
        self._io, self._folder, self._trusted = io, folder, trusted
        self._watches = watches
        self._history = History()
        self._base: Snapshot | None = None
        self.tree = Tree()
        self.signed = Checkpoint(trusted.name, 0, b"")
        self.pruned = 0
        self.writing = False

    def run(self, held: Checkpoint | None, notes: Mapping[str, bytes]) -> None:
        """Verify all of it.

        Raises:
            Damage: The first problem.
        """
        self._begin()
        # INVARIANT: the checkpoint is read before the records, which a writer only adds to.
        given = {CHECKPOINT: read_note(self._io, self._folder), **notes}
        signed = [(file, self._opened(file, note)) for file, note in given.items()]
        self.signed = signed[0][1]
        signed += [(CHECKPOINT, held)] if held else []
        before = (self.pruned, self.tree.root())
        self._walk(Proven(self.tree, [one for one in signed if one[1].size >= self.pruned]))
        for file, checkpoint in signed:
            if 0 < checkpoint.size < self.pruned:
                self._check_pruned(file, checkpoint, before)
        for file, checkpoint in signed:
            # Ours reaches the folder before it stands beside the key: an older one was put back.
            if checkpoint.size > self.signed.size:
                text = f"the log's own checkpoint is older, it signs {self.signed.size} records"
                raise Damage(file, None, None, text)

    def _begin(self) -> None:
        """Take the tree of what was pruned, which the signed root will prove."""
        names = segment_names(self._io.names(self._folder))
        self.pruned = first_seq_of(names[0]) if names else 0
        if not self.pruned:
            return
        self._base = snapshot.unproven(self._io, self._folder, self.pruned)
        if self._base is None:
            text = "the records before were pruned and nothing stands for them"
            raise Damage(names[0], None, self.pruned, text)
        self.tree = self._base.tree()

    def _walk(self, proven: Proven) -> None:
        feeder = Feeder([self._history])
        try:
            for batch in batches(self._io, self._folder, self._trusted.name, self.pruned):
                leaves = proven.take(batch)
                for watch in self._watches:
                    watch.take(batch, leaves, self.tree, self.signed.size)
                # What is not signed could be put there by whoever can write the folder.
                count = max(self.signed.size - batch.first_seq, 0)
                feeder.feed(batch.records[:count], batch.heads[:count])
        except Damage as damage:
            # A writer may be in the middle of its last record; what it has signed must be there
            # all the same.
            self.writing = damage.torn and is_locked(self._folder)
            if not self.writing:
                raise
        proven.check_end()
        if self.pruned > self._history.pruned_to:
            text = "no record says that those before were pruned: a segment is missing"
            raise Damage(name_of(self._history.pruned_to), None, None, text)
        rotations = self._rotations_before() + self._history.rotations
        keys = [key for key, _, _ in _terms(rotations, self._trusted)] or [self._trusted]
        for watch in self._watches:
            watch.end(self.tree.size, keys)

    def _check_pruned(self, file: str, checkpoint: Checkpoint, pruned: tuple[int, bytes]) -> None:
        """Prove by the tiles that what was pruned begins with what was signed."""
        nodes = LogNodes(self._io, self._folder, self._trusted.name)
        try:
            proof = consistency_proof(nodes, checkpoint.size, pruned[0])
        except LookupError:
            text = "it is older than what was pruned, and the tiles of that are absent"
            raise Damage(file, None, checkpoint.size, text) from None
        if not is_consistent(checkpoint.size, checkpoint.root, *pruned, proof):
            text = f"the first {checkpoint.size} records are not those that were signed"
            raise Damage(file, None, None, text)

    # --- keys ---

    def _opened(self, file: str, note: bytes) -> Checkpoint:
        """Return the checkpoint of a note that the trusted key has signed, or one that follows."""
        try:
            return open_checkpoint(file, note, self._trusted)
        except Damage:
            for key, first, last in _terms(self._rotations(), self._trusted):
                found = _signed_by(key, file, note)
                if found is not None and first <= found.size <= last:
                    return found
            raise

    def _rotations(self) -> list[Rotation]:
        """Return how keys have followed each other, as far as the log can be read."""
        history = History()
        feeder = Feeder([history])
        with suppress(Damage):
            for batch in batches(self._io, self._folder, self._trusted.name, self.pruned):
                feeder.feed(batch.records, batch.heads)
        return self._rotations_before() + history.rotations

    def _rotations_before(self) -> list[Rotation]:
        """Return those that the records told which were pruned."""
        history = History()
        if self._base is not None:
            with suppress(KeyError, TypeError, msgspec.ValidationError):
                history.restore(self._base.folds[history.name])
        return history.rotations


def _signed_by(key: Verifier, file: str, note: bytes) -> Checkpoint | None:
    try:
        return open_checkpoint(file, note, key)
    except Damage:
        return None


def _terms(rotations: Sequence[Rotation], trusted: Verifier) -> list[tuple[Verifier, int, int]]:
    """Return each key that the trusted one leads to, and from which to which size it may sign."""
    found: list[tuple[Verifier, int, int]] = []
    first = 0
    try:
        for rotation in rotations:
            old, new = rotation.keys()
            if found and found[-1][0].text() != old.text():
                return []
            found[-1:] = [(old, first, rotation.seq + 1), (new, rotation.seq + 1, sys.maxsize)]
            first = rotation.seq + 1
    except ValueError:
        return []
    is_one_of_them = any(key.text() == trusted.text() for key, _, _ in found)
    return found if is_one_of_them else []


def verify(
    folder: Path,
    trusted: Verifier,
    held: Checkpoint | None = None,
    io: Io = DISK,
    *,
    notes: Mapping[str, bytes] = {},
    watches: Sequence[Watch] = (),
) -> Report:
    """Verify the ledger in `folder` against the key that is trusted.

    Args:
        folder: With the segments and the checkpoint.
        trusted: A key of the log; best the one that was handed over before the first record.
        held: The checkpoint of the same log that stands beside the key.
        io: The disk.
        notes: Checkpoints that are held elsewhere, by file: the log must begin with their records.
        watches: Who else looks at the records as they are read.
    """
    problem: Problem | None = None
    found = _Verification(io, folder, trusted, watches)
    try:
        found.run(held, notes)
    except Damage as damage:
        problem = Problem(damage.file, damage.text, damage.offset, damage.seq)
    except OSError as error:
        file = Path(error.filename or folder).name
        problem = Problem(file, f"cannot be read: {error.strerror or error}")
    return Report(
        intact=problem is None,
        origin=trusted.name,
        segments=len(segment_names(_names(io, folder))),
        records=found.tree.size,
        signed=found.signed.size,
        root=found.signed.root.hex(),
        writing=found.writing,
        problem=problem,
        pruned=found.pruned,
    )


def read_note(io: Io, folder: Path) -> bytes:
    """Return the signed checkpoint in the ledger's folder; Damage when there is none."""
    try:
        return disk.read_all(io, folder / CHECKPOINT, NOTE_BYTES_MAX)
    except FileNotFoundError:
        raise Damage(CHECKPOINT, None, None, "there is no signed checkpoint") from None


def read_checkpoint(io: Io, folder: Path, trusted: Verifier) -> Checkpoint:
    """Return the checkpoint in the ledger's folder; Damage when it is not ours."""
    return open_checkpoint(CHECKPOINT, read_note(io, folder), trusted)


def open_checkpoint(file: str, note: bytes, trusted: Verifier) -> Checkpoint:
    """Return the checkpoint that `trusted` has signed in `file`; Damage when it is none."""
    try:
        return opened(note, trusted)
    except UnicodeDecodeError:
        raise Damage(file, None, None, "the checkpoint is not a signed note") from None
    except ValueError as error:
        raise Damage(file, None, None, str(error)) from None


def is_locked(folder: Path) -> bool:
    """Return whether a process is writing the ledger in `folder`."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _names(io: Io, folder: Path) -> list[str]:
    try:
        return io.names(folder)
    except OSError:
        return []
