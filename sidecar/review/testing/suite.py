"""A test suite as read: shared fixtures merged in, groups spelt out, and every cell of its matrix.

`kind: Test` files stand beside policies as `*_test.yaml`. A test is a matrix of principals by
requests; each request is the `call` of its protocol, read by the same parser as in production. The
other matrix is principals by actions by resources, as AuthZEN asks. A cell that no expectation
names is expected to be denied.

Fixtures of `testdata/` belong to the suites beside that folder and below it. A name that stands
twice is refused: which of the two is meant would hang on where a file lies.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, TypeVar

import msgspec

from sidecar.policy.documents import read
from sidecar.review.testing.written import (
    Expected,
    FactsDoc,
    Fixtures,
    Input,
    Options,
    RequestDoc,
    ResourceDoc,
    SuiteSpec,
    TestDoc,
)
from sidecar.syntax.yaml12 import Document, Step, load_documents
from sidecar.terms.errors import PolicyError

Where = tuple[Step, ...]
Value = TypeVar("Value")
_SHARED: Final = ("principals", "requests", "resources", "groups")
_FOLDER: Final = "testdata/"
# A matrix is written in a few lines; what it comes to is not to fill a machine.
CELLS_MAX: Final = 1_000_000


class Asked(msgspec.Struct, frozen=True):
    """What is asked in one column of a matrix; an action of a resource is asked as AuthZEN does."""

    name: str
    request: RequestDoc
    resource: str | None = None
    action: str | None = None


class Suite(msgspec.Struct, frozen=True):
    """A suite that was read, with the document for positions; `spec` has its fixtures in it."""

    name: str
    document: Document
    spec: SuiteSpec

    def members(self, names: Iterable[str]) -> list[str]:
        """Return the names with every group in the place of its members, each once."""
        return _members(names, self.spec.groups)

    def asked(self, test: TestDoc) -> list[Asked]:
        """Return the columns of a test's matrix: requests, then each action of each resource."""
        requests = self.spec.requests
        found = [Asked(name, requests[name]) for name in self.members(test.input.requests)]
        for name in self.members(test.input.resources):
            found += [
                _question(name, self.spec.resources[name], action) for action in test.input.actions
            ]
        return found


class Fixture(msgspec.Struct, frozen=True):
    """One file of `testdata/`: whose it is, and what it shares."""

    folder: str
    document: Document
    shared: Fixtures


def read_fixtures(files: Mapping[str, bytes]) -> list[Fixture]:
    """Return every file of shared fixtures.

    Raises:
        PolicyError: With every problem of all of them.
    """
    found: list[Fixture] = []
    problems: list[str] = []
    for path, data in sorted(files.items()):
        folder = path[: path.rindex(_FOLDER)]
        try:
            documents = load_documents(path, data)
            found += [Fixture(folder, each, read(each, (), Fixtures)) for each in documents]
        except PolicyError as error:
            problems.extend(error.problems)
    if problems:
        raise PolicyError(*problems)
    return found


def read_suite(document: Document, name: str, fixtures: Iterable[Fixture] = ()) -> Suite:
    """Return the suite of a Test document.

    Raises:
        PolicyError: Unknown fields, unknown names, and what would pass whatever the policies say:
            a matrix without cells, an expectation that no cell is left for.
    """
    own = read(document, ("spec",), SuiteSpec)
    problems: list[str] = []
    merged = _Merged(own, document)
    for fixture in fixtures:
        if document.name.startswith(fixture.folder):
            problems += merged.add(fixture)
    spec = merged.spec()
    suite = Suite(name, document, spec)
    problems += _group_problems(suite)
    if problems:
        raise PolicyError(*problems)
    if not spec.tests:
        problems.append(f"{document.where('spec', 'tests')}: a suite holds at least one test")
    for index, test in enumerate(spec.tests):
        at: Where = ("spec", "tests", index)
        found = _input_problems(suite, (*at, "input"), test.input)
        problems += found or _expected_problems(suite, (*at, "expected"), test)
    if problems:
        raise PolicyError(*problems)
    return suite


class _Merged:
    """A suite's own names and those that its fixtures share."""

    def __init__(self, own: SuiteSpec, document: Document) -> None:
        self._own = own
        self._document = document
        self._names: dict[str, dict[str, object]] = {
            field: dict(getattr(own, field)) for field in _SHARED
        }
        self._entities = {kind: dict(found) for kind, found in own.facts.entity.items()}
        self._revoked = list(own.facts.revoked)

    def add(self, fixture: Fixture) -> Iterator[str]:
        """Take what a fixture shares; yield a problem for each name that is taken."""
        document = fixture.document
        for field in _SHARED:
            known = self._names[field]
            for name, value in getattr(fixture.shared, field).items():
                if name in known:
                    where = document.where(field, name)
                    yield f"{where}: `{name}` stands in {self._document.name} or beside it as well"
                known[name] = value
        yield from self._facts(document, fixture.shared.facts)

    def _facts(self, document: Document, facts: FactsDoc) -> Iterator[str]:
        self._revoked += facts.revoked
        for kind, entities in facts.entity.items():
            known = self._entities.setdefault(kind, {})
            for name, value in entities.items():
                if name in known:
                    where = document.where("facts", "entity", kind, name)
                    yield f"{where}: `{kind}` `{name}` stands in the suite or beside it as well"
                known[name] = value

    def spec(self) -> SuiteSpec:
        """Return the suite with everything that it may name."""
        facts = FactsDoc(self._entities, self._revoked)
        return msgspec.structs.replace(self._own, facts=facts, **self._names)


