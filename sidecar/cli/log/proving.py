"""`sidecar log verify`, `prove` and `key`: what an auditor asks for, and is handed."""

import os
import re
import sys
from pathlib import Path
from typing import Final

import click
import msgspec
import orjson

from sidecar.cli.log import told
from sidecar.cli.log.places import (
    Where,
    check_whole,
    config_option,
    given_key,
    has_segments,
    json_option,
    key_option,
    of_ledger,
    read_file,
    state_folder,
    state_option,
    trusted,
    unreadable,
)
from sidecar.cli.log.progress import counted
from sidecar.cli.log.rotating import moved, rotate_key
from sidecar.cli.paths import FILE, FOLDER, NAMED_FOLDER, write
from sidecar.record.audit.beside import Beside, Checked
from sidecar.record.audit.index import Index
from sidecar.record.audit.mirror import Mirror
from sidecar.record.audit.prove import Prover
from sidecar.record.disk import DISK
from sidecar.record.keeping.derived import Derived
from sidecar.record.ledger import ledger_paths
from sidecar.record.outside.forms import FRAME_BYTES_MAX, is_export
from sidecar.record.outside.notes import Tampered, Unusable, given_file, read_key
from sidecar.record.outside.verifier import verify_log, verify_receipt
from sidecar.record.proof import identity
from sidecar.record.proof.checkpoint import Verifier
from sidecar.record.read import Reader
from sidecar.record.segments.segment import segment_names
from sidecar.record.segments.walk import Damage
from sidecar.record.verify import Report, Watch
from sidecar.record.verify import verify as verify_ledger
from sidecar.runtime.config import prepare_state
from sidecar.terms.errors import ConfigError, LedgerBroken

LEDGER_NOT_INTACT: Final = 20
_FILE_NAME = re.compile(r"[\w-]+\Z")
# How often what is pruned under whoever reads it is read once more.
_AGAIN_MAX: Final = 3


@click.command("verify")
@key_option
@click.option(
    "--checkpoint",
    "notes",
    type=FILE,
    multiple=True,
    help="Checkpoint held elsewhere (a copy of the ledger's file `checkpoint`).",
)
@click.option("--mirror", type=FOLDER, help="A copy of the ledger, or an export of it.")
@json_option
@of_ledger
def verify(
    where: Where,
    key_text: str | None,
    notes: tuple[Path, ...],
    mirror: Path | None,
    *,
    as_json: bool,
) -> None:
    r"""Prove that nothing in the ledger was changed, removed, added or reordered.

    \b
    FOLDER is a state folder, a ledger's own folder, or an export. Without --key the sidecar's
    own key is used; an auditor brings the key that was handed over. With
    --checkpoint, the ledger must also begin with the records which that signs; with
    --mirror, be the same as the mirror record by record, and not shorter.
    Bundles, persons and inputs that stand beside the ledger are compared with what
    the records say of them, tiles and snapshots with the records.
    Exit codes: 0 intact, 1 no ledger yet, 20 not intact (the message names file, offset
    and record).

    \b
    Examples:
      sidecar log verify
      sidecar log verify ./export --key doorward/0123456789abcdef+c74f20a3+AQID
      sidecar log verify --checkpoint ./of-last-month.note --mirror /mnt/mirror
    """
    if where.folder is not None and is_export(where.folder) and not has_segments(where.folder):
        _verify_export(where.folder, key_text, notes, as_json=as_json)
        return
    ledger, _ = where.places()
    first = _first_of(ledger)
    report, checked = _verified(where, key_text, notes, mirror)
    for _ in range(_AGAIN_MAX):
        if report.intact or (now := _first_of(ledger)) == first:
            break
        # Its first records were pruned while they were read.
        first = now
        report, checked = _verified(where, key_text, notes, mirror)
    if as_json:
        whole = {**msgspec.to_builtins(report), "checked": msgspec.to_builtins(checked)}
        click.echo(orjson.dumps(whole, option=orjson.OPT_INDENT_2))
    else:
        _show_report(report, ledger, checked)
        if report.intact:
            _show_held(notes, mirror)
    if not report.intact:
        sys.exit(LEDGER_NOT_INTACT)


