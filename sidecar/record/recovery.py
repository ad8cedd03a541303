"""Open a ledger: prove that it is whole and ours, take off a torn tail, or refuse to start.

A crash leaves at most a record that was never acknowledged and not written to its end: that tail is
copied aside, cut off and reported. Everything else that is not as it was signed is somebody's doing
or a broken disk, and no sidecar starts on it.

| found | done |
|---|---|
| no segments, no key | a new key and a new origin |
| no segments, a key that has signed records | refused: an older ledger |
| segments, no key or no checkpoint | refused |
| a last record that is not whole, nothing behind it, not signed | copied to `.torn`, cut off |
| any other damage, a missing segment, fewer records than signed, another root | refused |
"""

import os
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from sidecar.record import disk
from sidecar.record.disk import FOLDER_MODE, READ, Io
from sidecar.record.fold import Fold
from sidecar.record.proof import identity
from sidecar.record.proof.checkpoint import Checkpoint
from sidecar.record.proof.identity import Identity
from sidecar.record.proof.merkle import Tree
from sidecar.record.read import Damage, walk
from sidecar.record.segment import HEADER_BYTES, Segment, name_of, segment_names
from sidecar.record.verify import CHECKPOINT, read_checkpoint
from sidecar.terms.errors import ConfigError, LedgerBroken


class Recovered(NamedTuple):
    """A ledger that is whole: what was signed is there, and what was torn is set aside.

    `news` are ops events to be recorded first, as (event, detail).
    """

    tree: Tree
    segment: Segment
    news: list[tuple[str, dict[str, Any]]]


class _Scan:
    """How far the log is whole, and whether it holds what was signed."""

    def __init__(self, signed: Sequence[Checkpoint]) -> None:
        self.tree = Tree()
        self.file = name_of(0)
        self.end = HEADER_BYTES
        self.signed = signed
        self.torn: Damage | None = None

    def check(self) -> None:
        """Compare the root with the checkpoints of this size."""
        for checkpoint in self.signed:
            if checkpoint.size == self.tree.size and checkpoint.root != self.tree.root():
                text = f"the first {checkpoint.size} records are not those that were signed"
                raise Damage(CHECKPOINT, None, None, text)


def lock(io: Io, folder: Path) -> int:
    """Take the ledger's folder for this process alone, making it when it is not there.

    The lock is on the folder itself: a lock file could be removed and made again.

    Raises:
        LedgerBroken: Another process has it, or others may write to it.
    """
    folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    fd = io.open(folder, READ)
    try:
        _check_owner(io, folder, fd)
        io.lock(fd)
    except BlockingIOError:
        disk.let_go(io, fd)
        raise LedgerBroken(f"{folder}: another process writes this ledger") from None
    except (OSError, LedgerBroken):
        disk.let_go(io, fd)
        raise
    return fd


def _check_owner(io: Io, folder: Path, fd: int) -> None:
    seen = io.fstat(fd)
    if seen.st_uid != os.geteuid() or seen.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise LedgerBroken(f"{folder}: others may write to the ledger's folder")


def identify(
    io: Io, folder: Path, key_file: Path, name: str, random_bytes: Callable[[int], bytes]
) -> Identity:
    """Return the identity of the ledger in `folder`, a new one only where there is no ledger yet.

    Raises:
        ConfigError: The key would stand inside of what it signs.
        LedgerBroken: There is a ledger and no key.
    """
    if key_file.resolve().is_relative_to(folder.resolve()):
        raise ConfigError(f"{key_file}: the ledger's key must stand outside of the ledger's folder")
    if identity.is_there(key_file):
        return identity.load(io, key_file)
    if folder.is_dir() and segment_names(io.names(folder)):
        raise LedgerBroken(f"{key_file}: the key of the ledger in {folder} is absent")
    return identity.create(io, key_file, name, random_bytes)


