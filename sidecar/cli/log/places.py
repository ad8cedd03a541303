"""Where a ledger is, with which key it is judged, and the options that all verbs share."""

import os
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import wraps
from pathlib import Path
from typing import Any, Final, NamedTuple

import click

from sidecar.cli.log.people import People, Strangers
from sidecar.cli.paths import FILE, FOLDER
from sidecar.record.disk import DISK, why
from sidecar.record.ledger import ledger_paths
from sidecar.record.limits import NOTE_BYTES_MAX
from sidecar.record.proof import identity
from sidecar.record.proof.checkpoint import Checkpoint, Verifier, verifier
from sidecar.record.read import Wanted
from sidecar.record.segments.segment import segment_names
from sidecar.record.segments.walk import Damage
from sidecar.record.verify import CHECKPOINT
from sidecar.syntax.glob import compiled
from sidecar.syntax.yaml12 import load_documents
from sidecar.terms.errors import ConfigError, LedgerBroken, PolicyError
from sidecar.terms.ids import rfc3339
from sidecar.terms.record import RESULTS
from sidecar.terms.words import OUTCOMES

CONFIG: Final = Path("sidecar.yaml")
STATE: Final = Path("state")
_KEEPS_HANDLES: Final = f"{__name__}.keeps_handles"
_AGO = re.compile(r"(\d{1,6})([smhd])\Z")
_KINDS: Final = ("decision", "outcome", "admin", "approval", "ops", "gap")
_WORDS: Final = {"outcome": (*OUTCOMES, *RESULTS), "kind": _KINDS}
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

Option = Callable[[Callable[..., None]], Callable[..., None]]
config_option: Option = click.option(
    "-c",
    "--config",
    type=FILE,
    help="Configuration whose `state` is read (default: ./sidecar.yaml).",
)
state_option: Option = click.option(
    "--state", type=FOLDER, help="State folder, instead of the configuration's."
)
folder_argument: Option = click.argument("folder", required=False, type=FOLDER)
handles_option: Option = click.option(
    "--handles",
    is_flag=True,
    expose_value=False,
    callback=lambda context, _option, said: context.meta.update({_KEEPS_HANDLES: said}),
    help="Keep the handles of persons.",
)
json_option: Option = click.option("--json", "as_json", is_flag=True, help="JSON, not text.")
key_option: Option = click.option(
    "--key", "--vkey", "key_text", help="Verifier key that was handed over, or its file."
)


