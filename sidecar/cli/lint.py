"""`sidecar lint DIR`: what loads and is still likely wrong."""

import sys
from pathlib import Path

import click
import msgspec
import orjson

from sidecar.domains import by_protocol
from sidecar.policy.bundle import Bundle
from sidecar.review.costs import RuleCost, costs_of
from sidecar.review.finding import Finding
from sidecar.review.lint import lint
from sidecar.review.second import SecondOpinion, as_json, differing, rehearse, summary
from sidecar.runtime import exits
from sidecar.runtime.bundles import load_bundle


@click.command("lint")
@click.argument("bundle", type=click.Path(exists=True, path_type=Path), default="policies")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text")
@click.option("--json", "form", flag_value="json", help="The same as --format json.")
@click.option("--strict", is_flag=True, help="Warnings fail the run too.")
def command(bundle: Path, form: str, *, strict: bool) -> None:
    r"""Look for rules that load and are still likely wrong.

    Labels, parameters, words and types that are nowhere, context that a caller
    must be let say, reads that may err and so deny, rules without a test or a
    message, an allow of everything; conditions that may cost more than one
    evaluation has (`cost`). A second evaluator, cel-python, hears each rule and
    branch on inputs made up from what the rule reads; where it differs, and no
    clause of the specification is known to be against it, that is an error.

    As JSON: the findings, what each expression of each rule may cost (steps in n,
    the length of the call's lists), and what the second evaluator said.

    \b
    Exit codes: 0 clean, 3 the bundle does not load, 4 an error was found
    (with --strict also a warning).

    \b
    Example:
      sidecar lint policies --format json
    """
    loaded = load_bundle(bundle, by_protocol())
    opinion = rehearse(loaded)
    found = [*lint(loaded), *differing(opinion)]
    if form == "json":
        click.echo(orjson.dumps(_json(loaded, found, opinion), option=orjson.OPT_INDENT_2))
    else:
        for finding in found:
            click.echo(f"{finding.where}: {finding.level}: {finding.text} [{finding.code}]")
        count = "1 finding" if len(found) == 1 else f"{len(found)} findings"
        click.echo(count if found else "clean")
        click.echo(f"second evaluator: {summary(opinion)}")
    if any(strict or finding.level == "error" for finding in found):
        sys.exit(exits.FAILED)


def _json(bundle: Bundle, found: list[Finding], opinion: SecondOpinion) -> dict[str, object]:
    return {
        "findings": msgspec.to_builtins(found),
        "costs": [_costs(one) for one in costs_of(bundle)],
        "second_opinion": as_json(opinion),
    }


def _costs(rule: RuleCost) -> dict[str, object]:
    parts = [{"part": each.part, **msgspec.to_builtins(each.estimate)} for each in rule.parts]
    return {"rule": rule.rule, "where": rule.where, "parts": parts}
