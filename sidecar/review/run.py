"""Run suites over a bundle: the same parse, decide and enforce as in production, no ledger."""

import asyncio
from collections.abc import Iterator

import msgspec

from sidecar import flow
from sidecar.decide import explain
from sidecar.decide.pdp import REVOKED
from sidecar.decide.target import Judged
from sidecar.decide.told import target_lines
from sidecar.intercept.envelope import Seen, operator_call, read_envelope
from sidecar.policy.bundle import Bundle
from sidecar.review.second import SecondOpinion
from sidecar.review.suite import (
    Expected,
    Suite,
    SuiteSpec,
    TestDoc,
    expectation,
    read_suite,
)
from sidecar.terms.call import Call
from sidecar.terms.decision import Decision, Fact, FactKey, Facts
from sidecar.terms.errors import EnvelopeError, PolicyError
from sidecar.terms.words import CallId


class Cell(msgspec.Struct, frozen=True):
    """One cell of a matrix: what was expected, what came, and in which ways they differ."""

    suite: str
    test: str
    principal: str
    request: str
    outcome: str
    differences: tuple[str, ...]
    explained: tuple[str, ...] = ()
    skipped: str | None = None
    where: str = ""

    @property
    def passed(self) -> bool:
        """Return whether the cell came out as expected."""
        return not self.differences


class Outcome(msgspec.Struct, frozen=True):
    """What running all suites came to."""

    cells: tuple[Cell, ...]
    opinion: SecondOpinion

    @property
    def failed(self) -> int:
        """Return how many cells failed."""
        return sum(1 for cell in self.cells if not cell.passed and cell.skipped is None)

    @property
    def ran(self) -> int:
        """Return how many cells ran."""
        return sum(1 for cell in self.cells if cell.skipped is None)


def run_suites(bundle: Bundle, *, only: str | None = None) -> Outcome:
    """Run every Test of the bundle.

    Args:
        bundle: As compiled; its Test documents come with it.
        only: Run the tests whose `suite/test` holds this text.

    Raises:
        PolicyError: A suite cannot be read.
    """
    opinion = SecondOpinion()
    cells: list[Cell] = []
    for suite in suites_of(bundle):
        for index, test in enumerate(suite.spec.tests):
            if only is None or only in f"{suite.name}/{test.name}":
                cells.extend(_run_test(bundle, suite, index, test, opinion))
    return Outcome(tuple(cells), opinion)


def suites_of(bundle: Bundle) -> list[Suite]:
    """Return every suite of the bundle; PolicyError has the problems of all of them."""
    known = {rule.key for rule in bundle.rules} | {f"{REVOKED.policy}/{REVOKED.id}"}
    problems: list[str] = []
    found: list[Suite] = []
    for document, metadata in bundle.tests:
        try:
            suite = read_suite(document, metadata.name)
        except PolicyError as error:
            problems.extend(error.problems)
        else:
            found.append(suite)
            problems.extend(_unknown_rules(suite, known))
    if problems:
        raise PolicyError(*problems)
    return found


def _unknown_rules(suite: Suite, known: set[str]) -> Iterator[str]:
    """Yield a problem for each rule that the bundle does not have: it would be silent for ever."""
    for index, test in enumerate(suite.spec.tests):
        for number, expected in enumerate(test.expected):
            where = suite.document.where("spec", "tests", index, "expected", number)
            named = (*(expected.rules or ()), *(expected.silent or ()))
            yield from (
                f"{where}: `{rule}` is no rule of this bundle"
                for rule in named
                if rule not in known
            )


def _run_test(
    bundle: Bundle, suite: Suite, index: int, test: TestDoc, opinion: SecondOpinion
) -> list[Cell]:
    where = suite.document.where("spec", "tests", index)
    cells = []
    for principal in test.input.principals:
        for request in test.input.requests:
            names = (suite.name, test.name, principal, request)
            if test.skip:
                reason = test.skipReason or "skipped"
                cells.append(Cell(*names, "", (), skipped=reason, where=where))
                continue
            expected = expectation(test, principal, request)
            cells.append(_run_cell(bundle, suite.spec, names, expected, opinion, where))
    return cells


