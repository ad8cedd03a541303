"""What a run found as results on lines of the policies, for SARIF."""

from collections.abc import Iterator
from typing import Final, Literal

from sidecar.review.coverage.report import Report
from sidecar.review.mutation.run import Mutation
from sidecar.review.reports.sarif import Result
from sidecar.review.second import differing
from sidecar.review.testing.run import Outcome

RULES: Final = {
    "test-failed": "A cell of a test came out otherwise than expected",
    "second-opinion": "A second evaluator of CEL differs on a part of a rule",
    "mutant-survived": "No test notices when this is changed",
    "not-covered": "No test shows this side of a rule",
}


def results(
    outcome: Outcome, report: Report | None = None, mutation: Mutation | None = None
) -> Iterator[Result]:
    """Yield every result of a run; one that failed stands where its rule does."""
    for cell in outcome.cells:
        if cell.failed:
            name = f"{cell.suite} / {cell.test} / {cell.principal} · {cell.request}"
            told = "\n".join([f"{name} ({cell.where})", *cell.differences, *cell.explained])
            yield _at(cell.at[0] if cell.at else cell.where, "test-failed", told)
    for one in differing(outcome.opinion):
        yield _at(one.where, "second-opinion", one.text)
    for survivor in () if mutation is None else mutation.survivors:
        told = f"{survivor.what}: no test notices `{survivor.after}` for `{survivor.before}`"
        yield _at(survivor.where, "mutant-survived", told)
    for left in () if mutation is None else mutation.left_over:
        yield _at(left.where, "mutant-survived", left.text)
    for site in () if report is None else report.missing:
        yield Result("not-covered", "note", site.sentence, site.file, site.line, site.column)


def _at(where: str, rule: str, text: str) -> Result:
    file, line, column = where.rsplit(":", 2)
    level: Literal["error", "warning"] = "warning" if rule == "mutant-survived" else "error"
    return Result(rule, level, text, file, int(line), int(column))
