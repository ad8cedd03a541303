"""Where records come from: a state or ledger folder, one segment, an export, a file of lines.

Nothing is proven here (`sidecar log verify` does), but nothing is silently left out either: a
record that is damaged, or segments between which some are missing, end the reading with an error.
Only the end of the segment that is still written may be cut: its record was promised to nobody.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from sidecar.record.disk import DISK
from sidecar.record.segments.sealed import NotSealed, opened
from sidecar.record.segments.segment import SEALED, BadFrame, chunks, first_seq_of, segment_names
from sidecar.terms.errors import LedgerBroken

EXPORTED: Final = "records.jsonl"
LEDGER: Final = "ledger"
# A share of a file of lines; each is read by one process.
SHARE_BYTES: Final = 16 * 1024 * 1024
# How much smaller a sealed segment is, about.
_PACKED: Final = 8


class Share(msgspec.Struct, frozen=True):
    """A part of the records that one process reads by itself.

    Args:
        path: A segment, or a file of lines.
        begin: Of a file of lines: the first byte; a line belongs to where it begins.
        end: Behind the last, None for all.
        first_seq: Of a segment: the number of its first record.
        next_seq: Of a segment: what the next one begins with, None where it is the last.
    """

    path: Path
    begin: int = 0
    end: int | None = None
    first_seq: int | None = None
    next_seq: int | None = None

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
        return [Share(path, first_seq=first_seq_of(path.name))]
    return _of_lines(path)


def _of_folder(folder: Path) -> list[Share]:
    names = segment_names(DISK.names(folder)) if folder.is_dir() else []
    if not names:
        raise LedgerBroken(f"{folder.parent}: no ledger and no export is there")
    firsts: list[int | None] = [first_seq_of(name) for name in names]
    return [
        Share(folder / name, first_seq=first, next_seq=following)
        for name, first, following in zip(names, firsts, [*firsts[1:], None], strict=True)
    ]


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
    may_be_cut = share.next_seq is None and not share.path.name.endswith(SEALED)
    try:
        with opened(DISK, share.path) as (read, size):
            for chunk in chunks(read, size):
                yield from chunk.records
                seq += len(chunk.records)
    except (BadFrame, NotSealed) as error:
        if not (may_be_cut and isinstance(error, BadFrame)):
            raise LedgerBroken(f"{share.path.name}: record {seq} cannot be read") from None
    if share.next_seq is not None and share.next_seq != seq:
        text = f"records {seq} to {share.next_seq - 1} are missing"
        raise LedgerBroken(f"{share.path.name}: {text}")


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
