"""The same rules twice: as obligations on our side, as PostgreSQL's own row-level security beside.

Two databases hold the same rows. On one the rewritten statement runs as the tables' owner, whom no
policy holds; on the other the statement as it was written, by a role that the policies hold. Masked
columns are stored there as they are shown, which is what a mask at the scan means. Each runs in a
transaction that is rolled back, and what it answered and what it left in the tables is compared.
"""

import hashlib
import re
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import psycopg

from examples.postgres_local import LocalPostgres
from sidecar.domains.data import DOMAIN
from sidecar.domains.data.catalogue import Relations, TableKey
from sidecar.domains.data.enforce.rewriting import rewritten
from sidecar.domains.data.enforce.rewriting.due import duties
from sidecar.domains.data.enforce.rewriting.proof import read
from sidecar.domains.data.enforce.rewriting.text import quoted
from sidecar.domains.data.parse.other.lineage import lineage
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
    "public.own_filter": ("id < 15", ""),
}
VALUES = ("north", 3, "bob", "finance")

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
    ("public.cards", "pin"): (
        {"with": "last4"},
        "'****' || right(pin::text, least(4, length(pin) / 2))",
    ),
    ("public.cards", "tag"): ({"with": "redact"}, "'***'"),
    ("public.cards", "word"): (
        {"with": "truncate"},
        "left(word::text, least(3, length(word) / 2))",
    ),
    ("hr.people", "name"): (
        {"with": "hash"},
        "encode(sha256(convert_to('secret key' || name, 'UTF8')), 'hex')",
    ),
}  # fmt: skip


class Rules(msgspec.Struct, frozen=True):
    """What holds on both sides of one schema.

    Args:
        schema: The file that makes it.
        filters: By table: the condition of a row filter, and the same as a policy.
        masks: By table and column: the mask, and what the other side has in its place.
        views: Those that the catalogue tells of: what their columns show.
        views_read: What they read beyond that.
        opened: Views whose queries the catalogue has, in the order in which they are made, and
            stored rows of one.
        values: What holes are filled with.
    """

    schema: Path
    filters: dict[str, tuple[str, str]]
    masks: dict[tuple[str, str], tuple[dict[str, str], str]]
    views: dict[str, dict[str, list[str]]] = {}
    views_read: dict[str, list[str]] = {}
    opened: tuple[str, ...] = ()
    values: tuple[Any, ...] = VALUES


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
where c.relkind in ('r', 'v', 'p', 'm') and n.nspname in ('public', 'hr', 'odd') order by a.attnum
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


_STORED = ("stored",)
# A filter on a view, as the query of one.
_ANEW = {
    "own_filter": "create or replace view own_filter with (security_invoker) as"
    " select id, region, ssn from customers where id < 15;"
}
_OPENED = (
    "people_view", "renamed", "of_view", "by_region", "both_tables", "either", "distinct_ssn",
    "guarded", "parents", "ranked", "own_filter", "stored",
)  # fmt: skip

_QUERY = "select pg_get_viewdef(c.oid) from pg_class c where relname = %s"


RULES = Rules(SCHEMA, FILTERS, MASKS, _VIEWS, _VIEWS_READ, _OPENED)


class Answer(NamedTuple):
    """What a statement came to: its rows in no order, what it left in the tables, or an error."""

    rows: Counter[tuple[bytes | None, ...]]
    state: str
    error: str | None


