"""Versions of PostgreSQL between the system's and the bundled one, fetched by `make peers`.

Tools look, drivers ask, and what is rewritten answers the same.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator

import asyncpg
import psycopg
import pytest

from examples.postgres_local import binaries
from sidecar.policy.bundle import Bundle
from sidecar.runtime.catalog.pull import pulled
from sidecar.runtime.catalog.read import database_of
from tests.domains.data.rls.side import Sides
from tests.intercept.postgres.peers import fetched
from tests.intercept.postgres.peers.stands import THINGS, least, stand_before
from tests.intercept.postgres.stand import BOT, CLOSED, OPEN, SCHEMA, Stand, run
from tests.tables import rows

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

SAME = rows("data/rls.yaml")
# With no option at all: each of them asks for what only some versions have.
DESCRIBED = [
    r"\d", r"\d+ things", r"\dt+", r"\dn+", r"\df", r"\l+", r"\du+", r"\di+", r"\dp", r"\ds+",
    r"\dconfig",
]  # fmt: skip


@pytest.fixture(scope="module", params=["16", "17"])
def server(request: pytest.FixtureRequest) -> Iterator[fetched.FetchedPostgres]:
    if binaries() is None or not fetched.programs(request.param).exists():
        pytest.skip(f"no PostgreSQL {request.param}: make peers")
    with fetched.FetchedPostgres(request.param) as found:
        found.psql(SCHEMA)
        found.psql(THINGS)
        yield found


@pytest.fixture(scope="module")
def allowed() -> Bundle:
    return least()


@pytest.fixture
async def stand(server: fetched.FetchedPostgres, allowed: Bundle) -> AsyncIterator[Stand]:
    stand = stand_before(server, allowed, is_encrypted=False)
    await stand.start()
    yield stand
    await stand.stop()


@pytest.fixture
async def secret(server: fetched.FetchedPostgres, allowed: Bundle) -> AsyncIterator[Stand]:
    stand = stand_before(server, allowed, is_encrypted=True)
    await stand.start()
    yield stand
    await stand.stop()


async def test_psql_describes_everything(stand):
    asked = [word for one in DESCRIBED for word in ("-c", one)]

    code, out, err = await run(stand, "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", *asked)

    assert (code, err) == (0, "")
    assert "things_name" in out


async def test_pg_dump_writes_a_schema(stand):
    code, out, err = await run(stand, "pg_dump", "--schema-only", "-n", "finance")

    assert (code, err) == (0, "")
    assert "CREATE TABLE finance.expenses" in out


async def test_psycopg_asks_in_the_newest_protocol_and_cancels(secret):
    asked = secret.dsn(**secret.options, max_protocol_version="latest")
    async with await psycopg.AsyncConnection.connect(asked, autocommit=True) as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await connection.execute(CLOSED)
        found = [await (await connection.execute(OPEN)).fetchone() for _ in range(7)]
        slow = "SELECT count(*) FROM " + ", ".join(f"finance.expenses {one}" for one in "abcdef")
        running = asyncio.ensure_future(connection.execute(slow))
        while not running.done():
            await connection.cancel_safe()
            await asyncio.wait({running}, timeout=0.1)

    assert found == [(30,)] * 7
    assert isinstance(running.exception(), psycopg.errors.QueryCanceled)


async def test_asyncpg_asks_with_its_types(secret):
    trusted = ssl.create_default_context(cafile=secret.options["sslrootcert"])
    connection = await asyncpg.connect(
        host="127.0.0.1", port=secret.port, user="expense-bot", password=BOT, database="postgres",
        ssl=trusted,
    )  # fmt: skip
    await connection.executemany(
        "INSERT INTO things (name, tags, doc) VALUES ($1, $2, $3)", [("a", ["x", "y"], "[1]")] * 3
    )
    found = await connection.fetch("SELECT name, tags, doc FROM things")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.fetch(CLOSED)
    gone = await connection.execute("DELETE FROM things")
    await connection.close()

    assert [tuple(row) for row in found] == [("a", ["x", "y"], "[1]")] * 3
    assert gone == "DELETE 3"


def test_the_catalogue_is_pulled(server):
    address = f"postgres://{server.superuser}@{server.host}:{server.port}/postgres"

    text = pulled(database_of(address, server.password), None).text

    for table in ("expenses", "compensation", "things", "owners"):
        assert f"{table}:" in text


def test_rewritten_statements_answer_as_row_level_security_does(server, scaled):
    sides = Sides(server)
    found = []
    for row in SAME[:: scaled(20, 1)]:
        said = row.values[0]
        want = (
            said.want
            if isinstance(said.want, dict)
            else {"filtered": said.want, "masked": said.want}
        )
        for kind, masks in (("filtered", False), ("masked", True)):
            verdict, why = sides.compare(said.given, masks=masks)
            if verdict != want[kind]:
                found.append((said.given, kind, verdict, why))
    sides.close()

    assert found == []
