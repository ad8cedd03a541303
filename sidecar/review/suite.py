"""A test suite as written: principals, raw requests, and what each pair is expected to come to.

`kind: Test` files stand beside policies as `*_test.yaml`. A test is a matrix of principals by
requests; each request is the `call` of its protocol, read by the same parser as in production. A
cell that no expectation names is expected to be denied.
"""

from collections.abc import Iterable
from typing import Literal

import msgspec

from sidecar.policy.documents import Written, read
from sidecar.syntax.yaml12 import Document, Step
from sidecar.terms.call import Json
from sidecar.terms.errors import PolicyError

Where = tuple[Step, ...]


class PartyDoc(Written, frozen=True):
    """A subject or an actor."""

    type: str
    id: str
    properties: dict[str, Json] = {}


class PrincipalDoc(Written, frozen=True):
    """Who asks: on whose behalf, and who acts (nearest first)."""

    subject: PartyDoc
    actors: list[PartyDoc] = []


class RequestDoc(Written, frozen=True):
    """One raw request: the `call` object of its protocol."""

    protocol: str
    call: dict[str, Json]
    upstream: str = "default"
    context: dict[str, Json] = {}


class FactsDoc(Written, frozen=True):
    """The facts of a test: `entity` as `{type: {id: properties}}`, and who is revoked."""

    entity: dict[str, dict[str, dict[str, Json]]] = {}
    revoked: list[str] = []


class Options(Written, frozen=True):
    """`now` is the one clock that rules see, RFC 3339."""

    now: str = "2026-01-01T00:00:00.000000Z"


class Input(Written, frozen=True):
    """Which principals send which requests."""

    principals: list[str]
    requests: list[str]


class Expected(Written, frozen=True):
    """What the named cells come to; only what is written here is compared.

    `rules` must speak (hold or err), `silent` must not; rules are named `policy/rule`.
    """

    outcome: Literal["allow", "modify", "step_up", "defer", "deny"]
    principal: str | None = None
    principals: list[str] | None = None
    request: str | None = None
    requests: list[str] | None = None
    reason: str | None = None
    rules: list[str] | None = None
    silent: list[str] | None = None
    obligations: list[str] | None = None
    message: str | None = None
    errors: int | None = None


class TestDoc(Written, frozen=True):
    """One test: a matrix and what is expected of it."""

    __test__ = False

    name: str
    input: Input
    expected: list[Expected] = []
    description: str | None = None
    skip: bool = False
    skipReason: str | None = None  # noqa: N815 - the convention's own word


class SuiteSpec(Written, frozen=True):
    """`spec` of a Test."""

    principals: dict[str, PrincipalDoc]
    requests: dict[str, RequestDoc]
    tests: list[TestDoc]
    options: Options = Options()
    facts: FactsDoc = FactsDoc()


class Suite(msgspec.Struct, frozen=True):
    """A suite that was read, with the document for positions."""

    name: str
    document: Document
    spec: SuiteSpec


def read_suite(document: Document, name: str) -> Suite:
    """Return the suite of a Test document.

    Raises:
        PolicyError: Unknown fields, unknown names, and what would pass whatever the policies say:
            a matrix without cells, an expectation that no cell is left for.
    """
    spec = read(document, ("spec",), SuiteSpec)
    problems: list[str] = []
    for index, test in enumerate(spec.tests):
        problems += _input_problems(document, ("spec", "tests", index, "input"), test.input, spec)
        problems += _expected_problems(document, ("spec", "tests", index, "expected"), test)
    if problems:
        raise PolicyError(*problems)
    return Suite(name, document, spec)


def _input_problems(document: Document, at: Where, sent: Input, spec: SuiteSpec) -> list[str]:
    problems = [
        *_unknown(document, (*at, "principals"), sent.principals, spec.principals),
        *_unknown(document, (*at, "requests"), sent.requests, spec.requests),
    ]
    for field, names in (("principals", sent.principals), ("requests", sent.requests)):
        if not names:
            problems.append(f"{document.where(*at, field)}: names none, so the test has no cells")
    return problems


def _expected_problems(document: Document, at: Where, test: TestDoc) -> list[str]:
    sent, problems = test.input, []
    met = {
        id(expectation(test, principal, request))
        for principal in sent.principals
        for request in sent.requests
    }
    for number, expected in enumerate(test.expected):
        where = (*at, number)
        unknown = [
            *_unknown(
                document, where, named(expected.principal, expected.principals), sent.principals
            ),
            *_unknown(document, where, named(expected.request, expected.requests), sent.requests),
        ]
        if not unknown and met and id(expected) not in met:
            unknown = [f"{document.where(*where)}: every cell that it names was named before"]
        problems += unknown
    return problems


def named(one: str | None, several: list[str] | None) -> list[str]:
    """Return the names that an expectation lists under its singular and its plural field."""
    return ([one] if one is not None else []) + (several or [])


def _unknown(document: Document, where: Where, names: list[str], known: Iterable[str]) -> list[str]:
    listed = list(known)
    return [
        f"{document.where(*where)}: `{name}` is not among {', '.join(listed) or 'none'}"
        for name in names
        if name not in listed
    ]


def expectation(test: TestDoc, principal: str, request: str) -> Expected:
    """Return what is expected of one cell; what is not listed is expected to be denied."""
    for expected in test.expected:
        principals = named(expected.principal, expected.principals)
        requests = named(expected.request, expected.requests)
        if (not principals or principal in principals) and (not requests or request in requests):
            return expected
    return Expected(outcome="deny")
