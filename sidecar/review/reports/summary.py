"""A run of tests as a page of Markdown, as a GitHub step summary shows it."""

from collections.abc import Iterator
from typing import Final

from sidecar.review.coverage.report import Report
from sidecar.review.mutation.run import Mutation
from sidecar.review.testing.run import Outcome

# The page is cut by the host at a mebibyte; who wants all of it reads the log.
_FAILURES_MAX: Final = 50
_LINES_MAX: Final = 30


def summary_page(outcome: Outcome, report: Report | None, mutation: Mutation | None) -> str:
    """Return the page of a run; coverage and mutation where they were asked for."""
    return "\n".join([*_page(outcome, report, mutation), ""])


def _page(outcome: Outcome, report: Report | None, mutation: Mutation | None) -> Iterator[str]:
    is_good = (
        outcome.ran
        and not (outcome.failed or outcome.opinion.disagreements)
        and (mutation is None or mutation.passed)
    )
    yield f"### Policy tests: {'passed' if is_good else 'failed'}"
    yield ""
    yield "| passed | failed | skipped | second evaluator |"
    yield "|---:|---:|---:|---|"
    second = f"{outcome.opinion.compared} compared, {len(outcome.opinion.disagreements)} disagree"
    yield f"| {outcome.ran - outcome.failed} | {outcome.failed} | {outcome.skipped} | {second} |"
    yield from _failures(outcome)
    if report is not None:
        yield from _coverage(report)
    if mutation is not None:
        yield from _mutation(mutation)


def _failures(outcome: Outcome) -> Iterator[str]:
    failed = [cell for cell in outcome.cells if cell.failed]
    for cell in failed[:_FAILURES_MAX]:
        name = f"{cell.suite} / {cell.test} / {cell.principal} · {cell.request}"
        yield ""
        yield f"**{_plain(name)}** ({_plain(cell.at[0] if cell.at else cell.where)})"
        yield from _fenced([*cell.differences, *cell.explained])
    if len(failed) > _FAILURES_MAX:
        yield ""
        yield f"and {len(failed) - _FAILURES_MAX} more"


def _coverage(report: Report) -> Iterator[str]:
    yield ""
    yield f"Coverage {report.whole.percent_shown:.1f} %"
    yield ""
    yield "| of | covered | all |"
    yield "|---|---:|---:|"
    for name, one in report.by_kind().items():
        yield f"| {name} | {one.covered} | {one.total} |"
    missing = report.missing
    if missing:
        yield from _fenced(
            [f"{one.file}:{one.line}:{one.column}: {one.sentence}" for one in missing]
        )


def _mutation(mutation: Mutation) -> Iterator[str]:
    yield ""
    yield f"Mutants: {mutation.killed} noticed, {len(mutation.survivors)} survived"
    if mutation.survivors:
        yield from _fenced(
            [f"{one.where}: {one.what}: {one.before} → {one.after}" for one in mutation.survivors]
        )


def _fenced(lines: list[str]) -> Iterator[str]:
    """Yield lines in a fence that nothing in them can end."""
    shown = lines[:_LINES_MAX]
    longest = max((_run(line) for line in shown), default=0)
    fence = "`" * max(3, longest + 1)
    yield ""
    yield f"{fence}text"
    yield from (line.replace("\n", " ") for line in shown)
    if len(lines) > _LINES_MAX:
        yield f"and {len(lines) - _LINES_MAX} more"
    yield fence


def _run(line: str) -> int:
    longest = length = 0
    for char in line:
        length = length + 1 if char == "`" else 0
        longest = max(longest, length)
    return longest


def _plain(text: str) -> str:
    """Return a text in which Markdown and HTML mean nothing."""
    return "".join(f"&#{ord(char)};" if char in "<>&*_`[]|#\\" else char for char in text)
