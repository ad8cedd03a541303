"""`sidecar test DIR`: run the tests that stand beside the policies."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Literal, Self

import click
import msgspec
import orjson
from rich.console import Console
from rich.markup import escape

from sidecar import __version__
from sidecar.cli.paths import FILE_OR_FOLDER, OutputFile, write
from sidecar.domains import by_protocol
from sidecar.policy.bundle import Bundle
from sidecar.policy.language.brief import printable
from sidecar.review import crowd
from sidecar.review.coverage import report as coverage
from sidecar.review.coverage.report import Report
from sidecar.review.mutation import telling
from sidecar.review.mutation.run import Mutation
from sidecar.review.placing import within
from sidecar.review.reports.junit import junit
from sidecar.review.reports.results import RULES, results
from sidecar.review.reports.sarif import sarif
from sidecar.review.reports.summary import summary_page
from sidecar.review.reports.tap import tap
from sidecar.review.reports.tree import tree
from sidecar.review.reports.whole import whole
from sidecar.review.revision import bundle_at
from sidecar.review.testing.run import Outcome
from sidecar.runtime import exits
from sidecar.runtime.bundles import Snapshot, load_bundle, snapshot
from sidecar.terms.errors import PolicyError, SidecarError

Form = Literal["tree", "json", "junit", "tap", "sarif"]
# How often a folder is looked at for changes, and how long a run is silent on its progress.
_LOOK_EVERY_S: Final = 0.3
_SILENT_S: Final = 1.0


class Asked(msgspec.Struct, frozen=True):
    """The options of one run."""

    bundle: Path
    form: Form
    only: str | None
    coverage: bool
    coverage_form: Literal["json", "lcov"] | None
    coverage_file: Path | None
    fail_under: float | None
    since: str | None
    mutate: bool
    jobs: int
    summary: Path | None
    verbose: bool

    @property
    def counts(self) -> bool:
        """Return whether coverage is counted: any word about it asks for it."""
        about = (self.coverage_form, self.coverage_file, self.fail_under, self.since)
        return self.coverage or any(word is not None for word in about)


class Ran(msgspec.Struct, frozen=True):
    """What one run came to."""

    outcome: Outcome
    report: Report | None
    mutation: Mutation | None


@click.command("test")
@click.argument("bundle", type=FILE_OR_FOLDER, default="policies")
@click.option(
    "--format",
    "form",
    type=click.Choice(["tree", "json", "junit", "tap", "sarif"]),
    default="tree",
    help="Of what is printed.",
)
@click.option("--json", "form", flag_value="json", help="The same as --format json.")
@click.option("--filter", "only", help="Run the cells whose suite/test/principal/request holds it.")
@click.option("--coverage", is_flag=True, help="Say what of the policies the tests never show.")
@click.option("--coverage-format", "coverage_form", type=click.Choice(["json", "lcov"]))
@click.option("--coverage-file", type=OutputFile())
@click.option("--coverage-changed-since", "since", metavar="REV", help="Only what changed since.")
@click.option("--fail-under", type=click.FloatRange(0, 100), help="The least coverage, in percent.")
@click.option("--mutate", is_flag=True, help="See whether the tests notice small mistakes.")
@click.option("--jobs", type=click.IntRange(1), help="Processes at most; the processors there are.")
@click.option("--watch", is_flag=True, help="Run again whenever a file changes.")
@click.option(
    "--summary",
    type=OutputFile(),
    envvar="GITHUB_STEP_SUMMARY",
    show_envvar=True,
    help="Add a page of Markdown to this file.",
)
@click.option("--verbose", is_flag=True, help="Name every cell.")
@click.option("--fail-on-empty", is_flag=True, hidden=True, expose_value=False)
def command(jobs: int | None, *, watch: bool, **options: object) -> None:
    r"""Run the tests of a bundle: every principal with every request, as written.

    \b
    A cell that no expectation names is expected to be denied. A cell that fails
    shows each rule that was asked, with the clauses that made it say what it said.
    A second evaluator, cel-python, hears each rule and branch that the tests
    reach once for every outcome; what it is known to get wrong is listed with the
    clause of the specification, anything else fails the run.

    \b
    Coverage counts rules that held, both sides of each clause, entries of `match`
    and obligations. With --coverage-format it is written to --coverage-file, or
    printed in place of the run. --mutate puts one small mistake after another into
    the policies (a clause dropped or negated, an effect flipped, a match widened);
    one that no test notices is named, and fails the run.

    \b
    Exit codes: 0 all passed; 2 a file cannot be written; 3 the bundle does not
    load; 4 a test failed, the second evaluator disagrees, or a mutant survived;
    5 coverage is below --fail-under; 6 nothing ran, also for a --filter that names
    nothing (--fail-on-empty, which once asked for that, is still taken and does
    nothing).

    \b
    Examples:
      sidecar test policies
      sidecar test policies --filter finance --format json
      sidecar test policies --coverage --fail-under 100 --mutate
      sidecar test policies --coverage-format lcov > lcov.info
    """
    asked = msgspec.convert({**options, "jobs": jobs or crowd.processors()}, Asked)
    if watch:
        never = threading.Event()
        rerun(asked, lambda: not never.wait(_LOOK_EVERY_S))
        return
    code = _told(asked, _loaded(asked.bundle))
    if code != exits.OK:
        sys.exit(code)


def _told(asked: Asked, bundle: Bundle, files: frozenset[str] | None = None) -> int:
    """Run what is asked for, print it, and return the exit code.

    Args:
        asked: The options.
        bundle: Loaded.
        files: Run the suites of these files alone.
    """
    ran = _run(asked, bundle, files)
    if ran.report is not None and (asked.coverage_form or asked.coverage_file) is not None:
        _write_coverage(asked, ran.report)
    if asked.coverage_form is None or asked.coverage_file is not None:
        _print(asked, ran)
    if asked.summary is not None:
        page = summary_page(ran.outcome, ran.report, ran.mutation)
        write(asked.summary, page.encode(), adds=True)
    return _code(asked, ran)


def _run(asked: Asked, bundle: Bundle, files: frozenset[str] | None) -> Ran:
    chosen = crowd.Chosen(asked.only, files)
    with _Progress("cells") as progress:
        outcome = crowd.run_spread(
            bundle, chosen, coverage=asked.counts, jobs=asked.jobs, done=progress.more
        )
    report = None
    if outcome.coverage is not None:
        before = None if asked.since is None else bundle_at(asked.since, _loaded, asked.bundle)
        report = coverage.report_of(bundle, outcome.coverage, before)
    if not asked.mutate:
        return Ran(outcome, report, None)
    with _Progress("mutants") as progress:
        mutation = crowd.mutate_spread(bundle, chosen, jobs=asked.jobs, done=progress.more)
    return Ran(outcome, report, mutation)


def _loaded(path: Path) -> Bundle:
    return load_bundle(path, by_protocol())


def _code(asked: Asked, ran: Ran) -> int:
    outcome = ran.outcome
    if outcome.failed or outcome.opinion.disagreements:
        return exits.FAILED
    if not outcome.ran:
        return exits.EMPTY
    if ran.mutation is not None and not ran.mutation.passed:
        return exits.FAILED
    if asked.fail_under is not None and ran.report is not None:
        # Asked this way round, a threshold that is no number is never reached.
        is_enough = ran.report.whole.percent >= asked.fail_under
        return exits.OK if is_enough else exits.COVERAGE
    return exits.OK


def _write_coverage(asked: Asked, report: Report) -> None:
    if asked.coverage_form == "lcov":
        text = coverage.lcov(report, within(asked.bundle))
    else:
        told = coverage.as_json(report)
        text = orjson.dumps(told, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()
    if asked.coverage_file is None:
        click.echo(text, nl=False)
    else:
        write(asked.coverage_file, text.encode())


def _print(asked: Asked, ran: Ran) -> None:
    match asked.form:
        case "tree":
            _tree(asked, ran)
        case "json":
            told = whole(ran.outcome, ran.report, ran.mutation)
            click.echo(orjson.dumps(told, option=orjson.OPT_INDENT_2))
        case "junit":
            click.echo(junit(ran.outcome), nl=False)
        case "tap":
            click.echo(tap(ran.outcome), nl=False)
        case "sarif":
            found = list(results(ran.outcome, ran.report, ran.mutation))
            click.echo(sarif(found, RULES, __version__, within(asked.bundle)))


def _tree(asked: Asked, ran: Ran) -> None:
    console = Console(highlight=False, soft_wrap=True)
    for line in tree(ran.outcome, verbose=asked.verbose):
        console.print(line)
    told = [
        *(() if ran.report is None else coverage.lines(ran.report)),
        *(() if ran.mutation is None else telling.lines(ran.mutation)),
    ]
    for line in told:
        console.print(escape(printable(line)))


def rerun(asked: Asked, wait: Callable[[], bool]) -> None:
    """Run, and run again what a change may have changed: the suites of tests that changed alone.

    Args:
        asked: The options.
        wait: Waits a while; False ends the watch.
    """
    for changed in changes(asked.bundle, wait):
        try:
            bundle = _loaded(asked.bundle)
        except SidecarError as error:
            click.echo(str(error), err=True)
            continue
        is_tests_alone = bool(changed) and changed <= bundle.test_files.keys()
        _told(asked, bundle, changed if is_tests_alone else None)


def changes(path: Path, wait: Callable[[], bool]) -> Iterator[frozenset[str]]:
    """Yield the files that changed since the last time, first of all none.

    What cannot be looked at while it is written is looked at again.

    Args:
        path: Of the bundle.
        wait: Waits a while; False ends the watch.
    """
    known = _seen(path)
    yield frozenset()
    while wait():
        now = _seen(path)
        if now is None or now == known:
            continue
        changed = frozenset(name for name, *_ in set(now) ^ set(known or ()))
        known = now
        yield changed


def _seen(path: Path) -> Snapshot | None:
    try:
        return snapshot(path)
    except PolicyError:
        return None


class _Progress:
    """Counts on a terminal, after the first second alone, and leaves nothing behind."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._count = 0
        self._is_shown = sys.stderr.isatty()
        self._next_s = time.monotonic() + _SILENT_S

    def __enter__(self) -> Self:
        return self

    def more(self, count: int) -> None:
        """Take in that so many more are done."""
        self._count += count
        if self._is_shown and (now_s := time.monotonic()) >= self._next_s:
            self._next_s = now_s + _LOOK_EVERY_S
            click.echo(f"\r{self._count:,} {self._what} ", err=True, nl=False)

    def __exit__(self, *_: object) -> None:
        if self._is_shown:
            click.echo("\r\x1b[K", err=True, nl=False)
