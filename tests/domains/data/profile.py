"""Renews the catalogue of `policies/packs/introspection`: `python -m tests.domains.data.profile`.

It lists what PostgreSQL keeps about a database itself, but for what holds rows' values, other
people's statements, passwords and files. Columns of several versions stand beside each other, in
the order of the newest server that it was run on; add one with BINARIES=/usr/lib/postgresql/17/bin.
"""

import os
from pathlib import Path
from typing import Any

import psycopg

from examples.postgres_local import LocalPostgres
from sidecar.runtime.catalog.write import Comments, written
from sidecar.syntax.yaml12 import load_documents

PACK = Path(__file__).parents[3] / "policies/packs/introspection"
# What is not structure: values of rows, statements of others, credentials, files, the machine.
_LEFT_OUT = """
pg_authid pg_shadow pg_group pg_statistic pg_stats pg_stats_ext pg_stats_ext_exprs
pg_statistic_ext_data pg_largeobject pg_user_mapping pg_hba_file_rules pg_ident_file_mappings
pg_file_settings pg_config pg_cursors pg_prepared_statements pg_prepared_xacts pg_locks
pg_replication_origin_status pg_replication_slots pg_shmem_allocations pg_shmem_allocations_numa
pg_backend_memory_contexts pg_aios pg_wait_events pg_dsm_registry_allocations
"""
LEFT_OUT = frozenset(_LEFT_OUT.split())
# Where passwords are kept by habit.
SECRET = {
    ("pg_catalog", "pg_subscription", "subconninfo"),
    ("pg_catalog", "pg_user_mappings", "umoptions"),
    ("information_schema", "user_mapping_options", "option_value"),
    ("information_schema", "_pg_user_mappings", "umoptions"),
    ("pg_catalog", "pg_user", "passwd"),
}
# What ORMs and BI tools take for a list of tables counts what others read and write; how many rows
# there are about, `pg_class` says as well.
COUNTED = ("pg_statio_all_tables", "pg_stat_all_tables", "pg_stat_user_tables")
_NOT_COUNTS = frozenset(("relid", "schemaname", "relname", "n_live_tup"))
COLUMNS = """
select n.nspname::text, c.relname::text, array_agg(a.attname::text order by a.attnum)
from pg_attribute a join pg_class c on c.oid = attrelid join pg_namespace n on n.oid = relnamespace
where relkind in ('r', 'v') and n.nspname in ('pg_catalog', 'information_schema')
  and attnum > 0 and not attisdropped
  and (relname !~ '^pg_stat(io)?_' or relname = any(%s))
group by 1, 2 order by 1, 2
"""


def listed(server):
    """Return `(schema, table) → columns` of a server."""
    with psycopg.connect(
        host=server.host, port=server.port, user=server.superuser, password=server.password,
        dbname="postgres",
    ) as connection:  # fmt: skip
        found = connection.execute(COLUMNS, (list(COUNTED),)).fetchall()
    return {(schema, table): columns for schema, table, columns in found if table not in LEFT_OUT}


def together(old, new):
    """Return the relations of two servers, the columns of `new` first."""
    names = sorted(old.keys() | new.keys())
    return {k: list(dict.fromkeys([*new.get(k, ()), *old.get(k, ())])) for k in names}


def labels_of(schema, table, column):
    """Return the labels of a column."""
    if (schema, table, column) in SECRET:
        return ["secret"]
    return ["activity"] if table in COUNTED and column not in _NOT_COUNTS else []


def spec_of(relations):
    """Return the catalogue's `spec`."""
    schemas: dict[str, Any] = {}
    for (schema, table), columns in relations.items():
        said = schemas.setdefault(schema, {"tables": {}})["tables"]
        labels = {c: labels_of(schema, table, c) for c in columns}
        told = {c: {"labels": own} if own else {} for c, own in labels.items()}
        said[table] = {"columns": told if any(labels.values()) else columns}
    return {"protocol": "sql", "dialect": "postgres", "schemas": schemas}


def main():
    path = PACK / "catalog.yaml"
    [document] = load_documents("catalog.yaml", path.read_bytes())
    old = {
        (schema, table): list(one["columns"])
        for schema, said in document.value["spec"]["schemas"].items()
        for table, one in said["tables"].items()
    }
    server = LocalPostgres()
    if "BINARIES" in os.environ:
        server._binaries = Path(os.environ["BINARIES"])
    with server:
        spec = spec_of(together(old, listed(server)))
    comments = Comments.of(path.read_text("utf-8"), document)
    path.write_text(written({**document.value, "spec": spec}, comments), "utf-8")


if __name__ == "__main__":
    main()
