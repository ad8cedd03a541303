"""Writes the list of PostgreSQL's immutable functions that only read their arguments.

`python -m tests.domains.data.builtins` asks a real PostgreSQL and rewrites the module. What is left
out: what SQL cannot call (`internal`, `cstring`), names of which another form is not immutable,
those below, which are immutable in name and look further all the same, and those of `regclass`, its
kin and `aclitem`: a literal becomes one by a look into the catalogue.
"""

from pathlib import Path

from examples.postgres_local import LocalPostgres

MODULE = Path("sidecar/domains/data/parse/text/builtins.py")
# They open relations, dictionaries or the state of the server.
LOOK_FURTHER = (
    "pg_partition_root satisfies_hash_partition ts_lexize pg_walfile_name pg_walfile_name_offset "
    "postgresql_fdw_validator xmlvalidate pg_indexam_progress_phasename"
)
HEAD = '''"""The immutable functions of PostgreSQL 18 that read their arguments and nothing else.

Written by `python -m tests.domains.data.builtins`; the list is reviewed as a diff.
"""

'''
FUNCTIONS = """
select proname from pg_proc p
where pronamespace = 'pg_catalog'::regnamespace
group by proname
having bool_and(provolatile = 'i') and bool_and(prokind in ('f', 'a', 'w'))
   and bool_or(not (prorettype = any (hidden.types) or proargtypes::oid[] && hidden.types))
order by proname
"""
HIDDEN = """
with hidden as (select array_agg(oid) as types from pg_type where typname in (
  'internal', 'cstring', 'trigger', 'event_trigger', 'language_handler', 'fdw_handler',
  'index_am_handler', 'tsm_handler', 'table_am_handler', 'pg_ddl_command', 'unknown',
  'pg_node_tree', 'pg_ndistinct', 'pg_dependencies', 'pg_mcv_list', 'gtsvector',
  'pg_brin_bloom_summary', 'pg_brin_minmax_multi_summary', 'aclitem')
  or typname like 'reg%')
"""


def immutable(server: LocalPostgres) -> list[str]:
    """Return the names, sorted."""
    asked = FUNCTIONS.replace("from pg_proc p", "from pg_proc p, hidden")
    asked = asked.replace("group by proname", "group by proname, hidden.types")
    return sorted(set(server.psql(HIDDEN + asked).split()) - set(LOOK_FURTHER.split()))


def _filled(names: list[str]) -> str:
    lines, line = [], ""
    for name in names:
        if len(line) + len(name) + 1 > 100:
            lines.append(line)
            line = ""
        line = f"{line} {name}".strip()
    return "\n".join([*lines, line])


if __name__ == "__main__":
    with LocalPostgres() as server:
        names = _filled(immutable(server))
    MODULE.write_text(
        f'{HEAD}from typing import Final\n\n_NAMES: Final = """\n{names}\n"""\n'
        "IMMUTABLE: Final = frozenset(_NAMES.split())\n",
        "utf-8",
    )
