"""What stands behind the checkpoint proves nothing, and notes are read as their standard has it.

As `test_tamper.py`: what somebody does who can write the folder and has none of the keys. Records
of his own, with good checksums and numbers, may stand behind the last signed one: they are counted
as newer, and nothing that they say is believed.
"""

import os
import shutil
import struct
from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sidecar.record.disk import DISK
from sidecar.record.ledger import ledger_paths
from sidecar.record.outside import verifier
from sidecar.record.proof import identity
from sidecar.record.proof.checkpoint import signed_note
from sidecar.record.segments.segment import crc32c, footer, framed, read_footer
from tests.record import sample, tampering
from tests.record.tampering import Part, of_file
from tests.record.test_tamper import NOT_SIGNED, World, run, verified, whole, world
from tests.record.test_tamper_files import last, sealed
from tests.record.test_upkeep import kept

pytestmark = pytest.mark.timeout(60)
__all__ = ["whole", "world"]

NO_NOTE = "not a signed note"
NO_LINE = "malformed signature line"
NOT_OURS = "not signed by the key"
NO_HEADER = "not the header of a segment of this log"
NOT_ITS_END = "the segment's end is not that of its records"
DAMAGED = "a record is damaged"
MISSING = "a segment is missing"


def who(state: Path) -> identity.Identity:
    return identity.load(DISK, ledger_paths(state)[1])


def appended(state: Path, **members: Any) -> None:
    """Put a record with these members behind the last one, where nobody has signed it."""
    part = Part(state, -1)
    mine = who(state)
    place = {"epoch": mine.epoch, "origin": mine.name, "seq": part.said.first_seq}
    place["seq"] = part.said.first_seq + len(part.records)
    record = {"id": "id-x", "kind": "admin", "log": place, "schema": "sidecar.record/1", **members}
    part.put([*part.records, msgspec.json.encode(record, order="sorted")])


def judged(world: World) -> int:
    return verifier.main(["--key", world.key, str(world.ledger)])


# --- records that nobody has signed ---


async def test_who_has_no_key_cannot_say_that_the_first_records_were_pruned(tmp_path):
    state = tmp_path / "state"
    await kept(state, 700)
    sample.stands(state)
    tiled = (path for path in sample.segments(state) if int(path.name[:20]) <= 512)
    left = max(tiled, key=lambda path: path.name)
    for path in sample.segments(state):
        if path.name < left.name:
            path.unlink()
    first = int(left.name[:20])
    appended(state, event="pruned", detail={"first": 0, "last": first - 1, "root": "00"})

    shown = run("verify", state)

    assert first > 256
    assert shown.exit_code == 20
    assert "no record says that those before were pruned: a segment is missing" in shown.stderr
    assert verifier.main(["--key", tampering.key(state), str(state / "ledger")]) == 20


@pytest.mark.parametrize(
    ("lost", "says"),
    [
        ("persons.table", "its subject is not in the table of persons"),
        ("inputs", "is missing, and nobody was forgotten"),
    ],
)
def test_who_has_no_key_cannot_say_that_somebody_was_forgotten(world, lost, says):
    path = world.state / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    appended(world.state, event="person_forgotten", detail={"handle": "user:p_x"})

    shown = verified(world)

    assert shown.exit_code == 20
    assert says in shown.stderr


ODD: dict[str, dict[str, Any]] = {
    "a number that no reader has": {"event": "person_forgotten", "schema": msgspec.Raw(b"9" * 900)},
    "a bundle that no file can be": {"kind": "decision", "policy": {"digest": "sha256:a\0b"}},
    "a bundle elsewhere": {"kind": "decision", "policy": {"digest": "sha256:../../x"}},
    "a call without an id": {"id": msgspec.Raw(b"7"), "listener_forwarded": True},
    "an outcome of nothing": {"kind": "outcome"},
    "an outcome of a stranger": {"kind": "outcome", "parent": "never-was"},
    "a gap": {"kind": "gap"},
    "a pruning of nothing": {"event": "pruned", "detail": {"last": "x"}},
    "a key without a form": {"event": "key_rotated", "detail": {"old": 1, "new": []}},
}


@pytest.mark.parametrize("kind", ODD)
def test_what_it_says_is_neither_believed_nor_stumbled_over(world, kind):
    appended(world.state, **ODD[kind])

    shown = verified(world)

    assert shown.exit_code == 0, shown.stderr
    assert "1 record is newer than the signed checkpoint" in shown.output
    assert judged(world) == 0


# --- what is there, and is not what it was ---


def note(state: Path, change: Callable[[bytes], bytes]) -> None:
    path = state / "ledger" / "checkpoint"
    path.write_bytes(change(path.read_bytes()))


def line(name: str, raw: bytes) -> bytes:
    return f"\u2014 {name} {b64encode(raw).decode()}\n".encode()


