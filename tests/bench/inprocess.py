"""What it costs to understand one call of each protocol, without a server."""

import gc
import json
import time
from itertools import count

import msgspec

from sidecar import flow
from sidecar.domains import by_protocol
from sidecar.policy.bundle import Bundle
from sidecar.runtime.bundles import load_bundle
from sidecar.runtime.dryrun import dry_call
from sidecar.runtime.processes.machine import settle_memory
from sidecar.terms.call import Call, Json
from tests.bench.report import each_us, table
from tests.e2e.harness import EVALUATION, ROOT

S3 = {
    "Authorization": "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260101/eu-west-1/s3/aws4_request, "
    "SignedHeaders=host;x-amz-date, Signature=0000"
}
_CHANGE = {"actions": ["create"], "before": None, "after": {"a": 1}, "after_unknown": {}}
_RESOURCE = {
    "address": "aws_db_instance.main",
    "mode": "managed",
    "type": "aws_db_instance",
    "name": "main",
    "provider_name": "registry.terraform.io/hashicorp/aws",
    "change": _CHANGE,
}
_JOIN = (
    "SELECT e.department, sum(e.amount) FROM finance.expenses e "
    "JOIN hr.compensation c ON c.name = e.employee WHERE e.id > 4711 GROUP BY e.department"
)
_ONE = "SELECT note FROM scratch WHERE note = '4711'"
_CUSTOMER = {"name": "get_customer", "arguments": {"id": "c-1"}}
_QUERY = {
    "name": "query",
    "arguments": {"sql": "SELECT amount FROM finance.expenses WHERE id = 4711"},
}
_SENT = {"message": {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "hi"}]}}


def _rpc(method: str, params: Json) -> dict[str, Json]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


# Stands where another number makes another text.
_MARK = "4711"
# One small call of each protocol; two where what is inside makes the difference.
CALLS: tuple[tuple[str, str, dict[str, Json]], ...] = (
    ("http", "http", {"method": "GET", "url": "http://api.test/expenses/7?full=1"}),
    ("authzen", "authzen", dict(EVALUATION)),
    ("sql, one table", "sql", {"dialect": "postgres", "text": _ONE}),
    ("sql, a join", "sql", {"dialect": "postgres", "text": _JOIN}),
    ("k8s", "k8s", {"method": "GET", "path": "/api/v1/namespaces/prod/pods/web-1"}),
    ("aws", "aws", {"method": "GET", "url": "https://s3.eu-west-1.amazonaws.com/reports/q1.csv",
                    "headers": S3}),
    ("terraform", "terraform", {"plan": {
        "format_version": "1.2", "terraform_version": "1.11.4", "planned_values": {},
        "configuration": {"root_module": {}}, "complete": True, "errored": False,
        "resource_changes": [_RESOURCE]}}),
    ("mcp", "mcp", {"server": "crm", "message": _rpc("tools/call", _CUSTOMER)}),
    ("mcp with sql inside", "mcp", {"server": "warehouse", "message": _rpc("tools/call", _QUERY)}),
    ("llm", "llm", {"path": "/v1/chat/completions", "body": {
        "model": "gpt-4o-mini", "max_tokens": 500,
        "messages": [{"role": "user", "content": "hello"}]}}),
    ("rag", "rag", {"collection": "handbook", "query": "pay", "top_k": 5,
                    "candidates": [{"id": "it/1.pdf"}, {"id": "hr/2.pdf"}]}),
    ("a2a", "a2a", {"agent": "billing", "message": _rpc("SendMessage", _SENT)}),
)  # fmt: skip

_STRANGE_US = 400
_KNOWN_US = 1
# Statements of each kind of which the mean is taken.
_ROUND = 50
_EXPENSES = "FROM finance.expenses"
# Small statements; another number in the place of `@` makes a text of another shape.
STATEMENTS: tuple[tuple[str, str], ...] = (
    ("one table", f"SELECT note AS a@ {_EXPENSES} WHERE id = 7 AND amount > 100"),
    ("insert", "INSERT INTO finance.expenses AS s@ (id, note, amount) VALUES (7, 'x', 100)"),
    ("update", "UPDATE finance.expenses s@ SET note = 'hello' WHERE s@.id = 7"),
    ("delete", "DELETE FROM finance.expenses s@ WHERE s@.id = 7"),
    ("join of two", f"SELECT e@.amount, c@.salary {_EXPENSES} e@ JOIN hr.compensation c@ "
     "ON c@.name = e@.employee WHERE e@.id = 7"),
    ("join, aggregate, order", f"SELECT e@.department, sum(e@.amount) AS total {_EXPENSES} e@ "
     "JOIN hr.compensation c@ ON c@.name = e@.employee WHERE e@.id > 7 "
     "GROUP BY e@.department ORDER BY total DESC LIMIT 10"),
    ("CTE", f"WITH w@ AS (SELECT id, amount {_EXPENSES} WHERE department = 'it') "
     "SELECT id, amount FROM w@ WHERE amount > 100"),
    ("subquery in IN", f"SELECT note AS a@ {_EXPENSES} "
     "WHERE employee IN (SELECT name FROM hr.compensation WHERE salary > 100)"),
    ("count(*)", f"SELECT count(*) AS n@ {_EXPENSES} WHERE department = 'it'"),
    ("ON CONFLICT", "INSERT INTO finance.expenses AS s@ (id, note) VALUES (7, 'hello') "
     "ON CONFLICT (id) DO UPDATE SET note = excluded.note"),
    ("window", "SELECT e@.employee, rank() OVER (PARTITION BY e@.department "
     f"ORDER BY e@.amount DESC) {_EXPENSES} e@"),
    ("union", f"SELECT employee AS p@ {_EXPENSES} WHERE amount > 100 "
     "UNION SELECT name FROM hr.compensation"),
)  # fmt: skip


