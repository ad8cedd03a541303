"""Listeners under a least-privilege policy, and how a client of `peers/` is run through one."""

import asyncio
import os
from pathlib import Path
from typing import Any

from examples.postgres_local import LocalPostgres
from sidecar.domains import by_protocol
from sidecar.intercept.postgres.ends.tls import client_context, server_context
from sidecar.policy.bundle import Bundle, compile_bundle
from tests.intercept.postgres.stand import Stand
from tests.intercept.postgres.test_matrix import CATALOG, LEAST, PACK
from tests.intercept.postgres.tls_stand import SystemPostgres, certificates

HERE = Path(__file__).parent
# Beside the schema of the other tests: what drivers and object mappers write.
THINGS = """
create table public.owners(id int primary key, name text);
create table public.things(
  id serial primary key, name text not null, amount numeric(12, 2),
  made timestamptz default now(), flag boolean, tags text[], doc jsonb, raw bytea,
  owner int references public.owners(id)
);
create index things_name on public.things(name);
grant all on public.things, public.owners to erp;
grant all on sequence public.things_id_seq to erp;
grant create on schema public to erp;
"""
_TABLES = """        widgets: {columns: [id, label]}
        owners: {columns: [id, name]}
        things: {columns: [id, name, amount, made, flag, tags, doc, raw, owner]}
"""


def least() -> Bundle:
    """Return a bundle that lets a workload read one schema, write another, and look at both."""
    catalog = CATALOG.replace("        widgets: {columns: [id, label]}\n", _TABLES)
    files = {
        "bundle.yaml": b'name: trial\nversion: "1.0.0"\n',
        "catalog/erp.yaml": catalog.encode(),
        "catalog/postgres.yaml": (PACK / "catalog.yaml").read_bytes(),
        "policies/introspection.yaml": (PACK / "policy.yaml").read_bytes(),
        "policies/least.yaml": LEAST.encode(),
    }
    return compile_bundle(files, by_protocol())


def stand_before(server: LocalPostgres, bundle: Bundle, *, is_encrypted: bool) -> Stand:
    """Return a listener before `server`, with TLS towards the client or none."""
    known = certificates()
    said: dict[str, Any] = {}
    if is_encrypted:
        said["tls"] = server_context(known.file("here.crt"), known.file("here.key"))
    if isinstance(server, SystemPostgres):
        said["upstream_tls"] = client_context(known.file("ca.crt"), is_verified=True)
        said["is_plain_loopback"] = False
    stand = Stand(server, **said)
    stand.bundle = bundle
    if is_encrypted:
        stand.options = {"sslmode": "verify-full", "sslrootcert": str(known.file("ca.crt"))}
    return stand


async def tried(*asked: str, **said: str) -> tuple[list[str], list[str], str]:
    """Run a client; return what went well, what did not, and what it complained of."""
    process = await asyncio.create_subprocess_exec(
        *asked,
        env={**os.environ, **said},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    lines = out.decode().splitlines()
    well = [line[3:] for line in lines if line.startswith("ok ")]
    return well, [line for line in lines if not line.startswith("ok ")], err.decode()
