"""`sidecar cel` as a conversation: through a pipe, and at a terminal."""

import json
import os
import pty
import select
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sidecar.cli.cel.completion import completions
from sidecar.policy.bench import Bench
from sidecar.policy.language.types import STRING, Record
from tests.tables import rows

ROOT = Path(__file__).parents[2]
CALL = {
    "protocol": "sql",
    "subject": {"type": "user", "id": "sam", "properties": {"groups": ["support"]}},
    "call": {"dialect": "postgres", "text": "SELECT email FROM customers"},
}


@pytest.mark.parametrize("row", rows("cli/cel_prompt.yaml"))
def test_a_conversation(sidecar, row):
    said = sidecar("cel", stdin="\n".join(row.given) + "\n")

    told = {"out": said.out.splitlines(), "err": said.err.splitlines(), "code": said.code}
    assert {"out": [], "err": [], "code": 0, **row.want} == told


def test_a_file_gives_names(sidecar, tmp_path):
    (tmp_path / "in.json").write_text('{"subject": {"id": "ann"}}')

    said = sidecar("cel", stdin=f":input {tmp_path}/in.json\nsubject.id\n")

    assert (said.out, said.code) == ('"ann"\n', 0)


def test_help_names_every_command(sidecar):
    said = sidecar("cel", stdin=":help\n")

    for command in (":explain", ":type", ":cost", ":set", ":input", ":names", ":help", ":quit"):
        assert command in said.out


def test_an_error_shows_the_line_and_where(sidecar):
    said = sidecar("cel", "1 +\n  2 ++ 3")

    assert said.code == 2
    assert said.err.splitlines() == [
        "sidecar: 2:6: expected a value, found `+`",
        "  2 ++ 3",
        "     ^",
    ]


def test_an_explanation_of_one_expression(sidecar):
    said = sidecar("cel", "--explain", "[1, 2, 3].all(x, x > 2)")

    assert said.out.splitlines() == [
        "[1, 2, 3].all(x, x > 2) → false",
        "  elements asked: 1 false",
        "  with x = 1:",
        "    x > 2 → false",
    ]


def test_a_call_gives_the_roots_that_rules_see(sidecar, shop, tmp_path):
    (tmp_path / "call.json").write_text(json.dumps(CALL))
    options = ["--call", tmp_path / "call.json", "-b", shop / "bundle"]
    lines = ["resource.id", "'support' in subject.properties.groups", ":type subject.id"]

    said = sidecar("cel", *options, stdin="\n".join(lines) + "\n")

    assert said.out.splitlines() == ['"public.customers"', "true", "string"]


def test_the_variables_of_a_rule_are_names(sidecar, shop, tmp_path):
    (tmp_path / "call.json").write_text(json.dumps(CALL))
    options = ["--call", tmp_path / "call.json", "-b", shop / "bundle"]

    said = sidecar("cel", *options, "--rule", "support/read-shop", "variables.for_support")

    assert (said.out, said.code) == ("true\n", 0)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["--rule", "none/such"], "`none/such` is no rule of this bundle"),
        ([], "the call cannot be read: "),
    ],
)
def test_what_cannot_be_a_bench_is_said(sidecar, shop, tmp_path, given, told):
    text = "SELECT (" if not given else "SELECT 1"
    call = {**CALL, "call": {"dialect": "postgres", "text": text}}
    (tmp_path / "call.json").write_text(json.dumps(call))

    said = sidecar("cel", "--call", tmp_path / "call.json", "-b", shop / "bundle", *given, "1")

    assert said.code == 2
    assert told in said.err


