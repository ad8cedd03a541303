"""Open a ledger: prove that it is whole and ours, take off a torn tail, or refuse to start.

A crash leaves at most records that nobody was told of and that were not written to their end: that
tail is copied aside, cut off and reported. Everything else that is not as it was signed is
somebody's doing or a broken disk, and no sidecar starts on it. What stands before the last segment
is known from its signed snapshot; where there is none, all is read.

| found | done |
|---|---|
| no segments, no key | a new key and a new origin |
| no segments, a key that has signed records, or is without what it signed | refused |
| segments, no key or no checkpoint | refused |
| a damaged record in the last batch, no later one behind it, not signed | copied to `.torn`, cut |
| any other damage, a missing segment, fewer records than signed, another root | refused |
| a record that is obeyed, a revocation for one, and not signed | copied to `.torn`, cut |
| records that are not signed and bear no mark of ours | copied to `.torn`, cut |
| a last segment without a record, the one before it without an end | removed, and gone on there |
| the first records gone, and no record says that they were pruned | refused |
"""

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sidecar.record import disk
from sidecar.record.disk import READ, Io
from sidecar.record.keeping import snapshot
from sidecar.record.keeping.feed import Feeder
from sidecar.record.keeping.history import History
from sidecar.record.keeping.obeyed import is_obeyed
from sidecar.record.limits import UNREAD_TOLD_MAX
from sidecar.record.proof import identity
from sidecar.record.proof.checkpoint import Checkpoint
from sidecar.record.proof.identity import Identity
from sidecar.record.proof.merkle import HASH_BYTES, Tree
from sidecar.record.proof.tiles import TILE_WIDTH
from sidecar.record.segments.current import Segment
from sidecar.record.segments.segment import (
    FOOTER_BYTES,
    HEADER_BYTES,
    SEALED,
    Footer,
    Header,
    first_seq_of,
    name_of,
    read_footer,
    segment_names,
)
from sidecar.record.segments.walk import Batch, Damage, batches, check_rest
from sidecar.record.verify import CHECKPOINT, Proven, read_checkpoint
from sidecar.terms.errors import ConfigError, LedgerBroken

_UNMARKED: Final = "records that are not signed bear no mark of this ledger"


class Log(NamedTuple):
    """One ledger as its writer knows it."""

    io: Io
    folder: Path
    who: Identity
    feeder: Feeder
    history: History
    now_us: Callable[[], int]


class Known(NamedTuple):
    """What the writer keeps of the log: it grows with each record.

    Args:
        tree: Of all durable records.
        leaves: Hashes of the leaves since the last full tile before the segment that is written.
        segments: First numbers of the segments before that.
    """

    tree: Tree
    leaves: bytearray
    segments: list[int]


class Recovered(NamedTuple):
    """A ledger that is whole: what was signed is there, and what was torn is set aside.

    `news` are ops events to be recorded first, as (event, detail).
    """

    known: Known
    segment: Segment
    news: list[tuple[str, dict[str, Any]]]


def identify(
    io: Io, folder: Path, key_file: Path, name: str, random_bytes: Callable[[int], bytes]
) -> Identity:
    """Return the identity of the ledger in `folder`, a new one only where there is no ledger yet.

    Raises:
        ConfigError: The key would stand inside of what it signs.
        LedgerBroken: There is a ledger and no key.
    """
    # Of the file itself no link is followed.
    if key_file.parent.resolve().is_relative_to(folder.resolve()):
        raise ConfigError(f"{key_file}: the ledger's key must stand outside of the ledger's folder")
    if identity.is_there(key_file):
        return identity.load(io, key_file)
    if folder.is_dir() and segment_names(io.names(folder)):
        raise LedgerBroken(f"{key_file}: the key of the ledger in {folder} is absent")
    return identity.create(io, key_file, name, random_bytes)


def recover(log: Log) -> Recovered:
    """Return the ledger, whole, its last segment open for writing; feed the folds.

    Raises:
        LedgerBroken: The ledger is not intact or not ours; the text names file and offset.
    """
    try:
        names = _tidied(log)
        return _resume(log, names) if names else _begin(log)
    except Damage as damage:
        raise LedgerBroken(f"{log.folder}/{damage}") from None


def _tidied(log: Log) -> list[str]:
    """Remove what a crash left half done, and return the names of segments."""
    names = log.io.names(log.folder)
    for name in names:
        if name.endswith(".tmp") or (name.endswith(SEALED) and name.removesuffix(SEALED) in names):
            # What has no name yet; and a segment that was not sealed to the end is sealed again.
            log.io.unlink(log.folder / name)
    return _without_begun(log, segment_names(log.io.names(log.folder)))


def _without_begun(log: Log, names: list[str]) -> list[str]:
    """Remove a last segment that holds nothing while the one before it has no end yet."""
    if len(names) < 2 or log.io.stat(log.folder / names[-1]).st_size > HEADER_BYTES:
        return names
    before = names[-2]
    if before.endswith(SEALED) or end_of(log, before) is not None:
        return names
    remove_begun(log, first_seq_of(before))
    return names[:-1]