class Sides:
    """Both databases."""

    def __init__(self, server: LocalPostgres, rules: Rules = RULES) -> None:
        self._rules = rules
        server.psql("create database ours")
        server.psql(rules.schema.read_text("utf-8"), "ours")
        server.psql("create database theirs template ours")
        server.psql("create database masked template ours")
        server.psql("create role held")
        server.psql(_policies(rules), "theirs")
        server.psql(_masked(rules) + _policies(rules), "masked")
        self._ours = _connected(server, "ours")
        self._others = {
            name: _connected(server, name, role="held") for name in ("theirs", "masked")
        }
        self.relations = _relations(self._ours, rules)
        views = {*rules.views, *rules.opened}
        tables = [key for key in self.relations.tables if key.table not in views]
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

    def told(self, text: str, *, masks: bool) -> list[str]:
        """Return the lines of a plan on our side."""
        due = duties(self.due(text, masks=masks))
        return self.planned(rewritten(text, due, self.relations, ("public",)))

    def planned(self, sent: str) -> list[str]:
        """Return the lines of a plan, where indexes are taken whatever they cost."""
        with self._ours.transaction(force_rollback=True):
            self._ours.execute("set local enable_seqscan = off")
            rows = self._ours.execute(sent.encode()).fetchall()
        return [line for (text,) in rows for line in str(text).splitlines()]

    def answered(self, text: str, due: Obligation, zone: str = "UTC") -> list[Any]:
        """Return what a statement answers on our side, to who may be in another time zone."""
        sent = rewritten(text, duties([due]), self.relations, ("public",))
        with self._ours.transaction(force_rollback=True):
            self._ours.execute(f"set local timezone = '{zone}'".encode())
            return self._ours.execute(sent.encode()).fetchall()

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
        for name, (where, _) in self._rules.filters.items():
            if _key(name) in touched:
                values = {"where": [{"text": _numbered(where), "values": self._values(where)}]}
                found.append(Obligation("filter_rows", f"table:{_key(name).id}", values, ("p/f",)))
        for (name, column), (mask, _) in self._rules.masks.items() if masks else ():
            if _key(name) in touched:
                target = f"column:{_key(name).id}.{column}"
                found.append(Obligation("mask", target, mask, ("p/m",)))
        return found

    def _values(self, where: str) -> list[Any]:
        return [self._rules.values[int(hole[2:-1])] for hole in _holes(where)]

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


def _policies(rules: Rules) -> str:
    schemas = sorted({_key(name).schema for name in rules.filters} | {"public"})
    made = [f"grant usage on schema {schema} to held;" for schema in schemas]
    made += [f"grant all on all tables in schema {schema} to held;" for schema in schemas]
    made.append("grant create on schema public to held;")
    for name, (_, policy) in rules.filters.items():
        if not policy:
            # Of a view: its own query has it.
            continue
        made.append(f"alter table {name} enable row level security;")
        made.append(f"create policy p on {name} using ({policy});")
    views = (view for view in (*rules.views, *rules.opened) if view not in _STORED)
    made += [f"alter view {view} set (security_invoker = true);" for view in views]
    made += [made_anew for view, made_anew in _ANEW.items() if view in rules.opened]
    return "\n".join(made)


def _masked(rules: Rules) -> str:
    masks = rules.masks.items()
    return "\n".join(
        [
            *(f"update {name} set {column} = {shown};" for (name, column), (_, shown) in masks),
            # Rows in the order in which they stand on our side.
            *(f"cluster {name} using {name.partition('.')[2]}_pkey;" for name, _ in rules.masks),
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
    return re.findall(r"\$\{\d\}", where)


def _relations(connection: psycopg.Connection[Any], rules: Rules) -> Relations:
    schemas: dict[str, Any] = {}
    for schema, table, column, kind, made, parents in connection.execute(_TYPES).fetchall():
        tables = schemas.setdefault(schema, {"tables": {}})["tables"]
        said = tables.setdefault(table, {"columns": {}})
        said["columns"][column] = {"type": kind, **({"generated": True} if made else {})}
        if table in rules.views:
            said["columns"][column]["shows"] = rules.views[table][column]
        if table in rules.views_read:
            said["reads"] = rules.views_read[table]
        if parents:
            said["inherits"] = [f"public.{parent}" for parent in parents]
    connection.execute("set search_path = ''")
    for view in rules.opened:
        said = schemas["public"]["tables"][view]
        (query,) = connection.execute(_QUERY, [view]).fetchone() or ("",)
        found = lineage(query, _compiled(schemas))
        assert found is not None, view
        said["reads"] = [_dotted(*one) for one in found.reads]
        said |= {"kind": "view", "query": query} if view not in _STORED else {}
        for column, shown in zip(said["columns"].values(), found.shows, strict=True):
            column["shows"] = [_dotted(*one) for one in shown]
    connection.execute("set search_path = public")
    return _compiled(schemas)


def _dotted(key: TableKey, column: str | None) -> str:
    return ".".join((*key, column) if column is not None else key)


def _compiled(schemas: dict[str, Any]) -> Relations:
    spec = {"protocol": "sql", "schemas": schemas}
    catalogue: Any = DOMAIN.catalogue([CatalogueFile("catalog.yaml", spec, {}, {})])
    relations: Relations = catalogue.relations("default")
    return relations
