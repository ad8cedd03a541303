"""`sidecar surface AGENT`: what an agent may reach under a bundle, as table, JSON or a page."""

from pathlib import Path
from typing import Final

import click
import msgspec
import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sidecar.cli.paths import FILE, FILE_OR_FOLDER, OutputFile, write
from sidecar.domains import by_protocol
from sidecar.policy.bundle import Bundle
from sidecar.review.surface.page import page, summary, undecided, words
from sidecar.review.surface.reach import Caller, Reached, reach
from sidecar.runtime.bundles import load_bundle
from sidecar.runtime.config import Config
from sidecar.runtime.dryrun import configured
from sidecar.syntax import json
from sidecar.terms.call import Json, Party
from sidecar.terms.errors import ConfigError, ParseError

_COLOURS: Final = {"allowed": "green", "conditional": "yellow", "approval": "blue", "denied": "dim"}
_WIDTH: Final = 200


@click.command("surface")
@click.argument("agent")
@click.option(
    "-b",
    "--bundle",
    type=FILE_OR_FOLDER,
    help="A bundle's folder or archive (default: that of ./sidecar.yaml).",
)
@click.option(
    "-c",
    "--config",
    type=FILE,
    help="Where AGENT is a workload, or a workload's actor: its parties are taken from there.",
)
@click.option("--subject", help="`type:id` of whom it acts for, where no workload says it.")
@click.option("--groups", help="Groups of the subject, with commas between.")
@click.option("--properties", help="More properties of the subject, a JSON object.")
@click.option("--denied", "with_denied", is_flag=True, help="What is denied as well.")
@click.option("--json", "as_json", is_flag=True, help="One object for programs.")
@click.option("--html", type=OutputFile(), help="Write a page.")
def command(agent: str, *, as_json: bool, with_denied: bool, **said: object) -> None:
    r"""Show what AGENT may reach in every domain: allowed, on conditions, after approval, denied.

    What there is comes from the catalogues of the bundle, and from what its rules
    speak of. Of a call nothing is known but who makes it: what else a rule reads
    stays as a condition, as it is written. AGENT is the id of a workload of the
    configuration, or of an agent, `type:id` for another type. Revocations, facts and
    what a server upstream refuses by itself are not looked at.

    \b
    Exit codes: 0 shown, 2 the configuration cannot be used or the page not written,
    3 the bundle does not load.

    \b
    Examples:
      sidecar surface expense-bot --html surface.html
      sidecar surface expense-bot -b policies --subject user:alice --groups finance
    """
    stated, file, html = said["bundle"], said["config"], said["html"]
    bundle_path = stated if isinstance(stated, Path) else None
    config = configured(file if isinstance(file, Path) else None, bundle_path)
    if bundle_path is None:
        if config is None:
            raise ConfigError("no bundle: say which with `-b DIR`, or run where a sidecar.yaml is")
        bundle_path = config.bundle
    bundle = load_bundle(bundle_path, by_protocol())
    caller = _caller(agent, config, said)
    found = reach(bundle, caller)
    name = f"{bundle.name} {bundle.version}"
    if isinstance(html, Path):
        write(html, page(caller.name, name, found).encode())
    if as_json:
        click.echo(orjson.dumps(_json(bundle, caller, found), option=orjson.OPT_INDENT_2))
    elif isinstance(html, Path):
        click.echo(f"{html}: {len(found)} things")
    else:
        _show(found, f"{caller.name} under {name}", with_denied=with_denied)


def _caller(agent: str, config: Config | None, said: dict[str, object]) -> Caller:
    """Return who calls: a workload of the configuration, else what the options say."""
    subject, groups, properties = said["subject"], said["groups"], said["properties"]
    known = _properties(groups, properties)
    if not isinstance(subject, str):
        for workload in config.workloads if config is not None else ():
            acts = workload.actor
            if agent in (workload.id, None if acts is None else acts.id):
                stands = workload.subject
                on = Party("service", workload.id) if stands is None else stands.party()
                on = msgspec.structs.replace(on, properties={**on.properties, **known})
                return Caller(on, () if acts is None else (acts.party(),))
    kind, colon, id_ = agent.partition(":")
    actor = Party(kind, id_) if colon else Party("agent", agent)
    if not isinstance(subject, str):
        on = msgspec.structs.replace(actor, properties=known)
        return Caller(on, is_whole=bool(known))
    kind, colon, id_ = subject.partition(":")
    if not colon:
        raise ConfigError(f"--subject: expected `type:id`, found `{subject}`")
    return Caller(Party(kind, id_, known), (actor,), is_whole=bool(known))


def _properties(groups: object, properties: object) -> dict[str, Json]:
    known: dict[str, Json] = {}
    if isinstance(properties, str):
        try:
            found = json.loads(properties)
        except ParseError as error:
            raise ConfigError(f"--properties: {error}") from None
        if not isinstance(found, dict):
            raise ConfigError("--properties: expected a JSON object")
        known.update(found)
    if isinstance(groups, str):
        known["groups"] = [one.strip() for one in groups.split(",") if one.strip()]
    return known


def _json(bundle: Bundle, caller: Caller, found: list[Reached]) -> dict[str, object]:
    return {
        "agent": caller.name,
        "caller": msgspec.to_builtins(caller),
        "policy": msgspec.to_builtins(bundle.stamp),
        "summary": summary(found),
        "undecided": undecided(found),
        "things": msgspec.to_builtins(found),
    }


def _show(found: list[Reached], title: str, *, with_denied: bool) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _WIDTH
    console.print(Text(title, "bold"))
    for protocol, counts in summary(found).items():
        told = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
        console.print(Text(f"  {protocol}: {told}"))
    table = Table("", "protocol", "class", "resource", "how", box=None, pad_edge=False)
    for one in found:
        if with_denied or one.status != "denied":
            thing, status = one.thing, Text(one.status, _COLOURS[one.status])
            how = Text("; ".join(words(one)))
            resource = Text(" ".join((thing.resource, *(f"[{label}]" for label in thing.labels))))
            table.add_row(status, thing.protocol, thing.cls, resource, how)
    console.print(table)
    if paths := undecided(found):
        console.print(Text("not decided without a call:", "bold"))
        for path, count in paths.items():
            console.print(Text(f"  {path} ({count})"))
