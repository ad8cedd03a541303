"""The same rules twice: as obligations on our side, as PostgreSQL's own row-level security beside.

Two databases hold the same rows. On one the rewritten statement runs as the tables' owner, whom no
policy holds; on the other the statement as it was written, by a role that the policies hold. Masked
columns are stored there as they are shown, which is what a mask at the scan means. Each runs in a
transaction that is rolled back, and what it answered and what it left in the tables is compared.
"""

import hashlib
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import psycopg

from examples.postgres_local import LocalPostgres
from sidecar.domains.data import DOMAIN
from sidecar.domains.data.catalogue import Relations, TableKey
from sidecar.domains.data.enforce.rewriting import rewritten
from sidecar.domains.data.enforce.rewriting.due import duties
from sidecar.domains.data.enforce.rewriting.proof import read
from sidecar.domains.data.enforce.rewriting.text import quoted
from sidecar.domains.data.parse.second import look
from sidecar.terms.decision import Obligation
from sidecar.terms.domain import CatalogueFile
from sidecar.terms.errors import EnforceError, ParseError

SCHEMA = Path(__file__).parent / "schema.sql"

# Conditions of row filters, and the same as policies; holes are filled with 'north' and 3.
FILTERS = {
    "public.customers": ("region = ${0} AND id > ${1}", "region = 'north' and id > 3"),
    "public.orders": (
        "region IN (SELECT region FROM regions WHERE owner = ${2})",
        "region in (select region from public.regions where owner = 'bob')",
    ),
    "public.parcels": (
        "region IN (SELECT region FROM regions WHERE owner = ${2})",
        "region in (select region from public.regions where owner = 'bob')",
    ),
    "public.readings": (
        "kind <> ${0} AND amount < 100 AND made < '2021-01-01' AND code <> 'z' AND bits <> '011'",
        "kind <> 'north' and amount < 100 and made < '2021-01-01'"
        " and code <> 'z' and bits <> '011'",
    ),
    "hr.people": ("department <> ${3}", "department <> 'finance'"),
    'odd."Mixed Case"': ('"Region" = ${0}', "\"Region\" = 'north'"),
    "public.parent": ("region = ${0}", "region = 'north'"),
    "public.child": ("region = ${0}", "region = 'north'"),
    "public.events": ("region = ${0}", "region = 'north'"),
    "public.events_old": ("region = ${0}", "region = 'north'"),
    "public.events_new": ("region = ${0}", "region = 'north'"),
}
VALUES = ["north", 3, "bob", "finance"]

# Masks, and what the other side has in their place.
MASKS = {
    ("public.customers", "ssn"): (
        {"with": "last4"},
        "'****' || right(ssn, least(4, length(ssn) / 2))",
    ),
    ("public.customers", "email"): ({"with": "redact"}, "'***'"),
    ("public.customers", "born"): ({"with": "truncate"}, "date_trunc('year', born)::date"),
    ("public.customers", "score"): ({"with": "nullify"}, "null"),
    ("public.customers", "mood"): ({"with": "nullify"}, "null"),
    ("public.orders", "note"): (
        {"with": "expression", "expression": "left(note, 4)"},
        "left(note, 4)",
    ),
    ("hr.people", "salary"): ({"with": "truncate"}, "div(salary, 1000) * 1000"),
    ("public.badges", "code"): ({"with": "redact"}, "'***'"),
    ("public.badges", "pin"): ({"with": "nullify"}, "null"),
    ("hr.people", "name"): (
        {"with": "hash"},
        "encode(sha256(convert_to('secret key' || name, 'UTF8')), 'hex')",
    ),
}  # fmt: skip

_CHANGING = {
    "InsertStmt",
    "UpdateStmt",
    "DeleteStmt",
    "MergeStmt",
    "CreateTableAsStmt",
    "intoClause",
}

_TYPES = """
select n.nspname, c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attgenerated,
       (select array_agg(i.inhparent::regclass::text) from pg_inherits i where i.inhrelid = c.oid)
from pg_class c join pg_namespace n on n.oid = relnamespace
join pg_attribute a on attrelid = c.oid and attnum > 0 and not attisdropped
where c.relkind in ('r', 'v', 'p') and n.nspname in ('public', 'hr', 'odd') order by a.attnum
"""
_VIEWS: dict[str, dict[str, list[str]]] = {
    "names": {"id": ["public.customers.id"], "name": ["public.customers.name"]},
    "badge_list": {
        "id": ["public.badges.id"],
        "code": ["public.badges.code"],
        "loud": ["public.badges.code"],
        "owner": ["public.badges.owner"],
    },
    "badge_pins": {"id": ["public.badges.id"], "owner": ["public.badges.owner"]},
}
_VIEWS_READ = {"badge_list": ["public.badges.id"], "badge_pins": ["public.badges.pin"]}


