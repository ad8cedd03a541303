"""The prompt: lines in, answers out; at a terminal with history and completion.

The history holds what was typed, so that only its owner may read it. The standard library's
readline is enough; where Python has none, there is a prompt without it.
"""

import contextlib
import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Final

import click

from sidecar.cli.cel.completion import completions
from sidecar.cli.cel.session import QUIT, Session, with_notes
from sidecar.policy.bench import Bench
from sidecar.terms.errors import SidecarError

_PROMPT: Final = "cel> "
_MORE: Final = "...> "
HISTORY_LINES_MAX: Final = 1_000
# What ends a word that is completed; a dotted name is one word.
_DELIMITERS: Final = " \t\n\"'`!@#$%^&*()-=+[{]}\\|;,<>/"


def converse(session: Session) -> bool:
    """Answer each line until there are no more; return whether none of a pipe's failed.

    What a person mistypes at a terminal is no failure of the conversation.
    """
    is_person = sys.stdin.isatty()
    if is_person:
        click.echo("CEL as policies have it; `:help` helps, Tab completes, Ctrl-D ends.")
    with _history(session.bench) if is_person else contextlib.nullcontext():
        failed = sum(not _answered(session, line) for line in _expressions(session, is_person))
    return is_person or not failed


def _answered(session: Session, line: str) -> bool:
    try:
        told = session.answer(line)
    except SidecarError as error:
        click.echo(with_notes(error), err=True)
        return False
    except KeyboardInterrupt:
        click.echo("interrupted", err=True)
        return False
    if told:
        click.echo(told)
    return True


def _expressions(session: Session, is_person: bool) -> Iterator[str]:
    """Yield commands, and expressions with all of their lines."""
    held: list[str] = []
    for line in _lines(is_person, held):
        text = line.strip()
        if not held and (not text or text in QUIT):
            if text:
                return
            continue
        if held and not text:
            yield _taken(held)
            continue
        held.append(line)
        is_command = line.startswith(":") and len(held) == 1
        if is_command or not session.bench.is_open("\n".join(held)):
            yield _taken(held)
    if held:
        yield _taken(held)


def _taken(held: list[str]) -> str:
    text = "\n".join(held).strip()
    held.clear()
    return text


def _lines(is_person: bool, held: list[str]) -> Iterator[str]:
    if not is_person:
        yield from (line.rstrip("\r\n") for line in sys.stdin)
        return
    while True:
        try:
            line = input(_MORE if held else _PROMPT)
        except KeyboardInterrupt:
            # It takes back what was typed, as in a shell.
            held.clear()
            click.echo()
        except EOFError:
            click.echo()
            return
        else:
            yield line


@contextlib.contextmanager
def _history(bench: Bench) -> Iterator[None]:
    """Let lines be edited, completed and remembered."""
    try:
        readline = importlib.import_module("readline")
    except ImportError:
        yield
        return
    file = Path(click.get_app_dir("sidecar")) / "cel_history"
    _prepare(readline, bench)
    with contextlib.suppress(OSError):
        readline.read_history_file(file)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            _remember(readline, file)


def _prepare(reader: ModuleType, bench: Bench) -> None:
    found: list[str] = []

    def complete(_word: str, state: int) -> str | None:
        if state == 0:
            line = reader.get_line_buffer()[: reader.get_endidx()]
            found[:] = completions(bench, line)
        return found[state] if state < len(found) else None

    reader.set_completer(complete)
    reader.set_completer_delims(_DELIMITERS)
    # libedit, which macOS has in its place, is told in words of its own.
    is_libedit = "libedit" in (reader.__doc__ or "")
    reader.parse_and_bind("bind ^I rl_complete" if is_libedit else "tab: complete")


def _remember(reader: ModuleType, file: Path) -> None:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    reader.set_history_length(HISTORY_LINES_MAX)
    # Made before it is written, so that at no time others may read it.
    os.close(os.open(file, os.O_WRONLY | os.O_CREAT, 0o600))
    file.chmod(0o600)
    reader.write_history_file(file)
