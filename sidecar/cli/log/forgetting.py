"""Forget a person; or hold the ledger, so that nothing is pruned and nobody is forgotten.

A person is forgotten in a ledger at rest under its lock, else by the sidecar that runs on it. A
hold is a file beside the key, in force at once.
"""

import asyncio
import getpass
import os
import re
import time
from pathlib import Path
from typing import Final

import click
import msgspec
import orjson

from sidecar.cli.log.places import config_option, json_option, places, state_folder, state_option
from sidecar.record.disk import DISK
from sidecar.record.keeping.stops import holds
from sidecar.record.keeping.stops.holds import Hold
from sidecar.record.ledger import OUTSIDE, Ledger, Settings, ledger_paths
from sidecar.record.limits import HOLD_CHARS_MAX
from sidecar.record.proof.place import machine_id
from sidecar.record.verify import is_locked
from sidecar.runtime.processes.admin import ask_running
from sidecar.terms.errors import LedgerBroken
from sidecar.terms.ids import rfc3339

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
_HOLDS_MAX: Final = 64


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
    ledger = _opened(state)
    try:
        return await ledger.forget(person)
    finally:
        await ledger.close()


@click.command("hold")
@click.argument("name", required=False)
@click.option("--reason", help="Why: it stands in the log for good, so name nobody.")
@json_option
@state_option
@config_option
def hold(
    name: str | None, reason: str | None, state: Path | None, config: Path | None, *, as_json: bool
) -> None:
    r"""Hold the ledger for a matter of law: nothing is pruned and nobody is forgotten.

    \b
    NAME is the matter's, of letters, digits, `.`, `_` and `-`; without one the holds that
    stand are listed. A hold is in force when this returns; a sidecar that runs records
    it within a second, and one that does not run has recorded it then. It ends with
    `sidecar log release NAME`.

    \b
    Examples:
      sidecar log hold case-17 --reason "supervisor's request of 3 March"
      sidecar log hold
    """
    ledger, key_file = places(state_folder(state, config))
    standing = holds.standing(DISK, key_file)
    if name is not None:
        if reason is None or not reason.strip() or len(reason) > HOLD_CHARS_MAX:
            raise click.UsageError(f"--reason of at most {HOLD_CHARS_MAX} letters is needed")
        standing = _placed(standing, name, reason)
        _put(ledger, key_file, standing)
    if as_json:
        click.echo(orjson.dumps(msgspec.to_builtins(standing), option=orjson.OPT_SORT_KEYS))
        return
    for each, said in sorted(standing.items()):
        click.echo(f"{each}  since {said.since}  by {said.by}: {said.reason}")
    if not standing:
        click.echo("nothing is held")


@click.command("release")
@click.argument("name")
@json_option
@state_option
@config_option
def release(name: str, state: Path | None, config: Path | None, *, as_json: bool) -> None:
    r"""Release a hold: once none stands, retention and `log forget` go on.

    \b
    Exit codes: 0 released, 1 there is no such hold.

    \b
    Examples:
      sidecar log release case-17
    """
    ledger, key_file = places(state_folder(state, config))
    standing = holds.standing(DISK, key_file)
    if name not in standing or name == holds.UNREADABLE:
        raise click.ClickException(f"no hold of the name `{name}` stands")
    _put(ledger, key_file, {each: said for each, said in standing.items() if each != name})
    click.echo(orjson.dumps({"released": name}) if as_json else f"{name} is released")


def _placed(standing: dict[str, Hold], name: str, reason: str) -> dict[str, Hold]:
    if not _NAME.match(name) or name == holds.UNREADABLE:
        raise click.UsageError(f"`{name}`: expected letters, digits, `.`, `_` and `-`")
    if holds.UNREADABLE in standing:
        raise click.ClickException("what is held cannot be read; mend or remove that file first")
    if name in standing:
        raise click.ClickException(f"`{name}` stands already, since {standing[name].since}")
    if len(standing) >= _HOLDS_MAX:
        raise click.ClickException(f"{len(standing)} holds stand already")
    now = rfc3339(time.time_ns() // 1000)
    return {**standing, name: Hold(reason, now, getpass.getuser())}


def _put(ledger: Path, key_file: Path, standing: dict[str, Hold]) -> None:
    """Let these holds stand, and have that recorded."""
    if not key_file.exists():
        raise LedgerBroken(f"{key_file}: there is no ledger to hold")
    holds.put(DISK, key_file, standing)
    owner, path = key_file.stat().st_uid, holds.holds_path(key_file)
    if standing and owner != os.geteuid():
        # The recorder reads it, perhaps as a user of its own.
        os.chown(path, owner, -1)
    if not is_locked(ledger):
        asyncio.run(_recorded(ledger.resolve().parent))


async def _recorded(state: Path) -> None:
    # A ledger that is opened says what is new of its holds.
    await _opened(state).close()


def _opened(state: Path) -> Ledger:
    here = msgspec.structs.replace(OUTSIDE, machine=machine_id())
    return Ledger.open(*ledger_paths(state), Settings(outside=here))
