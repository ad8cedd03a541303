"""Reads what a PostgreSQL has: relations, columns, views, parents, functions, in one snapshot.

Only `pg_catalog` is read, and no row of anybody's. Every answer is cast to text or to numbers, so
that the driver has to look nothing up.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, Literal
from urllib.parse import parse_qs, urlsplit

import asyncpg
import msgspec

from sidecar.runtime.catalog.types import OwnType, read_types, types_state
from sidecar.terms.errors import ConfigError, SidecarError

CONNECT_S_MAX: Final = 15.0
QUERY_S_MAX: Final = 60.0
# Before the sidecar trusts what a server says, it has to know which server that is.
_LOCAL: Final = frozenset(("", "localhost", "127.0.0.1", "::1"))
_SETTINGS: Final = {
    "application_name": "sidecar catalog",
    "default_transaction_read_only": "on",
    "search_path": "",
    "statement_timeout": "60000",
}
# Each asks for what is not PostgreSQL's own: of schemas but `pg_…` and `information_schema`.
_RELATIONS: Final = """
select n.nspname::text, c.relname::text, c.relkind::text,
       case when c.relkind in ('v', 'm') then pg_catalog.pg_get_viewdef(c.oid) end
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
  and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
order by 1, 2
"""
_COLUMNS: Final = """
select n.nspname::text, c.relname::text, a.attname::text,
       pg_catalog.format_type(a.atttypid, a.atttypmod), a.attgenerated::text <> ''
from pg_catalog.pg_attribute a
join pg_catalog.pg_class c on c.oid = a.attrelid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'v', 'm', 'f') and a.attnum > 0 and not a.attisdropped
  and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
order by 1, 2, a.attnum
"""
_PARENTS: Final = """
select n.nspname::text, c.relname::text, m.nspname::text, p.relname::text
from pg_catalog.pg_inherits i
join pg_catalog.pg_class c on c.oid = i.inhrelid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
join pg_catalog.pg_class p on p.oid = i.inhparent
join pg_catalog.pg_namespace m on m.oid = p.relnamespace
where c.relkind in ('r', 'p', 'f') and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
order by 1, 2, 3, 4
"""
# What the rule behind a view refers to; PostgreSQL's own objects are never noted there.
_DEPENDENCIES: Final = """
select distinct n.nspname::text, c.relname::text,
       m.nspname::text, p.relname::text, a.attname::text
from pg_catalog.pg_rewrite r
join pg_catalog.pg_class c on c.oid = r.ev_class
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
join pg_catalog.pg_depend d on d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
  and d.objid = r.oid and d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
  and d.refobjid <> r.ev_class
join pg_catalog.pg_class p on p.oid = d.refobjid
join pg_catalog.pg_namespace m on m.oid = p.relnamespace
left join pg_catalog.pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
  and a.attnum <> 0
where c.relkind in ('v', 'm') and p.relkind in ('r', 'p', 'v', 'm', 'f')
  and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
order by 1, 2, 3, 4, 5
"""
# Without those that PostgreSQL has made with a range: they make one of its bounds.
_FUNCTIONS: Final = """
select n.nspname::text, p.proname::text, pg_catalog.oidvectortypes(p.proargtypes),
       case when p.prokind = 'p' then 'nothing'
            else pg_catalog.format_type(p.prorettype, null) end,
       p.prokind::text, p.provolatile::text, p.proleakproof, p.prosecdef,
       array(select case when p.proargnames[i] <> '' then p.proargnames[i] else 'column' || i end
             from pg_catalog.generate_subscripts(p.proargmodes, 1) as i
             where p.proargmodes[i] in ('o', 'b', 't') order by i)
from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
where n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
  and not exists (select from pg_catalog.pg_depend d
                  where d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass and d.objid = p.oid
                    and d.deptype = 'i'
                    and d.refclassid = 'pg_catalog.pg_type'::pg_catalog.regclass)
  and p.prorettype not in ('pg_catalog.trigger'::pg_catalog.regtype,
                                       'pg_catalog.event_trigger'::pg_catalog.regtype)
order by 1, 2, 3
"""

# Changes when a relation, a column, its type or the query of a view does.
_STATE: Final = """
select pg_catalog.md5(pg_catalog.string_agg(
    pg_catalog.format('%L %L %L %L %L %L', n.nspname, c.relname, a.attnum, a.attname,
                      a.atttypid, a.atttypmod)
    || case when a.attnum = 1 and c.relkind in ('v', 'm')
            then pg_catalog.pg_get_viewdef(c.oid) else '' end,
    ',' order by a.attrelid, a.attnum))
from pg_catalog.pg_attribute a
join pg_catalog.pg_class c on c.oid = a.attrelid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'v', 'm', 'f') and a.attnum > 0 and not a.attisdropped
  and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