class Answer(NamedTuple):
    """What a statement came to: its rows in no order, what it left in the tables, or an error."""

    rows: Counter[tuple[bytes | None, ...]]
    state: str
    error: str | None


class Sides:
    """Both databases."""

    def __init__(self, server: LocalPostgres) -> None:
        server.psql("create database ours")
        server.psql(SCHEMA.read_text("utf-8"), "ours")
        server.psql("create database theirs template ours")
        server.psql("create database masked template ours")
        server.psql("create role held")
        server.psql(_policies(), "theirs")
        server.psql(_masked() + _policies(), "masked")
        self._ours = _connected(server, "ours")
        self._others = {
            name: _connected(server, name, role="held") for name in ("theirs", "masked")
        }
        self.relations = _relations(self._ours)
        tables = [key for key in self.relations.tables if key.table not in _VIEWS]
        self._tables = [f'{key.schema}."{key.table}"' for key in tables]

    def close(self) -> None:
        """Leave both."""
        for connection in (self._ours, *self._others.values()):
            connection.close()

    def compare(self, text: str, *, masks: bool) -> tuple[str, str]:
        """Return `same`, `refused`, `error` (ours alone), `both` (fail) or `differs`, and why."""
        try:
            sent = rewritten(text, duties(self.due(text, masks=masks)), self.relations, ("public",))
        except (EnforceError, ParseError) as error:
            return "refused", str(error)
        return self.judge(text, sent, masks=masks)

    def rewritten(self, text: str) -> str:
        """Return what is sent on our side, without masks."""
        return rewritten(text, duties(self.due(text, masks=False)), self.relations, ("public",))

    def prepared(self, text: str, kind: str) -> list[Any]:
        """Return what a statement with one parameter of a type answers on our side to 5."""
        self._ours.execute("set plan_cache_mode = force_generic_plan")
        self._ours.execute(f"prepare one({kind}) as {text}".encode())
        try:
            return self._ours.execute("execute one(5)").fetchall()
        finally:
            self._ours.execute("deallocate one")
            self._ours.execute("reset plan_cache_mode")

    def judge(self, text: str, sent: str, *, masks: bool) -> tuple[str, str]:
        """Return how `sent` on our side and `text` on the other compare."""
        # What is masked there is not so in the tables here; what was made of it is to be the same.
        left = ["public.scratch"] if masks else self._tables
        left = left if look(text).nodes & _CHANGING else []
        ours = self._run(self._ours, sent, left)
        theirs = self._run(self._others["masked" if masks else "theirs"], text, left)
        if ours.error is not None:
            return ("both" if theirs.error is not None else "error"), ours.error
        if theirs.error is None and ours.rows == theirs.rows and ours.state == theirs.state:
            return "same", sent
        return "differs", f"{theirs.error or (ours.rows - theirs.rows, theirs.rows - ours.rows)}"

    def due(self, text: str, *, masks: bool) -> list[Obligation]:
        """Return the obligations of the rules on all that a statement touches."""
        touched = set(read(text, self.relations, ("public",)).touched)
        found = []
        for name, (where, _) in FILTERS.items():
            if _key(name) in touched:
                values = {"where": [{"text": _numbered(where), "values": _values(where)}]}
                found.append(Obligation("filter_rows", f"table:{_key(name).id}", values, ("p/f",)))
        for (name, column), (mask, _) in MASKS.items() if masks else ():
            if _key(name) in touched:
                target = f"column:{_key(name).id}.{column}"
                found.append(Obligation("mask", target, mask, ("p/m",)))
        return found

    def _run(self, connection: psycopg.Connection[Any], text: str, left: list[str]) -> Answer:
        try:
            with connection.transaction(force_rollback=True), connection.cursor() as cursor:
                rows = Counter(_answer(cursor, text))
                return Answer(rows, _state(connection, left), None)
        except psycopg.Error as error:
            return Answer(Counter(), "", f"{error.sqlstate} {error.diag.message_primary}")