@pytest.fixture
def bench():
    found = Bench({"subject": Record("subject", {"id": STRING, "properties": STRING})})
    found.give("subject", {"id": "ann", "team": {"name": "x", "no name": 1}})
    found.give("n", 1)
    found.names["variables.mine"] = True
    return found


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("su", ["subject"]),
        ("1 + n", ["n", "null"]),
        ("subject.id", ["subject.id"]),
        ("subject.team.n", ["subject.team.name"]),
        ("subject.?te", ["subject.?team"]),
        ("subject.prop", ["subject.properties"]),
        ("variables.", ["variables.mine"]),
        ("math.gr", ["math.greatest("]),
        ("f(x).exi", [".exists(", ".exists_one("]),
        ("[1].transformM", [".transformMap(", ".transformMapEntry("]),
        ("cel", ["cel.bind("]),
        (":e", [":explain"]),
        (":explain su", ["subject"]),
        ("nothing_such", []),
    ],
)
def test_what_may_stand_next(bench, line, found):
    told = completions(bench, line)

    assert [each for each in told if line != "variables." or "mine" in each] == found


# A process of its own takes the terminal and becomes the command line. Who runs the tests in the
# background has interrupts ignored, and so would it.
LAUNCH = """\
import fcntl, os, signal, sys, termios
signal.signal(signal.SIGINT, signal.SIG_DFL)
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, "-m", "sidecar", "cel"])
"""


class Terminal:
    """`sidecar cel` at a terminal of its own."""

    def __init__(self, home: Path) -> None:
        self._end, other = pty.openpty()
        inherited = {key: value for key, value in os.environ.items() if key != "XDG_CONFIG_HOME"}
        self._process = subprocess.Popen(
            [sys.executable, "-c", LAUNCH],
            stdin=other,
            stdout=other,
            stderr=other,
            start_new_session=True,
            env=inherited | {"HOME": str(home), "TERM": "dumb", "PYTHONPATH": str(ROOT)},
        )
        os.close(other)

    def type(self, text: str, until: str) -> str:
        """Type, and return what is shown up to and with `until`."""
        os.write(self._end, text.encode())
        return self.read(until)

    def read(self, until: str) -> str:
        shown = ""
        deadline = time.monotonic() + 20
        waiting = select.poll()
        waiting.register(self._end, select.POLLIN)
        while until not in shown and time.monotonic() < deadline:
            if waiting.poll(100):
                try:
                    shown += os.read(self._end, 4_096).decode()
                except OSError:
                    break
        assert until in shown, shown
        return shown

    def end(self) -> int:
        os.write(self._end, b"\x04")
        return self._process.wait(20)

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._end)


@pytest.fixture
def open_terminal(tmp_path):
    """Open terminals of one home, and leave none behind."""
    opened = []

    def opening():
        opened.append(Terminal(tmp_path))
        return opened[-1]

    yield opening

    for terminal in opened:
        terminal.close()


@pytest.mark.timeout(60)
def test_at_a_terminal_there_is_a_prompt_with_completion_and_history(open_terminal, tmp_path):
    terminal = open_terminal()
    terminal.read("cel> ")
    assert "\r\n3\r\n" in terminal.type("1 + 2\r", "cel> ")
    assert "math.greatest(" in terminal.type("math.great\t", "math.greatest(")
    assert "\r\n9\r\n" in terminal.type("4, 9)\r", "cel> ")
    assert "...> " in terminal.type("[1,\r", "...> ")
    assert "\r\n[1,2]\r\n" in terminal.type("2]\r", "cel> ")
    assert "division by zero" in terminal.type("1 / 0\r", "cel> ")
    # What is half typed is taken back, and the conversation goes on.
    terminal.type("1 +", "1 +")
    # Why the Return: Python may see the signal only with the next key.
    terminal.type("\x03\r", "cel> ")

    assert terminal.end() == 0

    (file,) = tmp_path.rglob("cel_history")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert {"1 + 2", "1 / 0"} <= set(file.read_text().splitlines())
    again = open_terminal()
    again.read("cel> ")
    again.type("\x1b[A", "1 ")
    again.type("\x03\r", "cel> ")
    assert again.end() == 0
