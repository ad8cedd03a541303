"""`sidecar log tail` and `show`: what was recorded, in a line each or as the story of one call."""

import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import click
import orjson
from rich.console import Console

from sidecar.cli.log import told
from sidecar.cli.log.places import (
    Where,
    check_whole,
    filters,
    handles_option,
    json_option,
    of_ledger,
    people_of,
    wanted,
)
from sidecar.cli.log.rules import rule_texts
from sidecar.record.audit.find import about
from sidecar.record.audit.prove import Prover
from sidecar.record.disk import DISK, why
from sidecar.record.ledger import ledger_paths
from sidecar.record.proof import identity
from sidecar.record.read import Reader, Wanted
from sidecar.record.segments.walk import Damage
from sidecar.terms.errors import LedgerBroken

POLL_S: Final = 0.25
_COLOURS: Final = {"auto": None, "always": True, "never": False}


@click.command("tail")
@click.option("-n", "--number", "count", type=click.IntRange(0), default=10, show_default=True)
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written from now on.")
@filters
@click.option("--color", type=click.Choice(tuple(_COLOURS)), default="auto", show_default=True)
@handles_option
@json_option
@of_ledger
def tail(
    count: int, color: str, where: Where, *, follow: bool, as_json: bool, **said: str | None
) -> None:
    r"""Show the last records: when, what came of it, by which policy version, who did what.

    \b
    FOLDER is a state folder or a ledger's own folder, a copy of one for example.
    Filters are globs over names as they are shown, and all have to hold.

    \b
    Examples:
      sidecar log tail -n 20 --outcome deny
      sidecar log tail -f --actor 'agent:*' --json
      sidecar log tail --since 2h --resource 'table:hr.*'
    """
    asked, ledger = wanted(said), where.ledger()
    reader, people = Reader(ledger), people_of(ledger)
    console = _console(_COLOURS[color])

    def fits(record: bytes) -> bool:
        # Filters are about names, so names are joined before.
        return asked == Wanted() or asked.fits(orjson.loads(people.line(record)))

    for record in reader.last(count, fits):
        _show_line(console, people.line(record), as_json=as_json)
    check_whole(ledger, reader.damage)
    pause = threading.Event()
    while follow:
        for record in filter(fits, reader.new()):
            _show_line(console, people.line(record), as_json=as_json)
        check_whole(ledger, reader.damage)
        pause.wait(POLL_S)


@click.command("show")
@click.argument("id")
@click.option("--full", is_flag=True, help="Everything that stands in the records as well.")
@handles_option
@json_option
@of_ledger
def show(id: str, where: Where, *, full: bool, as_json: bool) -> None:
    r"""Tell the story of one call: who, what, by which rules and their text, what came of it.

    \b
    FOLDER is a state folder or a ledger's own folder, a copy of one for example.
    The text of the rules is that of the bundle by which it was decided, which stands
    in the state folder's `bundles/`.

    \b
    Examples:
      sidecar log show 0192f0c1-7a3e-7c4b-9d2e-0f6a5b4c3d2e
      sidecar log show 0192f0c1-7a3e-7c4b-9d2e-0f6a5b4c3d2e --full
    """
    ledger = where.ledger()
    found, linked, damage = about(ledger, id)
    if found is None:
        check_whole(ledger, damage)
        raise click.UsageError(f"no record `{told.plain(id)}` in the ledger")
    people = people_of(ledger)
    found, linked = people.record(found), list(map(people.record, linked))
    texts = dict(rule_texts(ledger.resolve().parent, found))
    proof = _proof_state(ledger, found["log"]["seq"])
    if as_json:
        said = {"record": found, "linked": linked, "rules": texts, "proof": proof}
        click.echo(orjson.dumps(said, option=orjson.OPT_INDENT_2))
    else:
        _show_story(found, linked, texts, proof, full=full)
    # Only now: what can be told is worth more than nothing, and is not taken for the whole.
    check_whole(ledger, damage)


def _show_story(
    found: told.Record, linked: list[told.Record], texts: dict[str, str], proof: str, *, full: bool
) -> None:
    console = _console()
    console.print(told.title(found))
    if found["kind"] != "decision":
        _show_fields(console, [*told.fields(found), ("proof", proof)])
        return
    _show_fields(console, told.story(found, linked, proof))
    _show_fields(console, [(f"rule {name}", text) for name, text in texts.items()])
    if not full:
        _show_fields(console, [("whole", "--full, --json")])
        return
    for record in (found, *linked):
        console.print()
        console.print(told.title(record))
        _show_fields(console, told.fields(record))


def _show_line(console: Console, record: bytes, *, as_json: bool) -> None:
    if as_json:
        click.echo(record)
    else:
        console.print(told.line(orjson.loads(record)), soft_wrap=True)


def _show_fields(console: Console, lines: Iterable[tuple[str, str]]) -> None:
    for name, text in lines:
        console.print(told.field(name, text), soft_wrap=True)


def _console(colour: bool | None = None) -> Console:
    return Console(highlight=False, markup=False, emoji=False, force_terminal=colour)


def _proof_state(ledger: Path, seq: int) -> str:
    """Return whether record `seq` is proven by the signed checkpoint, and if not why not."""
    _, key_file = ledger_paths(ledger.resolve().parent)
    if not identity.is_there(key_file):
        return "not looked at: the key is not here (`sidecar log verify --key`)"
    try:
        prover = Prover(ledger, identity.load(DISK, key_file).verifier)
        if seq >= prover.checkpoint.size:
            return "not signed yet"
        prover.inclusion(seq)
    except (Damage, LedgerBroken) as error:
        return f"NOT PROVEN: {error}"
    except LookupError as error:
        return f"not proven: {error}"
    except OSError as error:
        return f"NOT PROVEN: it cannot be read: {why(error)}"
    return f"proven by the signed checkpoint of {prover.checkpoint.size} records"
