"""`sidecar catalog pull`: a database's catalogue, anew under the labels that people wrote."""

import json
import sys
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import click
import msgspec

from sidecar.cli.paths import FILE, NAMED_FILE
from sidecar.runtime import exits
from sidecar.runtime.catalog.merge import Change
from sidecar.runtime.catalog.pull import Pulled, pulled
from sidecar.runtime.catalog.read import Database, database_of
from sidecar.runtime.catalog.write import put, visible
from sidecar.runtime.config import read_secret

_SIGNS: Final = {"added": "+", "removed": "-", "changed": "~"}


@click.group("catalog")
def command() -> None:
    r"""Read the catalogue of a database, or see whether it is still true.

    \b
    Examples:
      sidecar catalog pull postgres://reader@db/erp -o policies/catalog/erp.yaml
      sidecar catalog pull postgres://reader@db/erp -o policies/catalog/erp.yaml --check
    """


@command.command("pull")
@click.argument("dsn")
@click.option(
    "-o",
    "--output",
    type=NAMED_FILE,
    help="The catalogue's file; its labels, comments and what functions touch are kept.",
)
@click.option(
    "--password-file",
    type=FILE,
    help="Holds the password on one line; else PGPASSWORD or ~/.pgpass.",
)
@click.option(
    "--schema",
    "schemas",
    multiple=True,
    help="Only this schema: the file has no other then; may be repeated.",
)
@click.option("--upstream", help="For which upstream's statements it holds; kept when absent.")
@click.option("--check", is_flag=True, help="Write nothing; exit 4 when the file is out of date.")
@click.option("--propose-labels", is_flag=True, help="Say which columns look like pii and such.")
@click.option("--apply-labels", is_flag=True, help="Write the labels that would be proposed.")
@click.option("--json", "as_json", is_flag=True, help="One object with every difference.")
def pull(  # noqa: PLR0913 - an option each
    dsn: str,
    output: Path | None,
    password_file: Path | None,
    schemas: tuple[str, ...],
    upstream: str | None,
    *,
    check: bool,
    propose_labels: bool,
    apply_labels: bool,
    as_json: bool,
) -> None:
    r"""Write the catalogue of the database at DSN, and say what has changed.

    Structure is the database's: tables, columns with types, parents, sequences,
    functions, and what views show. Labels and comments of an existing file stay.
    Only system catalogues are read; any login may read them. A server elsewhere
    has to prove who it is unless DSN says otherwise (`?sslmode=…`).

    \b
    Exit codes: 0 written or in step, 1 the database cannot be read,
    2 usage, 3 the file is no YAML, 4 --check found differences.

    \b
    Examples:
      sidecar catalog pull postgres://reader@db/erp -o policies/catalog/erp.yaml
      sidecar catalog pull "postgres:///erp?host=/run/postgresql" --propose-labels
    """
    if check and output is None:
        raise click.UsageError("--check compares with a file: name it with -o")
    _warn_of_password(dsn)
    password = read_secret(password_file) if password_file is not None else None
    database = database_of(dsn, password)
    _expect_schemas(database, schemas)
    found = pulled(database, output, schemas, upstream, labelled=apply_labels)
    if output is not None and not check:
        put(output, found.text)
    if as_json:
        shown = {} if output is not None else {"text": found.text}
        # Why not bytes of UTF-8: a terminal acts on some characters, whoever they are meant for.
        click.echo(json.dumps(_json(found, output, database.server) | shown, separators=(",", ":")))
    elif output is None:
        click.echo(found.text, nl=False)
        _tell_rest(found, propose_labels=propose_labels, to_err=True)
    else:
        for change in found.changed:
            click.echo(visible(_line(change)))
        click.echo(f"{output}: {_counted(found.changed)}")
        _tell_rest(found, propose_labels=propose_labels, to_err=False)
    # A new release of the server is told, and changes nothing that a statement means.
    if check and any(change.what != "server" for change in found.changed):
        sys.exit(exits.FAILED)


def _expect_schemas(database: Database, named: tuple[str, ...]) -> None:
    """Refuse a schema that holds nothing: a slip of the pen would take all from the file."""
    there = {schema for schema, _ in (*database.relations, *database.types)}
    there |= {schema for schema, _ in database.functions}
    for schema in named:
        if schema not in there:
            raise click.UsageError(f"--schema: the database has nothing in `{visible(schema)}`")


def _warn_of_password(dsn: str) -> None:
    try:
        has_password = urlsplit(dsn).password is not None
    except ValueError:
        return
    if has_password:
        said = "sidecar: whoever lists processes sees this password; use --password-file"
        click.echo(said, err=True)


def _json(found: Pulled, output: Path | None, server: str) -> dict[str, object]:
    return {
        "file": str(output) if output is not None else None,
        "server": server,
        "changes": msgspec.to_builtins(found.changed),
        "unread_views": found.unread,
        "undeclared_functions": found.undeclared,
        "proposed_labels": msgspec.to_builtins(found.proposed),
    }


def _line(change: Change) -> str:
    lost = f" (was labelled {', '.join(change.labels)})" if change.labels else ""
    if change.what == "server":
        return f"~ server {change.was or 'unknown'} is {change.now}"
    detail = ""
    if change.what == "column":
        was, now = (_kind(one) for one in (change.was, change.now))
        detail = f" {was or 'of no type'} is {now}" if change.change == "changed" else ""
    return f"{_SIGNS[change.change]} {change.what} {change.name}{detail}{lost}"


def _kind(structure: object) -> str:
    if not isinstance(structure, dict):
        return ""
    shown = f" (shows {', '.join(structure['shows'])})" if "shows" in structure else ""
    return f"{structure.get('type', '')}{shown}".strip()


def _counted(changed: list[Change]) -> str:
    if not changed:
        return "in step with the database"
    kinds = [one.change for one in changed]
    told = (f"{kinds.count(kind)} {kind}" for kind in _SIGNS if kind in kinds)
    return ", ".join(told)


def _tell_rest(found: Pulled, *, propose_labels: bool, to_err: bool) -> None:
    for view in found.unread:
        said = f"! view {view}: nobody knows what it reads; it is refused"
        click.echo(visible(said), err=to_err)
    if found.undeclared:
        said = f"! {len(found.undeclared)} functions say nothing of what they read or write"
        click.echo(f"{said}; calls of them are refused", err=to_err)
    for one in found.proposed if propose_labels else ():
        click.echo(visible(f"? {one.column}: {one.label} ({one.why})"), err=to_err)