def end_of(log: Log, name: str) -> Footer | None:
    """Return the end of a segment that is not sealed, None when it has none."""
    fd = log.io.open(log.folder / name, READ)
    try:
        at = max(log.io.fstat(fd).st_size - FOOTER_BYTES, 0)
        return read_footer(log.io.read(fd, FOOTER_BYTES, at))
    finally:
        disk.let_go(log.io, fd)


def _begin(log: Log) -> Recovered:
    signed = log.who.last_signed(log.io)
    if signed is None:
        raise LedgerBroken(f"{log.who.signed_file}: the last signed checkpoint is absent")
    if signed.size > 0:
        text = f"{signed.size} records were signed and none is there"
        raise Damage(CHECKPOINT, None, None, text)
    known = Known(Tree(), bytearray(), [])
    # INVARIANT: a log without a checkpoint has no segment, so a missing checkpoint is a removed
    # one.
    sign(log, known.tree)
    return Recovered(known, begin_segment(log, known), [])


def begin_segment(log: Log, known: Known) -> Segment:
    """Return a new segment for what comes next, its snapshot beside it."""
    said = Header(known.tree.size, log.now_us(), known.tree.root())
    _trim(known)
    if said.first_seq:
        leaves, folds = bytes(known.leaves), log.feeder.folds
        taken = snapshot.of(log.who.origin, known.tree, leaves, known.segments, folds)
        snapshot.write(log.io, log.folder, taken, log.who.key)
    return Segment.create(log.io, log.folder, said, log.who.origin)


def remove_begun(log: Log, first_seq: int) -> None:
    """Remove for good whatever was begun after the segment that begins with `first_seq`.

    It was made and is not known to be there for good, so nothing stands in it. Only when its name
    is gone for good may the end of the segment before it be cut off.
    """
    for name in segment_names(log.io.names(log.folder)):
        if first_seq_of(name) > first_seq:
            log.io.unlink(log.folder / name)
    # INVARIANT: also when there is none, since an earlier try may have removed it and failed here.
    disk.sync_folder(log.io, log.folder)


def _trim(known: Known) -> None:
    """Forget the hashes of leaves whose tile is full."""
    del known.leaves[: len(known.leaves) - known.tree.size % TILE_WIDTH * HASH_BYTES]


def sign(log: Log, tree: Tree, *also: Ed25519PrivateKey) -> None:
    """Sign the tree as it stands, and keep that."""
    keep_note(log, signed_note(log, tree, *also))


def signed_note(log: Log, tree: Tree, *also: Ed25519PrivateKey) -> bytes:
    """Return the tree as it stands, signed."""
    return log.who.sign(Checkpoint(log.who.origin, tree.size, tree.root()), *also)


def keep_note(log: Log, note: bytes) -> None:
    """Put a signed tree into the folder first, then beside the key.

    In this order a crash between the two leaves the checkpoint beside the key older, never longer
    than the log.
    """
    disk.replace(log.io, log.folder / CHECKPOINT, note)
    disk.replace(log.io, log.who.signed_file, note)


# --- a ledger that is there ---


class _Scan:
    """How far the log is whole, and what is known of it."""

    def __init__(self, proven: Proven, known: Known, signed: int) -> None:
        self.signed = signed
        # Up to which record the end bears marks, where it has to.
        self.ours = sys.maxsize
        self.proven = proven
        self.known = known
        self.last: Batch | None = None
        self.offsets: list[int] = []
        self.torn: Damage | None = None
        # Records that are as they were written, and say nothing that can be understood.
        self.unread: list[int] = []

    def take(self, log: Log, batch: Batch) -> None:
        """Take the next records into account, up to one that is not believed.

        Raises:
            Damage: There is such a one.
        """
        count = self._believed(batch)
        whole, batch = batch, _begin_of(batch, count)
        if self.last is None or batch.file != self.last.file:
            if self.last is not None:
                self.known.segments.append(self.last.said.first_seq)
            _trim(self.known)
            self.offsets = []
        self.known.leaves.extend(b"".join(self.proven.take(batch)))
        self.unread += [
            batch.first_seq + nth for nth in log.feeder.feed(batch.records, batch.heads)
        ]
        self.offsets += batch.offsets
        self.last = batch
        if batch is not whole:
            is_ours = batch.first_seq + count < self.ours
            text = "a record that is obeyed was never signed" if is_ours else _UNMARKED
            raise Damage(batch.file, batch.end, batch.first_seq + count, text, torn=True)

    def _believed(self, batch: Batch) -> int:
        """Return how many records come before an unsigned one that is obeyed or is not ours."""
        for nth in range(max(self.signed - batch.first_seq, 0), len(batch.records)):
            if batch.first_seq + nth >= self.ours or is_obeyed(
                batch.records[nth][: batch.heads[nth]]
            ):
                return nth
        return len(batch.records)


