"""`sidecar decide FILE|-`: one Call → its Decision, as a dry run without a ledger."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import click
import orjson

from sidecar.cli.paths import NAMED, NAMED_FILE, named
from sidecar.intercept.envelope import decided
from sidecar.policy.bundle import Bundle
from sidecar.policy.language.brief import printable
from sidecar.runtime import exits
from sidecar.runtime.dryrun import (
    Tried,
    configured,
    dry_bundle,
    dry_call,
    dry_facts,
    explained,
    explained_lines,
    tried,
)
from sidecar.terms.call import Json
from sidecar.terms.errors import EnvelopeError

BUNDLE = click.option(
    "-b",
    "--bundle",
    type=NAMED,
    help="A bundle's folder or archive; without it the bundle of ./sidecar.yaml.",
)
CONFIG = click.option(
    "-c",
    "--config",
    type=NAMED_FILE,
    help="A sidecar.yaml: its bundle, unless -b says another, and its entities.",
)
LINES = click.option(
    "--jsonl",
    is_flag=True,
    help="One call a line in, one answer a line out, an error for a blank one; exit 0.",
)


@click.command("decide")
@click.argument("file", type=click.File("rb"))
@BUNDLE
@CONFIG
@LINES
@click.option(
    "--explain",
    flag_value="document",
    help="Also what each rule said and why, clause by clause, and what `match` left out.",
)
@click.option("--tree", "explain", flag_value="tree", help="The same as a tree, for people.")
@click.option("--json", "as_json", is_flag=True, help="One line, also on a terminal.")
def command(
    file: BinaryIO,
    bundle: Path | None,
    config: Path | None,
    *,
    jsonl: bool,
    explain: str | None,
    as_json: bool,
) -> None:
    r"""Decide one call. A dry run: nothing is recorded, nothing is forwarded.

    FILE holds the envelope of the call as JSON; `-` reads standard input. The
    parties are whoever the envelope names, nobody is revoked, and entities are
    those of the configuration.

    With --explain the answer has for every target each rule that was asked, and
    for each clause of its condition and variables the value it had or how it
    erred; a terminal shows a tree of the clauses that made it so.

    \b
    Exit codes: 0 permitted, 10 denied, 11 step_up or defer,
    2 the envelope cannot be read, 3 the bundle does not load.

    \b
    Example:
      printf '%s' '{"protocol": "sql",
        "subject": {"type": "user", "id": "alice"},
        "actors": [{"type": "agent", "id": "expense-bot"}],
        "call": {"dialect": "postgres", "text": "SELECT salary FROM hr.compensation"}}' |
      sidecar decide -b policies -
    """
    as_tree = explain is not None and not as_json and not jsonl
    as_tree = as_tree and (explain == "tree" or sys.stdout.isatty())
    found = configured(config, bundle)
    deciding, facts = dry_bundle(bundle, found), dry_facts(found)

    def answer(data: bytes) -> tuple[Tried, dict[str, Json]]:
        result = asyncio.run(tried(dry_call(data), deciding, facts))
        body = decided(result.decision)
        if explain is not None and not as_tree:
            body["explain"] = explained(result, deciding)
        return result, body

    if jsonl:
        for line in file:
            show(_or_error(line, answer), one_line=True)
        return
    with named(file):
        result, body = answer(file.read())
    if as_tree:
        _show_tree(result, deciding)
    else:
        show(body, one_line=as_json)
    sys.exit(_exit_code(result))


def _or_error(
    line: bytes, answer: Callable[[bytes], tuple[Tried, dict[str, Json]]]
) -> dict[str, Json]:
    try:
        body = answer(line)[1]
    except EnvelopeError as error:
        return {"error": str(error)}
    return body


def show(body: Json, *, one_line: bool) -> None:
    """Print an answer: indented for a person at a terminal, on one line for a program."""
    is_read = sys.stdout.isatty() and not one_line
    text = orjson.dumps(body, default=_plain, option=orjson.OPT_INDENT_2 if is_read else 0)
    click.echo(text)


def _show_tree(result: Tried, bundle: Bundle) -> None:
    said = result.decision
    click.echo(printable(f"{said.outcome}, {said.reason}: {said.message or 'no message'}"))
    for line in explained_lines(result, bundle):
        click.echo(line)


def _plain(value: Json) -> Json:
    """Return bytes as the promised text: a body that is no text has no JSON form of its own."""
    assert isinstance(value, bytes)
    return value.decode("utf-8", "backslashreplace")


def _exit_code(result: Tried) -> int:
    if result.decision.permitted:
        return exits.OK
    return exits.DENIED if result.decision.outcome == "deny" else exits.PENDING
