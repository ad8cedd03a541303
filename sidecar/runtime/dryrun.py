"""What an operator asks at the command line: a call read and decided by a bundle, without a ledger.

The path is `flow`'s own functions, so a dry run says what the sidecar would; only facts differ:
nobody is revoked (source `dry_run`), and entities are those of the configuration, if there is one.
"""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from sidecar import flow
from sidecar.decide import explain, left_out
from sidecar.decide.evaluate import Finding
from sidecar.domains import by_protocol
from sidecar.facts.sources import Entities, Provider, Sources
from sidecar.intercept.envelope import Seen, operator_call, read_envelope
from sidecar.policy.bundle import BUNDLE_FILE, Bundle, compile_bundle
from sidecar.runtime.bundles import load_bundle, read_source
from sidecar.runtime.config import DEFAULT_FILE, Config, load_config
from sidecar.runtime.reload import load_entities
from sidecar.syntax import json
from sidecar.terms.call import Call, Json
from sidecar.terms.decision import Decision, Fact, Facts
from sidecar.terms.errors import ConfigError, EnvelopeError, ParseError
from sidecar.terms.ids import rfc3339, uuid7
from sidecar.terms.request import Request

_NO_BUNDLE: Final = (
    "no bundle: say which with `-b DIR`, or run where a sidecar.yaml is "
    "(`sidecar init DIR` makes one)"
)
# A rule that reads everything: `parse` shows what a rule could read, whatever the rules now need.
_READS_ALL: Final = b"""\
apiVersion: sidecar/v1
kind: Policy
metadata: {name: dry-run-reads-everything}
spec:
  rules:
    - {id: everything, effect: deny, when: "request == request"}
"""
_EMPTY_BUNDLE: Final = b'{name: none, version: "0"}\n'


class NobodyIsRevoked:
    """`revoked` at a dry run, where there is no ledger to say otherwise."""

    async def fetch(self, arguments: tuple[str, ...]) -> Fact | None:
        """Return false."""
        return Fact(value=False, source="dry_run", revision="none")


class Tried(NamedTuple):
    """A call as it was decided at a dry run, and what it was decided from."""

    request: Request
    decision: Decision
    facts: Facts


def configured(file: Path | None, bundle: Path | None) -> Config | None:
    """Return the configuration that a dry run stands on.

    Args:
        file: As stated with `-c`.
        bundle: As stated with `-b`: with it, ./sidecar.yaml is not looked for.
    """
    if file is not None:
        return load_config(file)
    here = Path(DEFAULT_FILE)
    return load_config(here) if bundle is None and here.exists() else None


def dry_bundle(stated: Path | None, config: Config | None) -> Bundle:
    """Return the bundle that decides. Raises ConfigError when nobody names one."""
    return load_bundle(_place(stated, config), by_protocol())


def reading_bundle(stated: Path | None, config: Config | None) -> Bundle:
    """Return a bundle that reads everything of a call, with the catalogues of the one named.

    Without any, calls are read without a catalogue.
    """
    files: Mapping[str, bytes] = {BUNDLE_FILE: _EMPTY_BUNDLE}
    if stated is not None or config is not None:
        files = read_source(_place(stated, config)).files
    return compile_bundle({**files, "dry-run-reads-everything.yaml": _READS_ALL}, by_protocol())


def _place(stated: Path | None, config: Config | None) -> Path:
    if stated is not None:
        if not stated.exists():
            raise ConfigError(f"{stated}: there is no such bundle")
        return stated
    if config is None:
        raise ConfigError(_NO_BUNDLE)
    return config.bundle


def dry_facts(config: Config | None) -> Sources:
    """Return the facts of a dry run."""
    providers: dict[str, Provider] = {"revoked": NobodyIsRevoked()}
    if config is not None and config.entities is not None:
        entities = Entities(_now_ms)
        load_entities(config.entities, entities)
        providers["entity"] = entities
    return Sources(providers)


def dry_call(data: bytes | str) -> Call:
    """Return the Call of one envelope.

    Raises:
        EnvelopeError: It is not JSON read strictly, or not an envelope.
    """
    try:
        body = json.loads(data)
    except ParseError as error:
        raise EnvelopeError(str(error)) from None
    envelope = read_envelope(body, trusted=True)
    seen = Seen(uuid7(_now_ms(), os.urandom(10)), rfc3339(time.time_ns() // 1_000), "cli")
    return operator_call(envelope, seen)


async def tried(call: Call, bundle: Bundle, facts: flow.FactSource) -> Tried:
    """Return what would be decided on `call`, obligations carried out, nothing recorded."""
    request = flow.understand(call, bundle)
    said, used = await flow.judge(request, bundle, facts)
    decision, _ = flow.enforce(call, request, said, bundle)
    return Tried(request, decision, used)


def explained(found: Tried, bundle: Bundle) -> list[dict[str, Json]]:
    """Return every rule that was considered, target by target, with what it said and its text.

    `not_matched` are the other rules of the protocol, each with what left it out.
    """
    if found.request.parse.status == "failed":
        return []
    return [
        {
            "action": judged.target.action.name,
            "class": judged.target.action.cls,
            "resource": judged.target.resource.key,
            "labels": list(judged.target.resource.labels),
            "outcome": judged.outcome,
            "rules": [_said(finding) for finding in judged.findings],
            "not_matched": [
                {"rule": rule.key, "effect": rule.effect, "by": by, "at": rule.where}
                for rule, by in left_out(judged, bundle)
            ],
        }
        for judged in explain(found.request, bundle, found.facts)
    ]


def _said(finding: Finding) -> dict[str, Json]:
    rule = finding.rule
    said: dict[str, Json] = {"rule": rule.key, "effect": rule.effect, "said": finding.said}
    if rule.when is not None:
        said["when"] = rule.when.source
    if finding.variables:
        said["variables"] = finding.variables
    if finding.error is not None:
        said["error"] = finding.error
    return {**said, "at": rule.where}


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