"""

Key = tuple[str, str]


class Relation(msgspec.Struct):
    """One relation: its kind as PostgreSQL's letter, its columns with types, where it belongs."""

    kind: str
    query: str | None = None
    columns: dict[str, str] = {}
    parents: list[Key] = []
    # Of a view: the columns that PostgreSQL knows it to need.
    needs: list[tuple[Key, str | None]] = []
    # The columns that the database makes of others.
    generated: list[str] = []


class Form(msgspec.Struct, frozen=True):
    """One function of several that may share a name."""

    arguments: str
    returns: str
    kind: str
    volatility: str
    is_leakproof: bool
    is_definer: bool
    # Of what gives several columns, theirs.
    columns: tuple[str, ...] = ()


class Database(msgspec.Struct):
    """What a database has, without PostgreSQL's own."""

    server: str
    relations: dict[Key, Relation]
    functions: dict[Key, list[Form]]
    types: dict[Key, OwnType] = {}


class Login(msgspec.Struct, frozen=True, kw_only=True):
    """How to reach a database: by `dsn`, or by the parts that a listener has."""

    dsn: str | None = None
    host: str | None = None
    port: int | None = None
    user: str | None = None
    database: str | None = None
    password: str | None = None
    tls: ssl.SSLContext | Literal["disable"] | None = None

    def __repr__(self) -> str:
        """Return a form without the password, which would otherwise reach a traceback."""
        return "Login()"


@asynccontextmanager
async def connected(login: Login) -> AsyncIterator["asyncpg.Connection[Any]"]:
    """Give a connection that can only read. Raises ConfigError, SidecarError."""
    try:
        connection = await asyncpg.connect(
            login.dsn, host=login.host, port=login.port, user=login.user, database=login.database,
            password=login.password, ssl=login.tls, timeout=CONNECT_S_MAX,
            command_timeout=QUERY_S_MAX, statement_cache_size=0, server_settings=_SETTINGS,
        )  # fmt: skip
    except asyncpg.PostgresError as error:
        raise SidecarError(f"catalog: the server refuses the login ({error.sqlstate})") from None
    except (OSError, TimeoutError, asyncpg.InterfaceError) as error:
        said = type(error).__name__
        raise SidecarError(f"catalog: the database cannot be reached ({said})") from None
    except ValueError:
        raise ConfigError("catalog: expected `postgres://user@host/database`") from None
    try:
        yield connection
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
        code = getattr(error, "sqlstate", None) or type(error).__name__
        raise SidecarError(f"catalog: the database could not be read ({code})") from None
    finally:
        await _left(connection)


async def _left(connection: "asyncpg.Connection[Any]") -> None:
    try:
        await connection.close(timeout=CONNECT_S_MAX)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
        connection.terminate()


def _tls(dsn: str) -> ssl.SSLContext | None:
    """Return how a server elsewhere is asked who it is, where the address does not say."""
    try:
        parts = urlsplit(dsn)
        asked = parse_qs(parts.query)
        host = asked.get("host", [parts.hostname or ""])[0]
    except ValueError:
        raise ConfigError("catalog: expected `postgres://user@host/database`") from None
    if parts.scheme not in ("postgres", "postgresql"):
        raise ConfigError("catalog: expected `postgres://user@host/database`")
    return None if "sslmode" in asked or is_local(host) else ssl.create_default_context()


def is_local(host: str) -> bool:
    """Return whether a host is this machine, or a folder of Unix sockets."""
    return host in _LOCAL or host.startswith("/")


async def read_database(connection: "asyncpg.Connection[Any]") -> Database:
    """Return what the database has, all of it at one moment."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        relations = {
            (schema, name): Relation(kind, query)
            for schema, name, kind, query in await connection.fetch(_RELATIONS)
        }
        for schema, name, column, kind, is_generated in await connection.fetch(_COLUMNS):
            own = relations[schema, name]
            own.columns = {**own.columns, column: kind}
            own.generated = [*own.generated, *([column] if is_generated else ())]
        for schema, name, *parent in await connection.fetch(_PARENTS):
            own = relations[schema, name]
            own.parents = [*own.parents, (parent[0], parent[1])]
        for schema, name, of, table, column in await connection.fetch(_DEPENDENCIES):
            own = relations[schema, name]
            own.needs = [*own.needs, ((of, table), column)]
        functions: dict[Key, list[Form]] = {}
        for schema, name, *form in await connection.fetch(_FUNCTIONS):
            form[-1] = tuple(form[-1])
            functions.setdefault((schema, name), []).append(Form(*form))
        types = await read_types(connection)
    version = connection.get_server_version()
    return Database(f"{version.major}.{version.minor}", relations, functions, types)


async def read_state(connection: "asyncpg.Connection[Any]") -> str:
    """Return what changes whenever a relation, a column, a view or a type does."""
    return f"{await connection.fetchval(_STATE)} {await types_state(connection)}"


def database_of(dsn: str, password: str | None) -> Database:
    """Return what the database at `dsn` has. Raises ConfigError, SidecarError."""

    async def read() -> Database:
        login = Login(dsn=dsn, password=password, tls=_tls(dsn))
        async with connected(login) as connection:
            return await read_database(connection)

    return asyncio.run(read())
