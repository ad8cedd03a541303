"""`sidecar init DIR`: a configuration, a bundle with tests that pass, and a first key."""

import os
import secrets
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final

import click

from sidecar.cli.key import entry_of
from sidecar.cli.paths import NAMED_FOLDER
from sidecar.cli.schemas import SCHEMAS, file_name
from sidecar.facts.keys import issue
from sidecar.syntax.yaml12 import dump
from sidecar.terms.call import Json
from sidecar.terms.errors import ConfigError

WORKLOAD: Final = "support-agent"
_PLACE: Final = "  # the entry of support-agent goes here\n"
# What must not reach a repository.
_IGNORED: Final = "secrets/\nstate/\n*.sock\n"
# Of no bundle: what begins with a dot is neither read nor digested.
_SCHEMAS: Final = ".schemas"


@click.command("init")
@click.argument("folder", type=NAMED_FOLDER)
@click.option("--schemas", is_flag=True, help="Write FOLDER/.schemas alone, over older ones.")
def command(folder: Path, *, schemas: bool) -> None:
    r"""Write a starter into FOLDER, which is made or is empty.

    A configuration with one workload and its freshly issued key, a bundle with a
    catalogue, two policies and tests that pass, and a README of next steps. The
    first line of each file names its JSON Schema, by which an editor completes
    and marks what would not load; --schemas brings them to a folder of yours.

    \b
    Exit codes: 0 written, 2 the folder is not empty or cannot be written.

    \b
    Example:
      sidecar init shop && sidecar test shop/bundle
      sidecar run -c shop/sidecar.yaml
      sidecar init --schemas .
    """
    try:
        if schemas:
            _write_schemas(folder)
            click.echo(f"{len(SCHEMAS)} schemas written to {folder / _SCHEMAS}")
            return
        _write_starter(folder)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be written: {error.strerror}") from None
    click.echo(f"written to {folder}; next: sidecar test {folder / 'bundle'}")
    click.echo(f"then:                 sidecar run -c {folder / 'sidecar.yaml'}")
    click.echo(f"the key of {WORKLOAD} is in {folder / 'secrets' / f'{WORKLOAD}.key'}")


def _write_starter(folder: Path) -> None:
    if folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"{folder}: is not empty; `sidecar init` overwrites nothing")
    issued = issue(secrets.token_bytes)
    entry = _entry(issued.key, issued.scram)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in sorted(_starter(files("sidecar.cli") / "starter", "").items()):
        _write(folder / name, text.replace(_PLACE, entry))
    _write(folder / ".gitignore", _IGNORED)
    _write_schemas(folder)
    (folder / "secrets").mkdir(mode=0o700)
    _write(folder / "secrets" / f"{WORKLOAD}.key", f"{issued.text}\n", 0o600)


def _entry(key: str, scram: str) -> str:
    """Return the workload's entry as it stands in the file, indented by two."""
    stated = entry_of(WORKLOAD, key, scram, f"agent:{WORKLOAD}", "user:sam")
    subject: dict[str, Json] = {**stated["subject"], "properties": {"groups": ["support"]}}
    return "".join(f"  {line}\n" for line in dump([{**stated, "subject": subject}]).splitlines())


def _starter(folder: Traversable, prefix: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for entry in folder.iterdir():
        if entry.is_dir():
            found |= _starter(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith((".yaml", ".md")):
            found[prefix + entry.name] = entry.read_text("utf-8")
    return found


def _write_schemas(folder: Path) -> None:
    (folder / _SCHEMAS).mkdir(parents=True, exist_ok=True)
    for kind, made in SCHEMAS.items():
        (folder / _SCHEMAS / file_name(kind)).write_bytes(made())


def _write(file: Path, text: str, mode: int = 0o644) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    # The mode from the start: a key is never readable for a moment.
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
