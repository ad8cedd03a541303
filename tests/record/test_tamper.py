"""What somebody with the files may do to a log is found, each with its message and exit code 20.

By `sidecar log verify`, and by the verifier that is handed out, which shares no code with it. What
nobody can find without something that is held elsewhere is a row here as well.
"""

import asyncio
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner, Result

from sidecar.cli.log import command
from sidecar.record.outside import one_file, verifier
from sidecar.record.persons import Persons, persons_paths
from sidecar.record.segments.segment import framed
from tests.record import sample, tampering
from tests.record.tampering import (
    BUNDLE,
    HELD,
    RECORDS,
    Part,
    flipped,
    of_file,
    of_files,
    of_header,
    of_segment,
    removed,
)

pytestmark = pytest.mark.timeout(60)


class World(NamedTuple):
    """A state folder that may be tampered with, and what an auditor holds elsewhere."""

    state: Path
    key: str
    earlier: Path
    newest: Path
    mirror: Path
    verifier: Path

    @property
    def ledger(self) -> Path:
        return self.state / "ledger"


def other(letter: bytes) -> bytes:
    """Return another letter of base64."""
    return b"B" if letter == b"A" else b"A"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    asyncio.run(tampering.made(folder / "state"))
    (folder / "verifier.py").write_text(one_file())
    return folder


@pytest.fixture
def world(whole: Path, tmp_path: Path) -> World:
    state = tmp_path / "state"
    shutil.copytree(whole / "state", state)
    return World(
        state,
        tampering.key(whole / "state"),
        whole / "earlier",
        whole / "state" / "ledger" / "checkpoint",
        whole / "state" / "ledger",
        whole / "verifier.py",
    )


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def verified(world: World, *more: str | Path) -> Result:
    return run("verify", world.ledger, "--key", world.key, *more)


