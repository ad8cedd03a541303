"""`sidecar log`: read the ledger, verify it, print the key that an auditor verifies it with.

Persons are shown by name where the table of persons is at hand (`people.py`); with `--json
--handles` the bytes are those of the ledger. For people, see `told.py`.
"""

import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import click
import msgspec
import orjson
from rich.console import Console

from sidecar.cli.log import forgetting, told
from sidecar.cli.log.people import People, Strangers
from sidecar.cli.log.rotating import rotate_key
from sidecar.record.disk import DISK
from sidecar.record.ledger import ledger_paths
from sidecar.record.limits import NOTE_BYTES_MAX
from sidecar.record.proof import identity
from sidecar.record.proof.checkpoint import Checkpoint, Verifier, verifier
from sidecar.record.read import Reader, Wanted, about
from sidecar.record.segments.segment import segment_names
from sidecar.record.verify import CHECKPOINT, Report, verify
from sidecar.runtime.config import prepare_state
from sidecar.syntax.yaml12 import load_documents
from sidecar.terms.errors import ConfigError, LedgerBroken

LEDGER_NOT_INTACT: Final = 20
CONFIG: Final = Path("sidecar.yaml")
STATE: Final = Path("state")
POLL_S: Final = 0.25
_KEEPS_HANDLES: Final = f"{__name__}.keeps_handles"

_Option = Callable[[Callable[..., None]], Callable[..., None]]
_config: _Option = click.option(
    "-c",
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Configuration whose `state` is read (default: ./sidecar.yaml).",
)
_state: _Option = click.option(
    "--state",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="State folder, instead of the configuration's.",
)
_folder: _Option = click.argument(
    "folder", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path)
)
_handles: _Option = click.option(
    "--handles",
    is_flag=True,
    expose_value=False,
    callback=lambda context, _option, said: context.meta.update({_KEEPS_HANDLES: said}),
    help="Keep the handles of persons.",
)
_json: _Option = click.option("--json", "as_json", is_flag=True, help="JSON instead of text.")


@click.group("log")
def command() -> None:
    """Read and verify the ledger."""


@command.command("tail")
@_folder
@click.option("-n", "--number", "count", type=click.IntRange(0), default=10, show_default=True)
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written from now on.")
@click.option("--outcome", help="allow, modify, deny, step_up or defer.")
@click.option("--subject", help="`type:id` of the subject; `*` is any run of characters.")
@click.option("--actor", help="`type:id` of an actor.")
@click.option("--resource", help="`type:id` of a target.")
@click.option("--rule", help="A rule's id, or policy/rule.")
@_handles
@_json
@_state
@_config
def tail(
    count: int,
    folder: Path | None,
    state: Path | None,
    config: Path | None,
    *,
    follow: bool,
    as_json: bool,
    **wanted: str | None,
) -> None:
    r"""Show the last records: when, what came of it, by which policy version, who did what.

    FOLDER is a state folder or a ledger's own folder, a copy of one for example.

    \b
    Examples:
      sidecar log tail -n 20 --outcome deny
      sidecar log tail -f --actor 'agent:*' --json
    """
    asked, ledger = Wanted(**wanted), _ledger(folder, state, config)
    reader, people = Reader(ledger), _people(ledger)
    # Filters are about names, so names are joined before.
    lines = (line for line in map(people.line, reader.new()) if asked.fits(orjson.loads(line)))
    for record in deque(lines, maxlen=count):
        _show_line(record, as_json=as_json)
    pause = threading.Event()
    while follow:
        for record in map(people.line, reader.new()):
            if asked.fits(orjson.loads(record)):
                _show_line(record, as_json=as_json)
        pause.wait(POLL_S)


@command.command("show")
@click.argument("id")
@_folder
@click.option("--full", is_flag=True, help="Everything that stands in the records as well.")
@_handles
@_json
@_state
@_config
def show(
    id: str,
    folder: Path | None,
    state: Path | None,
    config: Path | None,
    *,
    full: bool,
    as_json: bool,
) -> None:
    r"""Tell the story of one record and of what was recorded of it afterwards.

    FOLDER is a state folder or a ledger's own folder, a copy of one for example.

    \b
    Examples:
      sidecar log show 0192f0c1-7a3e-7c4b-9d2e-0f6a5b4c3d2e
      sidecar log show 0192f0c1-7a3e-7c4b-9d2e-0f6a5b4c3d2e --full
    """
    ledger = _ledger(folder, state, config)
    found, linked = about(ledger, id)
    if found is None:
        raise click.UsageError(f"no record `{told.plain(id)}` in the ledger")
    people = _people(ledger)
    found, linked = people.record(found), list(map(people.record, linked))
    if as_json:
        click.echo(orjson.dumps({"record": found, "linked": linked}, option=orjson.OPT_INDENT_2))
        return
    _show(found, linked, full=full)