def _verified(
    where: Where, key_text: str | None, notes: tuple[Path, ...], mirror: Path | None
) -> tuple[Report, Checked]:
    """Verify a ledger, and what stands beside it."""
    ledger, key_file = where.places()
    key, held = trusted(key_text, key_file)
    beside = Beside(DISK, ledger.resolve().parent)
    watches: list[Watch] = [Derived(DISK, ledger), beside]
    if mirror is not None:
        watches.append(Mirror(mirror, key))
    with counted("verified") as progress:
        report = verify_ledger(
            ledger,
            key,
            held,
            notes={str(note.resolve()): read_file(note) for note in notes},
            watches=[progress, *watches],
        )
    return report, beside.checked


def _first_of(ledger: Path) -> str:
    """Return the name of the first segment that is there, sealed or not."""
    try:
        return min(segment_names(DISK.names(ledger)), default="")[:20]
    except OSError:
        return ""


@click.command("prove")
@click.argument("id", required=False)
@click.option(
    "-o",
    "--out",
    type=NAMED_FOLDER,
    default=".",
    show_default=True,
    help="The folder where they are written; made where it is not there.",
)
@click.option("--check", type=FILE, help="A receipt to be verified, with --record and --key.")
@click.option("--record", type=FILE, help="The record's bytes, for --check.")
@key_option
@of_ledger
def prove(
    where: Where,
    id: str | None,
    out: Path,
    check: Path | None,
    record: Path | None,
    key_text: str | None,
) -> None:
    r"""Prove to somebody who has not the log that one record stands in it.

    \b
    Writes ID.json, the record to the byte, and ID.tlog-proof, the receipt (C2SP
    tlog-proof). Both and the verifier key are all that --check, or the verifier of
    `sidecar log export --verifier`, asks for.
    Exit codes: 0 proven, 1 not signed yet (within a second), 20 not as it was signed.

    \b
    Examples:
      sidecar log prove 0192f0c1-7a3e-7c4b-9d2e-0f6a5b4c3d2e
      sidecar log prove --check ID.tlog-proof --record ID.json --key ledger.vkey
    """
    if check is not None:
        if record is None or key_text is None:
            raise click.UsageError("--check: expected --record and --key")
        _check(check, record, key_text)
        return
    if id is None:
        raise click.UsageError("expected the ID of a record, or --check")
    ledger = where.ledger()
    key, _ = trusted(key_text, where.places()[1])
    seq, found = _found(ledger, id)
    name = id if _FILE_NAME.match(id) else f"record-{seq}"
    files = {
        out / f"{name}.json": found,
        out / f"{name}.tlog-proof": _receipt(ledger, key, seq),
    }
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{out}: cannot be made: {error.strerror}") from None
    for path, data in files.items():
        write(path, data)
    click.echo(f"record {seq}  " + "  ".join(map(str, files)))


@click.command("key")
@click.option("--name", default="doorward", show_default=True, help="Name of a new ledger.")
@click.option("--rotate", is_flag=True, help="Let a new key follow; no sidecar may be running.")
@click.option("--moved", is_flag=True, help="The ledger was moved or restored, and goes on here.")
@json_option
@state_option
@config_option
def key(name: str, state: Path | None, config: Path | None, **asked: bool) -> None:
    r"""Print the verifier key, to be handed to an auditor before the first record.

    \b
    Where there is no ledger yet, its key is made. With --rotate the old and the new key
    sign a record that one follows the other; either verifies the whole log. With --moved a
    ledger that stands elsewhere than before goes on there, and says so: see to it that no
    other copy does.

    \b
    Examples:
      sidecar log key > ledger.vkey
    """
    of_state = state_folder(state, config)
    ledger, key_file = ledger_paths(of_state)
    if not identity.is_there(key_file) and not has_segments(ledger):
        # As `sidecar run` would: nobody else looks into the folder of a key.
        prepare_state(of_state)
        identity.create(DISK, key_file, name, os.urandom)
    if asked["rotate"]:
        rotate_key(ledger, key_file)
    if asked["moved"]:
        moved(of_state)
    who = identity.load(DISK, key_file)
    if asked["as_json"]:
        click.echo(orjson.dumps({"key": who.verifier.text(), "origin": who.origin}))
    else:
        click.echo(who.verifier.text())