def outside(world: World, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the one file where nothing of ours can be imported."""
    told = [sys.executable, "-I", world.verifier, "--key", world.key, *arguments]
    return subprocess.run(
        list(map(str, told)), capture_output=True, text=True, check=False, cwd=world.state
    )


def cut_to(count: int) -> Callable[[Path], None]:
    """Return what cuts the log to its first `count` records, as a start would accept it."""

    def tamper(state: Path) -> None:
        for number in reversed(range(len(sample.segments(state)))):
            part = Part(state, number)
            if part.said.first_seq >= count:
                part.path.unlink()
            else:
                left = part.records[: count - part.said.first_seq]
                data = part.data[:128] + b"".join(framed([record]) for record in left)
                part.path.unlink()
                part.path.with_name(part.path.name.removesuffix(".zst")).write_bytes(data)
                return

    return tamper


def cut_within_a_record(state: Path) -> None:
    path = sample.segments(state)[-1]
    path.write_bytes(path.read_bytes()[:-7])


def segments_exchanged(state: Path) -> None:
    one, other = sample.segments(state)[1:3]
    data = one.read_bytes()
    one.chmod(0o600)
    other.chmod(0o600)
    one.write_bytes(other.read_bytes())
    other.write_bytes(data)


def other_bundle(state: Path) -> None:
    from sidecar.policy.archive import Manifest, pack
    from sidecar.policy.bundle import digest_of

    files = {**BUNDLE, "policies/p.yaml": b"apiVersion: sidecar/v1\nkind: Policy\n"}
    (path,) = (state / "bundles").iterdir()
    path.write_bytes(pack(files, Manifest("demo", "1.0.0", digest_of(files))))


def forged_checkpoint(state: Path) -> None:
    path = state / "ledger" / "checkpoint"
    path.write_bytes(tampering.signed_by(state, path.read_text().partition("\n\n")[0] + "\n"))


def key_taken_over(state: Path) -> None:
    """Say that a new key follows, which only the new one signs."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from sidecar.record.keeping.history import rotation
    from sidecar.record.proof.checkpoint import Checkpoint, sign, verifier
    from sidecar.record.proof.merkle import Tree, leaf_hashes

    part, mine = Part(state, -1), Ed25519PrivateKey.generate()
    name = verifier(tampering.key(state)).name
    seq = part.said.first_seq + len(part.records)
    said = rotation(seq, name, mine, mine)
    detail = {"by_new": said.by_new, "by_old": said.by_old, "new": said.new}
    detail["old"] = tampering.key(state)
    place = re.search(rb'"log":\{[^}]*\}', part.records[-1])
    assert place is not None
    record = (
        b'{"detail":%b,"event":"key_rotated","id":"id-x","kind":"admin",%b,'
        b'"schema":"sidecar.record/1","time":"2026-11-21T10:00:00.000000Z"}'
    ) % (json.dumps(detail, separators=(",", ":"), sort_keys=True).encode(), place[0])
    part.put(tampering.renumbered([*part.records, record], part.said.first_seq))
    tree = Tree()
    for path in sample.segments(state):
        tree.extend(leaf_hashes(tampering.records_of(path)))
    (state / "ledger" / "checkpoint").write_bytes(
        sign(Checkpoint(name, tree.size, tree.root()), mine)
    )


def shadowed(state: Path) -> None:
    """Put an open form beside a sealed segment, which readers prefer."""
    path = sample.segments(state)[1]
    data = tampering.inside(path).replace(b"hr.compensation", b"hr.compensatiom")
    path.with_name(path.name.removesuffix(".zst")).write_bytes(data)


def somebody_comes_and_goes(state: Path) -> None:
    """Put the table back that stood there before one more person, whom no record names."""
    path, key = persons_paths(state)
    before = path.read_bytes()
    table = Persons.open(path, key)
    table.handle_of("user:bob")
    table.close()
    path.write_bytes(before)


def edited(old: bytes, new: bytes) -> Callable[[list[bytes]], list[bytes]]:
    return lambda r: [r[0], *(one.replace(old, new) for one in r[1:])]


FORGED_OUTCOME = edited(b'"result":"failed"', b'"result":"forwarded"')
NOT_SIGNED = "records are not those that were signed"
NOT_ITS_NUMBER = "the record does not say that it is number"

# name: what is done, what `log verify` says, what the verifier says where that is something else.
FOUND: dict[str, tuple[Callable[[Path], Any], str, str | None]] = {
    "a bit flipped": (of_file("ledger/*.seg", flipped(240)), "a record is damaged", NOT_SIGNED),
    "a record edited": (of_segment(-1, edited(b"a note", b"a mote")), NOT_SIGNED, None),
    "a record back-dated": (of_segment(-1, edited(b"T10:00:00", b"T09:00:00")), NOT_SIGNED, None),
    "an outcome forged": (of_segment(-1, FORGED_OUTCOME), NOT_SIGNED, None),
    "an edit under the old end": (
        of_segment(1, edited(b"a note", b"a mote"), new_end=False),
        "not those that its end names", "the segment's end is not that of its records",
    ),
    "an edit under a new end": (
        of_segment(1, edited(b"a note", b"a mote")),
        "the segment does not follow the records before it", None,
    ),
    "one record deleted": (of_segment(1, lambda r: [*r[:4], *r[5:]]), NOT_ITS_NUMBER, None),
    "two neighbours deleted": (of_segment(-1, lambda r: [*r[:2], *r[4:]]), NOT_ITS_NUMBER, None),
    "two neighbours deleted, the rest renumbered": (
        of_segment(-1, lambda r: [*r[:2], *r[4:]], renumber=True),
        f"{RECORDS} records were signed and {RECORDS - 2} are there", None,
    ),
    "all records of a segment deleted": (
        of_segment(1, lambda r: []), "a segment is missing", None,
    ),
    "a record inserted": (of_segment(2, lambda r: [*r[:3], r[1], *r[3:]]), NOT_ITS_NUMBER, None),
    "a record inserted, the rest renumbered": (
        of_segment(-1, lambda r: [*r[:3], r[1], *r[3:]], renumber=True), NOT_SIGNED, None,
    ),
    "a record repeated": (of_segment(-1, lambda r: [*r, r[-1]]), NOT_ITS_NUMBER, None),
    "two records exchanged": (of_segment(2, lambda r: [r[1], r[0], *r[2:]]), NOT_ITS_NUMBER, None),
    "two records exchanged and renumbered": (
        of_segment(-1, lambda r: [r[1], r[0], *r[2:]], renumber=True), NOT_SIGNED, None,
    ),
    "the end cut off": (
        cut_to(RECORDS - 2), f"{RECORDS} records were signed and {RECORDS - 2} are there", None,
    ),
    "the last record cut": (
        cut_within_a_record, "a record was not written to its end", "a record is damaged",
    ),
    "something behind the end": (
        of_file("ledger/*.seg", lambda data: data + b"\x90\x01\x00\x00and"),
        "a record was not written to its end", "a record is damaged",
    ),
    "a segment removed": (removed("ledger/*.zst"), "a segment is missing", None),
    "the first segment removed": (
        removed("ledger/*.zst", 0), "a segment is missing", "were pruned",
    ),
    "the last segment removed": (removed("ledger/*.seg"), "records were signed and", None),
    "two segments exchanged": (
        segments_exchanged, "not the header of a segment of this log", None,
    ),
    "the header says another number": (
        of_header(1, first_seq=7), "not the header of a segment of this log", None,
    ),
    "the header says other records before": (
        of_header(-1, root_before=bytes(32)), "the segment does not follow the records", None,
    ),
    "a header of another log": (
        of_file("ledger/*.seg", flipped(40)), "not the header of a segment of this log", None,
    ),
    "the end of a segment edited": (
        lambda state: tampering.write(
            (part := Part(state, 1)).path, part.data[:-128] + Part(state, 2).data[-128:]
        ),
        "the segment's end is not that of its records", None,
    ),
    "the end of a segment taken away": (
        lambda state: tampering.write((part := Part(state, 1)).path, part.data[:-128]),
        "the segment has no end", None,
    ),
    "a sealed segment damaged": (
        of_file("ledger/*.zst", flipped(900)), "the sealed segment cannot be read", None,
    ),
    "a sealed segment shadowed": (
        shadowed, "a record is damaged", "the segment's end is not that of its records",
    ),
    "the checkpoint removed": (
        removed("ledger/checkpoint"), "there is no signed checkpoint", None,
    ),
    "a checkpoint of another key": (
        forged_checkpoint, "the checkpoint is not signed by the key", None,
    ),
    "the checkpoint says another size": (
        of_file("ledger/checkpoint", lambda note: note.replace(b"\n330\n", b"\n329\n")),
        "the checkpoint is not signed by the key", NOT_SIGNED,
    ),
    "the checkpoint says another log": (
        of_file("ledger/checkpoint", lambda note: note.replace(b"test/", b"toast/", 1)),
        "the checkpoint is not", None,
    ),
    "a signature edited": (
        of_file("ledger/checkpoint", lambda note: note[:-20] + other(note[-20:-19]) + note[-19:]),
        "checkpoint", None,
    ),
    "a key that takes over": (key_taken_over, "the checkpoint is not signed by the key",
                              "a key that both keys did not sign for"),
}  # fmt: skip

BESIDE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a tile edited": (
        of_file("ledger/tiles/tile/0/000", flipped(7)), "the tile is not that of the records",
    ),
    "a snapshot edited": (
        of_file("ledger/*.snap", lambda note: note.replace(b'"folds":{', b'"folds":{"x":1,')),
        "the snapshot is not signed by the ledger's key",
    ),
    "a snapshot of other records": (
        of_file("ledger/*.snap", lambda note: note.replace(b'"frontier":["', b'"frontier":["A')),
        "the snapshot is not of the records before it",
    ),
    "a bundle edited": (
        of_file("bundles/*.tar", lambda tar: tar.replace(b"effect: deny", b"effect: none")),
        "the bundle by which it was decided was changed",
    ),
    "another bundle under its name": (
        other_bundle, "another bundle than the one by which it was decided",
    ),
    "a bundle removed": (
        removed("bundles/*.tar"), "the bundle by which it was decided is missing",
    ),
    "a row of persons edited": (
        of_file("persons.table", lambda data: data[:60] + b"!" + data[61:]),
        "persons",
    ),
    "a row of persons removed": (
        of_file("persons.table", lambda data: data[:16]),
        "its subject is not in the table of persons",
    ),
    "the table of persons of before somebody came": (
        somebody_comes_and_goes, "rows are missing at its end: 1",
    ),
    "a side object edited": (
        of_files("inputs/*.objects", lambda data: data.replace(b"a text", b"a tent")),
        "was changed",
    ),
    "the table of persons removed": (
        removed("persons.table"), "its subject is not in the table of persons",
    ),
    "all bundles removed": (
        lambda state: shutil.rmtree(state / "bundles"),
        "the bundle by which it was decided is missing",
    ),
    "the side store removed": (
        lambda state: shutil.rmtree(state / "inputs"), "is missing, and nobody was forgotten",
    ),
    "the side objects removed": (
        of_files("inputs/*.objects", lambda data: b""), "is missing, and nobody was forgotten",
    ),
}  # fmt: skip


