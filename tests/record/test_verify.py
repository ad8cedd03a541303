"""Verification finds a change of any byte, and says where."""

import itertools
import os
import random
import shutil
from pathlib import Path

import pytest

from sidecar.record.disk import DISK
from sidecar.record.ledger import ledger_paths
from sidecar.record.proof import identity
from sidecar.record.proof.merkle import Tree, leaf_hashes
from sidecar.record.segments.segment import HEADER_BYTES, Footer, footer, framed, offsets_digest
from sidecar.record.verify import Report, verify
from tests.record import sample
from tests.record.test_recovery import ends, signed  # noqa: F401 - a fixture


def judged(state: Path) -> Report:
    folder, key_file = ledger_paths(state)
    who = identity.load(DISK, key_file)
    return verify(folder, who.verifier, who.last_signed(DISK))


@pytest.mark.timeout(60)
@pytest.mark.fuzz
def test_no_bit_of_the_log_can_be_changed(signed, scaled):  # noqa: F811
    files = [*sample.segments(signed), signed / "ledger" / "checkpoint"]
    bits = [(file, bit) for file in files for bit in range(file.stat().st_size * 8)]
    assert judged(signed).intact
    chosen = random.Random(7).sample(bits, min(scaled(1_500, len(bits)), len(bits)))
    for file, bit in chosen:
        data = file.read_bytes()
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        file.write_bytes(changed)

        report = judged(signed)

        assert not report.intact, (file.name, bit)
        file.write_bytes(data)
    assert judged(signed).intact


async def test_a_changed_byte_is_named_by_file_offset_and_record(signed):  # noqa: F811
    segment = sample.segments(signed)[1]
    data = bytearray(segment.read_bytes())
    begin = ends(bytes(data))[1]
    data[begin + 30] ^= 0x01
    segment.write_bytes(data)

    report = judged(signed)

    assert report.problem is not None
    assert (report.problem.file, report.problem.offset) == (segment.name, begin)
    assert report.problem.seq == int(segment.stem) + 1
    assert str(report.problem) == (
        f"{segment.name}:{begin}: record {report.problem.seq}: a record is damaged"
    )


@pytest.mark.parametrize("size", range(0, 500, 7))
async def test_no_part_of_the_last_segment_can_be_cut_off(signed, size):  # noqa: F811
    segment = sample.segments(signed)[-1]
    if segment.stat().st_size > size:
        os.truncate(segment, size)

        assert not judged(signed).intact


async def rewritten(state: Path, change, *, has_new_end: bool) -> Report:
    """Give the frames of the first segment to `change`, and write them with good checksums."""
    segment = sample.segments(state)[0]
    data = segment.read_bytes()
    borders = ends(data)
    records = [data[a + 8 : b] for a, b in itertools.pairwise(borders)]
    changed = b"".join(framed([record]) for record in change(records))
    end = data[borders[-1] :]
    if has_new_end:
        found = change(records)
        starts = [HEADER_BYTES, *itertools.accumulate((len(r) + 8 for r in found), initial=0)]
        offsets = [HEADER_BYTES + at for at in starts[1:-1]]
        tree = Tree()
        tree.extend(leaf_hashes(found))
        end = footer(Footer(len(found), len(found), tree.root(), offsets_digest(offsets)))
    segment.write_bytes(data[:HEADER_BYTES] + changed + end)
    return judged(state)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda r: [r[1], r[0], *r[2:]], id="two exchanged"),
        pytest.param(lambda r: r[1:], id="the first deleted"),
        pytest.param(lambda r: r[:-1], id="the last of a segment deleted"),
        pytest.param(lambda r: [*r[:1], *r[2:]], id="one in the middle deleted"),
        pytest.param(lambda r: [*r, r[-1]], id="one repeated"),
        pytest.param(lambda r: [r[0].replace(b"id-0", b"id-X"), *r[1:]], id="one changed"),
        pytest.param(lambda r: [r[0] + b" ", *r[1:]], id="one lengthened"),
        pytest.param(lambda r: [b"{}", *r[1:]], id="one emptied"),
        pytest.param(lambda r: [], id="all deleted"),
    ],
)
@pytest.mark.parametrize("end", ["old", "new"])
async def test_what_is_rewritten_with_good_checksums_is_found(signed, change, end):  # noqa: F811
    report = await rewritten(signed, change, has_new_end=end == "new")

    assert not report.intact


async def test_a_log_rolled_back_with_its_checkpoint_is_found_by_what_is_held(signed, tmp_path):  # noqa: F811
    shutil.copytree(signed / "ledger", tmp_path / "copy")
    ledger = await sample.written(signed, 3)
    await ledger.close()
    shutil.rmtree(signed / "ledger")
    shutil.copytree(tmp_path / "copy", signed / "ledger")

    folder, _ = ledger_paths(signed)
    assert verify(folder, ledger.verifier).intact
    report = judged(signed)

    assert not report.intact
    assert "15 records were signed and 12 are there" in str(report.problem)


async def test_a_log_that_is_being_written_is_verified_as_far_as_it_is_whole(tmp_path):
    ledger = await sample.written(tmp_path, 3)
    (segment,) = sample.segments(tmp_path)
    with segment.open("ab") as file:
        file.write(b"\x90\x01\x00\x00half")

    while_written = verify(tmp_path / "ledger", ledger.verifier)
    os.truncate(segment, segment.stat().st_size - 8)
    await ledger.close()
    with segment.open("ab") as file:
        file.write(b"\x90\x01\x00\x00half")
    at_rest = verify(tmp_path / "ledger", ledger.verifier)

    assert (while_written.intact, while_written.writing, while_written.records) == (True, True, 3)
    assert not at_rest.intact
    assert at_rest.problem is not None
    assert at_rest.problem.text == "a record was not written to its end"


def test_a_folder_that_is_not_there_is_no_intact_ledger(tmp_path):
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from sidecar.record.proof.checkpoint import Verifier

    trusted = Verifier("test/0123456789abcdef", Ed25519PrivateKey.generate().public_key())

    assert not verify(tmp_path / "nothing", trusted).intact