def signed_as(
    origin: Callable[[str], str], name: Callable[[str], str], more: str = ""
) -> Callable[[Path], None]:
    """Return what signs a checkpoint with the ledger's key, of another origin or name."""

    def tamper(state: Path) -> None:
        mine = who(state)
        _, size, root = (state / "ledger" / "checkpoint").read_text().split("\n")[:3]
        text = f"{origin(mine.origin)}\n{size}\n{root}\n{more}"
        made = signed_note(text, name(mine.origin), mine.key)
        (state / "ledger" / "checkpoint").write_bytes(made)

    return tamper


def cosigned(state: Path) -> tuple[str, bytes]:
    """Return name and signature of a cosignature by the ledger's own key (tlog-cosignature)."""
    mine = who(state)
    text = (state / "ledger" / "checkpoint").read_bytes().partition(b"\n\n")[0] + b"\n"
    of = mine.origin.encode() + b"\n\x04" + mine.key.public_key().public_bytes_raw()
    made = mine.key.sign(b"cosignature/v1\ntime 1\n" + text)
    return mine.origin, sha256(of).digest()[:4] + struct.pack(">Q", 1) + made


def cosigned_alone(state: Path) -> None:
    said = line(*cosigned(state))
    note(state, lambda text: text.partition(b"\n\n")[0] + b"\n\n" + said)


def without_line(number: int) -> Callable[[Path], None]:
    def change(text: bytes) -> bytes:
        lines = text.split(b"\n")
        del lines[number]
        return b"\n".join(lines)

    return lambda state: note(state, change)


def and_line(name: str, raw: bytes = b"x" * 68) -> Callable[[Path], None]:
    return lambda state: note(state, lambda text: text + line(name, raw))


def of_end(**said: Any) -> Callable[[Path], None]:
    def tamper(state: Path) -> None:
        part = Part(state, 1)
        found = read_footer(part.data[-128:])
        assert found is not None
        tampering.write(part.path, part.data[:-128] + footer(found._replace(**said)))

    return tamper


def summed(begin: int, at: int, byte: bytes) -> Callable[[Path], None]:
    """Return what changes a byte of a header or an end, and its checksum."""

    def tamper(state: Path) -> None:
        part = Part(state, 1)
        start = begin if begin >= 0 else len(part.data) + begin
        said = part.data[start : start + 124]
        said = said[:at] + byte + said[at + 1 :]
        said += crc32c(said).to_bytes(4, "little")
        tampering.write(part.path, part.data[:start] + said + part.data[start + 128 :])

    return tamper


def behind(of: Callable[[Part], bytes]) -> Callable[[Path], None]:
    def tamper(state: Path) -> None:
        part = Part(state, 1)
        tampering.write(part.path, part.data + of(part))

    return tamper


def named(of: Callable[[Path], Path], more: int, *, stays: bool) -> Callable[[Path], None]:
    """Return what gives a segment the name of another place."""

    def tamper(state: Path) -> None:
        path = of(state)
        to = path.with_name(f"{int(path.name[:20]) + more:020d}{path.name[20:]}")
        shutil.copy(path, to) if stays else path.rename(to)

    return tamper


def ended_and_more(state: Path) -> None:
    part = Part(state, -1)
    part.has_end = True
    part.put(part.records)
    part.path.write_bytes(part.path.read_bytes() + framed(part.records[:1]))


def same(origin: str) -> str:
    return origin


def elsewhere(origin: str) -> str:
    return f"{origin[:-4]}0000"