def test_an_untouched_log_is_intact_to_both(world, capsys):
    assert verifier.main(["--key", world.key, str(world.ledger)]) == 0
    assert capsys.readouterr().out.startswith("proven\n")
    shown = verified(world, "--checkpoint", world.newest, "--mirror", world.mirror)

    assert shown.exit_code == 0, shown.stderr
    assert "beside  1 bundles, 1 persons, 1 objects" in shown.output
    judged = outside(world, world.ledger, "--checkpoint", world.newest)
    assert judged.returncode == 0, judged.stderr


def test_there_are_at_least_25_kinds():
    assert len(FOUND) + len(BESIDE) >= 25


@pytest.mark.parametrize("kind", FOUND)
def test_it_is_found_by_verify(world, kind):
    tamper, says, _ = FOUND[kind]
    tamper(world.state)

    shown = verified(world)

    assert shown.exit_code == 20
    assert says in shown.stderr


@pytest.mark.parametrize("kind", FOUND)
def test_it_is_found_by_the_verifier_that_is_handed_out(world, kind, capsys):
    tamper, says, to_others = FOUND[kind]
    tamper(world.state)

    judged = outside(world, world.ledger)

    assert judged.returncode == 20, judged.stderr
    assert (to_others or says) in judged.stderr
    assert "Traceback" not in judged.stderr
    # In this process it says the same.
    assert verifier.main(["--key", world.key, "--json", str(world.ledger)]) == 20
    assert (to_others or says) in json.loads(capsys.readouterr().out)["problem"]


