"""The demo's world: a real PostgreSQL, a small HTTP API, and the sidecar in front of both.

Everything runs below one temporary folder and ends with the `with` block, also when it fails.
"""

import contextlib
import json
import os
import secrets
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psycopg
from psycopg import sql

from examples.demo.terminal import Login
from examples.postgres_local import LocalPostgres
from sidecar.facts.keys import issue
from sidecar.syntax.yaml12 import dump

POLICIES = Path(__file__).parents[2] / "policies"
EMPLOYEES = 12_000
START_S_MAX = 30
SEED = """
CREATE SCHEMA finance;
CREATE SCHEMA hr;
CREATE TABLE finance.expenses(id int PRIMARY KEY, department text, employee text, amount numeric,
  currency text, iban text, spent_on date, note text);
CREATE TABLE hr.compensation(employee_id int PRIMARY KEY, name text, department text,
  salary numeric, bonus numeric);
CREATE TABLE public.scratch(note text);
-- Each IBAN has its own check digits (ISO 13616): 98 - (account, DE as 1314, 00) mod 97.
INSERT INTO finance.expenses SELECT n, (ARRAY['sales','legal','research'])[n % 3 + 1],
  'employee ' || n % 400, (n * 37 % 900) + 0.5, 'EUR',
  'DE' || lpad((98 - (account || '131400')::numeric % 97)::text, 2, '0') || account,
  date '2026-01-01' + n % 300, 'trip ' || n
  FROM (SELECT n, '37040044' || lpad((n % 400 * 7919 + 5320)::text, 10, '0') AS account
    FROM generate_series(1, 2000) n) AS numbered;
INSERT INTO hr.compensation SELECT n, 'employee ' || n,
  (ARRAY['sales','legal','research'])[n % 3 + 1],
  40000 + n * 97 % 190000, n % 9000 FROM generate_series(1, 12000) n;
-- The grant is far too broad, as grants are: everything in every schema.
GRANT ALL ON SCHEMA finance, hr, public TO broad;
GRANT ALL ON ALL TABLES IN SCHEMA finance, hr, public TO broad;
"""


class Api(BaseHTTPRequestHandler):
    """An HTTP API that trusts whoever reaches it, as internal ones do."""

    def _answer(self) -> None:
        body = json.dumps({"path": self.path, "method": self.command, "amount": 120}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_DELETE = _answer  # noqa: N815 - the base class's own names

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as in the base class
        """Say nothing."""


class World:
    """Where everything is reached."""

    def __init__(self, folder: Path, database: LocalPostgres, api_port: int) -> None:
        self.folder = folder
        self.database = database
        self.key = issue(secrets.token_bytes)
        self.config = folder / "sidecar.yaml"
        self.state = folder / "state"
        self.addresses: dict[str, str] = {}
        self._write(api_port)

    def _write(self, api_port: int) -> None:
        password = self.folder / "erp.password"
        password.write_text(BROAD_PASSWORD)
        password.chmod(0o600)
        upstream = {
            "url": f"postgres://127.0.0.1:{self.database.port}/erp",
            "credential": {"user": "broad", "password": {"file": str(password)}},
        }
        workload = {
            "id": "expense-bot",
            "key": self.key.key,
            "scram": self.key.scram,
            "actor": {"type": "agent", "id": "expense-bot"},
            "subject": {
                "type": "user",
                "id": "alice",
                "properties": {"department": "sales", "groups": ["finance"]},
            },
        }
        listeners = [
            {"name": "ask", "protocol": "ask", "bind": "127.0.0.1:0"},
            {"name": "api", "protocol": "http", "bind": "127.0.0.1:0",
             "upstream": {"url": f"http://127.0.0.1:{api_port}"}},
            {"name": "erp", "protocol": "postgres", "bind": "127.0.0.1:0", "upstream": upstream},
        ]  # fmt: skip
        config = {
            "state": "./state",
            "bundle": str(POLICIES),
            "workloads": [workload],
            "listeners": listeners,
        }
        self.config.write_text(dump(config))

    @property
    def agent(self) -> Login:
        """Return how the agent logs in: at the sidecar, with its own key."""
        return Login(self.port("erp"), "expense-bot", self.key.text)

    @property
    def account(self) -> Login:
        """Return how whoever has the database's credential logs in, past the sidecar."""
        return Login(self.database.port, "broad", BROAD_PASSWORD)

    def port(self, listener: str) -> int:
        """Return the port that was chosen for a listener."""
        return int(self.addresses[listener].rsplit(":", 1)[1])

    def sidecar(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one `sidecar` command and return what it printed."""
        command = [sys.executable, "-m", "sidecar", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=self.folder)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Serve until the block ends; then drain."""
        command = [sys.executable, "-m", "sidecar", "run", "-c", str(self.config)]
        log = (self.folder / "sidecar.log").open("wb")
        with (
            log,
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as process,
        ):
            killer = threading.Timer(START_S_MAX, process.kill)
            killer.start()
            try:
                self._wait_ready(process)
                killer.cancel()
                yield
            finally:
                killer.cancel()
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(START_S_MAX)
                process.kill()

    def _wait_ready(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("ready "):
                found = json.loads(line.removeprefix("ready "))["listeners"]
                self.addresses = {name: bound[0] for name, bound in found.items()}
                return
        raise RuntimeError((self.folder / "sidecar.log").read_text())


BROAD_PASSWORD = secrets.token_urlsafe(24)


@contextlib.contextmanager
def world() -> Iterator[World]:
    """Start the database and the API; end both with the block."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="doorward-demo-")))
        folder.chmod(0o700)
        database = stack.enter_context(LocalPostgres())
        _seed(database)
        api = ThreadingHTTPServer(("127.0.0.1", 0), Api)
        stack.callback(api.server_close)
        stack.callback(api.shutdown)
        threading.Thread(target=api.serve_forever, daemon=True).start()
        yield World(folder, database, api.server_port)


def _seed(database: LocalPostgres) -> None:
    def connect(name: str) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(
            host=database.host, port=database.port, user=database.superuser,
            password=database.password, dbname=name, autocommit=True,
        )  # fmt: skip

    with connect("postgres") as admin:
        admin.execute("CREATE DATABASE erp")
        admin.execute(
            sql.SQL("CREATE ROLE broad LOGIN PASSWORD {}").format(sql.Literal(BROAD_PASSWORD))
        )
    with connect("erp") as erp:
        erp.execute(SEED)


def is_alive(pid: int) -> bool:
    """Return whether a process with this id runs (a zombie does not)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with contextlib.suppress(OSError):
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text()
    return True
