"""The agent: real clients, one key, and no idea that somebody decides.

It reaches the database with psql, the API with httpx, and asks `/v1/decide` for what the sidecar
does not stand in front of yet (Kubernetes, AWS, MCP, models).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import httpx

from examples.demo.terminal import Login, Said, typed
from examples.demo.world import EMPLOYEES, World

S3 = "https://s3.eu-west-1.amazonaws.com"
SIGNED = {
    "Authorization": "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260101/eu-west-1/s3/aws4_request, "
    "SignedHeaders=host;x-amz-date, Signature=0000"
}
REQUESTS = (
    ("GET", "/expenses/7"),
    ("GET", "/employees/7/salary"),
    ("POST", "/expenses/7/approve"),
)


@dataclass(frozen=True)
class Step:
    """A statement, what its answer has to say and must not, and whether that is a refusal."""

    statement: str
    has: tuple[str, ...]
    lacks: tuple[str, ...] = ()
    is_refused: bool = False


@dataclass(frozen=True)
class Told:
    """What was asked at which door, what came of it and why; `id` is the decision's."""

    door: str
    asked: str
    outcome: str
    why: str
    id: str = ""


@dataclass(frozen=True)
class Typed:
    """A step with what the terminal showed."""

    step: Step
    said: Said

    @property
    def came_out(self) -> bool:
        """Return whether the answer was what it has to be."""
        text = self.said.text
        return (
            self.said.is_refused == self.step.is_refused
            and all(part in text for part in self.step.has)
            and not any(part in text for part in self.step.lacks)
        )


OTHERS = ("legal", "research")
EXPENSES = "SELECT id, department, employee, amount, iban FROM finance.expenses ORDER BY id LIMIT 4"
REFUSED = ("compensation data is closed to agents", "sensitive-data/compensation-is-closed")
STEPS = (
    Step(EXPENSES, ("sales", "****", "(4 rows)"), (*OTHERS, "DE")),
    Step(
        "SELECT department, count(*), sum(amount) FROM finance.expenses GROUP BY department",
        ("sales", "666", "(1 row)"),
        OTHERS,
    ),
    Step("SELECT id FROM finance.expenses WHERE iban LIKE 'DE%'", ("(0 rows)",)),
    Step("SELECT id, employee FROM finance.expenses ORDER BY id", ("(500 rows)",)),
    Step("SELECT employee_id, salary FROM hr.compensation", REFUSED, is_refused=True),
    Step("SELECT count(*) FROM hr.compensation WHERE salary > 200000", REFUSED, is_refused=True),
    Step("INSERT INTO scratch SELECT salary FROM hr.compensation", REFUSED, is_refused=True),
)
# The same account without the sidecar: first what the grant is worth, last what the agent has left.
BEFORE = (
    Step(EXPENSES, (*OTHERS, "DE")),
    Step("SELECT count(salary) AS salaries FROM hr.compensation", (str(EMPLOYEES),)),
)
AFTER = (Step("SELECT count(*) AS stolen FROM scratch", (" 0",)),)


def at_the_database(login: Login, steps: tuple[Step, ...]) -> Iterator[Typed]:
    """Type one statement after the other."""
    for step in steps:
        yield Typed(step, typed(login, step.statement))


def elsewhere(world: World) -> Iterator[Told]:
    """Try every other door, one after the other."""
    yield from _api(world)
    yield from _asked(world)


def _api(world: World) -> Iterator[Told]:
    headers = {"Sidecar-Authorization": f"Bearer {world.key.text}"}
    with httpx.Client(base_url=f"http://127.0.0.1:{world.port('api')}", headers=headers) as client:
        for method, path in REQUESTS:
            answer = client.request(method, path)
            said = answer.json()
            outcome = "allow" if answer.is_success else "deny"
            yield Told(
                "HTTP API", f"{method} {path}", outcome, said.get("detail", "200 from the API")
            )


def _asked(world: World) -> Iterator[Told]:
    headers = {"Sidecar-Authorization": f"Bearer {world.key.text}"}
    with httpx.Client(base_url=f"http://127.0.0.1:{world.port('ask')}", headers=headers) as client:
        for door, asked, call in CALLS:
            decision = client.post("/v1/decide", json=call).raise_for_status().json()
            rules = ", ".join(f"{rule['policy']}/{rule['id']}" for rule in decision["rules"])
            why = decision.get("message") or rules
            yield Told(door, asked, decision["outcome"], why, decision["id"])


def _k8s(method: str, path: str) -> dict[str, object]:
    return {"protocol": "k8s", "call": {"method": method, "path": path}}


def _aws(method: str, path: str) -> dict[str, object]:
    return {"protocol": "aws", "call": {"method": method, "url": S3 + path, "headers": SIGNED}}


def _tool(server: str, name: str, **arguments: object) -> dict[str, object]:
    message = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": name, "arguments": arguments},
    }
    return {"protocol": "mcp", "call": {"server": server, "message": message}}


def _chat(model: str) -> dict[str, object]:
    body = {"model": model, "max_tokens": 500, "messages": [{"role": "user", "content": "hello"}]}
    return {"protocol": "llm", "call": {"path": "/v1/chat/completions", "body": body}}


PODS = "/api/v1/namespaces/prod/pods"
CALLS: tuple[tuple[str, str, dict[str, object]], ...] = (
    ("Kubernetes", f"GET {PODS}", _k8s("GET", PODS)),
    ("Kubernetes", f"DELETE {PODS}/web-1", _k8s("DELETE", f"{PODS}/web-1")),
    ("AWS", "s3:GetObject reports/q1.csv", _aws("GET", "/reports/q1.csv")),
    ("AWS", "s3:GetObject reports/hr/pay.csv", _aws("GET", "/reports/hr/pay.csv")),
    ("AWS", "s3:DeleteBucket reports", _aws("DELETE", "/reports")),
    ("MCP", "crm/get_customer", _tool("crm", "get_customer", id="c-1")),
    ("MCP", "warehouse/query: SELECT salary …",
     _tool("warehouse", "query", sql="SELECT salary FROM hr.compensation")),
    ("MCP", "broker/buy 100 ACME", _tool("broker", "buy", symbol="ACME", amount=100)),
    ("LLM", "openai/gpt-4o-mini", _chat("gpt-4o-mini")),
    ("LLM", "openai/gpt-unapproved", _chat("gpt-unapproved")),
)  # fmt: skip
