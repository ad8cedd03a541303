"""`sidecar cel EXPR`: evaluate one expression, or a line of JSON each with --jsonl."""

import sys
from typing import BinaryIO

import click
import msgspec

from sidecar.cli.decide import show
from sidecar.policy.trial import Trial, evaluate, from_json, to_json
from sidecar.runtime import exits
from sidecar.syntax import json
from sidecar.terms.call import Json
from sidecar.terms.errors import EnvelopeError, ParseError, TrialError


@click.command("cel")
@click.argument("expr", required=False)
@click.option("--input", "given", type=click.File("rb"), help="A JSON object: name → value.")
@click.option("--jsonl", is_flag=True, help="Read cases from standard input, one a line; exit 0.")
@click.option("--json", "typed", is_flag=True, help="Print the typed value.")
def command(expr: str | None, given: BinaryIO | None, *, jsonl: bool, typed: bool) -> None:
    r"""Evaluate a CEL expression with the engine that policies run on.

    With --jsonl each line is a case {"expr", "container"?, "disable_macros"?,
    "bindings"?: {name: VALUE}} and each answer {"value": VALUE} or
    {"error": text}. A VALUE names its type: {"int": "1"}, {"uint": "1"},
    {"double": "1.5"}, {"string": "a"}, {"bytes": "YQ=="}, {"bool": true},
    {"null": null}, {"list": [VALUE]}, {"map": [[VALUE, VALUE]]}, {"type": "int"}.

    \b
    Exit codes: 0 evaluated, 2 the expression does not compile or evaluate.

    \b
    Examples:
      sidecar cel '[1, 2, 3].exists(x, x > 2)'
      echo '{"subject": {"groups": ["finance"]}}' |
      sidecar cel "'finance' in subject.groups" --input -
    """
    if jsonl:
        for line in sys.stdin.buffer:
            show(_answer(line), one_line=True)
        return
    if expr is None:
        raise click.UsageError("EXPR is missing; with --jsonl cases come on standard input")
    try:
        value = evaluate(Trial(expr, bindings=_bindings(given)))
    except TrialError as error:
        click.echo(f"sidecar: {error}", err=True)
        sys.exit(exits.USAGE)
    body: Json = {"value": value} if typed else to_json(value)
    show(body, one_line=typed)


def _bindings(given: BinaryIO | None) -> dict[str, dict[str, Json]]:
    if given is None:
        return {}
    try:
        read = json.loads(given.read())
    except ParseError as error:
        raise EnvelopeError(str(error)) from None
    if not isinstance(read, dict):
        raise EnvelopeError("the input is a JSON object: name → value")
    return {name: from_json(value) for name, value in read.items()}


def _answer(line: bytes) -> dict[str, Json]:
    try:
        return {"value": evaluate(_trial(json.loads(line)))}
    except (EnvelopeError, ParseError, TrialError, msgspec.ValidationError) as error:
        return {"error": str(error)}


def _trial(read: Json) -> Trial:
    """Return a case; what a suite says beside it, its name and what it expects, is passed over."""
    if not isinstance(read, dict):
        raise EnvelopeError("a case is a JSON object")
    known = {key: read[key] for key in Trial.__struct_fields__ if key in read}
    return msgspec.convert(known, Trial)
