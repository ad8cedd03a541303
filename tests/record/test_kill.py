"""kill -9 in the middle of writing loses nothing that was acknowledged."""

import asyncio
import random
import subprocess
import sys
from pathlib import Path

import pytest

from sidecar.record.disk import DISK
from sidecar.record.ledger import ledger_paths
from sidecar.record.proof import identity
from sidecar.record.proof.checkpoint import Verifier
from sidecar.record.verify import verify
from tests.record import sample

ROOT = Path(__file__).parents[2]


def killed_after(state: Path, lines: int, first: int) -> list[str]:
    """Start a writer, kill it after it has acknowledged `lines` records, return all of them."""
    command = [sys.executable, "-m", "tests.record.writer", str(state), str(first)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"open\n"
        acked = [process.stdout.readline() for _ in range(lines)]
        process.kill()
        acked += process.stdout.readlines()
    # A line that was cut off by the kill was acknowledged, but cannot be read.
    return [line.decode().strip() for line in acked if line.endswith(b"\n")]


async def recovered(state: Path) -> Verifier:
    """Let a healthy process open the ledger and close it."""
    ledger = await sample.written(state, 0)
    await ledger.close()
    return ledger.verifier


@pytest.mark.timeout(600)
@pytest.mark.torture
def test_no_acknowledged_record_is_missing_after_a_kill(tmp_path, scaled):
    chance = random.Random(11)
    acked: list[str] = []
    for kill in range(scaled(8, 60)):
        acked += killed_after(tmp_path, chance.randrange(1, 400), first=kill * 10_000_000)

        trusted = asyncio.run(recovered(tmp_path))

        folder, key_file = ledger_paths(tmp_path)
        held = identity.load(DISK, key_file).last_signed(DISK)
        report = verify(folder, trusted, held)
        assert report.intact, report.problem
        assert set(acked) <= set(sample.ids(tmp_path))
    assert len(acked) > 8
