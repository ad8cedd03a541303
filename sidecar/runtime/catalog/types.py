"""Reads a database's own types: what each is made of, and whether making a value of it runs code.

PostgreSQL notes what a domain's checks call, but for its own functions, which are pinned; those are
judged by reading the checks (`fresh`).
"""

import hashlib
from collections.abc import Mapping
from typing import Any, Final

import asyncpg
import msgspec

from sidecar.domains.data.catalogue import Relations
from sidecar.domains.data.parse.other.lineage import lineage
from sidecar.terms.call import Json

# Of a domain's checks and of casts: whether anything of somebody's own runs when a value is made.
_TYPES: Final = """
select n.nspname::text, t.typname::text,
       case t.typtype when 'e' then 'enum' when 'd' then 'domain' when 'r' then 'range'
            when 'm' then 'multirange' when 'c' then 'composite' else 'base' end,
       case t.typtype
            when 'd' then pg_catalog.format_type(t.typbasetype, t.typtypmod)
            when 'r' then (select pg_catalog.format_type(r.rngsubtype, null)
                           from pg_catalog.pg_range r where r.rngtypid = t.oid)
            when 'm' then (select pg_catalog.format_type(r.rngtypid, null)
                           from pg_catalog.pg_range r where r.rngmultitypid = t.oid)
            else '' end,
       array(select pg_catalog.pg_get_expr(k.conbin, 0) from pg_catalog.pg_constraint k
             where k.contypid = t.oid and k.contype = 'c' order by k.conname),
       array(select a.attname::text from pg_catalog.pg_attribute a
             where a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped
             order by a.attnum),
       array(select pg_catalog.format_type(a.atttypid, a.atttypmod)
             from pg_catalog.pg_attribute a
             where a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped
             order by a.attnum),
       exists (select from pg_catalog.pg_cast k
               where k.casttarget in (t.oid, t.typarray) and k.castfunc <> 0
                 and k.castsource not in (
                     select r.rngtypid from pg_catalog.pg_range r where r.rngmultitypid = t.oid))
       or exists (select from pg_catalog.pg_range r
                  where t.oid in (r.rngtypid, r.rngmultitypid)
                    and (r.rngcanonical::pg_catalog.oid <> 0 or r.rngsubopc >= 16384))
       or exists (select from pg_catalog.pg_constraint k
                  join pg_catalog.pg_depend d
                    on d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass
                   and d.objid = k.oid
                   and d.refclassid in ('pg_catalog.pg_proc'::pg_catalog.regclass,
                                        'pg_catalog.pg_operator'::pg_catalog.regclass)
                  where k.contypid = t.oid)
from pg_catalog.pg_type t join pg_catalog.pg_namespace n on n.oid = t.typnamespace
left join pg_catalog.pg_class c on c.oid = t.typrelid
where n.nspname !~ '^pg_' and n.nspname <> 'information_schema' and t.typtype <> 'p'
  -- A table's row has its columns, and is told of here where somebody has made a cast to it.
  and (coalesce(c.relkind, 'c') = 'c'
       or exists (select from pg_catalog.pg_cast k
                  where k.casttarget in (t.oid, t.typarray) and k.castfunc <> 0))
  and not exists (select from pg_catalog.pg_type e where e.typarray = t.oid)
order by 1, 2
"""
Key = tuple[str, str]


class OwnType(msgspec.Struct, frozen=True):
    """One type: its kind, what it is over or of, its checks, its fields with their types.

    Args:
        runs_own: Making a value of it calls what is not PostgreSQL's own.
    """

    kind: str
    base: str = ""
    checks: tuple[str, ...] = ()
    fields: dict[str, str] = {}
    runs_own: bool = False


async def read_types(connection: "asyncpg.Connection[Any]") -> dict[Key, OwnType]:
    """Return the types that are not PostgreSQL's own nor rows of tables."""
    found: dict[Key, OwnType] = {}
    for schema, name, kind, base, checks, names, types, runs_own in await connection.fetch(_TYPES):
        fields = dict(zip(names, types, strict=True))
        found[schema, name] = OwnType(kind, base, tuple(checks), fields, runs_own)
    return found


async def types_state(connection: "asyncpg.Connection[Any]") -> str:
    """Return what changes whenever a type does."""
    rows = await connection.fetch(_TYPES)
    return hashlib.sha256(repr([tuple(row) for row in rows]).encode()).hexdigest()


def types_spec(types: Mapping[Key, OwnType]) -> dict[str, Json]:
    """Return what a catalogue says of types; checks of domains wait to be read (`judged`)."""
    return {f"{schema}.{name}": _said(own) for (schema, name), own in types.items()}


def _said(own: OwnType) -> dict[str, Json]:
    said: dict[str, Json] = {"kind": own.kind}
    if own.base:
        said["base"] = own.base
    if own.fields:
        said["fields"] = dict(own.fields)
    if own.checks:
        said["checks"] = list(own.checks)
    if own.runs_own or own.checks:
        said["cast"] = "unread"
    return said


def judge(types: dict[str, Json], own: Mapping[Key, OwnType], relations: Relations) -> bool:
    """Say of domains whose checks call nothing but what may be called that they were read.

    Returns whether there was another one.

    PostgreSQL has said that they call nothing of somebody's own; our own reading says what of
    PostgreSQL's, and that they read no table.
    """
    found = False
    for (schema, name), one in own.items():
        said: dict[str, Json] = types[f"{schema}.{name}"]
        is_waiting = "cast" in said and one.checks and not one.runs_own
        if is_waiting and all(_is_pure(c, one.base, relations) for c in one.checks):
            del said["cast"]
            found = True
    return found


def _is_pure(check: str, base: str, relations: Relations) -> bool:
    # In a check the value goes by the name VALUE, which is a column of that name here.
    value = f"(SELECT CAST(NULL AS {base})) AS d(value)"
    found = lineage(" ".join(("SELECT", f"({check})", "FROM", value)), relations)
    return found is not None and not found.reads and not any(found.shows)