# What is done, what `log verify` says, and what the verifier says where it is another thing.
FOUND: dict[str, tuple[Callable[[Path], Any], str, str | None]] = {
    "another log's checkpoint, by our key": (
        signed_as(elsewhere, elsewhere), NOT_OURS, "not of this log",
    ),
    "another log's checkpoint, under our name": (
        signed_as(elsewhere, same), "not of this log", None,
    ),
    "our checkpoint under another name": (signed_as(same, elsewhere), NOT_OURS, None),
    "a cosignature instead of a signature": (cosigned_alone, NOT_OURS, None),
    "a checkpoint without its origin": (without_line(0), NOT_OURS, NO_NOTE),
    "a checkpoint without its size": (without_line(1), NOT_OURS, NO_NOTE),
    "a checkpoint without its root": (without_line(2), NOT_OURS, NO_NOTE),
    "a checkpoint without its empty line": (without_line(3), NO_NOTE, None),
    "a checkpoint without a signature": (without_line(4), NO_NOTE, None),
    "a checkpoint without its last byte": (
        lambda state: note(state, lambda text: text[:-1]), NO_NOTE, None,
    ),
    "a signature of a name with a space": (and_line("w\u00a0x"), NO_LINE, NO_NOTE),
    "a signature of a name with a plus": (and_line("w+x"), NO_LINE, NO_NOTE),
    "a signature of a name with a control": (and_line("w\x01x"), NO_LINE, NO_NOTE),
    "a signature of nothing": (and_line("w", b"abcd"), NO_LINE, NO_NOTE),
    "a space behind a signature": (
        lambda state: note(state, lambda text: text[:-1] + b" \n"), "not canonical", NO_NOTE,
    ),
    "an end of other records": (of_end(records=7), NOT_ITS_END, None),
    "an end of another size": (of_end(size=7), NOT_ITS_END, None),
    "an end of another root": (
        of_end(root=bytes(32)), "not those that its end names", NOT_ITS_END,
    ),
    "an end of other places": (of_end(offsets=bytes(32)), NOT_ITS_END, None),
    "something in the zeros of an end": (summed(-128, 100, b"x"), DAMAGED, NOT_ITS_END),
    "something in the zeros of a header": (summed(0, 110, b"x"), NO_HEADER, None),
    "a header of a form to come": (summed(0, 8, b"\2"), NO_HEADER, None),
    "an end twice": (behind(lambda part: part.data[-128:]), DAMAGED, NOT_ITS_END),
    "a record behind an end": (
        behind(lambda part: framed(part.records[:1])), DAMAGED, NOT_ITS_END,
    ),
    "a record behind an end of the last": (ended_and_more, DAMAGED, NOT_ITS_END),
    "a segment twice, within another": (named(sealed, 5, stays=True), MISSING, None),
    "a segment twice, behind the last": (
        named(sealed, 900, stays=True), "the segment has no end", None,
    ),
    "the last segment under another name": (named(last, 600, stays=False), MISSING, None),
    "a segment under another name": (named(sealed, 1, stays=False), MISSING, None),
    "an empty segment behind the last": (
        lambda state: (state / "ledger" / f"{330:020d}.seg").write_bytes(b""),
        "the segment has no end", None,
    ),
    "an empty file beside a sealed segment": (
        lambda state: sealed(state).with_suffix("").write_bytes(b""), NO_HEADER, None,
    ),
    "a sealed segment of nothing": (
        lambda state: tampering.write(sealed(state), b""), NO_HEADER, None,
    ),
    "half of zstandard's own sign": (
        of_file("ledger/*052.seg.zst", lambda _: b"\x28\xb5"), "cannot be read", None,
    ),
    "all segments removed": (
        lambda state: [*map(os.unlink, sample.segments(state))],
        "330 records were signed and 0 are there", "the tile is missing",
    ),
}  # fmt: skip

HARMLESS: dict[str, Callable[[Path], Any]] = {
    "a signature of another key under our name": lambda state: note(
        state,
        lambda text: (
            text
            + signed_note(
                text.decode().partition("\n\n")[0] + "\n",
                who(state).origin,
                Ed25519PrivateKey.generate(),
            ).partition(b"\n\n")[2]
        ),
    ),
    "a cosignature by our key": lambda state: note(
        state, lambda text: text + line(*cosigned(state))
    ),
    "signatures of sixteen others, of the largest kind": lambda state: note(
        state, lambda text: text + b"".join(line(f"w{n}", b"x" * 2432) for n in range(16))
    ),
    "a signature of a name with what is no space": and_line("w\u200dx"),
    "the signature twice": lambda state: note(
        state, lambda text: text + text.partition(b"\n\n")[2]
    ),
    "the open form beside the sealed": lambda state: (
        sealed(state).with_suffix("").write_bytes(tampering.inside(sealed(state)))
    ),
    "no batch begins anywhere": lambda state: tampering.write(
        last(state),
        Part(state, -1).data[:128] + framed(Part(state, -1).records, begins_batch=False),
    ),
    "a snapshot of records to come": lambda state: shutil.copy(
        min((state / "ledger").glob("*.snap")), state / "ledger" / f"{5000:020d}.snap"
    ),
    "no snapshots": lambda state: [*map(os.unlink, (state / "ledger").glob("*.snap"))],
}


@pytest.mark.parametrize("kind", FOUND)
def test_it_is_found_by_both(world, kind, capsys):
    tamper, says, to_others = FOUND[kind]
    tamper(world.state)

    shown = verified(world)

    assert shown.exit_code == judged(world) == 20
    assert says in shown.stderr
    assert (to_others or says) in capsys.readouterr().err


@pytest.mark.parametrize("kind", HARMLESS)
def test_it_changes_nothing(world, kind):
    HARMLESS[kind](world.state)

    shown = verified(world)

    assert shown.exit_code == 0, shown.stderr
    assert judged(world) == 0


def test_a_snapshot_of_other_records_under_its_name_is_found(world):
    one, other = sorted(world.ledger.glob("*.snap"))[:2]
    shutil.copy(one, other)

    shown = verified(world)

    assert shown.exit_code == 20
    assert "the snapshot is not of the records before it" in shown.stderr


# --- a checkpoint that is given, and is none ---


@pytest.mark.parametrize(
    ("how", "says"),
    [
        (lambda text: text.replace(b"\n330\n", b"\n331\n"), NOT_OURS),
        (lambda text: text.partition(b"\n\n")[0], NO_NOTE),
        (lambda _: b"", NO_NOTE),
        (lambda _: b"\xff\xfe", NO_NOTE),
    ],
)
def test_a_checkpoint_that_is_given_and_is_none_is_named(world, tmp_path, how, says):
    held = tmp_path / "held.note"
    held.write_bytes(how(world.newest.read_bytes()))

    shown = verified(world, "--checkpoint", held)

    assert shown.exit_code == 20
    assert "held.note" in shown.stderr
    assert says in shown.stderr
    assert NOT_SIGNED not in shown.stderr