@pytest.mark.parametrize("kind", BESIDE)
def test_what_stands_beside_is_compared_with_the_records(world, kind):
    tamper, says = BESIDE[kind]
    tamper(world.state)

    shown = verified(world)

    assert shown.exit_code == 20
    assert says in shown.stderr
    # The log itself is what was signed, which is all that the other one judges.
    assert outside(world, world.ledger).returncode == 0


def test_a_copy_of_the_ledger_alone_says_what_was_not_at_hand(world, tmp_path):
    shutil.copytree(world.ledger, tmp_path / "copy" / "ledger")

    shown = run("verify", tmp_path / "copy" / "ledger", "--key", world.key)

    assert shown.exit_code == 0
    assert "no bundles at hand, no persons at hand, no objects at hand" in shown.output


def test_objects_of_who_was_forgotten_may_be_absent(world):
    sample.stands(world.state)
    assert run("forget", "user:alice", "--state", world.state).exit_code == 0

    shown = run("verify", world.state)

    assert shown.exit_code == 0, shown.stderr
    assert "1 bundles, 0 persons, 0 objects" in shown.output


# --- what only something that is held elsewhere can show ---


def test_a_log_rolled_back_is_found_by_a_newer_checkpoint_and_by_a_mirror(world):
    shutil.rmtree(world.state)
    shutil.copytree(world.earlier, world.state)

    by_note = verified(world, "--checkpoint", world.newest)
    by_mirror = verified(world, "--mirror", world.mirror)

    assert verified(world).exit_code == outside(world, world.ledger).returncode == 0
    assert by_note.exit_code == by_mirror.exit_code == 20
    assert f"{RECORDS} records were signed and {HELD} are there" in by_note.stderr
    assert f"the mirror holds {RECORDS} records and {HELD} are there" in by_mirror.stderr
    judged = outside(world, world.ledger, "--checkpoint", world.newest)
    assert judged.returncode == 20
    assert f"{RECORDS} records were signed and {HELD} are there" in judged.stderr


async def fork(world: World) -> None:
    """Go on from an earlier state of the log, with its key, in another way."""
    shutil.rmtree(world.state)
    shutil.copytree(world.earlier, world.state)
    ledger = await sample.written(world.state, 0)
    for number in range(RECORDS):
        await ledger.write(sample.admin(number, text="what never was"))
    await ledger.close()


async def test_another_history_under_the_same_key_is_found_by_what_is_held(world):
    await fork(world)

    by_note = verified(world, "--checkpoint", world.newest)
    by_mirror = verified(world, "--mirror", world.mirror)
    judged = outside(world, world.ledger, "--checkpoint", world.newest)

    assert verified(world).exit_code == outside(world, world.ledger).returncode == 0
    assert by_note.exit_code == by_mirror.exit_code == judged.returncode == 20
    assert f"the first {RECORDS} {NOT_SIGNED}" in by_note.stderr
    assert f"record {HELD}: the mirror has another record here: a fork" in by_mirror.stderr
    assert f"the first {RECORDS} {NOT_SIGNED}" in judged.stderr


async def test_a_fork_begins_with_what_both_have_in_common(world):
    await fork(world)
    common = world.earlier / "ledger" / "checkpoint"

    assert verified(world, "--checkpoint", common).exit_code == 0


def test_an_older_checkpoint_put_back_is_found_by_the_one_beside_the_key(world):
    sample.stands(world.state)
    shutil.copy(world.earlier / "ledger" / "checkpoint", world.ledger / "checkpoint")

    shown = run("verify", "--state", world.state)

    assert shown.exit_code == 20
    assert f"the log's own checkpoint is older, it signs {HELD} records" in shown.stderr


