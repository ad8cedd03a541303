"""Where records come from: a state or ledger folder, one segment, an export, a file of lines.

Nothing is proven here (`sidecar log verify` does), but nothing is silently left out either: a
record that is damaged, or segments between which some are missing, end the reading with an error.
Only the end of the segment that is still written may be cut: its record was promised to nobody. It
is such an end where no batch stands behind it and the checkpoint covers no more.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from sidecar.record.disk import DISK
from sidecar.record.segments.sealed import NotSealed, opened
from sidecar.record.segments.segment import (
    SEALED,
    BadFrame,
    Unsearched,
    chunks,
    first_seq_of,
    holds_later_batch,
    segment_names,
)
from sidecar.record.verify import CHECKPOINT
from sidecar.terms.errors import LedgerBroken

EXPORTED: Final = "records.jsonl"
LEDGER: Final = "ledger"
# A share of a file of lines; each is read by one process.
SHARE_BYTES: Final = 16 * 1024 * 1024
# How much smaller a sealed segment is, about.
_PACKED: Final = 8
# Of a checkpoint: origin, size, root.
_NOTE_LINES: Final = 3


class Share(msgspec.Struct, frozen=True):
    """A part of the records that one process reads by itself.

    Args:
        path: A segment, or a file of lines.
        begin: Of a file of lines: the first byte; a line belongs to where it begins.
        end: Behind the last, None for all.
        first_seq: Of a segment: the number of its first record.
        next_seq: Of a segment: what the next one begins with, None where it is the last.
        covered: Of the last segment: how many records the log has at the least, as its checkpoint
            says.
    """

    path: Path
    begin: int = 0
    end: int | None = None
    first_seq: int | None = None
    next_seq: int | None = None
    covered: int = 0

    @property
    def size(self) -> int:
        """Return about how many bytes of records it has."""
        size = (self.end or self.path.stat().st_size) - self.begin
        return size * _PACKED if self.path.name.endswith(SEALED) else size


def shares(path: Path) -> list[Share]:
    """Return the parts of what stands at `path`, in order.

    Raises:
        LedgerBroken: There are no records.
    """
    if path.is_dir():
        if (path / EXPORTED).is_file():
            return _of_lines(path / EXPORTED)
        return _of_folder(path if segment_names(DISK.names(path)) else path / LEDGER)
    if segment_names([path.name]):
        return [one for one in _of_folder(path.parent) if one.first_seq == first_seq_of(path.name)]
    return _of_lines(path)


def _of_folder(folder: Path) -> list[Share]:
    names = segment_names(DISK.names(folder)) if folder.is_dir() else []
    if not names:
        raise LedgerBroken(f"{folder.parent}: no ledger and no export is there")
    firsts: list[int | None] = [first_seq_of(name) for name in names]
    covered = _covered(folder)
    return [
        Share(
            folder / name,
            first_seq=first,
            next_seq=following,
            covered=covered if following is None else 0,
        )
        for name, first, following in zip(names, firsts, [*firsts[1:], None], strict=True)
    ]


def _covered(folder: Path) -> int:
    """Return how many records the checkpoint covers; read before the segments, which may grow."""
    file = folder / CHECKPOINT
    if not file.exists():
        return 0
    said = file.read_bytes().split(b"\n")
    if len(said) < _NOTE_LINES or not said[1].isdigit():
        raise LedgerBroken(f"{file}: the checkpoint cannot be read")
    return int(said[1])


def _of_lines(file: Path) -> list[Share]:
    size = file.stat().st_size
    ends = [*range(SHARE_BYTES, size, SHARE_BYTES), size]
    return [Share(file, begin, end) for begin, end in _pairs(ends)]


def _pairs(ends: list[int]) -> Iterator[tuple[int, int]]:
    begin = 0
    for end in ends:
        yield begin, end
        begin = end


def lines(share: Share) -> Iterator[bytes]:
    """Yield the records of a share. Raises LedgerBroken, OSError."""
    return _from_lines(share) if share.first_seq is None else _from_segment(share)


def _from_segment(share: Share) -> Iterator[bytes]:
    assert share.first_seq is not None
    seq = share.first_seq
    try:
        with opened(DISK, share.path) as (read, size):
            for chunk in chunks(read, size):
                yield from chunk.records
                seq += len(chunk.records)
    except (BadFrame, NotSealed) as error:
        if not (isinstance(error, BadFrame) and _is_torn(share, seq, error)):
            raise LedgerBroken(f"{share.path.name}: record {seq} cannot be read") from None
    end = share.covered if share.next_seq is None else share.next_seq
    if seq < end or share.next_seq not in (None, seq):
        text = f"records {seq} to {end - 1} are missing"
        raise LedgerBroken(f"{share.path.name}: {text}")


def _is_torn(share: Share, seq: int, error: BadFrame) -> bool:
    """Return whether a frame that is not whole was never promised to anybody."""
    if share.next_seq is not None or share.path.name.endswith(SEALED) or seq < share.covered:
        return False
    with share.path.open("rb") as file:
        file.seek(error.offset)
        try:
            return not holds_later_batch(file.read())
        except Unsearched:
            return False


def _from_lines(share: Share) -> Iterator[bytes]:
    with share.path.open("rb") as file:
        if share.begin:
            # A line that began before belongs to the share before.
            file.seek(share.begin - 1)
            file.readline()
        while file.tell() < (share.end or 0):
            line = file.readline().rstrip(b"\r\n")
            if line:
                yield line
