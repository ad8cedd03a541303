"""Ordinary tools under a least-privilege policy: in the open to the bundled server, over TLS and
SCRAM on both legs to the system's.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import psycopg
import pytest

from examples.postgres_local import LocalPostgres
from sidecar.domains import by_protocol
from sidecar.intercept.postgres.ends.tls import client_context, server_context
from sidecar.policy.bundle import Bundle, compile_bundle
from tests.intercept.postgres.stand import BOT, CLOSED, HEADER, OPEN, Stand, catalog, run
from tests.intercept.postgres.tls_stand import SystemPostgres, certificates

sa = pytest.importorskip("sqlalchemy")
alembic = pytest.importorskip("alembic")
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(40)]

PACK = Path(__file__).parents[3] / "policies/packs/introspection"
CATALOG = catalog("""public:
      tables:
        scratch: {columns: [note, amount]}
        alembic_version: {columns: [version_num]}
        widgets: {columns: [id, label]}
""")
LEAST = """
apiVersion: sidecar/v1
kind: Policy
metadata: {name: least}
spec:
  match: {protocols: [sql]}
  rules:
    - id: expenses-are-read
      effect: allow
      match: {classes: [read], resources: ["table:finance.*", "column:finance.*"]}
    - id: scratch-is-its-own
      effect: allow
      match: {resources: ["table:public.*", "column:public.*", "schema:public", "index:public.*"]}
