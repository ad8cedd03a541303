"""The format of a segment: a header, frames, and once it is full a footer.

```
segment  <first_seq, 20 digits>.seg, sealed <first_seq>.seg.zst
header   128 bytes: magic 8 | version u32 | zero u32 | first_seq u64 | created, us since 1970, u64
         | SHA-256(origin) 32 | root of all records before 32 | zeros 28 | crc32c u32
frame    length u32, bit 31: begins a batch | crc32c u32, inverted where that bit is set | record
footer   128 bytes: magic 8 | records u64 | size of the tree u64 | its root 32
         | SHA-256 of the frames' offsets, each a u32 | zeros 36 | crc32c u32
```
All integers are little-endian. A record's bytes are made once; they are framed, hashed, exported
and verified as they stand. No frame is empty: a page of zeros, which file systems leave behind
after a loss of power, is thus never a frame.

The bit that begins a batch says that whatever stands before it had been synced when it was written.
So a damaged frame with such a frame behind it was damaged later than it was made durable; without
one, it belongs to the last batch, whose pages a loss of power may drop in any order, and which
nobody was told of.
"""

import re
import struct
import sys
from array import array
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from typing import Final, NamedTuple

import google_crc32c

from sidecar.record.limits import (
    FRAME_BYTES_MAX,
    READ_BYTES,
    SEARCH_COST_BYTES,
    SEARCHED_BYTES_MIN,
    SEARCHED_TIMES_MAX,
)

HEADER_BYTES: Final = 128
FOOTER_BYTES: Final = 128
FRAME_HEADER_BYTES: Final = 8
SEALED: Final = ".zst"
_MAGIC: Final = b"DOORWLOG"
# As the length of a frame this would be larger than any.
_END_MAGIC: Final = b"DOORWEND"
_VERSION: Final = 1
_HEADER: Final = struct.Struct("<8sIIQQ32s32s28x")
_FOOTER: Final = struct.Struct("<8sQQ32s32s36x")
_FRAME: Final = struct.Struct("<II")
_CRC: Final = struct.Struct("<I")
_BEGINS_BATCH: Final = 1 << 31
_INVERTED: Final = 0xFFFFFFFF
_NAME = re.compile(r"([0-9]{20})\.seg(?:\.zst)?\Z")
# What of the length of a frame is the same in all, before a sum and a record; and of that which
# begins a batch. For looking behind a damaged frame.
_FRAMED: Final = re.compile(rb'\x00[\x00\x80](?=[\x00-\xff]{4}\{")')
_BATCH: Final = re.compile(rb'\x00\x80(?=[\x00-\xff]{4}\{")')

Reader = Callable[[int, int], bytes]


class BadFrame(Exception):
    """What stands at `offset` is not a whole frame."""

    def __init__(self, offset: int, text: str) -> None:
        super().__init__(text)
        self.offset = offset


class Header(NamedTuple):
    """What a segment says of itself before its first record."""

    first_seq: int
    created_us: int
    root_before: bytes


class Footer(NamedTuple):
    """What a segment says of itself after its last record."""

    records: int
    size: int
    root: bytes
    offsets: bytes


class Chunk(NamedTuple):
    """Some records of a segment, where their frames begin, and the footer behind the last."""

    offsets: list[int]
    records: list[bytes]
    end: int
    footer: Footer | None = None


# --- names ---


def name_of(first_seq: int) -> str:
    """Return the file name of the segment that begins with `first_seq`, while it is not sealed."""
    return f"{first_seq:020d}.seg"


def first_seq_of(name: str) -> int:
    """Return which record the segment of this name begins with."""
    return int(name[:20])


def segment_names(names: Sequence[str]) -> list[str]:
    """Return those of `names` that are segments, in the order of the log.

    One that is there twice, since it is just being sealed, is named once, by its open form.
    """
    found: dict[str, str] = {}
    for name in sorted(names, reverse=True):
        match = _NAME.match(name)
        if match:
            found[match[1]] = name
    return [found[first] for first in sorted(found)]


# --- writing ---


def crc32c(data: bytes) -> int:
    """Return the Castagnoli CRC of `data`."""
    value: int = google_crc32c.value(data)
    return value


def header(said: Header, origin: str) -> bytes:
    """Return the header of a segment of `origin`."""
    first_seq, created_us, root_before = said
    of_origin = sha256(origin.encode()).digest()
    packed = _HEADER.pack(_MAGIC, _VERSION, 0, first_seq, created_us, of_origin, root_before)
    return packed + _CRC.pack(crc32c(packed))


def footer(said: Footer) -> bytes:
    """Return the footer of a segment."""
    packed = _FOOTER.pack(_END_MAGIC, *said)
    return packed + _CRC.pack(crc32c(packed))


def framed(records: Sequence[bytes], *, begins_batch: bool = True) -> bytes:
    """Return `records` as frames, the first of which says whether it begins a batch."""
    parts: list[bytes] = []
    mark, inverted = (_BEGINS_BATCH, _INVERTED) if begins_batch else (0, 0)
    pack, crc = _FRAME.pack, google_crc32c.value
    for record in records:
        assert 2 <= len(record) <= FRAME_BYTES_MAX
        parts += (pack(len(record) | mark, crc(record) ^ inverted), record)
        mark = inverted = 0
    return b"".join(parts)


def offsets_digest(offsets: Sequence[int]) -> bytes:
    """Return the digest of where frames begin, as it stands in a footer."""
    packed = array("I", offsets)
    assert packed.itemsize == 4
    if sys.byteorder == "big":
        packed.byteswap()
    return sha256(packed.tobytes()).digest()