def _members(names: Iterable[str], groups: Mapping[str, list[str]]) -> list[str]:
    found: dict[str, None] = {}
    for name in names:
        found.update(dict.fromkeys(groups.get(name, (name,))))
    return list(found)


def _question(name: str, resource: ResourceDoc, action: str) -> Asked:
    asked = {"action": {"name": action}, "resource": msgspec.to_builtins(resource)}
    return Asked(f"{action} {name}", RequestDoc("authzen", asked), name, action)


def _group_problems(suite: Suite) -> Iterator[str]:
    """Yield what makes a group mean two things or nothing; groups hold no groups."""
    spec = suite.spec
    known = {*spec.principals, *spec.requests, *spec.resources}
    for name, members in spec.groups.items():
        where = f"{suite.document.where('spec', 'groups', name)}: group `{name}`"
        if name in known:
            yield f"{where}: this is the name of one as well"
        if not members:
            yield f"{where}: names nobody"
        yield from (
            f"{where}: `{member}` is no principal, request or resource"
            for member in members
            if member not in known
        )


def _input_problems(suite: Suite, at: Where, sent: Input) -> list[str]:
    spec, document = suite.spec, suite.document
    problems = [
        *_unknown(suite, (*at, "principals"), sent.principals, spec.principals),
        *_unknown(suite, (*at, "requests"), sent.requests, spec.requests),
        *_unknown(suite, (*at, "resources"), sent.resources, spec.resources),
    ]
    needed = ["principals"]
    if not (sent.resources or sent.actions):
        needed.append("requests")
    elif not (sent.resources and sent.actions):
        needed += ["resources", "actions"]
    problems += [
        f"{document.where(*at, field)}: names none, so the test has no cells"
        for field in needed
        if not getattr(sent, field)
    ]
    columns = len(sent.requests) + len(sent.resources) * len(sent.actions)
    if len(sent.principals) * columns > CELLS_MAX:
        problems.append(f"{document.where(*at)}: more than {CELLS_MAX} cells")
    return problems


def _expected_problems(suite: Suite, at: Where, test: TestDoc) -> list[str]:
    document, sent, problems = suite.document, test.input, []
    asked = suite.asked(test)
    find = finder(suite, test)
    met = {find(who, one)[0] for who in suite.members(sent.principals) for one in asked}
    requests = [one.name for one in asked if one.resource is None]
    listed = {
        "principal": suite.members(sent.principals),
        "request": requests,
        "resource": suite.members(sent.resources),
    }
    for number, expected in enumerate(test.expected):
        where = (*at, number)
        unknown = [
            problem
            for kind, known in listed.items()
            for problem in _unknown(suite, where, _named(expected, kind), known)
        ]
        unknown += _unknown(suite, where, list(expected.actions or ()), sent.actions)
        if (expected.outcome is None) == (not isinstance(expected.actions, dict)):
            unknown.append(
                f"{document.where(*where)}: `outcome` says what comes out, or `actions` of each"
            )
        if not unknown and number not in met:
            unknown = [f"{document.where(*where)}: every cell that it names was named before"]
        problems += unknown
    return problems


def _named(expected: Expected, kind: str) -> list[str]:
    """Return the names that an expectation lists under its singular and its plural field."""
    one, several = getattr(expected, kind), getattr(expected, f"{kind}s")
    return ([one] if one is not None else []) + (several or [])


def _unknown(suite: Suite, at: Where, names: list[str], known: Iterable[str]) -> list[str]:
    listed = list(known)
    return [
        f"{suite.document.where(*at)}: `{name}` is not among {', '.join(listed) or 'none'}"
        for name in suite.members(names)
        if name not in listed
    ]


Finder = Callable[[str, Asked], tuple[int | None, Expected]]
_DENIED: Final = Expected(outcome="deny")


def finder(suite: Suite, test: TestDoc) -> Finder:
    """Return what finds the first expectation that names a cell, with its number.

    What is not listed is expected to be denied.
    """
    rows = [_Row(suite, number, expected) for number, expected in enumerate(test.expected)]

    def find(principal: str, asked: Asked) -> tuple[int | None, Expected]:
        for row in rows:
            if row.names(principal, asked):
                return row.number, row.of(asked)
        return None, _DENIED

    return find


class _Row:
    """One expectation with its names as sets, for matrices of thousands of cells."""

    def __init__(self, suite: Suite, number: int, expected: Expected) -> None:
        self.number = number
        self._expected = expected
        self._principals = frozenset(suite.members(_named(expected, "principal")))
        self._requests = frozenset(suite.members(_named(expected, "request")))
        self._resources = frozenset(suite.members(_named(expected, "resource")))
        self._actions = frozenset(expected.actions or ())

    def names(self, principal: str, asked: Asked) -> bool:
        """Return whether it speaks of a cell; one of actions speaks of no raw request."""
        if self._principals and principal not in self._principals:
            return False
        if asked.action is None:
            return not (self._resources or self._actions) and (
                not self._requests or asked.name in self._requests
            )
        return (
            not self._requests
            and (not self._resources or asked.resource in self._resources)
            and (not self._actions or asked.action in self._actions)
        )

    def of(self, asked: Asked) -> Expected:
        """Return what is expected of a cell that it names."""
        actions = self._expected.actions
        if not isinstance(actions, dict) or asked.action is None:
            return self._expected
        return msgspec.structs.replace(self._expected, outcome=actions[asked.action])


def options_of(suite: Suite, test: TestDoc) -> Options:
    """Return the options that hold for a test: its own, whole, or the suite's."""
    return suite.spec.options if test.options is None else test.options
