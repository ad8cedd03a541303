"""The shapes of a suite and of its shared fixtures, field by field; unknown fields are refused."""

from typing import Literal

from sidecar.policy.documents import Written
from sidecar.terms.call import Json

Outcome = Literal["allow", "modify", "step_up", "defer", "deny"]


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


class ResourceDoc(Written, frozen=True):
    """One resource of a matrix: with each action it is a question as AuthZEN asks it."""

    type: str
    id: str
    properties: dict[str, Json] = {}


class FactsDoc(Written, frozen=True):
    """The facts of a test: `entity` as `{type: {id: properties}}`, and who is revoked."""

    entity: dict[str, dict[str, dict[str, Json]]] = {}
    revoked: list[str] = []


class Options(Written, frozen=True):
    """`now` is the one clock that rules see, RFC 3339."""

    now: str = "2026-01-01T00:00:00.000000Z"


class Fixtures(Written, frozen=True):
    """What a file in `testdata/` shares with the suites beside that folder and below.

    `groups` name several principals, requests or resources; a group stands where they may.
    """

    principals: dict[str, PrincipalDoc] = {}
    requests: dict[str, RequestDoc] = {}
    resources: dict[str, ResourceDoc] = {}
    groups: dict[str, list[str]] = {}
    facts: FactsDoc = FactsDoc()


class Input(Written, frozen=True):
    """Which principals send which requests, or do which actions to which resources."""

    principals: list[str]
    requests: list[str] = []
    resources: list[str] = []
    actions: list[str] = []


class ObligationDoc(Written, frozen=True):
    """One obligation that is due; what is not written is not compared."""

    type: str
    target: str | None = None
    values: dict[str, Json] | None = None


class Expected(Written, frozen=True):
    """What the named cells come to; only what is written here is compared.

    `actions` names some of the test's actions, or says the outcome of each. `rules` must speak
    (hold or err), `silent` must not; rules are named `policy/rule`. `rewritten` has the fields of
    the payload that is forwarded in place of the call's own; `{}` says that there is none.
    """

    outcome: Outcome | None = None
    principal: str | None = None
    principals: list[str] | None = None
    request: str | None = None
    requests: list[str] | None = None
    resource: str | None = None
    resources: list[str] | None = None
    actions: list[str] | dict[str, Outcome] | None = None
    reason: str | None = None
    rules: list[str] | None = None
    silent: list[str] | None = None
    obligations: list[str | ObligationDoc] | None = None
    rewritten: dict[str, Json] | None = None
    message: str | None = None
    errors: int | None = None


class TestDoc(Written, frozen=True):
    """One test: a matrix and what is expected of it; `options` stand in for the suite's."""

    __test__ = False

    name: str
    input: Input
    expected: list[Expected] = []
    description: str | None = None
    options: Options | None = None
    skip: bool = False
    skipReason: str | None = None  # noqa: N815 - the convention's own word


class SuiteSpec(Written, frozen=True):
    """`spec` of a Test."""

    tests: list[TestDoc]
    principals: dict[str, PrincipalDoc] = {}
    requests: dict[str, RequestDoc] = {}
    resources: dict[str, ResourceDoc] = {}
    groups: dict[str, list[str]] = {}
    options: Options = Options()
    facts: FactsDoc = FactsDoc()
