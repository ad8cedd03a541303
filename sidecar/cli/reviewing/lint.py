"""`sidecar lint DIR`: what loads and is still likely wrong."""

import sys
from pathlib import Path

import click
import msgspec
import orjson

from sidecar import __version__
from sidecar.cli.paths import FILE_OR_FOLDER
from sidecar.domains import by_protocol
from sidecar.review.finding import Finding
from sidecar.review.linting import Looked, described, inspect
from sidecar.review.linting.checks.costs import RuleCost, costs_of
from sidecar.review.placing import within
from sidecar.review.reports.sarif import Result, sarif
from sidecar.review.second import SecondOpinion, as_json, differing, rehearse, summary
from sidecar.runtime import exits
from sidecar.runtime.bundles import load_bundle


@click.command("lint")
@click.argument("bundle", type=FILE_OR_FOLDER, default="policies")
@click.option(
    "--format", "form", type=click.Choice(["text", "json", "sarif"]), default="text",
    help="sarif: for code hosts, on the line that is meant."
)  # fmt: skip
@click.option("--json", "form", flag_value="json", help="The same as --format json.")
@click.option("--strict", is_flag=True, help="Warnings fail the run too.")
def command(bundle: Path, form: str, *, strict: bool) -> None:
    r"""Look for rules that load and are still likely wrong.

    Rules that permit everything or nothing, that other rules leave nothing to say,
    that match nothing there is; labels, parameters, words and types that are
    nowhere; conditions that always or never hold, reads that may err and so deny,
    slips of the pen; rules without a test or a message; what may cost more than
    one evaluation has. A second evaluator, cel-python, hears each rule and branch
    on inputs made up from what the rule reads; where it differs, and no clause of
    the specification is known to be against it, that is an error.

    A policy exempts itself, or one of its rules, from a check in its metadata,
    with a reason; what is exempt is counted, and an exemption that is left over
    is a finding:

    \b
      metadata:
        name: audit
        lint: {ignore: [{code: anybody, rule: log, reason: a log takes from all}]}

    As JSON: the findings, what each expression of each rule may cost (steps in n,
    the length of the call's lists), and what the second evaluator said.

    \b
    Exit codes: 0 clean, 3 the bundle does not load, 4 an error was found
    (with --strict also a warning).

    \b
    Examples:
      sidecar lint policies --format json
      sidecar lint policies --format sarif > lint.sarif
    """
    looked = Looked(load_bundle(bundle, by_protocol()))
    opinion = rehearse(looked.bundle)
    every = inspect(looked, tuple(differing(opinion)))
    found = [finding for finding in every if finding.accepted is None]
    if form == "json":
        click.echo(orjson.dumps(_json(looked, every, opinion), option=orjson.OPT_INDENT_2))
    elif form == "sarif":
        results = [_result(finding) for finding in every]
        click.echo(sarif(results, described(), __version__, within(bundle)))
    else:
        _text(found, len(every) - len(found))
        click.echo(f"second evaluator: {summary(opinion)}")
    if any(strict or finding.level == "error" for finding in found):
        sys.exit(exits.FAILED)


def _text(found: list[Finding], exempt: int) -> None:
    for finding in found:
        click.echo(f"{finding.where}: {finding.level}: {finding.text} [{finding.code}]")
    count = "1 finding" if len(found) == 1 else f"{len(found)} findings"
    told = count if found else "clean"
    click.echo(f"{told}, {exempt} exempt" if exempt else told)


def _result(finding: Finding) -> Result:
    file, line, column = finding.where.rsplit(":", 2)
    return Result(
        rule=finding.code,
        level=finding.level,
        message=finding.text,
        file=file,
        line=int(line),
        column=int(column),
        accepted=finding.accepted,
    )


def _json(looked: Looked, found: list[Finding], opinion: SecondOpinion) -> dict[str, object]:
    return {
        "findings": [_told(one) for one in found if one.accepted is None],
        "exempt": [_told(one) for one in found if one.accepted is not None],
        "costs": [_costs(one) for one in costs_of(looked)],
        "second_opinion": as_json(opinion),
    }


def _told(finding: Finding) -> dict[str, object]:
    told: dict[str, object] = msgspec.to_builtins(finding)
    if finding.accepted is None:
        del told["accepted"]
    return told


def _costs(rule: RuleCost) -> dict[str, object]:
    parts = [{"part": each.part, **msgspec.to_builtins(each.estimate)} for each in rule.parts]
    return {"rule": rule.rule, "where": rule.where, "parts": parts}
