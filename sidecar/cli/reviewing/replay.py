"""`sidecar replay RECORDS --bundle B`: yesterday's decisions under the policies of tomorrow."""

import os
import sys
from pathlib import Path
from typing import Final

import click
import orjson
from rich.console import Console
from rich.markup import escape

from sidecar.cli.log.places import when
from sidecar.cli.log.progress import counted
from sidecar.cli.paths import FILE_OR_FOLDER, FOLDER
from sidecar.domains import by_protocol
from sidecar.policy.bundle import Bundle
from sidecar.review.replay.counts import TOLD, Counts, rows_of
from sidecar.review.replay.run import Asked, replay
from sidecar.review.revision import bundle_at
from sidecar.runtime import exits
from sidecar.runtime.bundles import load_bundle

CHANGES: Final = ("deny-to-allow", "allow-to-deny", "obligations", "input-gone", "any")
_ROWS: Final = 8
_WORDS: Final = {
    "obligations": "other obligations",
    TOLD: "the same bundle, told otherwise",
}


@click.command("replay")
@click.argument("records", type=FILE_OR_FOLDER)
@click.option(
    "-b",
    "--bundle",
    required=True,
    help="By which everything is decided anew: a folder, an archive, or `REV:path` of git.",
)
@click.option(
    "--base", help="The bundle that decided then, where the state folder does not have it."
)
@click.option(
    "--state",
    type=FOLDER,
    help="Where names, keys and side objects are, if not beside the records.",
)
@click.option(
    "--as-read",
    is_flag=True,
    help="Decide what was understood then, also where the catalogues differ.",
)
@click.option("--since", help="A time, or how long ago: `2026-11-22T10:00`, `15m`.")
@click.option("--until", help="The same, as the end.")
@click.option(
    "--fail-on",
    multiple=True,
    type=click.Choice(CHANGES),
    help="Exit with 4 where this is seen; may be given more than once.",
)
@click.option("--processes", type=click.IntRange(1), help="At most so many (default: processors).")
@click.option("--json", "as_json", is_flag=True, help="One object for programs.")
def command(
    records: Path,
    fail_on: tuple[str, ...],
    *,
    as_json: bool,
    bundle: str,
    base: str | None,
    **said: object,
) -> None:
    r"""Decide recorded decisions anew by another bundle, and say which come out otherwise.

    RECORDS is a state folder, a ledger's folder, one segment of it, or what
    `sidecar log export --format jsonl` wrote. What was understood of each call is
    decided, with the facts that were recorded. Where a rule may read what no record
    has, or the catalogues read calls otherwise, nothing is said of that decision:
    it is counted as `input gone`, with what is missing. By the bundle that decided
    then, a decision comes out as it did, or is counted so too; one that was decided
    by another number of the engine may come out otherwise, and is counted as such.

    An obligation that is new is `input gone` as well: whether it can be carried out
    takes the call itself, which nobody keeps. `--fail-on obligations` and `--fail-on
    allow-to-deny` fail there too. What was denied and is permitted with obligations
    counts as permitted.

    \b
    Exit codes: 0 replayed, 3 the bundle does not load, 4 what --fail-on names was
    seen, 6 there was no decision, 20 a record cannot be read.

    \b
    Examples:
      sidecar replay state --bundle policies --fail-on deny-to-allow
      sidecar replay export/ --state state --bundle policies --since 24h --json
    """
    found = bundle_at(bundle, _loaded)
    before = None if base is None else bundle_at(base, _loaded, Path(bundle))
    asked = _asked(records, said)
    with counted("replay:") as progress:
        counts = replay(asked, found, before, progress.at)
    if as_json:
        told = {"bundle": found.name, "version": found.version, "digest": found.digest}
        click.echo(orjson.dumps({"policy": told, **counts.json()}, option=orjson.OPT_INDENT_2))
    else:
        _show(counts, f"{found.name} {found.version}")
    if any(map(counts.has, fail_on)):
        sys.exit(exits.FAILED)
    if not counts.records:
        sys.exit(exits.EMPTY)


def _loaded(path: Path) -> Bundle:
    return load_bundle(path, by_protocol())


def _asked(records: Path, said: dict[str, object]) -> Asked:
    since, until, processes, state = (
        said[name] for name in ("since", "until", "processes", "state")
    )
    return Asked(
        path=records,
        state=state if isinstance(state, Path) else None,
        as_read=said["as_read"] is True,
        since=when(since if isinstance(since, str) else None),
        until=when(until if isinstance(until, str) else None),
        processes=processes if isinstance(processes, int) else os.cpu_count() or 1,
    )


def _show(counts: Counts, bundle: str) -> None:
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"[bold]{counts.records:,} decisions[/bold] under {escape(bundle)}")
    console.print(f"  {counts.same:,} the same")
    for change in counts.changes():
        colour = "red" if change.endswith("-allow") else "yellow"
        console.print(f"  [{colour}]{counts.differs[change]:,} {_words(change)}[/{colour}]")
    if counts.gone:
        console.print(f"  {counts.gone:,} input gone")
        for what, count in counts.missing.most_common(_ROWS):
            console.print(f"    {count:,} {escape(what)}", style="dim")
    if counts.other_engine:
        console.print(f"  {counts.other_engine:,} were decided by another engine")
    for change in counts.changes():
        _change(console, counts, change)
    if not counts.records:
        console.print("[yellow]nothing ran[/yellow]")


def _words(change: str) -> str:
    return _WORDS.get(change, change.replace("-to-", " → "))


def _change(console: Console, counts: Counts, change: str) -> None:
    console.print(f"\n[bold]{_words(change)}[/bold]")
    for name, table in (
        ("rule", counts.rules),
        ("subject", counts.subjects),
        ("resource", counts.resources),
    ):
        for row, count in list(rows_of(table[change]).items())[:_ROWS]:
            console.print(f"  by {name:<9}{count:>8,}  {escape(row)}")
    for one in counts.examples[change]:
        who = one.subject if one.actor == one.subject else f"{one.actor} for {one.subject}"
        console.print(f"  {one.time} {escape(who)} · {escape(one.resource)}")
        console.print(f"    {one.was} → {one.now} by {escape(one.rule)}  {one.id}", style="dim")
