"""`sidecar test DIR`: run the tests that stand beside the policies."""

import sys
from pathlib import Path

import click
import msgspec
import orjson
from rich.console import Console
from rich.markup import escape

from sidecar.domains import by_protocol
from sidecar.review.run import Cell, Outcome, run_suites
from sidecar.review.second import as_json, differing, summary
from sidecar.runtime import exits
from sidecar.runtime.bundles import load_bundle


@click.command("test")
@click.argument("bundle", type=click.Path(exists=True, path_type=Path), default="policies")
@click.option("--format", "form", type=click.Choice(["tree", "json"]), default="tree")
@click.option("--filter", "only", help="Run the tests whose suite/name holds this text.")
@click.option("--fail-on-empty", is_flag=True, hidden=True, expose_value=False)
def command(bundle: Path, form: str, only: str | None) -> None:
    r"""Run the tests of a bundle: every principal with every request, as written.

    \b
    A cell that no expectation names is expected to be denied. A cell that fails
    shows each rule that was asked, with the clauses that made it say what it said.
    A second evaluator, cel-python, hears each rule and branch that the tests
    reach once for every outcome; what it is known to get wrong is listed with the
    clause of the specification, anything else fails the run.
    Exit codes: 0 all passed, 3 the bundle does not load, 4 a test failed or the
    second evaluator disagrees, 6 nothing ran, also for a --filter that names nothing
    (--fail-on-empty, which once asked for that, is still taken and does nothing).

    \b
    Examples:
      sidecar test policies
      sidecar test policies --filter finance --format json
    """
    outcome = run_suites(load_bundle(bundle, by_protocol()), only=only)
    if form == "json":
        click.echo(orjson.dumps(_json(outcome), option=orjson.OPT_INDENT_2))
    else:
        _tree(outcome)
    if outcome.failed or outcome.opinion.disagreements:
        sys.exit(exits.FAILED)
    if not outcome.ran:
        sys.exit(exits.EMPTY)


def _json(outcome: Outcome) -> dict[str, object]:
    return {
        "summary": {"ran": outcome.ran, "failed": outcome.failed},
        "cells": [{**msgspec.to_builtins(cell), "passed": cell.passed} for cell in outcome.cells],
        "second_opinion": as_json(outcome.opinion),
    }


def _tree(outcome: Outcome) -> None:
    console = Console(highlight=False, soft_wrap=True)
    last: tuple[str, str] | None = None
    for cell in outcome.cells:
        if (cell.suite, cell.test) != last:
            console.print(f"[bold]{escape(cell.suite)}[/bold]: {escape(cell.test)}")
            last = (cell.suite, cell.test)
        _cell(console, cell)
    for one in differing(outcome.opinion):
        console.print(f"[red]DISAGREE[/red] {escape(one.where)}: {escape(one.text)}")
    if not outcome.ran:
        console.print("[yellow]nothing ran[/yellow]")
    console.print(
        f"{outcome.ran - outcome.failed} passed, {outcome.failed} failed; "
        f"second evaluator: {summary(outcome.opinion)}"
    )


def _cell(console: Console, cell: Cell) -> None:
    what = escape(f"{cell.principal} · {cell.request}")
    if cell.skipped is not None:
        console.print(f"  [yellow]SKIP[/yellow] {what}: {escape(cell.skipped)}")
    elif cell.passed:
        console.print(f"  [green]ok[/green]   {what}: {cell.outcome}")
    else:
        console.print(f"  [red]FAIL[/red] {what} [dim]({escape(cell.where)})[/dim]")
        for line in (*cell.differences, *cell.explained):
            console.print(f"         {escape(line)}")
