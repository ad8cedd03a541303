"""What it costs to understand one call of each protocol, without a server."""

import json
from itertools import count

import msgspec

from sidecar import flow
from sidecar.domains import by_protocol
from sidecar.policy.bundle import Bundle
from sidecar.runtime.bundles import load_bundle
from sidecar.runtime.dryrun import dry_call
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


def measure(seconds: float) -> None:
    """Print the table in about `seconds`."""
    _by_protocol(seconds / len(CALLS))


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
