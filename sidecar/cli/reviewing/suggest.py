"""`sidecar suggest --from RECORDS`: a least-privilege draft of what was observed."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from sidecar.cli.log.progress import counted
from sidecar.cli.paths import FILE_OR_FOLDER, FOLDER, NAMED_FOLDER
from sidecar.domains import by_protocol
from sidecar.review.replay.recorded import Recorded, beside_of, read_recorded
from sidecar.review.suggest.draft import SIBLINGS_MIN, drafted
from sidecar.review.suggest.files import catalogue_files, files_of
from sidecar.review.suggest.observed import Observed, observe
from sidecar.runtime import exits
from sidecar.runtime.bundles import read_source
from sidecar.terms.errors import ConfigError


@click.command("suggest")
@click.option(
    "--from",
    "records",
    type=FILE_OR_FOLDER,
    required=True,
    help="A state folder, a ledger's folder, a segment, or an export.",
)
@click.option(
    "-o",
    "--output",
    type=NAMED_FOLDER,
    help="A folder that is not there yet; the bundle is printed where none is named.",
)
@click.option("--state", type=FOLDER, help="Where names and keys are, if not beside the records.")
@click.option(
    "--base",
    type=FILE_OR_FOLDER,
    help="The bundle whose catalogues hold, where the state folder does not have it.",
)
@click.option(
    "--siblings",
    type=click.IntRange(2),
    default=SIBLINGS_MIN,
    show_default=True,
    help="From so many resources below one parent on, a pattern stands for all.",
)
def command(
    records: Path, output: Path | None, state: Path | None, base: Path | None, siblings: int
) -> None:
    r"""Draft policies that permit what was permitted, and no more, with the evidence for each rule.

    For each agent, service, and group of persons: the classes of actions and the
    resources that were seen. A pattern stands for siblings where enough of them were
    touched, and never reaches over labels that were not seen. Tests are made of the
    same observations. It is a draft: what was used is not what is right.

    \b
    Exit codes: 0 written, 2 the folder is there already, 6 nothing was permitted,
    20 a record cannot be read.

    \b
    Examples:
      sidecar suggest --from state -o draft
      sidecar test draft && sidecar lint draft
    """
    if output is not None and output.exists():
        raise ConfigError(f"{output}: is there already")
    with counted("suggest:") as progress:
        seen = observe(_watched(records, state, progress.at))
    for why, count in seen.left_out.most_common():
        click.echo(f"{count:,} decisions left out: {why}", err=True)
    if not seen.decisions:
        click.echo("nothing was permitted", err=True)
        sys.exit(exits.EMPTY)
    files = files_of(
        drafted(seen, siblings), seen, _catalogues(seen, records, state, base), by_protocol()
    )
    if output is None:
        for name, data in files.items():
            click.echo(f"# --- {name}\n{data.decode()}")
        return
    for name, data in files.items():
        file = output / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    click.echo(f"{output}: drafted from {seen.decisions:,} decisions")


def _watched(
    records: Path, state: Path | None, progress: Callable[[int], None]
) -> Iterator[Recorded]:
    for number, found in enumerate(read_recorded(records, state)):
        progress(number)
        yield found


def _catalogues(
    seen: Observed, records: Path, state: Path | None, base: Path | None
) -> dict[str, bytes]:
    if base is not None:
        return catalogue_files(read_source(base).files)
    assert seen.digest is not None
    files = beside_of(records, state).bundle_files(seen.digest)
    if files is None:
        raise ConfigError("the bundle that decided is not at hand: say which with `--base`")
    return catalogue_files(files)
