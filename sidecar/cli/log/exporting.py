"""`sidecar log export`: the log, or some of it, in a form that others read, with its proof."""

from collections.abc import Callable
from pathlib import Path
from typing import get_args

import click
import orjson

from sidecar.cli.log.people import People
from sidecar.cli.log.places import (
    Where,
    filters,
    handles_option,
    key_option,
    of_ledger,
    people_of,
    trusted,
    unreadable,
    wanted,
)
from sidecar.cli.log.progress import counted
from sidecar.cli.paths import NAMED, write
from sidecar.record.audit import export as exporting
from sidecar.record.audit.export import Asked, Entries, Format, Lines, Manifest, Rows
from sidecar.record.audit.tables import Csv, Parquet
from sidecar.record.outside import one_file
from sidecar.record.proof.checkpoint import Verifier
from sidecar.record.read import Wanted
from sidecar.record.segments.walk import Damage
from sidecar.terms.errors import LedgerBroken


@click.command("export")
@click.option(
    "--format", "form", type=click.Choice(get_args(Format)), default="jsonl", show_default=True
)
@click.option("-o", "--out", type=NAMED, help="The folder that is made.")
@click.option("--verifier", type=NAMED, help="Write the verifier, one Python file, here.")
@filters
@handles_option
@key_option
@of_ledger
def export(
    where: Where,
    form: Format,
    out: Path | None,
    verifier: Path | None,
    key_text: str | None,
    **said: str | None,
) -> None:
    r"""Export what is under the signed checkpoint, with what proves it.

    \b
    tiles    C2SP tlog-tiles: checkpoint, tile/<L>/<N>, tile/entries/<N>
    jsonl    a record a line, to the byte; persons stay handles
    csv      a row a record, for spreadsheets; persons by name unless --handles
    parquet  the same columns and the record's bytes; needs pyarrow
    Each has checkpoint, manifest.json and the tree's hashes beside it, which prove every
    exported record, of a selection as well. The log is verified as it is read. OUT is
    there as a whole or not at all.

    \b
    Examples:
      sidecar log export --out ./for-the-auditor
      sidecar log export --format csv --since 30d --outcome deny --out ./denied
      sidecar log export --verifier verifier.py
    """
    if verifier is not None:
        write(verifier, one_file().encode())
        click.echo(f"verifier  {verifier}")
    if out is None:
        if verifier is None:
            raise click.UsageError("expected --out, --verifier or both")
        return
    if out.exists() or not out.resolve().parent.is_dir():
        raise click.UsageError(f"--out: {out}: expected a folder that is not there, in one that is")
    asked = wanted(said)
    if form == "tiles" and asked != Wanted():
        raise click.UsageError("--format tiles: it is the whole log; there are no filters")
    ledger = where.ledger()
    key, _ = trusted(key_text, where.places()[1])
    with counted("exported") as progress:
        what = _asked(form, asked, people_of(ledger), progress.at)
        found = _exported(ledger, key, out, what)
    click.echo(f"exported  {found.records} of {found.size} records to {out}")


def _exported(ledger: Path, key: Verifier, out: Path, what: Asked) -> Manifest:
    try:
        return exporting.export(ledger, key, out, what)
    except Damage as error:
        raise LedgerBroken(f"{ledger}/{error}") from None
    except (LookupError, OSError) as error:
        if (broken := unreadable(ledger, error)) is not None:
            raise broken from None
        raise click.ClickException(f"nothing was exported: {error}") from None
    except ImportError:
        text = "--format parquet: needs pyarrow, the extra `doorward[parquet]`"
        raise click.UsageError(text) from None


def _asked(form: Format, wanted: Wanted, people: People, progress: Callable[[int], None]) -> Asked:
    """Return what is to be exported; filters are about names, so names are joined before."""
    filters = {name: text for name, text in wanted._asdict().items() if text is not None}

    def rows_of(folder: Path, first: int) -> Rows:
        match form:
            case "tiles":
                return Entries(folder, first)
            case "jsonl":
                return Lines(folder / "records.jsonl")
            case "csv":
                return Csv(folder / "records.csv", people.line)
            case "parquet":
                return Parquet(folder / "records.parquet", people.line)

    def fits(record: bytes) -> bool:
        return wanted.fits(orjson.loads(people.line(record)))

    return Asked(form, rows_of, fits if filters else None, filters, progress)
