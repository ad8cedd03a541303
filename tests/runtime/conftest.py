"""Bundles of one rule, whose name tells the version it belongs to; and a real `sidecar run`."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sidecar.facts.keys import key_digest

POLICY = """\
apiVersion: sidecar/v1
kind: Policy
metadata: {{name: trial}}
spec:
  match: {{protocols: [authzen]}}
  rules:
    - {{id: rule-{number}, effect: allow, when: "resource.id == '{number}' || true"}}
"""


def files_of(number: int, label: str | None = None) -> dict[str, bytes]:
    return {
        "bundle.yaml": f'{{name: trial, version: "{label or f"{number}.0"}"}}\n'.encode(),
        "policy.yaml": POLICY.format(number=number).encode(),
    }


@pytest.fixture
def write_bundle() -> Callable[..., None]:
    """Write bundle `number` into a folder: its one rule is `rule-<number>`."""

    def write(folder: Path, number: int, label: str | None = None) -> None:
        folder.mkdir(exist_ok=True)
        for name, data in files_of(number, label).items():
            (folder / name).write_bytes(data)

    return write


@pytest.fixture
def folder(tmp_path: Path, write_bundle) -> Path:
    """A folder with bundle 1."""
    write_bundle(tmp_path / "bundle", 1)
    return tmp_path / "bundle"


KEY = "swk_trial"
EVALUATION = {
    "subject": {"type": "service", "id": "app"},
    "action": {"name": "read"},
    "resource": {"type": "doc", "id": "1"},
}


class Running:
    """A `sidecar run` and what it prints."""

    key = KEY
    evaluation = EVALUATION

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-m", "sidecar", "run", "-c", folder / "sidecar.yaml", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.ready: dict[str, Any] = {}

    def until_ready(self) -> None:
        assert self.process.stdout is not None
        line = self.process.stdout.readline().decode()
        assert line.startswith("ready "), self.process.communicate()
        self.ready = json.loads(line.removeprefix("ready "))

    def until_told(self, text: str) -> None:
        """Wait until the log says `text`."""
        assert self.process.stderr is not None
        while line := self.process.stderr.readline().decode():
            if text in line:
                return
        pytest.fail(f"the log ended without `{text}`")

    @property
    def base(self) -> str:
        address = next(a for a in self.ready["listeners"]["ask"] if not a.startswith("unix:"))
        return f"http://{address}"

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        request = urllib.request.Request(
            self.base + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            content = answer.read()
        return json.loads(content) if content.startswith(b"{") else content

    def evaluate(self) -> dict[str, Any]:
        found: dict[str, Any] = self.ask("/access/v1/evaluation", EVALUATION)
        return found

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self) -> tuple[int, str]:
        """Return the exit code and the rest of the log."""
        _, said = self.process.communicate(timeout=20)
        return self.process.returncode, said.decode()


@pytest.fixture
def home(tmp_path: Path, write_bundle) -> Path:
    """A configuration with bundle 1 on a port that the system chooses and on a Unix socket."""
    write_bundle(tmp_path / "bundle", 1)
    (tmp_path / "sidecar.yaml").write_text(
        f"bundle: ./bundle\nworkloads: [{{id: app, key: '{key_digest(KEY)}'}}]\n"
        "listeners:\n"
        "  - {name: ask, protocol: ask, bind: ['127.0.0.1:0', 'unix:ask.sock']}\n"
    )
    return tmp_path


@pytest.fixture
def run(home) -> Iterator[Callable[..., Running]]:
    """Start `sidecar run`; whatever still runs at the end is ended."""
    started: list[Running] = []

    def start(*options: str, ready: bool = True, folder: Path = home) -> Running:
        running = Running(folder, *options)
        started.append(running)
        if ready:
            running.until_ready()
        return running

    yield start
    for running in started:
        if running.process.poll() is None:
            running.process.kill()
        running.process.communicate()
