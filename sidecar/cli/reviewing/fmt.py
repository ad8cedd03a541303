"""`sidecar fmt DIR`: the files of a bundle laid out alike."""

import difflib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import click
import orjson

from sidecar.cli.paths import FOLDER
from sidecar.domains import by_protocol
from sidecar.policy.bundle import Bundle, compile_bundle
from sidecar.review.formatting import Formatted, formatted
from sidecar.runtime import exits
from sidecar.runtime.bundles import read_source
from sidecar.terms.errors import PolicyError


@click.command("fmt")
@click.argument("folder", type=FOLDER, default="policies")
@click.option("--check", is_flag=True, help="Write nothing; exit with 4 where a file would change.")
@click.option("--diff", "shows", is_flag=True, help="Write nothing; show what would change.")
@click.option("--json", "as_json", is_flag=True, help="One object: what changes, what is refused.")
def command(folder: Path, *, check: bool, shows: bool, as_json: bool) -> None:
    r"""Lay out the files of a bundle alike: order of keys, indentation, quotes.

    Comments stay where they are. The result is read again before it is written:
    a file of which a value, a comment or the digest of a rule would change is
    left as it is, and that is said.

    \b
    Exit codes: 0 done, 3 the bundle does not load, 4 with --check or --diff where
    a file would change, and where one had to be left as it is.

    \b
    Examples:
      sidecar fmt policies
      sidecar fmt policies --check --diff
    """
    files = read_source(folder).files
    before = compile_bundle(files, by_protocol())
    own = {**before.files, **before.test_files}
    found = formatted({path: data for path, data in files.items() if path in own})
    _same_rules(before, files, found)
    changed = [one for one in found if one.changes]
    if not (check or shows):
        for one in changed:
            (folder / one.path).write_bytes(one.after)
    refused = [one for one in found if one.refused is not None]
    if as_json:
        told = {one.path: one.refused for one in refused}
        paths = [one.path for one in changed]
        click.echo(orjson.dumps({"files": len(found), "changed": paths, "refused": told}))
    else:
        _tell(found, shows=shows, is_dry=check or shows)
    if refused or ((check or shows) and changed):
        sys.exit(exits.FAILED)


def _same_rules(before: Bundle, files: Mapping[str, bytes], found: list[Formatted]) -> None:
    """Refuse to go on where a rule would be another one: that would be a mistake of ours."""
    after = compile_bundle({**files, **{one.path: one.after for one in found}}, by_protocol())
    pairs = [{rule.key: rule.digest for rule in each.rules} for each in (before, after)]
    if pairs[0] != pairs[1]:
        raise PolicyError("a rule would change its digest, so nothing is written")


def _tell(found: list[Formatted], *, shows: bool, is_dry: bool) -> None:
    for one in found:
        if one.refused is not None:
            click.echo(f"{one.path}: left as it is: {one.refused}")
        elif one.changes and shows:
            click.echo("".join(_lines(one)), nl=False)
        elif one.changes:
            click.echo(f"{one.path}: {'would change' if is_dry else 'laid out anew'}")
    count = sum(one.changes for one in found)
    click.echo(f"{len(found)} files, {count} {'would change' if is_dry else 'changed'}")


def _lines(one: Formatted) -> Iterator[str]:
    before, after = (
        each.decode("utf-8").splitlines(keepends=True) for each in (one.before, one.after)
    )
    yield from difflib.unified_diff(before, after, one.path, one.path)