def test_an_older_checkpoint_put_back_is_found_by_a_newer_one(world):
    shutil.copy(world.earlier / "ledger" / "checkpoint", world.ledger / "checkpoint")

    shown = verified(world, "--checkpoint", world.newest)
    judged = outside(world, world.ledger, "--checkpoint", world.newest)

    assert (
        f"{RECORDS - HELD} records are newer than the signed checkpoint" in verified(world).output
    )
    assert shown.exit_code == judged.returncode == 20
    assert f"the log's own checkpoint is older, it signs {HELD} records" in shown.stderr
    assert "the log's own checkpoint is older" in judged.stderr


@pytest.mark.parametrize("more", [1, 40])
def test_what_is_appended_under_an_older_checkpoint_is_found_by_a_newer_one(world, more):
    cut_to(HELD)(world.state)
    shutil.copy(world.earlier / "ledger" / "checkpoint", world.ledger / "checkpoint")
    part = Part(world.state, -1)
    forged = [*part.records, *([part.records[-1]] * more)]
    part.put(tampering.renumbered(forged, part.said.first_seq))

    assert verified(world).exit_code == 0
    assert f"{more} record" in verified(world).output
    for held in (["--checkpoint", world.newest], ["--mirror", world.mirror]):
        assert verified(world, *held).exit_code == 20
    assert outside(world, world.ledger, "--checkpoint", world.newest).returncode == 20


async def test_what_was_never_signed_can_be_cut_off_and_only_a_mirror_shows_it(world, tmp_path):
    how = sample.settings(checkpoint_every_s=3600.0)
    ledger = await sample.written(world.state, 0, how)
    for number in range(3):
        await ledger.write(sample.admin(900 + number))
    shutil.copytree(world.ledger, tmp_path / "mirror")
    shutil.copytree(world.state, tmp_path / "cut")
    await ledger.close()
    cut_to(RECORDS)(tmp_path / "cut")
    cut = world._replace(state=tmp_path / "cut")

    assert verified(cut).exit_code == 0
    shown = verified(cut, "--mirror", tmp_path / "mirror")
    assert shown.exit_code == 20
    assert f"the mirror holds {RECORDS + 3} records and {RECORDS} are there" in shown.stderr


def test_what_is_appended_and_not_signed_is_counted_apart(world):
    part = Part(world.state, -1)
    part.put(tampering.renumbered([*part.records, part.records[-1]], part.said.first_seq))

    assert "1 record is newer than the signed checkpoint" in verified(world).output


# --- what is harmless ---


@pytest.mark.parametrize(
    "tamper",
    [
        pytest.param(lambda path: path.write_bytes(b"no table"), id="damaged"),
        pytest.param(lambda path: path.unlink(), id="removed"),
    ],
)
def test_a_changed_index_changes_nothing(world, tamper):
    before = run("show", "id-0", "--state", world.state).output
    tamper(world.ledger / "index.db")

    assert verified(world).exit_code == 0
    assert run("show", "id-0", "--state", world.state).output == before


def test_an_index_that_lies_is_not_believed(world, tmp_path):
    import sqlite3
    from contextlib import closing

    assert run("prove", "id-0", "--state", world.state, "--out", tmp_path).exit_code == 0
    with closing(sqlite3.connect(world.ledger / "index.db")) as table:
        table.execute("update records set id = 'id-0' where id = 'id-3'")
        table.execute("delete from records where id = 'out-0'")
        table.commit()

    assert run("prove", "id-0", "--state", world.state, "--out", tmp_path).exit_code == 0
    told = json.loads((tmp_path / "id-0.json").read_bytes())
    assert (told["id"], told["log"]["seq"]) == ("id-0", 0)


def test_the_time_at_which_a_segment_began_is_not_signed(world):
    of_header(1, created_us=1)(world.state)

    assert verified(world).exit_code == 0


# --- a mirror that is wrong itself ---


def test_a_mirror_that_was_tampered_with_is_named(world, tmp_path):
    shutil.copytree(world.state, tmp_path / "mirror")
    of_segment(-1, edited(b"a note", b"a mote"))(tmp_path / "mirror")

    shown = verified(world, "--mirror", tmp_path / "mirror" / "ledger")

    assert shown.exit_code == 20
    assert f"{tmp_path / 'mirror' / 'ledger'}" in shown.stderr


def test_a_mirror_that_is_behind_is_no_damage(world):
    assert verified(world, "--mirror", world.earlier / "ledger").exit_code == 0
