"""Run the cells of suites: the same parse, decide and enforce as in production, no ledger.

A cell needs nothing that is not at hand, so nothing is waited for. Beside each cell stand those who
learn from it: the second evaluator, and what counts coverage.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec

from sidecar import flow
from sidecar.decide import explain
from sidecar.decide.explained import target_lines
from sidecar.decide.target import Judged
from sidecar.facts.asking import next_stop
from sidecar.intercept.envelope import Seen, operator_call, read_envelope
from sidecar.policy.bundle import Bundle
from sidecar.policy.explained import explain_rule
from sidecar.review.coverage.collect import Coverage
from sidecar.review.second import SecondOpinion
from sidecar.review.testing.cells import Case, Cell, cases_of, suites_of
from sidecar.review.testing.expecting import causes, differences
from sidecar.review.testing.written import Expected, FactsDoc
from sidecar.terms.call import Call
from sidecar.terms.decision import Decision, Fact, FactKey, Facts
from sidecar.terms.errors import EnvelopeError
from sidecar.terms.request import Request
from sidecar.terms.spent import Spent
from sidecar.terms.words import CallId

# The decisions of tests are timed by nobody.
_NO_CLOCK: Final = Spent(lambda: 0.0)


class Outcome(msgspec.Struct, frozen=True):
    """What running all suites came to; `coverage` where it was asked for."""

    cells: tuple[Cell, ...]
    opinion: SecondOpinion
    coverage: Coverage | None = None

    @property
    def failed(self) -> int:
        """Return how many cells failed."""
        return sum(1 for cell in self.cells if cell.failed)

    @property
    def ran(self) -> int:
        """Return how many cells ran."""
        return sum(1 for cell in self.cells if cell.skipped is None)

    @property
    def skipped(self) -> int:
        """Return how many cells were skipped."""
        return len(self.cells) - self.ran


class Tried(msgspec.Struct, frozen=True):
    """One cell decided and enforced."""

    request: Request
    decision: Decision
    facts: Facts

    def differences(self, expected: Expected) -> tuple[str, ...]:
        """Return how it differs from what is expected."""
        is_read = self.request.parse.status != "failed"
        return differences(expected, self.decision, is_read=is_read)

    def judged(self, bundle: Bundle) -> list[Judged]:
        """Return what each matching rule said of each target."""
        if self.request.parse.status == "failed":
            return []
        return explain(self.request, bundle, self.facts)


def run_suites(bundle: Bundle, *, only: str | None = None, coverage: bool = False) -> Outcome:
    """Run every Test of the bundle in this process.

    Args:
        bundle: As compiled; its Test documents come with it.
        only: Run the cells whose `suite/test/principal/request` holds this text.
        coverage: Count what they show of the policies.

    Raises:
        PolicyError: A suite cannot be read.
    """
    cases = cases_of(suites_of(bundle), only)
    return run_cases(bundle, cases, Coverage(bundle) if coverage else None)


def run_cases(bundle: Bundle, cases: Iterable[Case], coverage: Coverage | None) -> Outcome:
    """Run these cells in their order."""
    runner = Runner(bundle, coverage)
    return Outcome(tuple(map(runner.run, cases)), runner.opinion, coverage)


class Runner:
    """Runs cells, and lets the second evaluator and the coverage hear each."""

    def __init__(self, bundle: Bundle, coverage: Coverage | None) -> None:
        self.opinion = SecondOpinion()
        self._bundle = bundle
        self._coverage = coverage

    def run(self, case: Case) -> Cell:
        """Return what a cell came to."""
        if case.test.skip:
            return _cell(case, "", (), skipped=case.test.skipReason or "skipped")
        try:
            call = call_of(case)
        except EnvelopeError as error:
            return _cell(case, "none", (f"not a call: {error}",))
        tried = try_call(call, self._bundle, case.suite.spec.facts)
        judged = tried.judged(self._bundle)
        self._hear(case, tried, judged)
        told = tried.differences(case.expected)
        outcome = tried.decision.outcome
        if not told:
            return msgspec.structs.replace(_cell(case, outcome, ()), erred=_erred(judged))
        explained = tuple(_explained(judged, tried, self._bundle))
        at = causes(case.expected, tried.decision, judged, self._bundle)
        found = _cell(case, outcome, told, explained=explained, at=at)
        return msgspec.structs.replace(found, erred=_erred(judged))

    def _hear(self, case: Case, tried: Tried, judged: list[Judged]) -> None:
        self.opinion.at = case.number
        # A rule on the subject alone says the same of every target, and saw the same.
        findings = {id(finding): finding for one in judged for finding in one.findings}
        for finding in findings.values():
            rule, facts = finding.rule, tried.facts
            told = explain_rule(rule, finding.data, facts, finding.error)
            self.opinion.hear(rule, told, finding.data, facts)
            if self._coverage is not None:
                self._coverage.hear(rule, told, held=finding.said == "held")
        if self._coverage is not None:
            self._coverage.saw(tried.decision, judged)


def _cell(
    case: Case,
    outcome: str,
    told: tuple[str, ...],
    *,
    explained: tuple[str, ...] = (),
    skipped: str | None = None,
    at: tuple[str, ...] = (),
) -> Cell:
    return Cell(
        suite=case.suite.name,
        test=case.test.name,
        principal=case.principal,
        request=case.asked.name,
        outcome=outcome,
        differences=told,
        explained=explained,
        skipped=skipped,
        where=case.where,
        at=at,
        source=case.suite.document.name,
    )


def _erred(judged: Sequence[Judged]) -> int:
    """Return how many rules erred."""
    found = (finding for one in judged for finding in one.findings if finding.error is not None)
    return len({finding.rule.key for finding in found})


def try_call(call: Call, bundle: Bundle, known: FactsDoc) -> Tried:
    """Return what a call comes to under a bundle, given the facts of its suite."""
    return try_request(call, flow.understand(call, bundle), bundle, known)


def try_request(call: Call, request: Request, bundle: Bundle, known: FactsDoc) -> Tried:
    """Return the same for a call that was understood before."""
    judging = flow.judging(request, bundle, Known(known).at_hand, _NO_CLOCK)
    stop = next_stop(judging, None)
    # Every fact is at hand: an entity that the suite does not have is null.
    assert not isinstance(stop, frozenset)
    said, facts = stop
    decision, _ = flow.enforce(call, request, said, bundle)
    return Tried(request, decision, facts)


def call_of(case: Case) -> Call:
    """Return the Call of a cell, read as `sidecar decide` reads one: an operator's envelope.

    Raises:
        EnvelopeError: It is not a Call, so there would be nothing to decide.
    """
    who, what = case.who, case.asked.request
    written = {
        "protocol": what.protocol,
        "subject": msgspec.to_builtins(who.subject),
        "actors": msgspec.to_builtins(who.actors),
        "context": what.context,
        "upstream": what.upstream,
        "call": what.call,
    }
    seen = Seen(CallId("test"), case.options.now, "test")
    return operator_call(read_envelope(written, trusted=True), seen)


class Known:
    """The facts of a suite: entities as written, nobody revoked but those listed."""

    def __init__(self, facts: FactsDoc) -> None:
        self._facts = facts

    def at_hand(self, keys: frozenset[FactKey]) -> Facts:
        """Return every fact that is asked for."""
        return {key: Fact(self._value(key), "test", "test") for key in keys}

    def _value(self, key: FactKey) -> object:
        if key.function == "revoked":
            return key.arguments[0] in self._facts.revoked
        kind, name = key.arguments
        return self._facts.entity.get(kind, {}).get(name)


def _explained(judged: Sequence[Judged], tried: Tried, bundle: Bundle) -> Iterator[str]:
    """Yield, for a cell that failed, what each rule said of each target, and why.

    Targets of which everything was said alike stand above it together.
    """
    decision = tried.decision
    yield f"reason {decision.reason}: {decision.message or ''}".rstrip(": ")
    alike: dict[tuple[str, ...], list[str]] = {}
    for one in judged:
        head, *said = target_lines(one, bundle, tried.facts)
        alike.setdefault(tuple(said), []).append(head)
    for lines, heads in alike.items():
        yield from heads
        yield from lines
