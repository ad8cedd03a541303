"""`sidecar log`: read the ledger, verify it, print the key that an auditor verifies it with.

What stands in a record was chosen by callers: printed for people, whatever a terminal would act
upon is spelt out. With `--json` the bytes are those of the ledger.
"""

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click
import msgspec
import orjson
from rich.console import Console
from rich.text import Text

from sidecar.record.disk import DISK
from sidecar.record.ledger import ledger_paths
from sidecar.record.limits import NOTE_BYTES_MAX
from sidecar.record.proof import identity
from sidecar.record.proof.checkpoint import Checkpoint, Verifier, verifier
from sidecar.record.read import Reader, Wanted, about
from sidecar.record.segment import segment_names
from sidecar.record.verify import CHECKPOINT, Report, verify
from sidecar.syntax.yaml12 import load_documents
from sidecar.terms.errors import ConfigError, LedgerBroken

LEDGER_NOT_INTACT: Final = 20
CONFIG: Final = Path("sidecar.yaml")
STATE: Final = Path("state")
POLL_S: Final = 0.25
# A line of `tail` is to be read at a glance; `show` has the whole.
GIST_CHARS_MAX: Final = 200
_STYLES: Final = {"allow": "green", "modify": "cyan", "deny": "red"}
_DECIDED: Final = ("outcome", "reason", "time", "listener", "protocol", "phase", "message")
_TOLD: Final = ("kind", "id", "parent", "schema", "log")

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
_json: _Option = click.option("--json", "as_json", is_flag=True, help="JSON instead of text.")


@click.group("log")
def command() -> None:
    """Read and verify the ledger."""


@command.command("tail")
@click.option("-n", "--number", "count", type=click.IntRange(0), default=10, show_default=True)
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written from now on.")
@click.option("--outcome", help="allow, modify, deny, step_up or defer.")
@click.option("--subject", help="`type:id` of the subject; `*` is any run of characters.")
@click.option("--actor", help="`type:id` of an actor.")
@click.option("--resource", help="`type:id` of a target.")
@click.option("--rule", help="A rule's id, or policy/rule.")
@_json
@_state
@_config
def tail(
    count: int,
    state: Path | None,
    config: Path | None,
    *,
    follow: bool,
    as_json: bool,
    **wanted: str | None,
) -> None:
    r"""Show the last records.

    \b
    Examples:
      sidecar log tail -n 20 --outcome deny
      sidecar log tail -f --actor 'agent:*' --json
    """
    asked, reader = Wanted(**wanted), Reader(_ledger(state, config))
    for record in reader.skip_to_last(count, asked):
        _show_line(record, as_json=as_json)
    pause = threading.Event()
    while follow:
        for record in reader.new():
            if asked.fits(orjson.loads(record)):
                _show_line(record, as_json=as_json)
        pause.wait(POLL_S)


@command.command("show")
@click.argument("id")
@_json
@_state
@_config
def show(id: str, state: Path | None, config: Path | None, *, as_json: bool) -> None:
    r"""Show one record and what was recorded of it afterwards.

    \b
    Examples:
      sidecar log show 0192f0c1-7a3e-7c4b-9d2e-0f6a5b4c3d2e
    """
    found, linked = about(_ledger(state, config), id)
    if found is None:
        raise click.UsageError(f"no record `{_plain(id)}` in the ledger")
    if as_json:
        click.echo(orjson.dumps({"record": found, "linked": linked}, option=orjson.OPT_INDENT_2))
        return
    console = _console()
    _show_record(console, found)
    for record in linked:
        _show_record(console, record)


@command.command("verify")
@click.argument(
    "folder", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path)
)
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
    Exit codes: 0 intact, 20 not intact (the message names file, offset and record).

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


@command.command("key")
@click.option("--name", default="doorward", show_default=True, help="Name of a new ledger.")
@_json
@_state
@_config
def key(name: str, state: Path | None, config: Path | None, *, as_json: bool) -> None:
    r"""Print the verifier key, to be handed to an auditor before the first record.

    \b
    Where there is no ledger yet, its key is made.

    \b
    Examples:
      sidecar log key > ledger.vkey
    """
    ledger, key_file = ledger_paths(_state_folder(state, config))
    if not identity.is_there(key_file) and not _has_segments(ledger):
        identity.create(DISK, key_file, name, os.urandom)
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


