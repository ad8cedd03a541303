"""A sidecar starts on a whole ledger of its own, sets a torn tail aside, and refuses all else."""

import os
import shutil
import time
from pathlib import Path

import pytest

from sidecar.record.disk import DISK
from sidecar.record.ledger import Ledger, ledger_paths
from sidecar.record.proof import identity
from sidecar.record.read import everything
from sidecar.record.segments.segment import HEADER_BYTES, framed
from sidecar.record.verify import verify
from sidecar.terms.errors import ConfigError, LedgerBroken
from tests.record import sample
from tests.record.sample import admin

# Each of many records is synced, and a disk may be slow.
pytestmark = pytest.mark.timeout(60)


@pytest.fixture
async def unsigned(tmp_path: Path) -> Path:
    """A ledger of six records of which, as after a crash, the last checkpoint knows none."""
    state = tmp_path / "unsigned"
    ledger = await sample.written(state, 0)
    folder, key_file = ledger_paths(state)
    notes = {
        path: path.read_bytes() for path in (folder / "checkpoint", key_file.with_suffix(".signed"))
    }
    for number in range(6):
        await ledger.write(admin(number))
    await ledger.close()
    for path, note in notes.items():
        path.write_bytes(note)
    return state


@pytest.fixture
async def signed(tmp_path: Path) -> Path:
    """A ledger of twelve records in several segments, closed as it should be."""
    state = tmp_path / "signed"
    await sample.closed(state, 12, sample.settings(segment_bytes_max=700))
    return state


def ends(data: bytes) -> list[int]:
    """Return where each frame of a segment ends."""
    found, at = [HEADER_BYTES], HEADER_BYTES
    while at < len(data) and not data[at:].startswith(b"DOORWEND"):
        at += 8 + (int.from_bytes(data[at : at + 4], "little") & 0x7FFF_FFFF)
        found.append(at)
    return found


@pytest.mark.timeout(180)
async def test_every_cut_of_the_last_records_is_a_torn_tail(unsigned, tmp_path):
    (segment,) = sample.segments(unsigned)
    data = segment.read_bytes()
    whole = ends(data)
    for cut in range(whole[-3], len(data)):
        state = tmp_path / str(cut)
        shutil.copytree(unsigned, state)
        os.truncate(state / "ledger" / segment.name, cut)

        ledger = await sample.written(state, 0)
        await ledger.write(admin(99))
        await ledger.close()

        left = max(number for number, end in enumerate(whole) if end <= cut)
        assert sample.ids(state) == [*(f"id-{number}" for number in range(left)), "id-99"]
        torn = [record for record in sample.records(state) if record["kind"] == "ops"]
        assert len(torn) == (0 if cut in whole else 1)
        if torn:
            assert torn[0]["detail"] == {
                "file": segment.name, "offset": whole[left], "bytes": cut - whole[left]
            }  # fmt: skip
            (aside,) = (state / "ledger").glob("*.torn")
            assert aside.read_bytes() == data[whole[left] : cut]
        assert verify(state / "ledger", ledger.verifier).intact
        shutil.rmtree(state)


async def test_a_page_of_zeros_at_the_end_is_a_torn_tail(unsigned):
    (segment,) = sample.segments(unsigned)
    with segment.open("ab") as file:
        file.write(bytes(4096))

    ledger = await sample.written(unsigned, 0)
    await ledger.close()

    assert len(sample.ids(unsigned)) == 6
    assert verify(unsigned / "ledger", ledger.verifier).intact


async def test_a_damaged_record_with_others_behind_it_is_no_torn_tail(unsigned):
    (segment,) = sample.segments(unsigned)
    data = bytearray(segment.read_bytes())
    offset = ends(bytes(data))[2]
    data[offset + 20] ^= 1
    segment.write_bytes(data)

    with pytest.raises(LedgerBroken, match=rf"{segment.name}:{offset}: a record is damaged"):
        Ledger.open(*ledger_paths(unsigned))
    assert segment.read_bytes() == data


async def test_a_damaged_length_with_others_behind_it_is_no_torn_tail(unsigned):
    (segment,) = sample.segments(unsigned)
    data = bytearray(segment.read_bytes())
    offset = ends(bytes(data))[1]
    data[offset : offset + 4] = b"\xff\xff\x00\x00"
    segment.write_bytes(data)

    with pytest.raises(LedgerBroken, match="damaged"):
        Ledger.open(*ledger_paths(unsigned))


async def test_what_a_crash_left_without_a_name_is_removed(signed):
    (signed / "ledger" / "00000000000000000099.seg.tmp").write_bytes(b"half")

    ledger = await sample.written(signed, 0)
    await ledger.close()

    assert not list((signed / "ledger").glob("*.tmp"))


