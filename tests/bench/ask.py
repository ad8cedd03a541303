"""Decisions a second of `/v1/decide`, beside bare answers of the same library in the same run.

Every decision is authenticated, judged by ten rules that match, and durable before it is answered.
"""

import asyncio
import json
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.bench.load import Job, Seen, generated
from tests.bench.report import cpu_s, table
from tests.bench.rules import CALL, SQL_CALL, bundle_of
from tests.e2e.harness import EVALUATION, ROOT, Sidecar, Site, living

CONNECTIONS = 64
RULES = 10
NGINX = """\
daemon off; worker_processes 1; pid {0}/pid; error_log stderr crit;
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_requests 1000000000; client_body_temp_path {0};
  proxy_temp_path {0}; fastcgi_temp_path {0}; uwsgi_temp_path {0}; scgi_temp_path {0};
  server {{ listen 127.0.0.1:{1}; location / {{ return 200 '{{"decision":true}}'; }} }}
}}
"""
HEADS = ("", "a second", "ratio", "server CPU us", "CPU ratio", "p50 us", "p99 us")


def measure(folder: Path, seconds: float, *, quick: bool) -> None:
    """Print the table."""
    rows: list[tuple[str, Seen | None]] = [
        ("bare answer, same library", _bare(seconds)),
        ("nginx `return 200`", _nginx(folder, seconds)),
    ]
    site = Site.made(folder)
    for name, text in bundle_of(RULES, RULES).items():
        site.put(name, text)
    asked: dict[str, tuple[str, object]] = {"/v1/decide, http call": ("/v1/decide", CALL)}
    if not quick:
        asked["/v1/decide, sql call"] = ("/v1/decide", SQL_CALL)
        asked["AuthZEN evaluation"] = ("/access/v1/evaluation", EVALUATION)
    rows += asyncio.run(_sidecar(site, asked, seconds))
    first = rows[0][1]
    assert first is not None
    title = f"ask: {CONNECTIONS} connections, {RULES} matching rules, durable records"
    table(title, HEADS, [_row(name, seen, first) for name, seen in rows])


def _row(name: str, seen: Seen | None, bare: Seen) -> Sequence[str]:
    if seen is None:
        return (name, "skipped: not on the PATH")
    cpu = ("-", "-")
    if seen.cpu_s is not None and bare.cpu_s:
        each, least = seen.cpu_s / seen.answers, bare.cpu_s / bare.answers
        cpu = (f"{each * 1e6:.0f}", f"{each / least:.2f}")
    ratio = seen.rate / bare.rate
    return (
        name,
        f"{seen.rate:.0f}",
        f"{ratio:.2f}",
        *cpu,
        f"{seen.p50_us:.0f}",
        f"{seen.p99_us:.0f}",
    )


def _request(path: str, body: object, key: str = "swk_nobody") -> bytes:
    data = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Sidecar-Authorization: Bearer {key}\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    return head.encode() + data


def _sent(port: int, request: bytes, seconds: float, cpu: Callable[[], float | None]) -> Seen:
    job = Job("127.0.0.1", port, request, CONNECTIONS, seconds / 3, seconds)
    return generated(job, cpu)


async def _sidecar(
    site: Site, asked: dict[str, tuple[str, object]], seconds: float
) -> list[tuple[str, Seen | None]]:
    found: list[tuple[str, Seen | None]]
    async with site.running() as sidecar:
        found = [
            (name, await asyncio.to_thread(_asked, sidecar, path, body, seconds))
            for name, (path, body) in asked.items()
        ]
        again = await asyncio.to_thread(
            _wrk, sidecar.port("ask"), "/v1/decide", CALL, site.key, seconds
        )
        assert await sidecar.stop() == 0
    return [*found, ("/v1/decide, asked by wrk", again)]


def _asked(sidecar: Sidecar, path: str, body: object, seconds: float) -> Seen:
    def cpu() -> float | None:
        # The worker and the supervisor above it.
        return cpu_s(living(sidecar.supervisor))

    request = _request(path, body, sidecar.site.key)
    return _sent(sidecar.port("ask"), request, seconds, cpu)


def _bare(seconds: float) -> Seen:
    command = [sys.executable, "-m", "tests.bench.bare"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        port = int(server.stdout.readline())
        request = _request("/v1/decide", CALL)
        seen = _sent(port, request, seconds, lambda: cpu_s([server.pid]))
        server.stdin.close()
    return seen


def _nginx(folder: Path, seconds: float) -> Seen | None:
    found = shutil.which("nginx")
    if found is None:
        return None
    with _nginx_running(found, folder) as (port, group):
        return _sent(port, _request("/", CALL), seconds, lambda: cpu_s(living(group)))


def _wrk(port: int, path: str, body: object, key: str, seconds: float) -> Seen | None:
    """Return what wrk sees of the same, which is no news of the server but of our own load."""
    found = shutil.which("wrk")
    if found is None:
        return None
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        head = {"Content-Type": "application/json", "Sidecar-Authorization": f"Bearer {key}"}
        script.write('wrk.method = "POST"\n')
        script.write(f"wrk.body = {json.dumps(json.dumps(body))}\n")
        script.writelines(f'wrk.headers["{name}"] = "{value}"\n' for name, value in head.items())
        script.flush()
        command = [found, "-t1", f"-c{CONNECTIONS}", f"-d{round(seconds)}s", "--latency", "-s"]
        command += [script.name, f"http://127.0.0.1:{port}{path}"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    rate = _figure(r"Requests/sec:\s*([0-9.]+)()", done.stdout)
    middle, most = (_figure(rf"\s{share}%\s+([0-9.]+)(us|ms|s)", done.stdout) for share in (50, 99))
    return Seen(round(rate), 1, middle, most)


def _figure(pattern: str, text: str) -> float:
    """Return a figure of wrk's, a time in us."""
    found = re.search(pattern, text)
    if found is None:
        raise RuntimeError(f"wrk: {text}")
    return float(found[1]) * {"": 1, "us": 1, "ms": 1e3, "s": 1e6}[found[2]]


@contextmanager
def _nginx_running(program: str, folder: Path) -> Iterator[tuple[int, int]]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = folder / "nginx.conf"
    config.write_text(NGINX.format(folder, port))
    command = [program, "-p", str(folder), "-c", str(config)]
    with subprocess.Popen(command, start_new_session=True) as server:
        try:
            _wait_for(port)
            yield port, server.pid
        finally:
            server.terminate()


def _wait_for(port: int) -> None:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            threading.Event().wait(0.02)
        else:
            return
    raise RuntimeError("nginx does not answer")
