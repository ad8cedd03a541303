"""Others that answer the same question, on this machine: nginx, Cerbos, OPA.

Each is started with the same ten rules and given the same load; one that cannot be had is a reason.
Our record says who asked from where, and what was decided of what: Cerbos' audit says the first in
its access log and the second in its decision log, so it keeps both. It authenticates nobody, and
syncs nothing.
Cerbos is fetched from npm into the environment's folder, which is no part of the tree, and speaks
to nobody: no telemetry. OPA is a binary that OPA_BIN names.
"""

import json
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.rules import CALL
from tests.bench.wrk import Ask
from tests.e2e.harness import ROOT

CERBOS = "@cerbos/cerbos-linux-x64@0.55.0"
_CERBOS_FOLDER = ROOT / ".venv" / "cerbos"
_FETCH_S_MAX = 120
_JSON = {"Content-Type": "application/json"}
_NGINX = """\
daemon off; worker_processes 1; pid {0}/pid; error_log stderr crit;
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_requests 1000000000; client_body_temp_path {0};
  proxy_temp_path {0}; fastcgi_temp_path {0}; uwsgi_temp_path {0}; scgi_temp_path {0};
  server {{ listen 127.0.0.1:{1}; location / {{ return 200 '{{"decision":true}}'; }} }}
}}
"""
_CERBOS = """\
server: {{httpListenAddr: "127.0.0.1:{port}", grpcListenAddr: "127.0.0.1:{other}"}}
storage: {{driver: disk, disk: {{directory: "{folder}/policies", watchForChanges: false}}}}
telemetry: {{disabled: true}}
audit:
  enabled: true
  accessLogsEnabled: true
  decisionLogsEnabled: true
  backend: file
  file: {{path: "{folder}/audit.log"}}
"""
_CERBOS_RULES = """\
apiVersion: api.cerbos.dev/v1
resourcePolicy:
  version: default
  resource: thing
  rules:
    - {actions: ["*"], effect: EFFECT_ALLOW, roles: ["*"], condition: {match: {expr: "P.id != 'nobody' && P.attr.type == P.attr.actor"}}}
"""  # noqa: E501 - a policy reads best as it is written
_CERBOS_RULE = (
    '    - {{actions: ["*"], effect: EFFECT_DENY, roles: ["*"], '
    "condition: {{match: {{expr: \"'label-{}' in R.attr.labels\"}}}}}}\n"
)
_OPA_RULES = """\
package bench
import rego.v1
default allow := false
allow if {
  input.subject.id != "nobody"
  input.actor.type == input.subject.type
  not closed
}
"""
_OPA_RULE = 'closed if "label-{}" in input.resource.labels\n'


class Absent(Exception):
    """Why a peer is not measured."""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port


@contextmanager
def nginx(folder: Path) -> Iterator[tuple[Ask, int]]:
    """Serve `return 200`; yield what to ask, and whose process group answers."""
    program = shutil.which("nginx")
    if program is None:
        raise Absent("nginx is not on the PATH")
    port, config = free_port(), folder / "nginx.conf"
    config.write_text(_NGINX.format(folder, port))
    with _running([program, "-p", str(folder), "-c", str(config)], port, folder) as pid:
        yield Ask(port, "/", _JSON, json.dumps(CALL).encode()), pid


@contextmanager
def cerbos(folder: Path, rules: int) -> Iterator[tuple[Ask, int]]:
    """Serve as many rules, the audit to a file."""
    program = _cerbos_program()
    port, policies = free_port(), folder / "policies"
    policies.mkdir()
    text = _CERBOS_RULES + "".join(map(_CERBOS_RULE.format, range(1, rules)))
    (policies / "thing.yaml").write_text(text)
    config = folder / "cerbos.yaml"
    config.write_text(_CERBOS.format(port=port, other=free_port(), folder=folder))
    asked = {
        "principal": {"id": "client", "roles": ["r"], "attr": {"type": "user", "actor": "user"}},
        "resources": [
            {"resource": {"kind": "thing", "id": "1", "attr": {"labels": []}}, "actions": ["get"]}
        ],
    }
    with _running([program, "server", f"--config={config}"], port, folder) as pid:
        yield Ask(port, "/api/check/resources", _JSON, json.dumps(asked).encode()), pid


def _cerbos_program() -> str:
    found = next(_CERBOS_FOLDER.glob("node_modules/@cerbos/*/cerbos-linux-x64"), None)
    if found is not None:
        return str(found)
    npm = shutil.which("npm")
    if npm is None:
        raise Absent("npm is not on the PATH")
    command = [npm, "i", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix"]
    try:
        subprocess.run(
            [*command, str(_CERBOS_FOLDER), CERBOS],
            capture_output=True,
            check=True,
            timeout=_FETCH_S_MAX,
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        raise Absent(f"npm could not fetch {CERBOS}") from None
    return str(next(_CERBOS_FOLDER.glob("node_modules/@cerbos/*/cerbos-linux-x64")))


@contextmanager
def opa(folder: Path, rules: int) -> Iterator[tuple[Ask, int]]:
    """Serve as many rules, the decision log to a file."""
    program = os.environ.get("OPA_BIN")
    if not program:
        raise Absent("OPA_BIN names no binary")
    port, policy = free_port(), folder / "bench.rego"
    policy.write_text(_OPA_RULES + "".join(map(_OPA_RULE.format, range(1, rules))))
    party = {"type": "user", "id": "client"}
    asked = {"input": {"subject": party, "actor": party, "resource": {"labels": []}, **CALL}}
    command = [program, "run", "--server", f"--addr=127.0.0.1:{port}", "--disable-telemetry"]
    command += ["--set=decision_logs.console=true", str(policy)]
    with _running(command, port, folder) as pid:
        yield Ask(port, "/v1/data/bench/allow", _JSON, json.dumps(asked).encode()), pid


@contextmanager
def _running(command: list[str], port: int, folder: Path) -> Iterator[int]:
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            _wait_for(port, server)
            yield server.pid
        finally:
            server.terminate()
            server.wait()


def _wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    for _ in range(500):
        if server.poll() is not None:
            raise Absent(f"it ended with {server.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            threading.Event().wait(0.02)
        else:
            return
    raise Absent("it does not answer")
