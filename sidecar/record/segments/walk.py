"""Walk the records of a ledger in order, a batch at a time, and say where it stops being whole.

The one reader: recovery, verification, proofs and the index all see a damaged ledger the same way.
What a segment says of itself (its place, its end, how many records, where they stand) is compared
here; roots are compared by those who keep the tree.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from sidecar.record import disk
from sidecar.record.canonical import place_of
from sidecar.record.disk import READ, Io
from sidecar.record.limits import TORN_BYTES_MAX
from sidecar.record.segments.sealed import NotSealed, opened
from sidecar.record.segments.segment import (
    HEADER_BYTES,
    SEALED,
    BadFrame,
    Chunk,
    Footer,
    Header,
    Reader,
    Unsearched,
    chunks,
    first_seq_of,
    holds_later_batch,
    name_of,
    offsets_digest,
    read_header,
    segment_names,
)

_LOG: Final = b',"log":{'


class Damage(Exception):
    """Where a ledger stops being intact, and how.

    Args:
        file: Name of the file in the ledger's folder.
        offset: Where in it (in what it holds, when it is sealed), None when the file as a whole is
            meant.
        seq: The record that should stand there, None when that cannot be said.
        text: What was expected and what was found.
        torn: Whether this is what a write leaves behind that never ended, of which nobody was told.
    """

    def __init__(
        self, file: str, offset: int | None, seq: int | None, text: str, *, torn: bool = False
    ) -> None:
        super().__init__(text)
        self.file, self.offset, self.seq, self.text, self.torn = file, offset, seq, text, torn

    def __str__(self) -> str:
        """Return `file:offset: text`."""
        at = self.file if self.offset is None else f"{self.file}:{self.offset}"
        return f"{at}: {self.text}"


class Batch(NamedTuple):
    """Records that follow each other in one segment.

    Args:
        file: The segment's file name.
        said: Its header.
        first_seq: Number of the first record.
        offsets: Where their frames begin.
        records: Their bytes.
        end: Where the last one ends.
        footer: The segment's end, when it comes next.
        heads: Where each record says what its place in the log is.
    """

    file: str
    said: Header
    first_seq: int
    offsets: list[int]
    records: list[bytes]
    end: int
    footer: Footer | None
    heads: Sequence[int] = ()


class Entry(NamedTuple):
    """One record in its place."""

    file: str
    offset: int
    seq: int
    record: bytes


class _Places:
    """The member by which a record says where it stands."""

    def __init__(self, origin: str) -> None:
        name, _, epoch = origin.rpartition("/")
        # The number is the last of the three, and a record has members behind it.
        self._prefix = b",%b" % place_of(name, epoch, 0).removesuffix(b"0}")

    def heads(self, first_seq: int, records: list[bytes]) -> list[int]:
        """Return where that member begins in each record; fewer when one does not have it."""
        prefix, found, at = self._prefix, list[int](), 0
        for seq, record in enumerate(records, first_seq):
            place = b"%b%d}," % (prefix, seq)
            # It stands once, but for values; in records that are alike, where it did in the last.
            if not record.startswith(place, at):
                at = _place_in(record, place)
                if at < 0:
                    break
            found.append(at)
        return found


def _place_in(record: bytes, place: bytes) -> int:
    # Its few first letters are found sooner than the whole.
    at = record.find(_LOG)
    return at if record.startswith(place, at) else record.find(place)


def walk(io: Io, folder: Path, origin: str, first_seq: int | None = 0) -> Iterator[Entry]:
    """Yield every record from that which `first_seq` begins, as `batches` does."""
    for batch in batches(io, folder, origin, first_seq):
        for seq, (offset, record) in enumerate(
            zip(batch.offsets, batch.records, strict=True), batch.first_seq
        ):
            yield Entry(batch.file, offset, seq, record)


def batches(io: Io, folder: Path, origin: str, first_seq: int | None = 0) -> Iterator[Batch]:
    """Yield all records of the ledger of `origin` from the segment that begins with `first_seq`.

    Args:
        io: The disk.
        folder: The ledger's.
        origin: Name and epoch.
        first_seq: Where to begin, None for the first segment that is there.

    Raises:
        Damage: From here on the ledger is not intact.
    """
    names = segment_names(io.names(folder))
    if first_seq is None:
        first_seq = first_seq_of(names[0]) if names else 0
    seq, places = first_seq, _Places(origin)
    for file in [name for name in names if first_seq_of(name) >= first_seq]:
        if first_seq_of(file) != seq:
            raise Damage(file, None, seq, f"expected {name_of(seq)}: a segment is missing")
        for batch in _segment(io, folder / file, origin, is_last=file == names[-1]):
            heads = places.heads(batch.first_seq, batch.records)
            if len(heads) < len(batch.records):
                here, text = (
                    batch.first_seq + len(heads),
                    "the record does not say that it is number",
                )
                raise Damage(file, batch.offsets[len(heads)], here, f"{text} {here} of this log")
            yield batch._replace(heads=heads)
            seq = batch.first_seq + len(batch.records)


def check_rest(walked: Iterator[Batch]) -> None:
    """Refuse what was damaged later, also where what stands before it is set aside.

    Raises:
        Damage: It is not what a write leaves behind that never ended.
    """
    try:
        for _ in walked:
            pass
    except Damage as damage:
        if not damage.torn:
            raise


def _segment(io: Io, path: Path, origin: str, *, is_last: bool) -> Iterator[Batch]:
    """Yield the records of one segment; at least one batch, which may be empty."""
    seq = first_seq_of(path.name)
    found: Batch | None = None
    try:
        for found in _whole(io, path, origin):
            yield found
            seq = found.first_seq + len(found.records)
    except BadFrame as bad:
        raise damage_of(path, io, bad, seq, is_last=is_last) from None
    except NotSealed as error:
        text = f"the sealed segment cannot be read: {error}"
        raise Damage(path.name, None, seq, text) from None
    if not is_last and found is not None and found.footer is None:
        raise Damage(path.name, found.end, seq, "the segment has no end")


def _whole(io: Io, path: Path, origin: str) -> Iterator[Batch]:
    first_seq = first_seq_of(path.name)
    with opened(io, path) as (read, size):
        said = read_header(read(HEADER_BYTES, 0), origin)
        if said is None or said.first_seq != first_seq:
            raise Damage(path.name, 0, first_seq, "not the header of a segment of this log")
        yield from _inside(
            Batch(path.name, said, first_seq, [], [], HEADER_BYTES, None), read, size
        )


def _inside(empty: Batch, read: Reader, size: int) -> Iterator[Batch]:
    # A segment without a record is a batch as well: who keeps the tree sees its header.
    yield empty
    seq, offsets = empty.first_seq, list[int]()
    for chunk in chunks(read, size):
        offsets += chunk.offsets
        if chunk.footer is not None:
            _check_end(empty, chunk, offsets)
        yield Batch(empty.file, empty.said, seq, *chunk)
        seq += len(chunk.records)


def _check_end(empty: Batch, chunk: Chunk, offsets: list[int]) -> None:
    found, count = chunk.footer, len(offsets)
    assert found is not None
    size = empty.first_seq + count
    if (found.records, found.size, found.offsets) != (count, size, offsets_digest(offsets)):
        text = "the segment's end is not that of its records"
        raise Damage(empty.file, chunk.end, size, text)


def damage_of(path: Path, io: Io, bad: BadFrame, seq: int, *, is_last: bool) -> Damage:
    """Tell what a write left behind that never ended from what was damaged later."""
    torn, text = False, "a record is damaged"
    if is_last and not path.name.endswith(SEALED):
        fd = io.open(path, READ)
        try:
            size = io.fstat(fd).st_size - bad.offset
            tail = io.read(fd, min(size, TORN_BYTES_MAX), bad.offset)
        finally:
            disk.let_go(io, fd)
        try:
            torn = size <= TORN_BYTES_MAX and not holds_later_batch(tail)
        except Unsearched:
            text = f"{text}, and what follows was made to look like records: no crash leaves that"
    text = "a record was not written to its end" if torn else text
    return Damage(path.name, bad.offset, seq, text, torn=torn)
