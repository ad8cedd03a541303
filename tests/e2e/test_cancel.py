"""A cancel request finds its session in whichever worker that is."""

import asyncio

import psycopg
import pytest

from tests.e2e.harness import eventually
from tests.e2e.things import login, site_of_things

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(60)]

SLOW = "SELECT count(*) FROM things a, things b, things c, things d"
RUNNING = f"select count(*) from pg_stat_activity where state = 'active' and query = '{SLOW}'"
SESSIONS = 6


@pytest.fixture
def two_workers(server):
    with site_of_things(server, workers=2) as site:
        yield site


async def test_one_request_for_each_session_cancels_all_of_them(two_workers, server):
    async with two_workers.running() as sidecar:
        asked = login(two_workers, sidecar)
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
