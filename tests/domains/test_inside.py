"""SQL inside a tool's argument under obligations: rewritten where it stands, or refused whole."""

import copy

import msgspec
import pytest

from sidecar import flow
from sidecar.domains import by_protocol
from sidecar.domains.ai.limits import INNER_CHARS_MAX, INNER_MAX
from sidecar.policy.bundle import compile_bundle
from sidecar.syntax.yaml12 import dump
from sidecar.terms.answer import Forward
from sidecar.terms.call import Call, Identity, Party
from sidecar.terms.decision import Obligation
from sidecar.terms.record import DecisionRecord, OutcomeRecord
from sidecar.terms.request import Inner, Place
from sidecar.terms.words import CallId
from tests import toy
from tests.tables import rows
from tests.test_flow import Paper, path

CASES = rows("flow/inside.yaml")


def document(kind, written):
    return dump({"apiVersion": "sidecar/v1", "kind": kind, **written}).encode()


@pytest.fixture(scope="module")
def bundle():
    table = CASES[0].values[0].table
    files = {"bundle.yaml": b'name: inside\nversion: "1"\n'}
    for policy in table["policies"]:
        files[f"{policy['metadata']['name']}.yaml"] = document("Policy", policy)
    for number, spec in enumerate(table["catalogs"]):
        catalogue = {"metadata": {"name": f"c{number}"}, "spec": spec}
        files[f"c{number}.yaml"] = document("Catalog", catalogue)
    return compile_bundle(files, by_protocol())


def call_of(message, upstream="default"):
    who = Identity(Party("user", "alice", {"dept": "sales"}))
    payload = {"server": "wh", "message": message}
    return Call(
        CallId("c"), "2026-01-01T00:00:00.000000Z", "test", upstream, "mcp", payload, who
    )  # fmt: skip


def message_of(given):
    if "raw" in given:
        return given["raw"]
    arguments = {
        name: said["repeat"] * said["times"] if isinstance(said, dict) and "times" in said else said
        for name, said in given["arguments"].items()
    }
    params = {"name": given["tool"], "arguments": arguments, **given.get("params", {})}
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}


async def sent(bundle, call):
    """Return the payload that is forwarded, None where the call is denied, and the decision."""
    request = flow.understand(call, bundle)
    said, _ = await flow.judge(request, bundle, toy.Knows())
    decision, payload = flow.enforce(call, request, said, bundle)
    return payload if decision.permitted else None, decision


@pytest.mark.parametrize("row", CASES)
async def test_sql_inside_is_sent_as_it_must_be(bundle, row):
    message = message_of(row.given)
    call = call_of(message, row.given.get("upstream", "default"))
    before = copy.deepcopy(call.payload)

    payload, decision = await sent(bundle, call)

    assert call.payload == before
    if payload is None:
        assert f"{decision.reason} {decision.message}" == row.want
    elif row.want == "as it came":
        assert (payload is call.payload, decision.rewritten) == (True, None)
    elif "raw" in row.given:
        assert (payload, decision.outcome) == ({"server": "wh", "message": row.want}, "modify")
    else:
        params = {**message["params"], "arguments": row.want}
        wanted = {"server": "wh", "message": {**message, "params": params}}
        assert (payload, decision.rewritten, decision.outcome) == (wanted, wanted, "modify")


async def test_bytes_stay_bytes(bundle):
    row = next(one.values[0] for one in CASES if "raw" in one.values[0].given)

    payload, _ = await sent(bundle, call_of(row.given["raw"].encode()))

    assert payload["message"] == row.want.encode()


# --- inside as alone ---


REWRITTEN = rows("data/rewrite.yaml")


@pytest.fixture(scope="module")
def as_alone():
    spec = REWRITTEN[0].values[0].table["catalog"]
    argument = {"protocol": "sql", "dialect": "postgres"}
    tools = {
        "protocol": "mcp",
        "servers": {"wh": {"tools": {"run": {"arguments": {"sql": argument}}}}},
    }
    files = {
        "bundle.yaml": b'name: alone\nversion: "1"\n',
        "all.yaml": document(
            "Policy",
            {"metadata": {"name": "all"}, "spec": {"rules": [{"id": "all", "effect": "allow"}]}},
        ),
        "data.yaml": document("Catalog", {"metadata": {"name": "data"}, "spec": spec}),
        "tools.yaml": document("Catalog", {"metadata": {"name": "tools"}, "spec": tools}),
    }
    return compile_bundle(files, by_protocol())


async def test_what_is_sent_inside_is_what_is_sent_alone(as_alone):
    sent, refused, stricter = 0, 0, 0
    for row in (one.values[0] for one in REWRITTEN):
        due = [msgspec.convert(row.table["due"][name], Obligation) for name in row.given["due"]]

        decision = await enforced(as_alone, asking(row.given["text"]), tuple(due))

        if decision.permitted:
            sent += 1
            text = row.given["text"]
            if decision.rewritten is not None:
                text = decision.rewritten["message"]["params"]["arguments"]["sql"]
            assert text == row.want
        elif decision.message.endswith(ONLY_INSIDE):
            stricter += not row.want.startswith("refused")
        else:
            refused += 1
            told = decision.message.removeprefix("params.arguments.sql: ")
            assert row.want in (f"refused: {told}", decision.reason)
    counted = {"sent": sent > 100, "refused": refused > 80, "stricter": stricter < 20}
    assert all(counted.values()), (sent, refused, stricter)


async def enforced(bundle, call, due):
    """Return what a call that is permitted comes to under obligations."""
    request = flow.understand(call, bundle)
    said, _ = await flow.judge(request, bundle, toy.Knows())
    return flow.enforce(call, request, msgspec.structs.replace(said, obligations=due), bundle)[0]


