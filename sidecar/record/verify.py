"""Verify a ledger as a whole: frames, checksums, order, Merkle root, signature. Constant memory.

What is proven: nothing up to the signed checkpoint was changed, removed, added or put in another
order. Records after it are only checked to be whole; a checkpoint that is held elsewhere is what
binds whoever has the key (README, Notes).
"""

import fcntl
import os
from collections.abc import Mapping
from pathlib import Path

import msgspec
import orjson

from sidecar.record import disk
from sidecar.record.disk import DISK, Io
from sidecar.record.limits import NOTE_BYTES_MAX
from sidecar.record.proof.checkpoint import Checkpoint, Verifier, opened
from sidecar.record.proof.merkle import Tree
from sidecar.record.read import Damage, Entry, walk
from sidecar.record.segment import segment_names

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
    """

    intact: bool
    origin: str
    segments: int
    records: int
    signed: int
    root: str
    writing: bool = False
    problem: Problem | None = None


class _State:
    """What is known so far; verification stops at the first problem and tells how far it came."""

    def __init__(self, expected: list[tuple[str, Checkpoint]]) -> None:
        self.tree = Tree()
        self.expected: dict[int, list[tuple[str, bytes]]] = {}
        for file, checkpoint in expected:
            self.expected.setdefault(checkpoint.size, []).append((file, checkpoint.root))
        self.check_root()

    def check_root(self) -> None:
        """Compare the root with that of each checkpoint of this size."""
        for file, root in self.expected.get(self.tree.size, ()):
            if self.tree.root() != root:
                text = f"the first {self.tree.size} records are not those that were signed"
                raise Damage(file, None, None, text)

    def check_end(self) -> None:
        """Refuse a log that is shorter than what was signed."""
        longest = max(self.expected)
        if longest > self.tree.size:
            text = f"{longest} records were signed and {self.tree.size} are there"
            raise Damage(self.expected[longest][0][0], None, self.tree.size, text)


def verify(
    folder: Path,
    trusted: Verifier,
    held: Checkpoint | None = None,
    io: Io = DISK,
    *,
    notes: Mapping[str, bytes] = {},
) -> Report:
    """Verify the ledger in `folder` against the key that is trusted.

    Args:
        folder: With the segments and the checkpoint.
        trusted: The key that the auditor was handed before the first record.
        held: The checkpoint of the same log that stands beside the key.
        io: The disk.
        notes: Checkpoints that are held elsewhere, by file: the log must begin with their records.
    """
    problem: Problem | None = None
    signed, state, writing = Checkpoint(trusted.name, 0, b""), None, False
    try:
        # INVARIANT: the checkpoint is read before the records, which a writer only adds to.
        signed = read_checkpoint(io, folder, trusted)
        expected = [(CHECKPOINT, one) for one in (signed, held) if one]
        expected += [(file, _opened(file, note, trusted)) for file, note in notes.items()]
        state = _State(expected)
        writing = _verify_records(io, folder, trusted.name, state)
    except Damage as damage:
        problem = Problem(damage.file, damage.text, damage.offset, damage.seq)
    except OSError as error:
        file = Path(error.filename or folder).name
        problem = Problem(file, f"cannot be read: {os.strerror(error.errno or 0)}")
    return Report(
        intact=problem is None,
        origin=trusted.name,
        segments=len(segment_names(_names(io, folder))),
        records=state.tree.size if state else 0,
        signed=signed.size,
        root=signed.root.hex(),
        writing=writing,
        problem=problem,
    )


def read_checkpoint(io: Io, folder: Path, trusted: Verifier) -> Checkpoint:
    """Return the checkpoint in the ledger's folder; Damage when it is not ours."""
    try:
        note = disk.read_all(io, folder / CHECKPOINT, NOTE_BYTES_MAX)
    except FileNotFoundError:
        raise Damage(CHECKPOINT, None, None, "there is no signed checkpoint") from None
    return _opened(CHECKPOINT, note, trusted)


def _opened(file: str, note: bytes, trusted: Verifier) -> Checkpoint:
    try:
        return opened(note, trusted)
    except UnicodeDecodeError:
        raise Damage(file, None, None, "the checkpoint is not a signed note") from None
    except ValueError as error:
        raise Damage(file, None, None, str(error)) from None


def _verify_records(io: Io, folder: Path, origin: str, state: _State) -> bool:
    """Verify all records; return whether the last is still being written."""
    writing = False
    try:
        for entry in walk(io, folder, origin):
            _check_place(entry, origin)
            state.tree.append(entry.record)
            state.check_root()
    except Damage as damage:
        # A writer may be in the middle of its last record; what it has signed must be there all the
        # same.
        writing = damage.torn and is_locked(folder)
        if not writing:
            raise
    state.check_end()
    return writing


def _check_place(entry: Entry, origin: str) -> None:
    """Compare what a record says of its place with the place that it has."""
    name, _, epoch = origin.rpartition("/")
    try:
        read = orjson.loads(entry.record)
    except orjson.JSONDecodeError:
        read = None
    place = {"epoch": epoch, "origin": name, "seq": entry.seq}
    if not isinstance(read, dict) or read.get("log") != place:
        start = entry.end - len(entry.record)
        raise Damage(entry.file, start, entry.seq, "the record is not in its place")


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
