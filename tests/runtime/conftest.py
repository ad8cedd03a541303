"""Bundles of one rule, whose name tells the version that it belongs to."""

from collections.abc import Callable
from pathlib import Path

import pytest

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
