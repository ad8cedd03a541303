"""The cells of suites: which there are, before they run, and what each came to."""

from collections.abc import Iterable, Iterator

import msgspec

from sidecar.decide.pdp import REVOKED
from sidecar.policy.bundle import Bundle
from sidecar.review.testing.suite import (
    Asked,
    Suite,
    finder,
    options_of,
    read_fixtures,
    read_suite,
)
from sidecar.review.testing.written import Expected, Options, PrincipalDoc, TestDoc
from sidecar.terms.errors import PolicyError


class Case(msgspec.Struct, frozen=True):
    """One cell before it runs.

    Attributes:
        number: Its place among all cells of the bundle, from 0; results are told in this order.
        where: Of the expectation that names it, of its test where none does.
    """

    number: int
    suite: Suite
    test: TestDoc
    principal: str
    asked: Asked
    expected: Expected
    where: str

    @property
    def who(self) -> PrincipalDoc:
        """Return its principal."""
        return self.suite.spec.principals[self.principal]

    @property
    def options(self) -> Options:
        """Return the options that hold for it."""
        return options_of(self.suite, self.test)


class Cell(msgspec.Struct, frozen=True):
    """One cell of a matrix: what was expected, what came, and in which ways they differ.

    Attributes:
        explained: Of a cell that failed: what each rule said of each target, and why.
        at: Of a cell that failed: where the rules stand that made it so, the likeliest first.
        source: The file of the suite.
        erred: How many rules erred on it: what they would have said, the cell does not show.
    """

    suite: str
    test: str
    principal: str
    request: str
    outcome: str
    differences: tuple[str, ...]
    explained: tuple[str, ...] = ()
    skipped: str | None = None
    where: str = ""
    at: tuple[str, ...] = ()
    source: str = ""
    erred: int = 0

    @property
    def passed(self) -> bool:
        """Return whether the cell came out as expected."""
        return not self.differences and self.skipped is None

    @property
    def failed(self) -> bool:
        """Return whether it ran and came out otherwise."""
        return bool(self.differences)


def suites_of(bundle: Bundle) -> list[Suite]:
    """Return every suite of the bundle; PolicyError has the problems of all of them."""
    known = {rule.key for rule in bundle.rules} | {f"{REVOKED.policy}/{REVOKED.id}"}
    fixtures = read_fixtures(bundle.fixture_files)
    problems: list[str] = []
    found: dict[str, Suite] = {}
    for document, metadata in bundle.tests:
        try:
            suite = read_suite(document, metadata.name, fixtures)
        except PolicyError as error:
            problems.extend(error.problems)
            continue
        if suite.name in found:
            where = document.where("metadata", "name")
            problems.append(f"{where}: suite `{suite.name}` stands twice in the bundle")
        found[suite.name] = suite
        problems.extend(_unknown_rules(suite, known))
    if problems:
        # What is wrong with a shared fixture is wrong in each suite that it belongs to.
        raise PolicyError(*dict.fromkeys(problems))
    return list(found.values())


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


def cases_of(suites: Iterable[Suite], only: str | None = None) -> list[Case]:
    """Return every cell in the order written.

    Args:
        suites: As read.
        only: Leave out those whose `suite/test/principal/request` does not hold this text.
    """
    every = (case for suite in suites for case in _of_suite(suite))
    chosen = (
        case
        for case in every
        if only is None
        or only in f"{case.suite.name}/{case.test.name}/{case.principal}/{case.asked.name}"
    )
    return [msgspec.structs.replace(case, number=number) for number, case in enumerate(chosen)]


def _of_suite(suite: Suite) -> Iterator[Case]:
    for index, test in enumerate(suite.spec.tests):
        at = ("spec", "tests", index)
        find = finder(suite, test)
        places = [
            suite.document.where(*at, "expected", number) for number in range(len(test.expected))
        ]
        whole = suite.document.where(*at)
        asked = suite.asked(test)
        for principal in suite.members(test.input.principals):
            for one in asked:
                number, expected = find(principal, one)
                where = whole if number is None else places[number]
                yield Case(0, suite, test, principal, one, expected, where)
