"""`sidecar cel`: one expression, a line of JSON each with --jsonl, or a prompt to try them at."""

import sys
from pathlib import Path
from typing import BinaryIO, TypedDict, Unpack

import click
import msgspec

from sidecar.cli.cel.prompt import converse
from sidecar.cli.cel.session import Session, read_object, shown, with_notes
from sidecar.cli.paths import NAMED, named
from sidecar.policy.bench import Bench
from sidecar.policy.trial import Trial, evaluate
from sidecar.runtime import exits
from sidecar.syntax import json
from sidecar.terms.call import Json
from sidecar.terms.errors import EnvelopeError, ParseError, TrialError


class _Stated(TypedDict):
    """The options."""

    given: BinaryIO | None
    call: BinaryIO | None
    bundle: Path | None
    rule: str | None
    explain: bool
    jsonl: bool
    typed: bool


@click.command("cel")
@click.argument("expr", required=False)
@click.option("--input", "given", type=click.File("rb"), help="A JSON object: name → value.")
@click.option(
    "--call", type=click.File("rb"), help="A call's envelope: names are what rules see of it."
)
@click.option(
    "-b",
    "--bundle",
    type=NAMED,
    help="With --call: the bundle whose catalogues, parameters and types it has.",
)
@click.option("--rule", help="With -b: `policy/rule`; its variables are names too.")
@click.option("--explain", is_flag=True, help="Also what made it so, clause by clause.")
@click.option("--jsonl", is_flag=True, help="Read cases from standard input, one a line; exit 0.")
@click.option("--json", "typed", is_flag=True, help="Print the typed value.")
def command(expr: str | None, **stated: Unpack[_Stated]) -> None:
    r"""Evaluate a CEL expression with the engine that policies run on.

    Without EXPR a terminal becomes a prompt with history and completion (Tab);
    `:help` says what it knows beside expressions. Where nobody types, each line
    of standard input is an expression or one of its commands.

    With --jsonl each line is a case {"expr", "container"?, "disable_macros"?,
    "bindings"?: {name: VALUE}} and each answer {"value": VALUE} or
    {"error": text}. A VALUE names its type: {"int": "1"}, {"uint": "1"},
    {"double": "1.5"}, {"string": "a"}, {"bytes": "YQ=="}, {"bool": true},
    {"null": null}, {"list": [VALUE]}, {"map": [[VALUE, VALUE]]}, {"type": "int"}.

    \b
    Exit codes: 0 evaluated, 2 an expression does not compile or evaluate.
    The error says where: line:column, the line itself, and carets below it.

    \b
    Examples:
      sidecar cel '[1, 2, 3].exists(x, x > 2)'
      sidecar cel --explain '[1, 2, 3].all(x, x > 2)'
      echo '{"subject": {"groups": ["finance"]}}' |
      sidecar cel "'finance' in subject.groups" --input -
      sidecar cel --call call.json -b policies
    """
    if stated["jsonl"]:
        for line in sys.stdin.buffer:
            click.echo(msgspec.json.encode(_answer(line)))
        return
    session = Session(_bench(stated))
    if expr is None:
        sys.exit(exits.OK if converse(session) else exits.USAGE)
    try:
        _once(session, expr, stated)
    except TrialError as error:
        click.echo(f"sidecar: {with_notes(error)}", err=True)
        sys.exit(exits.USAGE)


def _once(session: Session, expr: str, stated: _Stated) -> None:
    if stated["explain"]:
        click.echo(session.explain(expr))
    elif stated["typed"]:
        click.echo(msgspec.json.encode({"value": session.typed(expr)}))
    else:
        click.echo(shown(session.plain(expr), indented=sys.stdout.isatty()))


def _bench(stated: _Stated) -> Bench:
    call, bundle = stated["call"], stated["bundle"]
    if call is None and bundle is None:
        bench = Bench()
    else:
        # Loaded late: what reads calls brings every domain along.
        from sidecar.runtime.dryrun import bench_of

        with named(call):
            bench = bench_of(call.read() if call is not None else None, bundle, stated["rule"])
    given = stated["given"]
    with named(given):
        values = read_object(given.read() if given is not None else b"{}")
    for name, value in values.items():
        bench.give(name, value)
    return bench


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
