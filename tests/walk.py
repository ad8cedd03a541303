"""Runs the commands of a page in order and holds what they print against what the page shows."""

import re
import shlex
import subprocess
from pathlib import Path
from typing import NamedTuple

from click.testing import CliRunner

from sidecar.cli import root
from sidecar.runtime.exits import exit_code
from sidecar.terms.errors import SidecarError

_BLOCK = re.compile(r"^```(sh|text|diff|json)\n(.*?)^```", re.MULTILINE | re.DOTALL)
# Where a page leaves out a part of a line, and where it leaves out lines.
_SOME = "…"
# Whoever commits in a test; of the machine's own settings nothing is read.
_GIT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "ann",
    "GIT_AUTHOR_EMAIL": "ann@shop.example",
    "GIT_COMMITTER_NAME": "ann",
    "GIT_COMMITTER_EMAIL": "ann@shop.example",
}


class Step(NamedTuple):
    """What is done (`sh`: commands, `diff`: a change), and what the page says comes of it."""

    language: str
    body: str
    shown: str | None


def steps(page: str) -> list[Step]:
    """Return the blocks of a page; a `text` or `json` after commands is what they print."""
    found: list[Step] = []
    for language, body in _BLOCK.findall(page):
        if language in ("sh", "diff"):
            found.append(Step(language, body, None))
        else:
            assert found, body
            assert found[-1].shown is None, body
            found[-1] = found[-1]._replace(shown=body)
    return found


def taken(step: Step, folder: Path) -> str:
    """Take a step in `folder`, which is the working folder, and return what it printed.

    A code other than 0 is one more line.
    """
    if step.language == "diff":
        _git(["git", "apply", "-"], folder, step.body)
        return ""
    return "".join(_command(line, folder) for line in step.body.splitlines())


def _command(line: str, folder: Path) -> str:
    name, *arguments = shlex.split(line)
    if name == "git":
        return _git([name, *arguments], folder)
    assert name == "sidecar", line
    said = CliRunner().invoke(root, arguments, prog_name="sidecar")
    code = said.exit_code
    if isinstance(said.exception, SidecarError):
        code = exit_code(said.exception)
    elif said.exception is not None and not isinstance(said.exception, SystemExit):
        raise said.exception
    return said.output + (f"exit code {code}\n" if code else "")


def _git(command: list[str], folder: Path, given: str | None = None) -> str:
    done = subprocess.run(
        command, cwd=folder, env=_GIT, input=given, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def comes_out(shown: str, real: str) -> bool:
    """Return whether `real` is `shown`, where `…` stands for anything, alone for any lines."""
    said = "".join(
        r"(?:.*\n)*?" if line.strip() == _SOME else f"{_part(line)}\n"
        for line in shown.splitlines()
    )
    return re.fullmatch(said, real) is not None


def _part(line: str) -> str:
    return ".*?".join(re.escape(part) for part in line.split(_SOME))