"""


@pytest.fixture(scope="module")
def least() -> Bundle:
    files = {
        "bundle.yaml": HEADER.encode(),
        "catalog/erp.yaml": CATALOG.encode(),
        "catalog/postgres.yaml": (PACK / "catalog.yaml").read_bytes(),
        "policies/introspection.yaml": (PACK / "policy.yaml").read_bytes(),
        "policies/least.yaml": LEAST.encode(),
    }
    return compile_bundle(files, by_protocol())


@pytest.fixture(params=["plain", "tls"])
def server(request: pytest.FixtureRequest) -> LocalPostgres:
    """Start it before there is a loop that it would hold up."""
    found: LocalPostgres = request.getfixturevalue(
        "postgres" if request.param == "plain" else "encrypted"
    )
    return found


@pytest.fixture
async def tools(server: LocalPostgres, least: Bundle) -> AsyncIterator[Stand]:
    stand = Stand(server)
    if isinstance(server, SystemPostgres):
        known = certificates()
        stand = Stand(
            server,
            tls=server_context(known.file("here.crt"), known.file("here.key")),
            upstream_tls=client_context(known.file("ca.crt"), is_verified=True),
            is_plain_loopback=False,
        )
        stand.options = {"sslmode": "verify-full", "sslrootcert": str(known.file("ca.crt"))}
    stand.bundle = least
    await stand.start()
    yield stand
    await stand.stop()


async def test_psql_shows_tables_and_is_refused_what_is_closed(tools):
    code, out, err = await run(tools, "psql", "-XqAt", "-c", OPEN, "-c", CLOSED)

    assert (code, out.strip()) == (1, "30")
    assert "denied by policy" in err


@pytest.mark.parametrize(
    "asked", ["\\d", "\\dt *.*", "\\d finance.expenses", "\\dn", "\\df", "\\l", "\\du", "\\di"]
)
async def test_psql_describes(tools, asked):
    code, out, err = await run(tools, "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-c", asked)

    assert (code, err) == (0, "")
    assert "finance" not in asked or "department" in out


async def test_pg_dump_writes_the_schema(tools):
    code, out, err = await run(tools, "pg_dump", "--schema-only", "-n", "finance")

    assert (code, err) == (0, "")
    assert "CREATE TABLE finance.expenses" in out


async def test_pgbench_runs_prepared_and_simple(tools, tmp_path):
    script = tmp_path / "select.sql"
    script.write_text(
        "\\set id random(1, 100)\nSELECT amount FROM finance.expenses WHERE id = :id;\n"
    )
    for mode in ("simple", "extended", "prepared"):
        code, out, err = await run(
            tools, "pgbench", "-n", "-f", str(script), "-M", mode, "-c", "2", "-t", "20"
        )
        assert (code, re.findall(r"processed: (\d+)/40", out)) == (0, ["40"]), err


async def test_psycopg_in_its_three_ways(tools):
    asked = tools.dsn(**tools.options)

    def alone():
        with psycopg.connect(asked) as connection:
            found = None
            for _ in range(7):
                cursor = connection.execute("SELECT amount FROM finance.expenses WHERE id=%s", (3,))
                found = cursor.fetchall()[0][0]
            return found

    one = await asyncio.to_thread(alone)
    async with await psycopg.AsyncConnection.connect(asked) as connection:
        two = (await (await connection.execute(OPEN)).fetchall())[0][0]
        async with connection.pipeline():
            cursors = [await connection.execute(OPEN) for _ in range(5)]
        three = {(await cursor.fetchall())[0][0] for cursor in cursors}
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await connection.execute(CLOSED)

    assert (one, two, three) == (30, 30, {30})


async def test_asyncpg_with_its_types(tools):
    context = None
    if tools.options:
        context = client_context(Path(tools.options["sslrootcert"]), is_verified=True)
    connection = await asyncpg.connect(
        host="127.0.0.1", port=tools.port, user="expense-bot", password=BOT, database="postgres",
        ssl=context or False,
    )  # fmt: skip
    found = await connection.fetchval("SELECT amount FROM finance.expenses WHERE id = $1", 3)
    await connection.executemany("INSERT INTO scratch VALUES ($1, $2)", [("a", 1), ("b", 2)])
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.fetch(CLOSED)
    await connection.execute("DELETE FROM scratch WHERE note IN ('a', 'b')")
    await connection.close()

    assert int(found) == 30


def engine(stand: Stand):
    url = sa.URL.create(
        "postgresql+psycopg", "expense-bot", BOT, "127.0.0.1", stand.port, "postgres",
        query=stand.options,
    )  # fmt: skip
    return sa.create_engine(url, poolclass=sa.NullPool)


async def test_sqlalchemy_reflects_reads_and_writes(tools):
    def work() -> tuple[list[str], list[int]]:
        made = engine(tools)
        expenses = sa.Table("expenses", sa.MetaData(), schema="finance", autoload_with=made)
        few = sa.select(expenses.c.id).where(expenses.c.id < 4).order_by(expenses.c.id)
        with made.connect() as connection:
            rows = [*connection.scalars(few)]
        return [column.name for column in expenses.columns], rows

    columns, rows = await asyncio.to_thread(work)

    assert columns == ["id", "department", "amount"]
    assert rows == [1, 2, 3]


REVISION = """
import sqlalchemy as sa
from alembic import op
revision, down_revision, branch_labels, depends_on = "a1", None, None, None
def upgrade():
    op.create_table(
        "widgets", sa.Column("id", sa.Integer, primary_key=True), sa.Column("label", sa.Text)
    )
def downgrade():
    op.drop_table("widgets")
"""
ENVIRONMENT = """
from alembic import context
with context.config.attributes["engine"].connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""


async def test_alembic_upgrades_and_downgrades(tools, tmp_path):
    from alembic import command
    from alembic.config import Config

    tools.server.psql("grant create on schema public to erp")
    (tmp_path / "versions").mkdir()
    (tmp_path / "env.py").write_text(ENVIRONMENT)
    (tmp_path / "versions/a1_widgets.py").write_text(REVISION)
    config = Config()
    config.set_main_option("script_location", str(tmp_path))
    config.set_main_option("path_separator", "os")
    config.attributes["engine"] = engine(tools)

    await asyncio.to_thread(command.upgrade, config, "head")
    made = tools.server.psql("select to_regclass('public.widgets')").strip()
    await asyncio.to_thread(command.downgrade, config, "base")
    left = tools.server.psql("select to_regclass('public.widgets')").strip()

    assert (made, left) == ("widgets", "")