def last_cut(state: Path) -> None:
    """Cut the last signed record off, at the border of its frame."""
    segment = sample.segments(state)[-1]
    os.truncate(segment, ends(segment.read_bytes())[-2])


def behind_it(state: Path, tail: bytes) -> None:
    """Damage the last record of the last segment, and put something behind it."""
    path = sample.segments(state)[-1]
    data = path.read_bytes()
    path.write_bytes(data[:-1] + b"?" + tail)


HEAD_OF_BATCH = (0x8000_0002).to_bytes(4, "little") + bytes(4) + b'{"'
LOOKS_LIKE_RECORDS = {
    "heads of frames": HEAD_OF_BATCH,
    "heads of large frames": b"\xff\xff" + HEAD_OF_BATCH[2:],
    "heads within each other": b'\x00\x80{"',
    "heads of ends": b"DOORWEND",
}


@pytest.mark.parametrize("what", LOOKS_LIKE_RECORDS)
async def test_a_tail_that_was_made_to_look_like_records_is_refused_and_soon(unsigned, what):
    piece = LOOKS_LIKE_RECORDS[what]
    behind_it(unsigned, piece * (16 * 1024 * 1024 // len(piece)))
    began_s = time.process_time()

    with pytest.raises(LedgerBroken, match="made to look like records"):
        await sample.written(unsigned, 0)

    assert time.process_time() - began_s < 5


@pytest.mark.parametrize(
    "piece",
    [
        framed([b'{"a":{"b":{"c":[{"d":1},{"e":2}]}}}'], begins_batch=False),
        b'{"',
        bytes(1),
        b"\0\x80",
    ],
    ids=["records", "text", "zeros", "half of heads"],
)
async def test_a_long_tail_of_one_batch_is_set_aside_and_soon(unsigned, piece):
    behind_it(unsigned, piece * (8 * 1024 * 1024 // len(piece)))
    began_s = time.process_time()

    ledger = await sample.written(unsigned, 0)
    await ledger.close()

    assert time.process_time() - began_s < 5
    assert "ledger.torn_tail" in [one.get("event") for one in sample.records(unsigned)]


async def test_what_nobody_could_search_is_told_as_not_whole(unsigned):
    behind_it(unsigned, HEAD_OF_BATCH * (8 * 1024 * 1024 // len(HEAD_OF_BATCH)))
    damaged: list[str] = []

    found = list(everything(DISK, unsigned / "ledger", damaged))

    assert len(found) == 5
    assert damaged == [sample.segments(unsigned)[-1].name]


def last_torn(state: Path) -> None:
    """Leave a part of the last signed record."""
    segment = sample.segments(state)[-1]
    os.truncate(segment, segment.stat().st_size - 3)


def end_of_one_gone(state: Path) -> None:
    """Take its end from the segment before the last."""
    segment = sample.segments(state)[-2]
    os.truncate(segment, ends(segment.read_bytes())[-1])


def first_segment_gone(state: Path) -> None:
    sample.segments(state)[0].unlink()


def middle_segment_gone(state: Path) -> None:
    sample.segments(state)[1].unlink()


def last_segment_gone(state: Path) -> None:
    sample.segments(state)[-1].unlink()


def all_segments_gone(state: Path) -> None:
    for segment in sample.segments(state):
        segment.unlink()


def all_but_the_key_gone(state: Path) -> None:
    shutil.rmtree(state / "ledger")
    (state / "keys" / "ledger.signed").unlink()


def folder_gone(state: Path) -> None:
    shutil.rmtree(state / "ledger")


def header_changed(state: Path) -> None:
    segment = sample.segments(state)[1]
    segment.write_bytes(b"X" + segment.read_bytes()[1:])


def segment_empty(state: Path) -> None:
    os.truncate(sample.segments(state)[-1], 0)


def segments_swapped(state: Path) -> None:
    first, second, *_ = sample.segments(state)
    one, two = first.read_bytes(), second.read_bytes()
    first.write_bytes(two)
    second.write_bytes(one)


def checkpoint_gone(state: Path) -> None:
    (state / "ledger" / "checkpoint").unlink()


def checkpoint_changed(state: Path) -> None:
    note = state / "ledger" / "checkpoint"
    note.write_bytes(note.read_bytes().replace(b"\n12\n", b"\n11\n"))


def key_gone(state: Path) -> None:
    (state / "keys" / "ledger.key").unlink()


def origin_gone(state: Path) -> None:
    (state / "keys" / "ledger.origin").unlink()


def signed_gone(state: Path) -> None:
    (state / "keys" / "ledger.signed").unlink()


def key_of_another(state: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    pem = Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    (state / "keys" / "ledger.key").write_bytes(pem)


def key_readable(state: Path) -> None:
    (state / "keys" / "ledger.key").chmod(0o644)


def key_nonsense(state: Path) -> None:
    (state / "keys" / "ledger.key").write_bytes(b"nonsense")


def keys_writable(state: Path) -> None:
    (state / "keys").chmod(0o777)


def signed_writable(state: Path) -> None:
    (state / "keys" / "ledger.signed").chmod(0o666)


def folder_writable(state: Path) -> None:
    (state / "ledger").chmod(0o777)


ATTACKS = [
    (last_cut, "12 records were signed and 11 are there"),
    (last_torn, "12 records were signed and 11 are there"),
    (first_segment_gone, "a segment is missing"),
    (middle_segment_gone, "a segment before this one is missing"),
    (last_segment_gone, "records were signed"),
    (all_segments_gone, "12 records were signed and none is there"),
    (folder_gone, "12 records were signed and none is there"),
    (all_but_the_key_gone, "last signed checkpoint is absent"),
    (segment_empty, "not the header"),
    (end_of_one_gone, "no end of its own"),
    (checkpoint_gone, "no signed checkpoint"),
    (checkpoint_changed, "not signed by the key"),
    (key_gone, "is absent"),
    (origin_gone, "is absent"),
    (signed_gone, "is absent"),
    (key_of_another, "not signed by the key"),
    (key_readable, "others may read"),
    (key_nonsense, "not a private key"),
    (folder_writable, "others may write"),
    (keys_writable, "others may write"),
    (signed_writable, "others may write"),
]


@pytest.mark.parametrize(
    ("attack", "text"), [pytest.param(*attack, id=attack[0].__name__) for attack in ATTACKS]
)
async def test_a_ledger_that_is_not_as_it_was_signed_is_refused(signed, attack, text):
    attack(signed)

    with pytest.raises(LedgerBroken, match=text):
        Ledger.open(*ledger_paths(signed))


@pytest.mark.parametrize("attack", [header_changed, segments_swapped])
async def test_what_a_start_does_not_read_is_found_by_verification(signed, attack):
    attack(signed)
    folder, key_file = ledger_paths(signed)
    who = identity.load(DISK, key_file)

    report = verify(folder, who.verifier, who.last_signed(DISK))

    assert not report.intact
    assert "not the header" in str(report.problem)


@pytest.mark.parametrize("attack", [header_changed, segments_swapped])
async def test_a_start_without_snapshots_reads_all(signed, attack):
    for snapshot in (signed / "ledger").glob("*.snap"):
        snapshot.unlink()
    attack(signed)

    with pytest.raises(LedgerBroken, match="not the header"):
        Ledger.open(*ledger_paths(signed))


async def test_an_older_copy_of_the_ledger_is_refused(signed, tmp_path):
    shutil.copytree(signed / "ledger", tmp_path / "copy")
    ledger = await sample.written(signed, 3)
    await ledger.close()
    shutil.rmtree(signed / "ledger")
    shutil.copytree(tmp_path / "copy", signed / "ledger")

    with pytest.raises(LedgerBroken, match="15 records were signed and 12 are there"):
        Ledger.open(*ledger_paths(signed))


async def test_a_rewritten_log_of_the_same_length_is_refused(signed):
    segment = sample.segments(signed)[-1]
    data = segment.read_bytes()
    end = ends(data)[1]
    record = data[HEADER_BYTES + 8 : end].replace(b'"id-', b'"iX-')
    segment.write_bytes(data[:HEADER_BYTES] + framed([record]) + data[end:])

    with pytest.raises(LedgerBroken, match="the first 12 records are not those that were signed"):
        Ledger.open(*ledger_paths(signed))


async def test_a_second_process_may_not_write(signed):
    ledger = await sample.written(signed, 0)

    with pytest.raises(LedgerBroken, match="another process"):
        Ledger.open(*ledger_paths(signed))
    await ledger.write(admin(50))
    await ledger.close()

    again = Ledger.open(*ledger_paths(signed))
    await again.close()


def test_a_key_inside_of_what_it_signs_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="outside"):
        Ledger.open(tmp_path / "ledger", tmp_path / "ledger" / "keys" / "ledger.key")


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb"])
def test_a_name_that_no_origin_may_have_is_refused(tmp_path, name):
    import msgspec

    with pytest.raises(LedgerBroken):
        Ledger.open(*ledger_paths(tmp_path), msgspec.structs.replace(sample.settings(), name=name))


async def test_two_ledgers_of_one_name_are_two_logs(tmp_path):
    first = await sample.written(tmp_path / "a", 1)
    second = await sample.written(tmp_path / "b", 1)
    await first.close()
    await second.close()

    assert first.verifier.name != second.verifier.name
    assert not verify(tmp_path / "a" / "ledger", second.verifier).intact