def _run_cell(
    bundle: Bundle,
    spec: SuiteSpec,
    names: tuple[str, str, str, str],
    expected: Expected,
    opinion: SecondOpinion,
    where: str,
) -> Cell:
    try:
        call = _call(spec, names[2], names[3])
    except EnvelopeError as error:
        return Cell(*names, "none", (f"not a call: {error}",), where=where)
    request = flow.understand(call, bundle)
    said, facts = asyncio.run(flow.judge(request, bundle, _Fixed(spec)))
    decision, _ = flow.enforce(call, request, said, bundle)
    judged = explain(request, bundle, facts) if request.parse.status != "failed" else []
    opinion.hear(judged, facts)
    differences = _differences(expected, decision)
    explained = tuple(_explained(judged, decision, bundle, facts)) if differences else ()
    return Cell(*names, decision.outcome, differences, explained, where=where)


def _call(spec: SuiteSpec, principal: str, request: str) -> Call:
    """Return the Call of a cell, read as `sidecar decide` reads one: an operator's envelope.

    Raises:
        EnvelopeError: It is not a Call, so there would be nothing to decide.
    """
    who, what = spec.principals[principal], spec.requests[request]
    written = {
        "protocol": what.protocol,
        "subject": msgspec.to_builtins(who.subject),
        "actors": msgspec.to_builtins(who.actors),
        "context": what.context,
        "upstream": what.upstream,
        "call": what.call,
    }
    seen = Seen(CallId("test"), spec.options.now, "test")
    return operator_call(read_envelope(written, trusted=True), seen)


class _Fixed:
    """The facts of a suite: entities as written, nobody revoked but those listed."""

    def __init__(self, spec: SuiteSpec) -> None:
        self._facts = spec.facts

    async def fetch(self, keys: frozenset[FactKey]) -> Facts:
        return {key: Fact(self._value(key), "test", "test") for key in keys}

    def _value(self, key: FactKey) -> object:
        if key.function == "revoked":
            return key.arguments[0] in self._facts.revoked
        kind, name = key.arguments
        return self._facts.entity.get(kind, {}).get(name)


def _differences(expected: Expected, decision: Decision) -> tuple[str, ...]:
    spoke = {f"{rule.policy}/{rule.id}" for rule in decision.rules}
    pairs: list[tuple[str, object, object]] = [("outcome", expected.outcome, decision.outcome)]
    if expected.reason is not None:
        pairs.append(("reason", expected.reason, decision.reason))
    elif decision.reason == "parse.envelope":
        # A slip of the pen is denied as well, and would pass wherever a denial is expected.
        pairs.append(("reason", "a call of its protocol's shape", decision.reason))
    if expected.message is not None:
        pairs.append(("message", expected.message, decision.message))
    if expected.errors is not None:
        pairs.append(("errors", expected.errors, len(decision.errors)))
    if expected.obligations is not None:
        found = sorted(obligation.type for obligation in decision.obligations)
        pairs.append(("obligations", sorted(expected.obligations), found))
    told = [f"{what}: expected {want}, got {got}" for what, want, got in pairs if want != got]
    silent = [rule for rule in expected.rules or () if rule not in spoke]
    if silent:
        told.append(
            f"rules: {', '.join(silent)} did not speak; spoke: {', '.join(sorted(spoke)) or 'none'}"
        )
    loud = [rule for rule in expected.silent or () if rule in spoke]
    if loud:
        told.append(f"silent: {', '.join(loud)} spoke")
    return tuple(told)


def _explained(
    judged: list[Judged], decision: Decision, bundle: Bundle, facts: Facts
) -> Iterator[str]:
    """Yield, for a cell that failed, what each rule said of each target, and why."""
    yield f"reason {decision.reason}: {decision.message or ''}".rstrip(": ")
    for one in judged:
        yield from target_lines(one, bundle, facts)
