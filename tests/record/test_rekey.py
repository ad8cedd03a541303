"""A key follows another: whoever trusts one of them can verify all of the log."""

import asyncio
import errno
import shutil
from functools import partial
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sidecar.record.disk import DISK, Io
from sidecar.record.fold import Revocations
from sidecar.record.keeping.history import rotation
from sidecar.record.keeping.upkeep import Retention
from sidecar.record.ledger import Ledger, ledger_paths
from sidecar.record.proof import identity
from sidecar.record.proof.checkpoint import Checkpoint, Verifier, sign
from sidecar.record.rekey import rotate
from sidecar.record.verify import Report, verify
from sidecar.terms.errors import LedgerBroken, RecordError
from tests.record import rfc6962, sample
from tests.record.faulty import FaultyDisk
from tests.record.test_upkeep import kept

# Each of many records is synced, and a disk may be slow.
pytestmark = pytest.mark.timeout(60)


def rotated(state: Path, io: Io = DISK) -> Verifier:
    return rotate(*ledger_paths(state), "root", sample.outside(io), (Revocations(),))


def key_of(state: Path) -> Verifier:
    return identity.load(DISK, ledger_paths(state)[1]).verifier


def judged(state: Path, trusted: Verifier, **notes: bytes) -> Report:
    return verify(ledger_paths(state)[0], trusted, notes=notes)


async def test_any_key_of_the_log_verifies_it(tmp_path):
    await kept(tmp_path, 20)
    keys = [key_of(tmp_path)]
    for part in range(1, 4):
        keys.append(rotated(tmp_path))
        await kept(tmp_path, 20, first=part * 20)

    reports = [judged(tmp_path, key) for key in keys]

    assert len({key.text() for key in keys}) == 4
    assert len({key.name for key in keys}) == 1
    for report in reports:
        assert report.intact, report.problem
        assert (report.records, report.signed) == (83, 83)


async def test_the_record_names_both_keys_and_the_checkpoint_is_signed_by_both(tmp_path):
    await kept(tmp_path, 3)
    old = key_of(tmp_path)

    new = rotated(tmp_path)

    (record,) = [one for one in sample.records(tmp_path) if one.get("event") == "key_rotated"]
    assert (record["kind"], record["detail"]["by"]) == ("admin", "root")
    assert (record["detail"]["old"], record["detail"]["new"]) == (old.text(), new.text())
    note = (tmp_path / "ledger" / "checkpoint").read_bytes()
    assert {rfc6962.open_checkpoint(note, key.text()).size for key in (old, new)} == {4}
    assert not list((tmp_path / "keys").glob("*.next"))
    assert identity.load(DISK, ledger_paths(tmp_path)[1]).verifier == new


async def test_a_checkpoint_that_the_old_key_has_signed_is_held_against_the_log(tmp_path):
    await kept(tmp_path, 20)
    old, held = key_of(tmp_path), (tmp_path / "ledger" / "checkpoint").read_bytes()
    new = rotated(tmp_path)
    await kept(tmp_path, 20, first=20)

    assert judged(tmp_path, new, held=held).intact
    assert judged(tmp_path, old, held=held).intact


async def test_the_old_key_signs_nothing_that_came_after_it(tmp_path):
    await kept(tmp_path, 5)
    who = identity.load(DISK, ledger_paths(tmp_path)[1])
    rotated(tmp_path)
    await kept(tmp_path, 5, first=5)
    new = key_of(tmp_path)
    note = (tmp_path / "ledger" / "checkpoint").read_bytes()
    truth = rfc6962.open_checkpoint(note, new.text())
    by_old = sign(Checkpoint(*truth), who.key)

    assert not judged(tmp_path, new, held=by_old).intact
    assert judged(tmp_path, new, held=note).intact


async def test_a_key_that_only_one_has_signed_is_not_followed(tmp_path):
    await kept(tmp_path, 5)
    who = identity.load(DISK, ledger_paths(tmp_path)[1])
    thief = Ed25519PrivateKey.generate()
    said = rotation(5, who.origin, thief, thief)

    with pytest.raises(ValueError, match="not both keys"):
        type(said)(5, who.verifier.text(), said.new, said.by_old, said.by_new).keys()


async def test_a_rotated_log_starts_and_prunes(tmp_path):
    await kept(tmp_path, 1200)
    old = key_of(tmp_path)
    new = rotated(tmp_path)
    await kept(tmp_path, 1, first=1200, retention=Retention(bytes=2_000))
    await kept(tmp_path, 300, first=1300, retention=Retention(bytes=2_000))

    for key in (old, new):
        report = judged(tmp_path, key)
        assert report.intact, report.problem
        assert report.pruned


def _from(first: int, call: int, _name: str) -> int:
    return errno.EIO if call >= first else 0


@pytest.mark.timeout(60)
@pytest.mark.torture
async def test_a_rotation_that_is_interrupted_is_finished_by_the_next(tmp_path):
    await kept(tmp_path / "before", 8, segment_bytes_max=600)
    old = key_of(tmp_path / "before")
    ended = False
    for number in range(1, 400):
        state = tmp_path / str(number)
        shutil.copytree(tmp_path / "before", state)
        disk = FaultyDisk(partial(_from, number))
        try:
            await asyncio.to_thread(rotated, state, disk)
            ended = True
        except (LedgerBroken, RecordError):
            pass
        with_new = None
        try:
            ledger = Ledger.open(*ledger_paths(state), sample.settings())
            await ledger.close()
        except LedgerBroken as error:
            assert "sidecar log key --rotate" in str(error)  # noqa: PT017
            with_new = await asyncio.to_thread(rotated, state)

        for key in (old, with_new or key_of(state)):
            report = await asyncio.to_thread(judged, state, key)
            assert report.intact, (number, report.problem)
        assert len(sample.ids(state)) == 8
        shutil.rmtree(state)
        if ended:
            break
    assert ended
    assert number > 30


async def test_the_key_is_rotated_at_the_command_line(tmp_path):
    from click.testing import CliRunner

    from sidecar.cli.log import command

    await kept(tmp_path, 3)
    sample.stands(tmp_path)
    old = key_of(tmp_path)
    told = CliRunner().invoke(command, ["key", "--rotate", "--state", str(tmp_path)])

    assert told.exit_code == 0, told.output
    assert told.output.strip() == key_of(tmp_path).text() != old.text()
    verified = CliRunner().invoke(
        command, ["verify", "--state", str(tmp_path), "--key", old.text()]
    )
    assert verified.exit_code == 0, verified.output


async def test_no_key_is_rotated_under_a_sidecar_that_writes(tmp_path):
    ledger = await sample.written(tmp_path, 1)
    before = key_of(tmp_path)

    with pytest.raises(LedgerBroken, match="another process writes"):
        rotated(tmp_path)

    assert key_of(tmp_path) == before
    await ledger.close()
