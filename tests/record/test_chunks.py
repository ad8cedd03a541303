"""What is read of a segment at once ends anywhere: in a frame, before one, or too early."""

import os
import random
from pathlib import Path

import pytest

from sidecar.record.disk import DISK
from sidecar.record.limits import FRAME_BYTES_MAX, READ_BYTES
from sidecar.record.segments.sealed import opened, sealing
from sidecar.record.segments.segment import HEADER_BYTES, BadFrame, Reader, chunks, framed

SIZES = (FRAME_BYTES_MAX, 2, READ_BYTES // 2, FRAME_BYTES_MAX - 1, 5_000, 4_000, 3_999)


@pytest.fixture
def records():
    chance = random.Random(11)
    return [os.urandom(chance.choice(SIZES)) for _ in range(40)]


def reader(data: bytes) -> Reader:
    return lambda size, offset: data[offset : offset + size]


def read(data: bytes, size: int | None = None) -> tuple[list[int], list[bytes]]:
    offsets, found = list[int](), list[bytes]()
    for chunk in chunks(reader(data), size or len(data)):
        offsets += chunk.offsets
        found += chunk.records
    return offsets, found


def test_frames_that_what_is_read_at_once_cuts_off_are_read(records):
    data = bytes(HEADER_BYTES) + framed(records)

    offsets, found = read(data)

    assert found == records
    assert [data[at + 8 : at + 8 + len(one)] for at, one in zip(offsets, found, strict=True)] == (
        records
    )


def test_the_sealed_form_gives_the_same(records, tmp_path: Path):
    path = tmp_path / f"{0:020d}.seg"
    path.write_bytes(bytes(HEADER_BYTES) + framed(records))
    for _ in sealing(DISK, path):
        pass

    with opened(DISK, path) as (inside, size):
        assert not path.exists()
        found = [one for chunk in chunks(inside, size) for one in chunk.records]

    assert found == records


@pytest.mark.parametrize("more", [1, 7, 9, 4_000])
def test_a_file_that_is_cut_while_it_is_read_ends_in_a_frame_that_is_not_whole(records, more):
    data = bytes(HEADER_BYTES) + framed(records)
    offsets, _ = read(data)

    with pytest.raises(BadFrame) as bad:
        read(data[: offsets[20] + min(more, len(records[20]))], len(data))

    assert bad.value.offset == offsets[20]