def when(text: str | None) -> str | None:
    """Return a time as records have it; `15m`, `2h`, `7d` are so long ago."""
    if text is None:
        return None
    ago = _AGO.match(text)
    if ago:
        at = datetime.now(tz=UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    else:
        try:
            at = datetime.fromisoformat(text)
        except ValueError:
            msg = f"`{text}`: expected a date, a time or a duration like `15m`, `2h`, `7d`"
            raise click.BadParameter(msg) from None
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return rfc3339(int((at - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1)))


class Where(NamedTuple):
    """What was told of the ledger's place."""

    folder: Path | None
    state: Path | None
    config: Path | None

    def places(self) -> tuple[Path, Path]:
        """Return the ledger's folder, which may be gone, and its key file."""
        return places(self.folder or state_folder(self.state, self.config))

    def ledger(self) -> Path:
        """Return the ledger's folder."""
        ledger, _ = self.places()
        if not ledger.is_dir():
            raise LedgerBroken(f"{ledger}: is gone, though its key has signed it")
        return ledger


def of_ledger(verb: Callable[..., None]) -> Callable[..., None]:
    """Give `verb` the options by which a ledger is found, as one argument `where`."""

    @wraps(verb)
    def found(
        *, folder: Path | None, state: Path | None, config: Path | None, **said: object
    ) -> None:
        verb(where=Where(folder, state, config), **said)

    return folder_argument(state_option(config_option(found)))


def filters(verb: Callable[..., None]) -> Callable[..., None]:
    """Give `verb` the options of `Wanted`."""
    for option in reversed(
        (
            click.option(
                "--outcome", help=f"{', '.join(OUTCOMES)}; of outcome records {', '.join(RESULTS)}."
            ),
            click.option(
                "--subject", help="`type:id` of the subject; `*` is any run of characters."
            ),
            click.option("--actor", help="`type:id` of an actor."),
            click.option("--resource", help="`type:id` of a target."),
            click.option("--rule", help="A rule's id, or policy/rule."),
            click.option("--kind", help=f"{', '.join(_KINDS)}."),
            click.option("--since", help="A time, or how long ago: `2026-11-22T10:00`, `15m`."),
            click.option("--until", help="The same, as the end."),
        )
    ):
        verb = option(verb)
    return verb


def wanted(options: dict[str, str | None]) -> Wanted:
    """Return what the options of `filters` ask for.

    A word that no record has is a slip of the pen: finding nothing would look as if it never was.
    """
    for name in ("outcome", "subject", "actor", "resource", "rule", "kind"):
        _check_glob(name, options[name])
    return Wanted(**{**options, "since": when(options["since"]), "until": when(options["until"])})


def _check_glob(name: str, pattern: str | None) -> None:
    if pattern is None:
        return
    try:
        fits = compiled(pattern)
    except ValueError as error:
        raise click.UsageError(f"--{name}: {error}") from None
    words = _WORDS.get(name)
    if words is not None and not any(map(fits, words)):
        raise click.UsageError(f"--{name}: expected one of {', '.join(words)}, or a glob of them")


def state_folder(state: Path | None, config: Path | None) -> Path:
    """Return the state folder: told, or the configuration's, of which nothing else need be well."""
    if state is not None:
        return state
    if config is None and not CONFIG.exists():
        return STATE
    file = config or CONFIG
    try:
        documents = load_documents(str(file), file.read_bytes())
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None
    except PolicyError as error:
        raise ConfigError(str(error)) from None
    said: Any = documents[0].value if documents else None
    found = said.get("state", str(STATE)) if isinstance(said, dict) else None
    if not isinstance(found, str):
        raise ConfigError(f"{file}: expected `state` to be the path of a folder")
    return file.parent / found


def check_whole(ledger: Path, damage: Damage | None) -> None:
    """Refuse to pass over damage in silence: what is left out would look as if it never was.

    Raises:
        LedgerBroken: There is some.
    """
    if damage is not None:
        raise LedgerBroken(f"{ledger}/{damage}; see `sidecar log verify`")


def unreadable(ledger: Path, error: OSError | LookupError) -> LedgerBroken | None:
    """Return what says that something of the ledger cannot be read, or is not there.

    None where it is not the ledger of which an error speaks.
    """
    if isinstance(error, LookupError):
        return LedgerBroken(f"{ledger}: {error}")
    if error.filename is None or not Path(error.filename).is_relative_to(ledger):
        return None
    return LedgerBroken(f"{error.filename}: {why(error)}")


def people_of(ledger: Path) -> People:
    """Return who joins names with handles, or keeps them."""
    keeps_handles = click.get_current_context().meta[_KEEPS_HANDLES]
    return Strangers() if keeps_handles else People(ledger.resolve().parent)


def places(folder: Path) -> tuple[Path, Path]:
    """Return the ledger's folder and key file for a state folder or for a ledger's own folder."""
    if _is_ledger(folder):
        return folder, ledger_paths(folder.resolve().parent)[1]
    ledger, key_file = ledger_paths(folder)
    # A key that has signed says that there was one: what is gone is not "not yet".
    if not _is_ledger(ledger) and not identity.has_signed(key_file):
        raise click.ClickException(f"no ledger yet at {ledger}")
    return ledger, key_file


def _is_ledger(folder: Path) -> bool:
    return (folder / CHECKPOINT).exists() or has_segments(folder)


def has_segments(folder: Path) -> bool:
    """Return whether `folder` holds segments."""
    return folder.is_dir() and bool(segment_names(DISK.names(folder)))


def trusted(key_text: str | None, key_file: Path) -> tuple[Verifier, Checkpoint | None]:
    """Return the key to verify with, and the last checkpoint that stands beside our own."""
    if key_text is not None:
        return given_key(key_text), None
    if not identity.is_there(key_file):
        raise click.UsageError("the ledger's key is not here: give --key")
    who = identity.load(DISK, key_file)
    return who.verifier, who.last_signed(DISK)


def given_key(text: str) -> Verifier:
    """Return the key of `text`, or of the file of this name."""
    try:
        if "+" not in text:
            text = read_file(Path(text)).decode("utf-8", "replace")
        return verifier(text)
    except ValueError as error:
        raise click.UsageError(f"--key: {error}") from None


def read_file(file: Path) -> bytes:
    """Return a note that is held elsewhere; what is longer than any is cut, and not one."""
    try:
        with file.open("rb") as stream:
            return stream.read(NOTE_BYTES_MAX)
    except OSError as error:
        raise click.UsageError(f"{file}: {os.strerror(error.errno or 0)}") from None
