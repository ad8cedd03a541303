"""`sidecar run` reads long SQL in a process of its own, on every listener."""

import os
import signal
from pathlib import Path

import psycopg
import pytest

from tests.e2e.harness import BUNDLE, Site, eventually, living, until
from tests.e2e.things import login, site_of_things

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(90),
    pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="no /proc to look into"),
]
MODULE = b"sidecar.runtime.processes.elsewhere.process"
LONG = "'" + "x" * 20_000 + "'"


def readers(group: int) -> list[int]:
    """Return the processes that read long texts."""
    found = ((pid, Path(f"/proc/{pid}/cmdline")) for pid in living(group))
    return [pid for pid, line in found if line.exists() and MODULE in line.read_bytes()]


def asked(text: str) -> dict:
    return {"protocol": "sql", "call": {"dialect": "postgres", "text": text}}


async def test_long_texts_are_read_in_a_process_that_comes_and_goes(site: Site) -> None:
    async with site.running() as sidecar:
        client = await sidecar.client()

        async def outcome(text: str) -> str:
            return str((await client.decide(asked(text))).json["reason"])

        assert await outcome("SELECT note FROM notes") == "permitted"
        assert readers(sidecar.supervisor) == []
        assert await outcome(f"SELECT note FROM notes WHERE note = {LONG}") == "permitted"
        (first,) = readers(sidecar.supervisor)

        # One that is killed is started again.
        os.kill(first, signal.SIGKILL)
        texts = [f"SELECT note FROM notes WHERE note <> {LONG}", f"DELETE FROM notes --{LONG}"]
        calls = [asked(text) for text in texts]
        batch = (await client.ask("POST", "/v1/decide", {"calls": calls})).json["decisions"]
        assert [one["reason"] for one in batch] == ["permitted", "rule"]
        (second,) = readers(sidecar.supervisor)
        assert second != first

        # A new bundle holds there as well.
        changed = f"SELECT extra FROM notes WHERE note = {LONG}"
        assert await outcome(changed) == "parse.unknown_column"
        known = ("columns: [note]", "columns: [note, extra]")
        site.put("catalog/erp.yaml", BUNDLE["catalog/erp.yaml"].replace(*known))
        os.kill(sidecar.supervisor, signal.SIGHUP)

        async def is_permitted() -> bool:
            return await outcome(changed) == "permitted"

        await eventually(is_permitted, 20)
        assert readers(sidecar.supervisor) == [second]

        # It does not outlive its worker.
        await sidecar.kill(*sidecar.workers)
        await until(lambda: readers(sidecar.supervisor) == [], 20)
        await sidecar.ready()
        await sidecar.stop()
        await sidecar.nobody_is_left()
    assert await site.verified()


@pytest.fixture
def database_site(server):
    with site_of_things(server) as site:
        yield site


@pytest.fixture
async def connection(database_site):
    async with database_site.running() as sidecar:
        asked = login(database_site, sidecar)
        async with await psycopg.AsyncConnection.connect(asked, autocommit=True) as connection:
            yield connection
        assert len(readers(sidecar.supervisor)) == 1


async def test_a_long_statement_reaches_the_database_and_a_denied_one_does_not(connection):
    # In one message, and parsed first.
    for is_prepared in (False, True):
        read = f"SELECT value FROM things WHERE id = 1 AND {LONG} <> '{is_prepared}'"
        rows = await connection.execute(read, prepare=is_prepared)
        assert await rows.fetchone() == (7,)
        delete = f"DELETE FROM things WHERE {LONG} <> '{is_prepared}'"
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await connection.execute(delete, prepare=is_prepared)
    rows = await connection.execute("SELECT count(*) FROM things")
    assert (await rows.fetchone())[0] > 0