def _begin_of(batch: Batch, count: int) -> Batch:
    """Return the first `count` records of a batch."""
    if count == len(batch.records):
        return batch
    return batch._replace(
        records=batch.records[:count],
        heads=batch.heads[:count],
        offsets=batch.offsets[:count],
        end=batch.offsets[count],
        footer=None,
    )


def _resume(log: Log, names: Sequence[str]) -> Recovered:
    beside_key = log.who.last_signed(log.io)
    if beside_key is None:
        raise LedgerBroken(f"{log.who.signed_file}: the last signed checkpoint is absent")
    signed = [read_checkpoint(log.io, log.folder, log.who.verifier), beside_key]
    scan = _begun(log, names, signed)
    if log.who.marks is not None:
        last = batches(log.io, log.folder, log.who.origin, first_seq_of(names[-1]))
        scan.ours = log.who.marks.reach(last, scan.signed)
    walked = batches(log.io, log.folder, log.who.origin, scan.known.tree.size)
    try:
        for batch in walked:
            scan.take(log, batch)
    except Damage as damage:
        if not damage.torn or damage.file != names[-1]:
            raise
        scan.torn = damage
        check_rest(walked)
    scan.proven.check_end()
    _check_begin(log, names)
    _check_key(log)
    recovered = _reopened(log, scan)
    recovered.news.extend(unread_news(scan.unread))
    if log.who.marks is None and scan.known.tree.size > scan.signed:
        detail = {"first_seq": scan.signed, "next_seq": scan.known.tree.size}
        recovered.news.append(("ledger.end_without_marks", detail))
    return recovered


def unread_news(seqs: Sequence[int]) -> list[tuple[str, dict[str, Any]]]:
    """Return what tells of records that nobody obeys, since they cannot be understood."""
    return [("ledger.record_unread", {"seqs": list(seqs[:UNREAD_TOLD_MAX])})] if seqs else []


def _begun(log: Log, names: Sequence[str], signed: Sequence[Checkpoint]) -> _Scan:
    """Return what is known before the first segment that has to be read."""
    firsts = [first_seq_of(name) for name in names]
    expected = [(CHECKPOINT, one) for one in signed]
    # A snapshot beyond what was signed would prove itself.
    for first in [first for first in reversed(firsts) if 0 < first <= min(map(_size, signed))]:
        found = snapshot.read(log.io, log.folder, first, [log.who.verifier])
        if found is None or not found.restore(log.feeder.folds):
            continue
        before = [other for other in firsts if other < first]
        if before != [seq for seq in found.segments if seq >= firsts[0]]:
            raise Damage(name_of(first), None, first, "a segment before this one is missing")
        _check_before(log, names[: len(before)], found.tree())
        known = Known(found.tree(), bytearray(found.leaf_bytes()), before)
        return _Scan(Proven(known.tree, expected), known, max(map(_size, signed)))
    if firsts[0]:
        text = f"expected {name_of(0)}: a segment is missing"
        raise Damage(names[0], None, 0, text)
    known = Known(Tree(), bytearray(), [])
    return _Scan(Proven(known.tree, expected), known, max(map(_size, signed)))


def _check_before(log: Log, names: Sequence[str], tree: Tree) -> None:
    """Refuse a segment before the first that is read which does not end where that one begins."""
    if not names or names[-1].endswith(SEALED):
        # A sealed one had its end when it was sealed.
        return
    end = end_of(log, names[-1])
    if end is None or (end.size, end.root) != (tree.size, tree.root()):
        raise Damage(names[-1], None, tree.size, "the segment has no end of its own")


def _size(checkpoint: Checkpoint) -> int:
    return checkpoint.size


def _check_begin(log: Log, names: Sequence[str]) -> None:
    """Refuse a log whose first records are gone, unless it says itself that they were pruned."""
    first = first_seq_of(names[0])
    if first > log.history.pruned_to:
        text = f"expected {name_of(log.history.pruned_to)}: a segment is missing"
        raise Damage(names[0], None, log.history.pruned_to, text)


def _check_key(log: Log) -> None:
    """Refuse a key that another one has followed."""
    rotations = log.history.rotations
    if rotations and rotations[-1].new not in log.who.verifier_texts():
        text = "another key has followed this one: finish it with `sidecar log key --rotate`"
        raise LedgerBroken(f"{log.who.key_file}: {text}")


def _reopened(log: Log, scan: _Scan) -> Recovered:
    """Return the last segment open for writing, or a new one when it has an end."""
    last, known = scan.last, scan.known
    # There is a segment, and each is one batch at least or damaged.
    assert last is not None
    path = log.folder / last.file
    if last.footer is not None:
        if scan.torn is not None:
            raise scan.torn
        known.segments.append(last.said.first_seq)
        return Recovered(known, begin_segment(log, known), [])
    news = [_set_aside(log.io, path, last.end)] if scan.torn else []
    segment = Segment.reopen(log.io, path, last.said, last.end, scan.offsets)
    return Recovered(known, segment, news)


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
