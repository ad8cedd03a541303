"""`sidecar key issue ID`: a workload's key, shown once, and the entry that verifies it."""

import secrets

import click
import msgspec
import orjson

from sidecar.facts.identity import PartyEntry, Workload
from sidecar.facts.keys import issue
from sidecar.syntax.yaml12 import dump
from sidecar.terms.call import Json


@click.group("key")
def command() -> None:
    r"""Issue the keys by which workloads prove who they are.

    \b
    Example:
      sidecar key issue expense-bot --actor agent:expense-bot --subject user:alice
    """


@command.command("issue")
@click.argument("workload")
@click.option("--actor", metavar="TYPE:ID", help="Who acts when the workload calls.")
@click.option("--subject", metavar="TYPE:ID", help="On whose behalf; service:WORKLOAD if absent.")
@click.option(
    "--json", "as_json", is_flag=True, help="One object: `key`, and `workload`, its entry."
)
def issue_key(workload: str, actor: str | None, subject: str | None, *, as_json: bool) -> None:
    r"""Make a new key for WORKLOAD.

    The key is shown once, here, and stored nowhere. The entry goes into
    `workloads:` of sidecar.yaml: it holds what verifies the key, not the key.
    HTTP carries the key in `Sidecar-Authorization: Bearer KEY`, PostgreSQL as
    the password of user WORKLOAD.

    \b
    Example:
      sidecar key issue expense-bot --actor agent:expense-bot --subject user:alice
    """
    issued = issue(secrets.token_bytes)
    entry = entry_of(workload, issued.key, issued.scram, actor, subject)
    if as_json:
        click.echo(orjson.dumps({"key": issued.text, "workload": entry}))
        return
    click.echo(f"key (shown once): {issued.text}\n")
    click.echo("paste under `workloads:` of sidecar.yaml:\n")
    click.echo(dump([entry]), nl=False)


def entry_of(
    workload: str, key: str, scram: str, actor: str | None, subject: str | None
) -> dict[str, Json]:
    """Return the entry of `workloads:`, checked as the configuration will check it."""
    entry: dict[str, Json] = {"id": workload, "key": key, "scram": scram}
    if actor is not None:
        entry["actor"] = _party(actor, "--actor")
    if subject is not None:
        entry["subject"] = _party(subject, "--subject")
    try:
        msgspec.convert(entry, Workload)
    except msgspec.ValidationError as error:
        raise click.UsageError(str(error)) from None
    return entry


def _party(text: str, option: str) -> dict[str, str]:
    kind, colon, name = text.partition(":")
    try:
        party = PartyEntry(kind, name)
    except ValueError as error:
        raise click.UsageError(f"{option}: {error}") from None
    if not colon:
        raise click.UsageError(f"{option}: `{text}` is not TYPE:ID")
    return {"type": party.type, "id": party.id}
