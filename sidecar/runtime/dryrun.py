"""What an operator asks at the command line: a call read and decided by a bundle, without a ledger.

The path is `flow`'s own functions, so a dry run says what the sidecar would; only facts differ:
nobody is revoked (source `dry_run`), and entities are those of the configuration, if there is one.
"""

import asyncio
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from sidecar import flow
from sidecar.decide import explain
from sidecar.decide.explained import target_json, target_lines
from sidecar.decide.view import View
from sidecar.domains import by_protocol
from sidecar.facts.asking import Fetches
from sidecar.facts.sources import Entities, Provider, Sources
from sidecar.intercept.envelope import Seen, operator_call, read_envelope
from sidecar.policy.bench import Bench
from sidecar.policy.bundle import Bundle, compile_bundle
from sidecar.policy.cel import ROOTS
from sidecar.policy.rules import Rule
from sidecar.policy.sources import BUNDLE_FILE
from sidecar.runtime.bundles import load_bundle, read_source
from sidecar.runtime.config import DEFAULT_FILE, Config, load_config
from sidecar.runtime.reload import load_entities
from sidecar.syntax import json
from sidecar.terms.call import Call, Json
from sidecar.terms.decision import Decision, Fact, FactKey, Facts
from sidecar.terms.errors import ConfigError, EnvelopeError, ParseError, TrialError
from sidecar.terms.ids import rfc3339, uuid7
from sidecar.terms.request import Request
from sidecar.terms.words import PHASES

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

    def at_hand(self, arguments: tuple[str, ...]) -> Fact | None:
        """Return that nobody is."""
        return Fact(value=False, source="dry_run", revision="none")

    async def fetch(self, arguments: tuple[str, ...]) -> Fact | None:
        """Return what is at hand: nothing here is waited for."""
        return self.at_hand(arguments)


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


async def tried(call: Call, bundle: Bundle, facts: Fetches) -> Tried:
    """Return what would be decided on `call`, obligations carried out, nothing recorded."""
    request = flow.understand(call, bundle)
    said, used = await flow.judge(request, bundle, facts)
    decision, _ = flow.enforce(call, request, said, bundle)
    return Tried(request, decision, used)


def explained(trial: Tried, bundle: Bundle) -> list[dict[str, Json]]:
    """Return every rule that was considered, target by target, with what it said and its text.

    `not_matched` are the other rules of the protocol, each with what left it out.
    """
    if trial.request.parse.status == "failed":
        return []
    targets = explain(trial.request, bundle, trial.facts)
    return [target_json(judged, bundle, trial.facts) for judged in targets]


def explained_lines(trial: Tried, bundle: Bundle) -> list[str]:
    """Return the same for a person: which clause was false or erred, and with what value."""
    if trial.request.parse.status == "failed":
        return []
    targets = explain(trial.request, bundle, trial.facts)
    return [line for judged in targets for line in target_lines(judged, bundle, trial.facts)]


def bench_of(call: bytes | None, bundle: Path | None, rule: str | None) -> Bench:
    """Return a bench on which the roots have the values of a call, and the types of a bundle.

    Args:
        call: An envelope; what it names first is `resource` and `action`.
        bundle: As stated; without it that of ./sidecar.yaml, or none.
        rule: `policy/rule` whose variables are names too.

    Raises:
        EnvelopeError: The call cannot be read, or has no target.
        ConfigError: There is no such rule.
    """
    config = configured(None, bundle)
    reading = reading_bundle(bundle, config)
    roots = reading.vocabulary
    sources = dry_facts(config)

    def fetch(keys: frozenset[FactKey]) -> Facts:
        return asyncio.run(sources.fetch(keys))

    bench = Bench(roots.seen(roots.calls((), frozenset(PHASES))), fetch)
    if call is not None:
        _give_roots(bench, call, reading)
    if rule is not None:
        _give_variables(bench, _rule(reading, rule))
    return bench


def _give_roots(bench: Bench, call: bytes, bundle: Bundle) -> None:
    request = flow.understand(dry_call(call), bundle)
    if request.parse.error is not None:
        raise EnvelopeError(f"the call cannot be read: {request.parse.error.text}")
    view = View(request, request, bundle)
    for name, value in view.of(ROOTS, request.targets[0]).items():
        bench.give(name, value)


def _give_variables(bench: Bench, rule: Rule) -> None:
    """Let a rule's variables stand for their values; one that errs stands for nothing."""
    for name, expression in rule.variables:
        try:
            bench.names[f"variables.{name}"] = bench.value(expression.source)
        except TrialError:
            continue


def _rule(bundle: Bundle, key: str) -> Rule:
    for rule in bundle.rules:
        if rule.key == key:
            return rule
    raise ConfigError(f"`{key}` is no rule of this bundle")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
