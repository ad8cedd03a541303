"""`sidecar parse FILE|-`: what the sidecar sees, Call → Request."""

from pathlib import Path
from typing import BinaryIO

import click
import msgspec

from sidecar import flow
from sidecar.cli.decide import BUNDLE, CONFIG, LINES, show
from sidecar.cli.paths import named
from sidecar.policy.bundle import Bundle
from sidecar.runtime.dryrun import configured, dry_call, reading_bundle
from sidecar.terms.call import Json
from sidecar.terms.errors import EnvelopeError


@click.command("parse")
@click.argument("file", type=click.File("rb"))
@BUNDLE
@CONFIG
@LINES
@click.option("--json", "as_json", is_flag=True, help="One line, also on a terminal.")
def command(
    file: BinaryIO, bundle: Path | None, config: Path | None, *, jsonl: bool, as_json: bool
) -> None:
    r"""Show what the sidecar sees in a call: targets, native block, parse status.

    Everything is read, also what no rule of the bundle needs. The bundle's
    catalogues give labels and known tables; without a bundle there are none.

    \b
    Exit codes: 0 whatever the status of the parse,
    2 the envelope cannot be read, 3 the bundle does not load.

    \b
    Example:
      echo '{"protocol": "k8s", "call":
        {"method": "GET", "path": "/api/v1/namespaces/prod/pods/web-0"}}' |
      sidecar parse -
    """
    reading = reading_bundle(bundle, configured(config, bundle))
    if not jsonl:
        with named(file):
            show(_request(file.read(), reading), one_line=as_json)
        return
    for line in file:
        try:
            body = _request(line, reading)
        except EnvelopeError as error:
            body = {"error": str(error)}
        show(body, one_line=True)


def _request(data: bytes, bundle: Bundle) -> dict[str, Json]:
    """Return the Request as JSON; absent is omitted, not null."""
    request = flow.understand(dry_call(data), bundle)
    body = msgspec.to_builtins(request)
    return _shown(body)


def _shown(body: dict[str, Json]) -> dict[str, Json]:
    shown = {key: value for key, value in body.items() if value is not None}
    if shown["parse"].get("error") is None:
        shown["parse"] = {k: v for k, v in shown["parse"].items() if k != "error"}
    shown["parts"] = [_shown(part) for part in body["parts"]]
    return shown
