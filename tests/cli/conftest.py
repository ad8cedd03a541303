"""The command line in this process: arguments and standard input in; exit code and texts out."""

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from sidecar.cli import main


class Said(NamedTuple):
    code: int
    out: str
    err: str


def to_the_end(args: list[str]) -> None:
    main(args)
    raise SystemExit(0)


@pytest.fixture
def sidecar(monkeypatch: pytest.MonkeyPatch, capsys) -> Callable[..., Said]:
    def run(*args: str | Path, stdin: str | bytes = b"") -> Said:
        data = stdin.encode() if isinstance(stdin, str) else stdin
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        with pytest.raises(SystemExit) as ended:
            to_the_end([str(one) for one in args])
        out, err = capsys.readouterr()
        code = ended.value.code
        assert isinstance(code, int), code
        return Said(code, out, err)

    return run


@pytest.fixture
def shop(tmp_path: Path, sidecar) -> Path:
    """What `sidecar init` writes."""
    folder = tmp_path / "shop"
    said = sidecar("init", folder)
    assert said.code == 0, said.err
    return folder