@command.command("verify")
@_folder
@click.option("--key", "key_text", help="Verifier key that was handed over: name+id+key.")
@click.option(
    "--checkpoint",
    "note",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Checkpoint held elsewhere (a copy of the ledger's file `checkpoint`).",
)
@_json
@_state
@_config
def verify_command(
    folder: Path | None,
    key_text: str | None,
    note: Path | None,
    state: Path | None,
    config: Path | None,
    *,
    as_json: bool,
) -> None:
    r"""Prove that nothing in the ledger was changed, removed, added or reordered.

    \b
    FOLDER is a state folder or a ledger's own folder. Without --key the sidecar's
    own key is used; an auditor brings the key that was handed over. With
    --checkpoint, the ledger must also begin with the records which that signs.
    Exit codes: 0 intact, 1 no ledger yet, 20 not intact (the message names file, offset
    and record).

    \b
    Examples:
      sidecar log verify
      sidecar log verify ./export --key doorward/0123456789abcdef+c74f20a3+AQID
      sidecar log verify --checkpoint ./of-last-month.note
    """
    ledger, key_file = _places(folder or _state_folder(state, config))
    trusted, held = _trusted(key_text, key_file)
    notes = {str(note.resolve()): _note(note)} if note else {}
    report = verify(ledger, trusted, held, notes=notes)
    if as_json:
        click.echo(orjson.dumps(msgspec.to_builtins(report), option=orjson.OPT_INDENT_2))
    else:
        _show_report(report, ledger, note)
    if not report.intact:
        sys.exit(LEDGER_NOT_INTACT)


@command.command("forget")
@click.argument("subject")
@_json
@_state
@_config
def forget(subject: str, state: Path | None, config: Path | None, *, as_json: bool) -> None:
    r"""Erase a person: records keep a handle that nobody can resolve any more.

    \b
    SUBJECT is `type:id`, `user` where no type is told; or `type:handle`, to go on with
    what was interrupted. No record changes, and every proof still verifies; sealed
    inputs of the person's calls are erased. Whoever is revoked is refused: lift that
    first. Copies of the state folder made elsewhere are yours to erase.
    Exit codes: 0 forgotten, 1 nobody of that name was recorded.

    \b
    Examples:
      sidecar log forget user:alice
      sidecar log forget ip:192.0.2.7
    """
    person = subject if ":" in subject else f"user:{subject}"
    folder, _ = _places(_state_folder(state, config))
    if not forgetting.forget(folder, person):
        raise click.ClickException("nobody of that name was recorded")
    if as_json:
        click.echo(orjson.dumps({"forgotten": True}))
    else:
        click.echo("forgotten; the records keep a handle that stands for nobody")


@command.command("key")
@click.option("--name", default="doorward", show_default=True, help="Name of a new ledger.")
@click.option("--rotate", is_flag=True, help="Let a new key follow; no sidecar may be running.")
@_json
@_state
@_config
def key(name: str, state: Path | None, config: Path | None, *, rotate: bool, as_json: bool) -> None:
    r"""Print the verifier key, to be handed to an auditor before the first record.

    \b
    Where there is no ledger yet, its key is made. With --rotate the old and the new key
    sign a record that one follows the other; either verifies the whole log.

    \b
    Examples:
      sidecar log key > ledger.vkey
    """
    state_folder = _state_folder(state, config)
    ledger, key_file = ledger_paths(state_folder)
    if not identity.is_there(key_file) and not _has_segments(ledger):
        # As `sidecar run` would: nobody else looks into the folder of a key.
        prepare_state(state_folder)
        identity.create(DISK, key_file, name, os.urandom)
    if rotate:
        rotate_key(ledger, key_file)
    who = identity.load(DISK, key_file)
    if as_json:
        click.echo(orjson.dumps({"key": who.verifier.text(), "origin": who.origin}))
    else:
        click.echo(who.verifier.text())


# --- where the ledger is ---


def _state_folder(state: Path | None, config: Path | None) -> Path:
    """Return the state folder: told, or the configuration's, of which nothing else need be well."""
    if state is not None:
        return state
    if config is None and not CONFIG.exists():
        return STATE
    file = config or CONFIG
    documents = load_documents(str(file), file.read_bytes())
    said: Any = documents[0].value if documents else None
    found = said.get("state", str(STATE)) if isinstance(said, dict) else None
    if not isinstance(found, str):
        raise ConfigError(f"{file}: expected `state` to be the path of a folder")
    return file.parent / found


def _ledger(folder: Path | None, state: Path | None, config: Path | None) -> Path:
    ledger, _ = _places(folder or _state_folder(state, config))
    if not ledger.is_dir():
        raise LedgerBroken(f"{ledger}: is gone, though its key has signed it")
    return ledger


def _people(ledger: Path) -> People:
    keeps_handles = click.get_current_context().meta[_KEEPS_HANDLES]
    return Strangers() if keeps_handles else People(ledger.resolve().parent)


def _places(folder: Path) -> tuple[Path, Path]:
    """Return the ledger's folder and key file for a state folder or for a ledger's own folder."""
    if _is_ledger(folder):
        return folder, ledger_paths(folder.resolve().parent)[1]
    ledger, key_file = ledger_paths(folder)
    # A key that has signed says that there was one: what is gone is not "not yet".
    if not _is_ledger(ledger) and not identity.has_signed(key_file):
        raise click.ClickException(f"no ledger yet at {ledger}")
    return ledger, key_file


def _is_ledger(folder: Path) -> bool:
    return (folder / CHECKPOINT).exists() or _has_segments(folder)


def _has_segments(folder: Path) -> bool:
    return folder.is_dir() and bool(segment_names(DISK.names(folder)))


def _trusted(key_text: str | None, key_file: Path) -> tuple[Verifier, Checkpoint | None]:
    """Return the key to verify with, and the last checkpoint that stands beside our own."""
    if key_text is not None:
        try:
            return verifier(key_text), None
        except ValueError as error:
            raise click.UsageError(f"--key: {error}") from None
    if not identity.is_there(key_file):
        raise click.UsageError("the ledger's key is not here: give --key")
    who = identity.load(DISK, key_file)
    try:
        return who.verifier, who.last_signed(DISK)
    except OSError as error:
        raise LedgerBroken(f"{who.signed_file}: {os.strerror(error.errno or 0)}") from None


def _note(file: Path) -> bytes:
    """Return a checkpoint that is held elsewhere; what is longer than any is cut, and not one."""
    try:
        with file.open("rb") as stream:
            return stream.read(NOTE_BYTES_MAX)
    except OSError as error:
        raise click.UsageError(f"{file}: {os.strerror(error.errno or 0)}") from None


# --- for people ---


def _show_line(record: bytes, *, as_json: bool) -> None:
    if as_json:
        click.echo(record)
    else:
        _console().print(told.line(orjson.loads(record)), soft_wrap=True)


def _show(found: told.Record, linked: list[told.Record], *, full: bool) -> None:
    """Print a decision's story, and any other record as it stands."""
    console = _console()
    console.print(told.title(found))
    if found["kind"] != "decision":
        _show_fields(console, told.fields(found))
        return
    _show_fields(console, told.story(found, linked))
    if not full:
        _show_fields(console, [("whole", "--full, --json")])
        return
    for record in (found, *linked):
        console.print()
        console.print(told.title(record))
        _show_fields(console, told.fields(record))


def _show_fields(console: Console, lines: Iterable[tuple[str, str]]) -> None:
    for name, text in lines:
        console.print(told.field(name, text), soft_wrap=True)


def _show_report(report: Report, ledger: Path, note: Path | None) -> None:
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
    if note is not None:
        click.echo(f"held    it begins with the records that {told.plain(str(note))} signs")
    if report.writing:
        click.echo("a process is writing: its last record is on its way")


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _console() -> Console:
    return Console(highlight=False, markup=False, emoji=False)