def measure(seconds: float) -> None:
    """Print the tables in about `seconds`."""
    _by_protocol(seconds * 2 / 3 / len(CALLS))
    _statements(seconds / 3)


def call_of(protocol: str, call: dict[str, Json]) -> Call:
    return dry_call(json.dumps({"protocol": protocol, "call": call}).encode())


def _by_protocol(seconds: float) -> None:
    bundle = load_bundle(ROOT / "policies", by_protocol())
    rows = []
    for name, protocol, payload in CALLS:
        call = call_of(protocol, payload)
        request = flow.understand(call, bundle)
        assert request.parse.status != "failed", (name, request.parse)
        targets = len(request.targets) + sum(len(part.targets) for part in request.parts)
        spent = each_us(lambda call=call: flow.understand(call, bundle), seconds)  # type: ignore[misc]
        rows.append((name, f"{targets}", f"{spent:.1f}", f"{_first_us(call, bundle, seconds):.1f}"))
    heads = ("", "targets", "again", "first time")
    table("parse, in process, us a call, under the bundle of policies/", heads, rows)


def _first_us(call: Call, bundle: Bundle, seconds: float) -> float:
    """Return what a call costs that was not seen before: SQL is remembered by its text."""
    number = count()

    def unseen() -> None:
        payload = json.loads(text.replace(_MARK, f"{next(number)}"))
        flow.understand(msgspec.structs.replace(call, payload=payload), bundle)

    def untouched() -> None:
        json.loads(text.replace(_MARK, f"{next(number)}"))

    text = json.dumps(call.payload)
    return each_us(unseen, seconds / 2) - each_us(untouched, seconds / 2)


def _statements(seconds: float) -> None:
    """Print what statements cost of which nothing alike was seen, and again when they are known."""
    bundle = load_bundle(ROOT / "policies", by_protocol())
    domain, needs = bundle.domains["sql"], bundle.needs("sql")
    number, strange = count(), _strange_us(bundle, seconds * 2 / 3)
    rows = []
    for name, text in STATEMENTS:
        call = _asking(text, next(number))
        targets = len(flow.understand(call, bundle).targets)
        again = each_us(lambda call=call: flow.understand(call, bundle), seconds / 72)  # type: ignore[misc]
        found = each_us(
            lambda call=call: domain.parse(call, bundle.catalogues[domain.name], needs),  # type: ignore[misc]
            seconds / 72,
        )
        told = (f"{strange[name]:.0f}", f"{_STRANGE_US}", f"{found:.2f}", f"{_KNOWN_US}")
        rows.append((name, f"{targets}", *told, f"{again:.1f}"))
    heads = ("", "targets", "never seen", "goal", "found again", "goal", "whole again")
    table("parse of SQL, in process, CPU us a statement, memory as a server keeps it", heads, rows)


def _strange_us(bundle: Bundle, seconds: float) -> dict[str, float]:
    """Return what each statement costs among the others, the best of some rounds."""
    before = gc.get_threshold()
    settle_memory()
    number, best = count(1_000_000), dict.fromkeys((name for name, _ in STATEMENTS), float("inf"))
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        spent = dict.fromkeys(best, 0.0)
        for _ in range(_ROUND):
            for name, text in STATEMENTS:
                call = _asking(text, next(number))
                began = time.thread_time()
                flow.understand(call, bundle)
                spent[name] += time.thread_time() - began
        best = {name: min(best[name], spent[name] * 1e6 / _ROUND) for name in best}
    gc.unfreeze()
    gc.set_threshold(*before)
    return best


def _asking(text: str, number: int) -> Call:
    return call_of("sql", {"dialect": "postgres", "text": text.replace("@", f"{number}")})
