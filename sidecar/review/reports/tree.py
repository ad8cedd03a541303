"""A run of tests as a tree for a terminal: what failed shows why, to the values that did it."""

from collections.abc import Iterator, Sequence
from typing import Final

from rich.markup import escape

from sidecar.policy.language.brief import printable
from sidecar.review.second import differing, summary
from sidecar.review.testing.cells import Cell
from sidecar.review.testing.run import Outcome

# Whoever wrote a matrix of ten thousand cells does not want ten thousand lines that say ok.
SHOWN_MAX: Final = 40
# A rule that is wrong fails thousands of cells alike.
FAILED_MAX: Final = 50


def tree(outcome: Outcome, *, verbose: bool = False) -> Iterator[str]:
    """Yield the lines of a run, in rich's markup.

    Args:
        outcome: Of the run.
        verbose: Name the cells of a large test that passed, too, and all that failed.
    """
    shown = 0
    for cells in _tests(outcome.cells):
        yield f"[bold]{_safe(cells[0].suite)}[/bold]: {_safe(cells[0].test)}"
        left = FAILED_MAX - shown
        told = cells if verbose else _first_failed(cells, left)
        yield from _test(told, verbose=verbose)
        shown += sum(1 for cell in told if cell.failed)
    if shown < outcome.failed:
        yield f"[yellow]and {outcome.failed - shown} more failed[/yellow] (--verbose names all)"
    for one in differing(outcome.opinion):
        yield f"[red]DISAGREE[/red] {_safe(one.where)}: {_safe(one.text)}"
    if not outcome.ran:
        yield "[yellow]nothing ran[/yellow]"
    skipped = f", {outcome.skipped} skipped" if outcome.skipped else ""
    yield (
        f"{outcome.ran - outcome.failed} passed, {outcome.failed} failed{skipped}; "
        f"second evaluator: {summary(outcome.opinion)}"
    )


def _tests(cells: Sequence[Cell]) -> Iterator[list[Cell]]:
    found: list[Cell] = []
    for cell in cells:
        if found and (cell.suite, cell.test) != (found[0].suite, found[0].test):
            yield found
            found = []
        found.append(cell)
    if found:
        yield found


def _first_failed(cells: list[Cell], count: int) -> list[Cell]:
    """Return cells without those that failed beyond the first so many."""
    found = []
    for cell in cells:
        count -= cell.failed
        if not cell.failed or count >= 0:
            found.append(cell)
    return found


def _test(cells: list[Cell], *, verbose: bool) -> Iterator[str]:
    is_short = not verbose and len(cells) > SHOWN_MAX
    passed = sum(1 for cell in cells if cell.passed)
    if is_short and passed:
        yield f"  [green]ok[/green]   {passed} cells"
    for cell in cells:
        if not (is_short and cell.passed):
            yield from _cell(cell)


def _cell(cell: Cell) -> Iterator[str]:
    what = _safe(f"{cell.principal} · {cell.request}")
    if cell.skipped is not None:
        yield f"  [yellow]SKIP[/yellow] {what}: {_safe(cell.skipped)}"
    elif cell.passed:
        erred = f", [yellow]{cell.erred} erred[/yellow]" if cell.erred else ""
        yield f"  [green]ok[/green]   {what}: {cell.outcome}{erred}"
    else:
        yield f"  [red]FAIL[/red] {what} [dim]({_safe(cell.where)})[/dim]"
        yield from (f"         {_safe(line)}" for line in (*cell.differences, *cell.explained))
        for where in cell.at[:1]:
            yield f"         [dim]see {_safe(where)}[/dim]"


def _safe(text: str) -> str:
    """Return a text that a terminal takes for nothing but text."""
    return escape(printable(text))