def _verify_export(
    folder: Path, key_text: str | None, notes: tuple[Path, ...], *, as_json: bool
) -> None:
    """Verify what `export` made, by the verifier that is handed out with it."""
    if key_text is None:
        raise click.UsageError(
            "an export is verified with the key that was handed over: give --key"
        )
    try:
        found = verify_log(folder, [read_key(given_key(key_text).text())], notes)
    except Tampered as error:
        if as_json:
            click.echo(orjson.dumps({"intact": False, "problem": str(error)}))
        click.echo(f"NOT INTACT  {told.plain(str(error))}", err=True)
        sys.exit(LEDGER_NOT_INTACT)
    except (Unusable, OSError) as error:
        raise click.UsageError(told.plain(str(error))) from None
    if as_json:
        click.echo(orjson.dumps({"intact": True, **found}))
        return
    readable = f"{found['with_bytes']} of {_count(found['records'], 'record')} to be read"
    click.echo(f"intact  {readable}, all under the signed checkpoint")
    click.echo(f"origin  {found['origin']}\nroot    {found['root']}")
    _show_held(notes, None)


def _check(receipt: Path, record: Path, key_text: str) -> None:
    keys = [read_key(given_key(key_text).text())]
    try:
        # By the verifier that is handed out, so that both always say the same.
        data = given_file(record, FRAME_BYTES_MAX + 1).removesuffix(b"\n")
        found = verify_receipt(receipt, data, keys)
    except Tampered as error:
        click.echo(f"NOT PROVEN  {told.plain(str(error))}", err=True)
        sys.exit(LEDGER_NOT_INTACT)
    click.echo(f"proven  record {found['seq']} of {found['origin']}, of {found['signed']} signed")


def _receipt(ledger: Path, key: Verifier, seq: int) -> bytes:
    try:
        return Prover(ledger, key).receipt(seq)
    except ValueError:
        raise click.ClickException("not signed yet: it is within a second, try again") from None
    except (LookupError, OSError) as error:
        raise (unreadable(ledger, error) or error) from None
    except Damage as error:
        raise LedgerBroken(f"{ledger}/{error}") from None


def _found(ledger: Path, id: str) -> tuple[int, bytes]:
    """Return number and bytes of the record `id`."""
    index = Index.open(ledger)
    try:
        index.catch_up()
        record = index.find(id)
    finally:
        index.close()
    if record is None:
        # The index is not believed, least of all in what it does not say.
        reader = Reader(ledger)
        record = next((line for line in reader.new() if _id_of(line) == id), None)
        if record is None:
            check_whole(ledger, reader.damage)
    if record is None:
        raise click.UsageError(f"no record `{told.plain(id)}` in the ledger")
    return int(orjson.loads(record)["log"]["seq"]), record


def _id_of(record: bytes) -> str:
    return str(orjson.loads(record)["id"])


# --- for people ---


def _show_report(report: Report, ledger: Path, checked: Checked) -> None:
    if (problem := report.problem) is not None:
        inside = "" if Path(problem.file).is_absolute() else f"{ledger}/"
        click.echo(f"NOT INTACT  {inside}{told.plain(str(problem))}", err=True)
        return
    known = f"{_count(report.records, 'record')} in {_count(report.segments, 'segment')}"
    click.echo(f"intact  {known}, {report.signed} of them under the signed checkpoint")
    if (newer := report.records - report.signed) > 0:
        verb = "is" if newer == 1 else "are"
        click.echo(
            f"newer   {_count(newer, 'record')} {verb} newer than the signed checkpoint; "
            "it is signed within a second while the sidecar runs"
        )
    if report.pruned:
        click.echo(f"pruned  the first {_count(report.pruned, 'record')}, as the log says itself")
    click.echo(f"origin  {report.origin}")
    # Before the first one is signed over records there is the root of nothing, which says nothing.
    click.echo(f"root    {report.root}" if report.signed else "root    no checkpoint yet")
    click.echo(f"beside  {_beside(checked)}")
    if checked.without_outcome:
        click.echo(
            f"open    {_count(checked.without_outcome, 'decision')} without an outcome (yet)"
        )
    if report.writing:
        click.echo("a process is writing: its last record is on its way")


def _show_held(notes: tuple[Path, ...], mirror: Path | None) -> None:
    for note in notes:
        click.echo(f"held    it begins with the records that {told.plain(str(note))} signs")
    if mirror is not None:
        click.echo(f"mirror  it is the same as {told.plain(str(mirror))}, as far as that goes")


def _beside(checked: Checked) -> str:
    """Return what was compared, and what was not at hand."""
    counts = {name: getattr(checked, name) for name in ("bundles", "persons", "objects")}
    return ", ".join(
        f"no {name} at hand" if count is None else f"{count} {name}"
        for name, count in counts.items()
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
