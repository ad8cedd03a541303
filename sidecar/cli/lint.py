"""`sidecar lint DIR`: what loads and is still likely wrong."""

import sys
from pathlib import Path

import click
import msgspec
import orjson

from sidecar.domains import by_protocol
from sidecar.review.lint import lint
from sidecar.runtime import exits
from sidecar.runtime.bundles import load_bundle


@click.command("lint")
@click.argument("bundle", type=click.Path(exists=True, path_type=Path), default="policies")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text")
@click.option("--strict", is_flag=True, help="Warnings fail the run too.")
def command(bundle: Path, form: str, *, strict: bool) -> None:
    r"""Look for rules that load and are still likely wrong.

    Labels, parameters, words and types that are nowhere, context that a caller
    must be let say, reads that may err and so deny, rules without a test or a
    message, an allow of everything.

    \b
    Exit codes: 0 clean, 3 the bundle does not load, 4 an error was found
    (with --strict also a warning).

    \b
    Example:
      sidecar lint policies --format json
    """
    found = lint(load_bundle(bundle, by_protocol()))
    if form == "json":
        click.echo(orjson.dumps(msgspec.to_builtins(found), option=orjson.OPT_INDENT_2))
    else:
        for finding in found:
            click.echo(f"{finding.where}: {finding.level}: {finding.text} [{finding.code}]")
        count = "1 finding" if len(found) == 1 else f"{len(found)} findings"
        click.echo(count if found else "clean")
    if any(strict or finding.level == "error" for finding in found):
        sys.exit(exits.FAILED)
