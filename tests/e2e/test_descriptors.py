"""Descriptors: as many as a process may have, and some that no connection takes."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from sidecar.intercept.limits import DESCRIPTORS_SPARE
from tests.e2e.harness import READ, Site, until

pytestmark = pytest.mark.e2e

# (soft, hard): the first is raised to the second.
FEW = (64, 160)
needs_prlimit = pytest.mark.skipif(shutil.which("prlimit") is None, reason="no `prlimit`")


def limited(site: Site) -> Site:
    site.prefix = ("prlimit", "--nofile={}:{}".format(*FEW))
    return site


def soft_limit(pid: int) -> int:
    (line,) = [
        one
        for one in Path(f"/proc/{pid}/limits").read_text().splitlines()
        if one.startswith("Max open files")
    ]
    return int(line.split()[3])


def open_in(pid: int) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


@needs_prlimit
@pytest.mark.skipif(sys.platform != "linux", reason="no /proc")
@pytest.mark.timeout(60)
async def test_strangers_who_take_all_connections_leave_a_worker_its_way_to_the_recorder(site):
    async with AsyncExitStack() as held, limited(site).running() as sidecar:
        (worker,) = sidecar.workers
        own = (sidecar.supervisor, sidecar.recorder, worker)
        assert [soft_limit(pid) for pid in own] == [FEW[1]] * 3
        client = await sidecar.client()
        assert (await client.decide(READ)).status == 200

        for _ in range(FEW[1]):
            _, writer = await asyncio.open_connection("127.0.0.1", sidecar.port("ask"))
            held.callback(writer.close)
        await until(lambda: open_in(worker) > FEW[1] - DESCRIPTORS_SPARE, 5)
        os.kill(sidecar.recorder, signal.SIGKILL)
        await sidecar.ready()

        assert sidecar.workers == [worker]
        assert open_in(worker) < FEW[1]
        assert (await client.decide(READ)).status == 200
        await held.aclose()
        assert (await (await sidecar.client()).decide(READ)).status == 200
    assert "Traceback" not in site.log()


RAISED = """\
import resource
from sidecar.runtime.processes.machine import raise_descriptors
raise_descriptors()
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@needs_prlimit
@pytest.mark.parametrize("limits", [(64, 96), (96, 96)], ids=["fewer", "as many"])
def test_the_soft_limit_is_raised_to_the_hard_one(limits):
    command = ["prlimit", "--nofile={}:{}".format(*limits), sys.executable, "-c", RAISED]

    found = subprocess.run(command, capture_output=True, check=True, text=True)

    assert found.stdout.split() == [str(limits[1])] * 2
