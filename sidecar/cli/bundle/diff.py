"""`sidecar bundle diff A B`: which requests gain or lose permission."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click
import orjson

from sidecar.cli.paths import FILE, FILE_OR_FOLDER
from sidecar.domains import by_protocol
from sidecar.policy.bundle import Bundle
from sidecar.review.diff import Asked, Difference, compare, understood
from sidecar.review.diff.recorded import of_records
from sidecar.review.diff.telling import as_json, lines
from sidecar.review.revision import bundle_at
from sidecar.runtime import exits
from sidecar.runtime.bundles import load_bundle
from sidecar.syntax import json
from sidecar.terms.errors import EnvelopeError, ParseError

_FAILS: Final = ("gain", "loss", "undecided", "any")


@click.command("diff")
@click.argument("before", metavar="A")
@click.argument("after", metavar="B")
@click.option("--requests", type=FILE, help="Envelopes, one a line, that are asked too.")
@click.option(
    "--records",
    type=FILE_OR_FOLDER,
    help="Recorded decisions that are asked too: a state folder, an export, lines.",
)
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text")
@click.option("--json", "form", flag_value="json", help="The same as --format json.")
@click.option(
    "--fail-on",
    type=click.Choice(_FAILS),
    multiple=True,
    help="Exit with 4 where this is seen; any is all three. Several times for several.",
)
def diff(
    before: str,
    after: str,
    requests: Path | None,
    records: Path | None,
    form: str,
    fail_on: tuple[str, ...],
) -> None:
    r"""Say which requests gain or lose permission from bundle A to bundle B.

    Each is a folder, an archive, or a git revision: REV:path, or for A alone REV,
    which is the state of the folder B at that revision. Not lines are compared:
    both bundles are asked, on requests that are made up from the rules of both
    (what makes each clause hold, and what does not), on the cells of their suites,
    on the calls of suites and catalogues, and on those that are given.

    \b
    What is permitted with an obligation less is a gain too. A rule that differs
    and for which no request shows how is NOT DECIDED: there something may change
    unseen. Only --fail-on undecided or any fails there. Requests are decided, not
    carried out: an obligation that a statement cannot bear shows as such.

    \b
    Exit codes: 0 compared, 2 a request cannot be read, 3 a bundle does not load,
    4 with --fail-on, where it was seen.

    \b
    Examples:
      sidecar bundle diff main:policies policies --fail-on gain
      sidecar bundle diff v1.tar v2.tar --requests calls.jsonl --json
    """
    one = bundle_at(before, _load, Path(after))
    other = bundle_at(after, _load)
    found = compare(one, other, _corpus(requests, records, one, other))
    if form == "json":
        click.echo(orjson.dumps(as_json(found), option=orjson.OPT_INDENT_2))
    else:
        click.echo("\n".join(lines(found)))
    if any(_is_seen(found, kind) for kind in fail_on):
        sys.exit(exits.FAILED)


def _load(path: Path) -> Bundle:
    return load_bundle(path, by_protocol())


def _is_seen(found: Difference, kind: str) -> bool:
    if kind == "any":
        return bool(found.groups or found.undecided)
    return bool(found.undecided) if kind == "undecided" else found.counts(kind) > 0


def _corpus(
    requests: Path | None, records: Path | None, one: Bundle, other: Bundle
) -> Iterator[Asked]:
    if requests is not None:
        for number, line in enumerate(requests.read_bytes().splitlines(), 1):
            if line.strip():
                yield _asked(line, f"{requests}:{number}", one, other)
    if records is not None:
        yield from of_records(records)


def _asked(line: bytes, where: str, one: Bundle, other: Bundle) -> Asked:
    try:
        return understood(json.loads(line), one, other)
    except (ParseError, EnvelopeError) as error:
        raise EnvelopeError(f"{where}: {error}") from None
