"""Run the tests on every mutant: one that no cell notices survives, and names what is not tested.

Only cells are run that reach the mutant's rule, or that it has come to reach: no other can come out
otherwise. What calls mean does not hang on rules, so each is read once. The first cell that comes
out otherwise than expected ends a mutant.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from sidecar.policy.bundle import Bundle
from sidecar.policy.documents import Metadata
from sidecar.policy.match import Filter
from sidecar.policy.rules import PolicyReader, Rule
from sidecar.review.mutation.mutants import Mutant
from sidecar.review.testing.cells import Case
from sidecar.review.testing.run import call_of, try_call, try_request
from sidecar.terms.call import Call
from sidecar.terms.errors import EnvelopeError
from sidecar.terms.request import Request, Target, each_request


class Survivor(msgspec.Struct, frozen=True):
    """A mistake that no test notices; `reached` says how many cells saw its rule."""

    rule: str
    what: str
    where: str
    before: str
    after: str
    reached: int


class LeftOver(msgspec.Struct, frozen=True):
    """What is said of a mutant that did not survive."""

    where: str
    text: str


class Mutation(msgspec.Struct, frozen=True):
    """What became of all mutants; `equal` are survivors that are said to be no mistakes."""

    killed: int
    survivors: tuple[Survivor, ...]
    equal: tuple[Survivor, ...] = ()
    left_over: tuple[LeftOver, ...] = ()

    @property
    def passed(self) -> bool:
        """Return whether every mistake was noticed, and nothing is said of others."""
        return not (self.survivors or self.left_over)

    @property
    def percent(self) -> float:
        """Return how many of a hundred mutants were noticed."""
        count = self.killed + len(self.survivors)
        return 100.0 if not count else 100.0 * self.killed / count


class _Base(msgspec.Struct, frozen=True):
    """One cell that passes on the bundle as it is."""

    case: Case
    call: Call
    request: Request
    reached: frozenset[str]


class Trial:
    """The cells of a bundle, ready to be run on its mutants."""

    def __init__(self, bundle: Bundle, cases: Iterable[Case]) -> None:
        self._bundle = bundle
        self._base = list(_bases(bundle, cases))
        self._numbers: dict[str, list[int]] = {}
        for number, rule in enumerate(bundle.rules):
            self._numbers.setdefault(rule.policy, []).append(number)

    def run(self, mutants: Sequence[Mutant], progress: Callable[[], None]) -> Mutation:
        """Return what becomes of mutants; `progress` is called after each."""
        survivors: list[Survivor] = []
        killed = 0
        for mutant in mutants:
            found = self._survived(mutant)
            progress()
            if found is None:
                continue
            is_survivor, reached = found
            killed += not is_survivor
            if is_survivor:
                survivors.append(
                    Survivor(
                        mutant.rule, mutant.what, mutant.where, mutant.before, mutant.after, reached
                    )
                )
        return Mutation(killed, tuple(survivors))

    def _survived(self, mutant: Mutant) -> tuple[bool, int] | None:
        """Return whether no cell notices a mutant, and how many were asked; None if it is none."""
        rules = self._rules(mutant)
        if rules is None:
            return None
        changed = self._bundle.with_rules(rules)
        own = [rules[number] for number in self._numbers[mutant.policy]]
        asked = 0
        for base in self._reaching(mutant, own):
            asked += 1
            tried = try_request(base.call, base.request, changed, base.case.suite.spec.facts)
            if tried.differences(base.case.expected):
                return False, asked
        return True, asked

    def _reaching(self, mutant: Mutant, own: list[Rule]) -> Iterator[_Base]:
        """Yield the cells on which a mutant may come out otherwise, the likeliest first."""
        keys = {rule.key for rule in own if mutant.rule in {rule.key, f"{rule.policy}/"}}
        near = [not base.reached.isdisjoint(keys) for base in self._base]
        yield from (base for base, is_near in zip(self._base, near, strict=True) if is_near)
        if mutant.widens:
            wider = [rule for rule in own if rule.key in keys]
            for base, is_near in zip(self._base, near, strict=True):
                if not is_near and _reaches(wider, base.request):
                    yield base

    def _rules(self, mutant: Mutant) -> tuple[Rule, ...] | None:
        """Return the bundle's rules with those of the mutant; None where it does not load."""
        bundle = self._bundle
        reader = PolicyReader(
            bundle.domains, bundle.catalogues, bundle.layers, bundle.vocabulary, bundle.files
        )
        metadata = msgspec.convert(mutant.document.value["metadata"], Metadata)
        reader.add(mutant.document, metadata)
        numbers = self._numbers[mutant.policy]
        if reader.problems or len(reader.rules) != len(numbers):
            return None
        rules = list(bundle.rules)
        for number, rule in zip(numbers, reader.rules, strict=True):
            rules[number] = msgspec.structs.replace(rule, order=rules[number].order)
        return tuple(rules)


def _bases(bundle: Bundle, cases: Iterable[Case]) -> Iterator[_Base]:
    """Yield the cells that ran and passed; what fails already notices nothing more."""
    for case in cases:
        if case.test.skip:
            continue
        try:
            call = call_of(case)
        except EnvelopeError:
            continue
        tried = try_call(call, bundle, case.suite.spec.facts)
        if tried.differences(case.expected):
            continue
        judged = tried.judged(bundle)
        reached = frozenset(finding.rule.key for one in judged for finding in one.findings)
        yield _Base(case, call, tried.request, reached)


def _reaches(rules: list[Rule], request: Request) -> bool:
    """Return whether one of these rules matches a target of a request."""
    return request.parse.status != "failed" and any(
        part.phase in rule.phases
        and all(_fits(one, part, target) for one in (rule.policy_filter, rule.filter))
        for part in each_request(request)
        for target in part.targets
        for rule in rules
    )


def _fits(one: Filter, part: Request, target: Target) -> bool:
    action, resource = target.action, target.resource
    return one.fits_bucket(part.domain, part.protocol, action.cls) and one.fits_target(
        resource.upstream, action.name, resource.key
    )