def _ledger(state: Path | None, config: Path | None) -> Path:
    folder, _ = ledger_paths(_state_folder(state, config))
    if not folder.is_dir():
        raise click.UsageError(f"no ledger at {folder}")
    return folder


def _places(folder: Path) -> tuple[Path, Path]:
    """Return the ledger's folder and key file for a state folder or for a ledger's own folder."""
    if (folder / CHECKPOINT).exists() or _has_segments(folder):
        return folder, ledger_paths(folder.resolve().parent)[1]
    ledger, key_file = ledger_paths(folder)
    if not ledger.is_dir() and not identity.is_there(key_file):
        raise click.UsageError(f"no ledger at {folder}")
    return ledger, key_file


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
        return
    read = orjson.loads(record)
    line = Text.assemble((f"{read['log']['seq']:>8}  ", "dim"), f"{read['time']}  ")
    word = read.get("outcome") or read.get("result") or read.get("event", "")
    line.append(f"{_plain(word):<10} ", style=_STYLES.get(word, "yellow"))
    line.append(_plain(_gist(read)))
    line.append(f"  {_plain(read['id'])}", style="dim")
    _console().print(line, soft_wrap=True)


def _gist(record: dict[str, Any]) -> str:
    """Return in a few words what a record is about."""
    if record["kind"] == "outcome":
        return f"outcome of {record['parent']}"
    if record["kind"] != "decision":
        detail = orjson.dumps(record.get("detail", {})).decode()
        return detail if len(detail) <= GIST_CHARS_MAX else f"{detail[:GIST_CHARS_MAX]}…"
    targets, rules = record["targets"], record["rules"]
    first = f"{targets[0]['action']} {targets[0]['resource']}" if targets else record["protocol"]
    more = f" (+{len(targets) - 1})" if len(targets) > 1 else ""
    by = ", ".join(f"{rule['policy']}/{rule['id']}" for rule in rules) or record["reason"]
    return f"{_who(record)}  {first}{more}  by {by}"


def _who(record: dict[str, Any]) -> str:
    chain = [*record["actors"], record["subject"]]
    return " for ".join(f"{party['type']}:{party['id']}" for party in chain)


def _show_record(console: Console, record: dict[str, Any]) -> None:
    """Print a record: what matters most first, then everything else as it stands."""
    word = record.get("outcome") or record.get("result") or record.get("event", "")
    title = Text(f"{record['kind']} {_plain(record['id'])}", style="bold")
    console.print(title.append(f"  {_plain(word)}", style=_STYLES.get(word, "yellow")))
    if record["kind"] == "decision":
        _show_field(console, "who", _who(record))
    first = [name for name in _DECIDED if name in record]
    for name in [*first, *sorted(set(record) - set(first) - set(_TOLD))]:
        _show_field(console, name, record[name])
    _show_field(console, "log", record["log"])


def _show_field(console: Console, name: str, value: object) -> None:
    text = value if isinstance(value, str) else orjson.dumps(value, option=_INDENT).decode()
    lines = [_plain(line) for line in text.split("\n")]
    console.print(Text(f"  {name:<10} ", style="dim").append("\n    ".join(lines)), soft_wrap=True)


_INDENT: Final = orjson.OPT_INDENT_2


def _show_report(report: Report, ledger: Path, note: Path | None) -> None:
    problem = report.problem
    if problem is not None:
        inside = "" if Path(problem.file).is_absolute() else f"{ledger}/"
        click.echo(f"NOT INTACT  {inside}{_plain(str(problem))}", err=True)
        return
    known = f"{report.records} records in {report.segments} segments"
    click.echo(f"intact  {known}, {report.signed} of them under the signed checkpoint")
    click.echo(f"origin  {report.origin}")
    # Before the first one is signed over records there is the root of nothing, which says nothing.
    click.echo(f"root    {report.root}" if report.signed else "root    no checkpoint yet")
    if note is not None:
        click.echo(f"held    it begins with the records that {_plain(str(note))} signs")
    if report.writing:
        click.echo("a process is writing: its last record is on its way")


def _console() -> Console:
    return Console(highlight=False, markup=False, emoji=False)


def _plain(text: str) -> str:
    """Return `text` with everything spelt out that a terminal would act upon."""
    return "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in text)
