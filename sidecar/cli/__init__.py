"""The command line: one file per verb, loaded when asked for; one place that says why it failed.

A verb is a module of this room that exports `command`. Loading late keeps the reviewer's second
evaluator out of a serving process, and the start of the others short.
"""

import importlib
import sys
from collections.abc import Sequence
from typing import Final

import click

from sidecar import __version__
from sidecar.runtime.exits import exit_code
from sidecar.terms.errors import SidecarError

# In the order in which a new user meets them, with the one line that `sidecar --help` shows.
VERBS: Final = {
    "init": "Write a starter configuration, a bundle and tests that pass.",
    "run": "Serve every listener of a configuration.",
    "decide": "Decide one call, as a dry run.",
    "parse": "Show what the sidecar sees in a call.",
    "cel": "Evaluate a CEL expression.",
    "test": "Run the tests of a bundle.",
    "lint": "Look for rules that load and are still likely wrong.",
    "fmt": "Lay out the files of a bundle alike.",
    "bundle": "Build a bundle's archive, show one, or compare two.",
    "catalog": "Read a database's catalogue, or see whether it is still true.",
    "replay": "Decide recorded decisions anew by another bundle.",
    "suggest": "Draft policies from what was observed.",
    "surface": "Show what an agent may reach under a bundle.",
    "log": "Read and verify the ledger.",
    "key": "Issue a workload's key.",
    "doctor": "Check the machine, the configuration and the ledger.",
}

# What asks the reviewer stands in a folder of its own.
_REVIEWING: Final = frozenset({"test", "lint", "fmt", "replay", "suggest", "surface"})


class _Verbs(click.Group):
    """Finds a verb by importing its module."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        room = f"{__name__}.reviewing" if cmd_name in _REVIEWING else __name__
        name = f"{room}.{cmd_name}"
        try:
            found: click.Command = importlib.import_module(name).command
        except ModuleNotFoundError as error:
            if error.name != name:
                raise
            raise click.ClickException(f"`{cmd_name}` is not part of this build") from None
        return _unwrapped(found)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.command(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="sidecar")
def root() -> None:
    r"""Decide, enforce and record every call before it happens.

    \b
    A first look:
      sidecar init demo
      sidecar test demo/bundle
      sidecar run -c demo/sidecar.yaml

    \b
    Exit codes:
      0 ok   1 unexpected   2 usage   3 the bundle does not load
      4 tests or lint failed   5 coverage below the threshold   6 nothing ran
      10 denied   11 pending   20 the log is not intact
      21 the log's disk takes nothing
    """


def _unwrapped(command: click.Command) -> click.Command:
    """Return `command` with click's mark of a paragraph whose lines stay, as raw texts say it."""
    if command.help is not None:
        command.help = command.help.replace("\\b\n", "\b\n")
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            _unwrapped(inner)
    return command


_unwrapped(root)


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line; an expected failure is one text and its exit code."""
    try:
        root(args, prog_name="sidecar")
    except SidecarError as error:
        click.echo(f"sidecar: {error}", err=True)
        sys.exit(exit_code(error))
