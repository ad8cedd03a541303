"""Load from wrk where it is on the PATH, which costs the machine least, else from `load.py`."""

import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable

import msgspec

from tests.bench.load import Job, Seen, generated

_UNITS = {"us": 1.0, "ms": 1e3, "s": 1e6, "m": 60e6}


def program() -> str | None:
    """Return where wrk is, None where it is not."""
    return shutil.which("wrk")


class Ask(msgspec.Struct, frozen=True):
    """One request that is sent over and over, or what wrk makes by a script (`mix.py`)."""

    port: int
    path: str
    headers: dict[str, str]
    body: bytes
    script: str = ""

    def raw(self) -> bytes:
        lines = [f"POST {self.path} HTTP/1.1", "Host: 127.0.0.1"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return (
            "\r\n".join([*lines, f"Content-Length: {len(self.body)}", "", ""]).encode() + self.body
        )


class Load(msgspec.Struct, frozen=True):
    """How a request is sent: over so many connections, unmeasured first, then measured."""

    connections: int
    warm_s: float
    measured_s: float


def loaded(ask: Ask, load: Load, cpu_s: Callable[[], float | None]) -> Seen:
    """Return what came back, and what it cost the server."""
    wrk = program()
    if wrk is None:
        # It sends one request: every call is the same.
        assert not ask.script
        told = (load.connections, load.warm_s, load.measured_s)
        job = Job("127.0.0.1", ask.port, ask.raw(), *told)
        return generated(job, cpu_s)
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(_script(ask))
        script.flush()
        url = f"http://127.0.0.1:{ask.port}{ask.path}"
        command = [wrk, "-t1", f"-c{load.connections}", "--latency", "-s", script.name, url]
        if load.warm_s:
            subprocess.run([*command, _for(load.warm_s)], capture_output=True, check=True)
        before, began = cpu_s(), time.perf_counter()
        command.append(_for(load.measured_s))
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        after, took_s = cpu_s(), time.perf_counter() - began
    return _seen(done.stdout, took_s, None if before is None or after is None else after - before)


def _for(seconds: float) -> str:
    return f"-d{max(round(seconds), 1)}s"


def _script(ask: Ask) -> str:
    lines = ['wrk.method = "POST"', f"wrk.body = {msgspec.json.encode(ask.body.decode()).decode()}"]
    lines += [f'wrk.headers["{name}"] = "{value}"' for name, value in ask.headers.items()]
    return "\n".join(lines) + "\n" + ask.script


def _seen(said: str, took_s: float, cpu_s: float | None) -> Seen:
    if "Non-2xx" in said or "Socket errors" in said:
        raise RuntimeError(f"not every answer was one:\n{said}")
    total = re.search(r"([0-9]+) requests in ([0-9.]+)(us|ms|s|m)\b", said)
    if total is None:
        raise RuntimeError(f"wrk: {said}")
    middle, most = (_time(rf"\s{share}%\s+([0-9.]+)(us|ms|s|m)\b", said) for share in (50, 99))
    seconds = float(total[2]) * _UNITS[total[3]] / 1e6
    return Seen(int(total[1]), min(seconds, took_s), middle, most, cpu_s)


def _time(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    if found is None:
        raise RuntimeError(f"wrk: {text}")
    return float(found[1]) * _UNITS[found[2]]
