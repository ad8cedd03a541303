"""Started as root, the recorder alone becomes the user that the configuration names."""

import os
from pathlib import Path

import pytest

from tests.e2e.harness import READ, Site

NOBODY = 65534


def uid(pid: int) -> int:
    """Return as whom a process runs."""
    (line,) = [
        one
        for one in Path(f"/proc/{pid}/status").read_text().splitlines()
        if one.startswith("Uid:")
    ]
    return int(line.split()[2])


@pytest.mark.e2e
@pytest.mark.timeout(60)
@pytest.mark.skipif(os.geteuid() != 0 or not Path("/proc/self").exists(), reason="needs root")
async def test_the_recorder_alone_runs_as_the_ledgers_user(site):
    site.folder.chmod(0o711)
    site.config.write_text(site.config.read_text() + "ledger: {user: nobody}\n")
    async with site.running() as sidecar:
        client = await sidecar.client()
        assert (await client.decide(READ)).status == 200
        assert (uid(sidecar.recorder), uid(sidecar.workers[0])) == (NOBODY, 0)
        await sidecar.kill(sidecar.recorder)
        await sidecar.ready()
        assert (await client.decide(READ)).status == 200
        assert uid(sidecar.recorder) == NOBODY
        assert await sidecar.stop() == 0

    owners = {file.stat().st_uid for file in site.ledger.rglob("*")}
    assert owners == {NOBODY}
    await site.verified()


async def test_a_user_that_there_is_none_of_is_said(site: Site):
    site.config.write_text(site.config.read_text() + "ledger: {user: nobody-of-that-name}\n")

    done = await site.sidecar("run", "-c", str(site.config))

    assert done.code == 2
    assert "there is no user `nobody-of-that-name`" in done.err