def _state(connection: psycopg.Connection[Any], tables: list[str]) -> str:
    """Return a digest of all rows, of a table that was made too; the owner is asked."""
    if not tables:
        return ""
    connection.execute("reset role")
    made = connection.execute("select to_regclass('public.taken') is not null").fetchone()
    tables = [*tables, "public.taken"] if made == (True,) else tables
    told = [
        connection.execute(f"select t::text from only {table} t order by 1".encode()).fetchall()
        for table in tables
    ]
    return hashlib.sha256(repr(told).encode()).hexdigest()


def _answer(cursor: psycopg.Cursor[Any], text: str) -> list[tuple[bytes | None, ...]]:
    """Return the rows of a statement, of a named one those that its name gives."""
    kind, node = next(iter(look(text).tree["stmts"][0]["stmt"].items()))
    if kind == "CopyStmt":
        with cursor.copy(text.encode()) as copy:
            return [(bytes(line),) for line in copy]
    cursor.execute(text.encode())
    if kind == "PrepareStmt":
        cursor.execute(f"execute {quoted(node['name'])}".encode())
        found = _rows(cursor)
        cursor.execute(f"deallocate {quoted(node['name'])}".encode())
        return found
    if kind == "DeclareCursorStmt":
        cursor.execute(f"fetch all from {quoted(node['portalname'])}".encode())
    return _rows(cursor)


def _rows(cursor: psycopg.Cursor[Any]) -> list[tuple[bytes | None, ...]]:
    result = cursor.pgresult
    if result is None or cursor.description is None:
        return []
    return [
        tuple(result.get_value(row, column) for column in range(result.nfields))
        for row in range(result.ntuples)
    ]


def _connected(
    server: LocalPostgres, name: str, role: str | None = None
) -> psycopg.Connection[Any]:
    connection = psycopg.connect(
        host=server.host, port=server.port, dbname=name, autocommit=True,
        user=server.superuser, password=server.password,
    )  # fmt: skip
    connection.execute("set timezone = 'UTC'")
    if role is not None:
        # Of the session, not of the transaction: the state is read by who may see all of it.
        connection.execute(f"set role {role}".encode())
    return connection


def _policies() -> str:
    made = ["grant usage on schema public, hr, odd, sidecar to held;"]
    made += [
        f"grant all on all tables in schema {schema} to held;" for schema in ("public", "hr", "odd")
    ]
    made.append("grant create on schema public to held;")
    for name, (_, policy) in FILTERS.items():
        made.append(f"alter table {name} enable row level security;")
        made.append(f"create policy p on {name} using ({policy});")
    made += [f"alter view {view} set (security_invoker = true);" for view in _VIEWS]
    return "\n".join(made)


def _masked() -> str:
    return "\n".join(
        [
            "alter table customers alter email type text, alter ssn type text;",
            "alter table orders alter note type text;",
            *(
                f"update {name} set {column} = {shown};"
                for (name, column), (_, shown) in MASKS.items()
            ),
            # Rows in the order in which they stand on our side.
            *(f"cluster {name} using {name.partition('.')[2]}_pkey;" for name, _ in MASKS),
        ]
    )


def _key(name: str) -> TableKey:
    schema, _, table = name.partition(".")
    return TableKey(schema, table.strip('"'))


def _numbered(where: str) -> str:
    """Return a condition whose holes are numbered as a compiled rule's are."""
    for number, hole in enumerate(_holes(where)):
        where = where.replace(hole, f"${{{number}}}", 1) if hole[2:-1] != str(number) else where
    return where


def _holes(where: str) -> list[str]:
    return [f"${{{number}}}" for number in range(len(VALUES)) if f"${{{number}}}" in where]


def _values(where: str) -> list[Any]:
    return [VALUES[int(hole[2:-1])] for hole in _holes(where)]


def _relations(connection: psycopg.Connection[Any]) -> Relations:
    schemas: dict[str, Any] = {}
    for schema, table, column, kind, made, parents in connection.execute(_TYPES).fetchall():
        tables = schemas.setdefault(schema, {"tables": {}})["tables"]
        said = tables.setdefault(table, {"columns": {}})
        said["columns"][column] = {"type": kind, **({"generated": True} if made else {})}
        if table in _VIEWS:
            said["columns"][column]["shows"] = _VIEWS[table][column]
        if table in _VIEWS_READ:
            said["reads"] = _VIEWS_READ[table]
        if parents:
            said["inherits"] = [f"public.{parent}" for parent in parents]
    spec = {"protocol": "sql", "schemas": schemas}
    catalogue: Any = DOMAIN.catalogue([CatalogueFile("catalog.yaml", spec, {}, {})])
    relations: Relations = catalogue.relations("default")
    return relations