def recover(io: Io, folder: Path, who: Identity, folds: Sequence[Fold]) -> Recovered:
    """Return the ledger in `folder`, whole, its last segment open for writing; feed `folds`.

    Raises:
        LedgerBroken: The ledger is not intact or not ours; the text names file and offset.
    """
    names = io.names(folder)
    for name in names:
        if name.endswith(".tmp"):
            # What a crash left behind before it had a name.
            io.unlink(folder / name)
    try:
        if not segment_names(names):
            return _begin(io, folder, who)
        return _resume(io, folder, who, folds)
    except Damage as damage:
        raise LedgerBroken(f"{folder}/{damage}") from None


def _begin(io: Io, folder: Path, who: Identity) -> Recovered:
    signed = who.last_signed(io)
    if signed is not None and signed.size > 0:
        text = f"{signed.size} records were signed and none is there"
        raise Damage(CHECKPOINT, None, None, text)
    tree = Tree()
    # INVARIANT: a log without a checkpoint has no segment, so a missing checkpoint is a removed
    # one.
    sign(io, folder, who, tree)
    return Recovered(tree, Segment.create(io, folder, 0, who.origin), [])


def _resume(io: Io, folder: Path, who: Identity, folds: Sequence[Fold]) -> Recovered:
    beside_key = who.last_signed(io)
    if beside_key is None:
        raise LedgerBroken(f"{who.signed_file}: the last signed checkpoint is absent")
    scan = _Scan([read_checkpoint(io, folder, who.verifier), beside_key])
    _scan(io, folder, who.origin, scan, folds)
    for checkpoint in scan.signed:
        if checkpoint.size > scan.tree.size:
            text = f"{checkpoint.size} records were signed and {scan.tree.size} are there"
            raise Damage(scan.file, scan.end, scan.tree.size, text)
    path = folder / segment_names(io.names(folder))[-1]
    news = [_set_aside(io, path, scan.end)] if scan.torn else []
    first_seq = int(path.stem)
    return Recovered(scan.tree, Segment.reopen(io, path, first_seq, scan.end), news)


def _scan(io: Io, folder: Path, origin: str, scan: _Scan, folds: Sequence[Fold]) -> None:
    """Walk all records; a torn tail ends the walk, any other damage is raised."""
    scan.check()
    try:
        for entry in walk(io, folder, origin):
            scan.tree.append(entry.record)
            scan.file, scan.end = entry.file, entry.end
            feed(folds, entry.record)
            scan.check()
    except Damage as damage:
        if not damage.torn:
            raise
        scan.torn = damage
    last = segment_names(io.names(folder))[-1]
    if last != scan.file:
        # The last segment has no whole record yet.
        scan.file, scan.end = last, HEADER_BYTES


def feed(folds: Sequence[Fold], record: bytes) -> None:
    """Feed one durable record to the folds that look at its kind."""
    for fold in folds:
        # A cheap look first: almost every record is a decision. The words may also stand in a
        # value.
        if b'"kind":"%b"' % fold.kind.encode() in record:
            read = orjson.loads(record)
            if read["kind"] == fold.kind:
                fold.apply(read)


def sign(io: Io, folder: Path, who: Identity, tree: Tree) -> None:
    """Sign the tree as it stands: into the folder first, then beside the key.

    In this order a crash between the two leaves the checkpoint beside the key older, never longer
    than the log.
    """
    note = who.sign(Checkpoint(who.origin, tree.size, tree.root()))
    disk.replace(io, folder / CHECKPOINT, note)
    disk.replace(io, who.signed_file, note)


def _set_aside(io: Io, path: Path, end: int) -> tuple[str, dict[str, Any]]:
    """Copy the torn tail of `path` to a file of its own, durable before anything is cut off."""
    fd = io.open(path, READ)
    try:
        tail = io.read(fd, io.fstat(fd).st_size - end, end)
    finally:
        disk.let_go(io, fd)
    aside = path.with_name(f"{path.name}.{end}.torn")
    with suppress(FileNotFoundError):
        io.unlink(aside)
    disk.replace(io, aside, tail)
    return "ledger.torn_tail", {"file": path.name, "offset": end, "bytes": len(tail)}
