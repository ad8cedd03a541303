"""Forget a person: in a ledger at rest under its lock, else by the sidecar that runs on it."""

import asyncio
from pathlib import Path

import click
import msgspec
import orjson

from sidecar.cli.log.places import config_option, json_option, places, state_folder, state_option
from sidecar.record.ledger import OUTSIDE, Ledger, Settings, ledger_paths
from sidecar.record.proof.place import machine_id
from sidecar.record.verify import is_locked
from sidecar.runtime.processes.admin import ask_running
from sidecar.terms.errors import LedgerBroken


@click.command("forget")
@click.argument("subject")
@json_option
@state_option
@config_option
def forget(subject: str, state: Path | None, config: Path | None, *, as_json: bool) -> None:
    r"""Erase a person: records keep a handle that nobody can resolve any more.

    \b
    SUBJECT is `type:id`, `user` where no type is told; or `type:handle`, to go on with
    what was interrupted. No record changes, and every proof still verifies; sealed
    inputs of the person's calls are erased. Whoever is revoked is refused: lift that
    first. Copies of the state folder made elsewhere are yours to erase.
    Exit codes: 0 forgotten, 1 nobody of that name was recorded, or something remains:
    the error says what, and by which name to go on.

    \b
    Examples:
      sidecar log forget user:alice
      sidecar log forget ip:192.0.2.7
    """
    person = subject if ":" in subject else f"user:{subject}"
    folder, _ = places(state_folder(state, config))
    if not forget_person(folder, person):
        raise click.ClickException("nobody of that name was recorded")
    if as_json:
        click.echo(orjson.dumps({"forgotten": True}))
    else:
        click.echo("forgotten; the records keep a handle that stands for nobody")


def forget_person(folder: Path, person: str) -> bool:
    """Erase `person`, a `type:id`; return whether it was known.

    Args:
        folder: The ledger's own folder, in its state folder.
        person: `type:id`, or with the handle in the place of the id.

    Raises:
        LedgerBroken: It is not intact, or who writes it does not answer.
        RecordError: The erasure could not be recorded or done.
    """
    state = folder.resolve().parent
    if not is_locked(folder):
        return asyncio.run(_forget(state, person))
    known = ask_running(state, person)
    if known is None:
        raise LedgerBroken(f"{folder}: a process writes it and does not answer; stop it first")
    return known


async def _forget(state: Path, person: str) -> bool:
    here = msgspec.structs.replace(OUTSIDE, machine=machine_id())
    ledger = Ledger.open(*ledger_paths(state), Settings(outside=here))
    try:
        return await ledger.forget(person)
    finally:
        await ledger.close()
