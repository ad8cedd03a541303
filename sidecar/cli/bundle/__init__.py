"""`sidecar bundle build|show|diff`: the archive that freezes a label, what a bundle holds."""

import sys
from pathlib import Path
from typing import Final

import click
import msgspec
import orjson
from rich.console import Console
from rich.table import Table

from sidecar.cli.bundle.diff import diff
from sidecar.cli.paths import FILE_OR_FOLDER, FOLDER, OutputFile, write
from sidecar.domains import by_protocol
from sidecar.policy.bundle import Bundle
from sidecar.policy.match import Filter
from sidecar.runtime import exits
from sidecar.runtime.bundles import built, load_bundle
from sidecar.terms.call import Json

_WIDTH: Final = 240


@click.group("bundle")
def command() -> None:
    r"""Build the archive of a bundle, show what it holds, or compare two.

    \b
    Examples:
      sidecar bundle show policies
      sidecar bundle build policies -o finance-1.0.0.tar
      sidecar bundle diff main:policies policies
    """


command.add_command(diff)


@command.command("build")
@click.argument("folder", type=FOLDER)
@click.option("-o", "--output", type=OutputFile(), required=True)
@click.option("--json", "as_json", is_flag=True, help="One object with name, version, digest.")
def build(folder: Path, output: Path, *, as_json: bool) -> None:
    r"""Write the archive of FOLDER; its label stands for these bytes from now on.

    The same files give the same archive, byte for byte. An existing file is
    never overwritten with other bytes.

    \b
    Exit codes: 0 written, 2 another archive stands there or it cannot
    be written, 3 the bundle does not load.

    \b
    Example:
      sidecar bundle build policies -o finance-1.0.0.tar
    """
    bundle = load_bundle(folder, by_protocol())
    data = built(bundle)
    if output.exists() and output.read_bytes() != data:
        click.echo(f"sidecar: {output}: another archive stands there", err=True)
        sys.exit(exits.USAGE)
    write(output, data)
    stamp = {"bundle": bundle.name, "version": bundle.label, "digest": bundle.digest}
    click.echo(orjson.dumps(stamp) if as_json else f"{output}: {' '.join(stamp.values())}")


@command.command("show")
@click.argument("bundle", type=FILE_OR_FOLDER)
@click.option("--json", "as_json", is_flag=True, help="One object with every rule.")
def show(bundle: Path, *, as_json: bool) -> None:
    r"""Show name, version, digest and rules of BUNDLE, a folder or an archive.

    \b
    Exit codes: 0 shown, 3 the bundle does not load.

    \b
    Example:
      sidecar bundle show policies
    """
    found = load_bundle(bundle, by_protocol())
    if as_json:
        click.echo(orjson.dumps(_json(found)))
        return
    console = Console(highlight=False)
    if not console.is_terminal:
        # A file has no width; a program that reads it wants one line a rule.
        console.width = _WIDTH
    console.print(f"{found.name} {found.version}\n{found.digest}", markup=False)
    table = Table("rule", "effect", "layer", "match", "when", "at", box=None, pad_edge=False)
    for rule in _json(found)["rules"]:
        when = " ".join(rule["when"].split()) if rule["when"] else "always"
        table.add_row(
            *(rule[column].replace("[", "\\[") for column in ("rule", "effect", "layer", "match")),
            when.replace("[", "\\["),
            rule["at"],
        )
    console.print(table)


def _json(bundle: Bundle) -> dict[str, Json]:
    return {
        **msgspec.to_builtins(bundle.stamp),
        "description": bundle.description,
        "layers": list(bundle.layers),
        "engine": bundle.engine,
        "tests_digest": bundle.tests_digest,
        "files": sorted(bundle.files),
        "rules": [
            {
                "rule": rule.key,
                "effect": rule.effect,
                "layer": rule.layer,
                "match": _matched(rule.policy_filter, rule.filter),
                "when": rule.when.source if rule.when else None,
                "digest": rule.digest,
                "at": rule.where,
            }
            for rule in bundle.rules
        ],
    }


def _matched(*filters: Filter) -> str:
    """Return in a few words what a rule matches; its patterns stand in the file, at `at`."""
    told = []
    for found in filters:
        for name in ("domains", "protocols", "classes"):
            words = getattr(found, name)
            if words is not None:
                told.append("|".join(sorted(words)))
        patterns = ("upstreams", "actions", "resources")
        told.extend(f"some {name}" for name in patterns if getattr(found, name) is not None)
    return ", ".join(told) or "everything"