# --- reading ---


def read_header(data: bytes, origin: str) -> Header | None:
    """Return what a header of a segment of `origin` says, None when it is not one."""
    if len(data) != HEADER_BYTES:
        return None
    magic, version, zero, first_seq, created_us, of_origin, root = _HEADER.unpack_from(data)
    said = Header(first_seq, created_us, root)
    is_ours = (magic, version, zero) == (_MAGIC, _VERSION, 0)
    is_ours = is_ours and of_origin == sha256(origin.encode()).digest()
    return said if is_ours and header(said, origin) == data else None


def chunks(read: Reader, size: int, offset: int = HEADER_BYTES) -> Iterator[Chunk]:
    """Yield the frames between `offset` and `size` of a segment, as many as are read at once.

    A frame that is cut off is read again with what follows it: putting it together costs more.

    Raises:
        BadFrame: What follows is not a whole frame.
    """
    start = offset
    while start < size:
        asked = min(READ_BYTES, size - start)
        buffer = read(asked, start)
        is_end = not buffer or start + len(buffer) >= size
        chunk = _cut(buffer, start)
        yield chunk
        left, start = start + len(buffer) - chunk.end, chunk.end
        if chunk.footer is not None:
            if left or start != size:
                raise BadFrame(start, "something stands behind the end of the segment")
            return
        # A file that was cut since gives no more, however often it is asked.
        is_end = is_end or (left == len(buffer) < asked)
        if left and (is_end or left >= FRAME_HEADER_BYTES + FRAME_BYTES_MAX):
            raise BadFrame(start, "not a whole frame")
        if is_end:
            return


def _cut(buffer: bytes, start: int) -> Chunk:
    """Return the whole frames that `buffer` begins with."""
    offsets: list[int] = []
    records: list[bytes] = []
    at, last = 0, len(buffer) - FRAME_HEADER_BYTES
    unpack, crc = _FRAME.unpack_from, google_crc32c.value
    while at <= last:
        length, said = unpack(buffer, at)
        if length & _BEGINS_BATCH:
            length ^= _BEGINS_BATCH
            said ^= _INVERTED
        begin = at + FRAME_HEADER_BYTES
        record = buffer[begin : begin + length]
        if len(record) != length or crc(record) != said or not 2 <= length <= FRAME_BYTES_MAX:
            end = read_footer(buffer[at : at + FOOTER_BYTES])
            return Chunk(offsets, records, start + at + (FOOTER_BYTES if end else 0), end)
        offsets.append(start + at)
        records.append(record)
        at = begin + length
    return Chunk(offsets, records, start + at)


def read_footer(data: bytes) -> Footer | None:
    """Return what a footer says, None when it is not one."""
    if len(data) != FOOTER_BYTES or not data.startswith(_END_MAGIC):
        return None
    _, *said = _FOOTER.unpack_from(data)
    found = Footer(*said)
    return found if footer(found) == data else None


def holds_later_batch(tail: bytes) -> bool:
    """Return whether a frame that begins a batch, or a footer, stands anywhere in `tail`.

    Then what stands before it had been durable, and was damaged since.

    Raises:
        Unsearched: So much looks like one that nobody can look at all of it.
    """
    search = _Search(tail)
    return any(
        search.footer(found.start()) for found in re.finditer(re.escape(_END_MAGIC), tail)
    ) or any(search.frame(found.start() - 2, begun=True) for found in _BATCH.finditer(tail))


def salvaged(tail: bytes) -> Iterator[bytes]:
    """Yield every whole record that stands anywhere in `tail`, behind what is damaged.

    Raises:
        Unsearched: So much looks like one that nobody can look at all of it.
    """
    search, end = _Search(tail), 0
    for found in _FRAMED.finditer(tail):
        at = found.start() - 2
        if at >= end and (record := search.frame(at, begun=False)) is not None:
            end = at + FRAME_HEADER_BYTES + len(record)
            yield record


class Unsearched(Exception):
    """Too much looks like a frame: no crash leaves it so, and looking at all would take minutes."""


class _Search:
    """Looks at what may be a frame, or an end, and counts what it looks at in vain.

    A crash leaves little of that: no text of a record looks like the beginning of a frame. Who
    makes such beginnings up could have 64 KiB read for each ten bytes.
    """

    def __init__(self, tail: bytes) -> None:
        self._tail = tail
        self._left = SEARCHED_TIMES_MAX * len(tail) + SEARCHED_BYTES_MIN

    def footer(self, at: int) -> bool:
        """Return whether an end stands there."""
        is_there = read_footer(self._tail[at : at + FOOTER_BYTES]) is not None
        if not is_there:
            self._spend(FOOTER_BYTES)
        return is_there

    def frame(self, at: int, *, begun: bool) -> bytes | None:
        """Return the record of the frame there, None where there is none, or begins no batch."""
        if at < 0:
            return None
        length, said = _FRAME.unpack_from(self._tail, at)
        if length & _BEGINS_BATCH:
            length, said = length ^ _BEGINS_BATCH, said ^ _INVERTED
        elif begun:
            return None
        begin = at + FRAME_HEADER_BYTES
        record = self._tail[begin : begin + length]
        if 2 <= length == len(record) <= FRAME_BYTES_MAX and crc32c(record) == said:
            return record
        self._spend(len(record))
        return None

    def _spend(self, size: int) -> None:
        self._left -= size + SEARCH_COST_BYTES
        if self._left < 0:
            raise Unsearched