ONLY_INSIDE = (
    "a rule's SQL that may fail where nobody withholds what is said then",
    "on what no call here touches",
)


# --- what is sent is read once more ---


def each(inner, **changed):
    return tuple(msgspec.structs.replace(one, **changed) for one in inner)


class Misreads:
    """The AI domain, but that it reads the calls inside of a changed call otherwise."""

    def __init__(self, domain, otherwise):
        self._domain = domain
        self._otherwise = otherwise

    def __getattr__(self, name):
        return getattr(self._domain, name)

    def parse(self, call, catalogue, needs):
        parsed = self._domain.parse(call, catalogue, needs)
        if "LIMIT 3" not in str(call.payload):
            return parsed
        return msgspec.structs.replace(parsed, inner=self._otherwise(parsed.inner))


def reading(bundle, domain):
    """Return the bundle with another domain for MCP."""
    other = copy.copy(bundle)
    other.domains = {**bundle.domains, "mcp": domain}
    return other


OTHERWISE = {
    "less": lambda inner: (),
    "more": lambda inner: (*inner, Inner("x", "sql", {"dialect": "postgres", "text": "SELECT 1"})),
    "of another upstream": lambda inner: each(inner, upstream="x"),
    "under another name": lambda inner: each(inner, at="x"),
    "in another place": lambda inner: each(inner, place=None),
    "another text": lambda inner: each(inner, payload={"dialect": "postgres", "text": "SELECT 1"}),
}


@pytest.mark.parametrize("otherwise", OTHERWISE.values(), ids=OTHERWISE)
async def test_a_changed_call_that_reads_otherwise_is_refused(bundle, otherwise):
    wrong = reading(bundle, Misreads(bundle.domains["mcp"], otherwise))

    payload, decision = await sent(wrong, asking("SELECT id FROM teams"))

    assert payload is None
    assert decision.reason == "obligation.unsupported"
    assert decision.message == "the call is another one with what would be sent"


class Misplaces(Misreads):
    """The AI domain, but that it names another place for what it found."""

    def parse(self, call, catalogue, needs):
        parsed = self._domain.parse(call, catalogue, needs)
        steps = ("message", "params", "arguments", "other")
        inner = each(parsed.inner, place=Place(steps, "text"))
        return msgspec.structs.replace(parsed, inner=inner)


async def test_a_statement_that_is_put_elsewhere_is_refused(bundle):
    wrong = reading(bundle, Misplaces(bundle.domains["mcp"], None))

    payload, decision = await sent(wrong, asking("SELECT id FROM teams", other="x"))

    assert payload is None
    assert decision.message == "the call is another one with what would be sent"


def asking(text, **arguments):
    params = {"name": "run", "arguments": {"sql": text, **arguments}}
    return call_of({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})


async def test_an_obligation_that_no_call_would_carry_out_is_refused(bundle):
    call = asking("SELECT what FROM logs")
    request = flow.understand(call, bundle)
    said, _ = await flow.judge(request, bundle, toy.Knows())
    due = (Obligation("limit_rows", "table:public.teams", {"max": 3}),)

    decision, _ = flow.enforce(
        call, request, msgspec.structs.replace(said, obligations=due), bundle
    )

    assert (decision.outcome, decision.reason) == ("deny", "obligation.unsupported")


async def test_what_a_listener_withholds_the_words_of_is_refused_in_a_tool(bundle):
    text = "SELECT id FROM tries"
    inside = asking(text)
    alone = msgspec.structs.replace(
        inside, protocol="sql", upstream="erp", payload={"dialect": "postgres", "text": text}
    )

    outcomes = [(await sent(bundle, call))[1].outcome for call in (alone, inside, alone)]

    assert outcomes == ["modify", "deny", "modify"]


async def test_statements_that_are_too_long_together_once_rewritten_are_refused(bundle):
    shortest, bound = "SELECT id FROM teams --", INNER_CHARS_MAX
    texts = [shortest.ljust(bound // INNER_MAX - 4, "x") + f"{n:04}" for n in range(INNER_MAX)]

    payload, decision = await sent(bundle, asking(texts))

    assert sum(map(len, texts)) == bound
    assert payload is None
    assert decision.message.endswith(f"would be sent: statements of more than {bound} characters")


# --- the record ---


async def test_the_records_tell_what_was_planned_and_what_was_carried_out(bundle):
    paper = Paper()
    along = path(paper, bundle)
    call = msgspec.structs.replace(asking("SELECT id FROM teams"), is_enforced=True)

    answer = await flow.carry(call, along)
    assert isinstance(answer, Forward)
    await flow.settle(answer, along, flow.outcome_record(answer, along))

    decided, became = paper.records
    assert isinstance(decided, DecisionRecord)
    assert isinstance(became, OutcomeRecord)
    planned = [("limit_rows", "table:public.teams", {"max": 3})]
    assert (decided.effect, decided.outcome) == ("modify", "modify")
    assert [(one.type, one.target, one.values) for one in decided.obligations] == planned
    assert became.result == "rewritten"
    assert [(one.type, one.target, one.values) for one in became.applied] == planned
    assert answer.payload["message"]["params"]["arguments"] == {
        "sql": "SELECT id FROM teams LIMIT 3"
    }


async def test_a_refusal_is_on_record_with_what_was_planned(bundle):
    paper = Paper()

    answer = await flow.carry(asking("SELECT id FROM teams LIMIT 1 + 9"), path(paper, bundle))

    (record,) = paper.records
    assert not isinstance(answer, Forward)
    assert isinstance(record, DecisionRecord)
    assert (record.effect, record.outcome, record.reason) == (
        "modify", "deny", "obligation.unsupported",
    )  # fmt: skip
    assert [one.type for one in record.obligations] == ["limit_rows"]
