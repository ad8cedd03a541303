"""A column that a database gets while it is served does not leave through `*`."""

import asyncio

import psycopg
import pytest

from tests.e2e.harness import eventually
from tests.e2e.things import login, site_of_things

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(60)]

EVERYTHING = "SELECT * FROM things WHERE id = 1"


@pytest.fixture
def site(server):
    with site_of_things(server, {"drift_check_s": 1}, workers=2) as site:
        yield site


async def test_a_new_column_is_refused_told_and_recorded(site, server):
    async with site.running() as sidecar:
        asked = login(site, sidecar)

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
