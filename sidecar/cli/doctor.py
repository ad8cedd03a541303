"""`sidecar doctor`: what is wrong or weak on this machine, before or while it runs."""

import sys
from pathlib import Path

import click
import msgspec
import orjson
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sidecar.cli.paths import NAMED_FILE
from sidecar.runtime import exits
from sidecar.runtime.config import DEFAULT_FILE
from sidecar.runtime.doctor import examine

_STYLES = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command("doctor")
@click.option("-c", "--config", type=NAMED_FILE, default=DEFAULT_FILE, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="A list of findings.")
def command(config: Path, *, as_json: bool) -> None:
    r"""Check the machine, the configuration, the bundle and the ledger.

    Every insecure option in use is named. The disk is measured, because each
    call waits for its record.

    \b
    Exit codes: 0 nothing failed (warnings may stand), 1 a check failed.

    \b
    Example:
      sidecar doctor -c sidecar.yaml
    """
    found = examine(config)
    if as_json:
        click.echo(orjson.dumps(msgspec.to_builtins(found)))
    else:
        table = Table(box=None, show_header=False, pad_edge=False)
        for finding in found:
            level = f"[{_STYLES[finding.level]}]{finding.level}[/]"
            table.add_row(level, finding.check, escape(finding.text))
        Console(highlight=False).print(table)
    if any(finding.level == "fail" for finding in found):
        sys.exit(exits.UNEXPECTED)
