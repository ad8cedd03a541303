"""Carries out decisions on SQL: what must be refused is refused in PostgreSQL's own words.

Statements are not rewritten, so one with any obligation is refused: an obligation that cannot
be carried out denies.
"""

from typing import Final

from sidecar.domains.data.catalogue import DataCatalogue
from sidecar.domains.data.parse.condition import condition_problem
from sidecar.terms.answer import Refusal
from sidecar.terms.call import Call, Json
from sidecar.terms.decision import Decision
from sidecar.terms.errors import EnforceError
from sidecar.terms.reasons import reason
from sidecar.terms.request import Request

INSUFFICIENT_PRIVILEGE: Final = "42501"


def rewrite(call: Call, _request: Request, decision: Decision) -> dict[str, Json]:
    """Return the payload to forward.

    Raises:
        EnforceError: The decision has obligations.
    """
    for obligation in decision.obligations:
        raise EnforceError(
            reason("obligation.unsupported"),
            f"`{obligation.type}` on `{obligation.target}` cannot be carried out on SQL",
        )
    return call.payload


def check(obligation: dict[str, Json], catalogue: DataCatalogue) -> list[str]:
    """Return what is wrong with an obligation as a rule has it, beyond its schema."""
    if obligation.get("type") == "mask":
        has_expression = "expression" in obligation
        if has_expression != (obligation.get("with") == "expression"):
            return ["`expression` stands with `with: expression`, and only there"]
    if obligation.get("type") != "filter_rows" or not isinstance(obligation.get("where"), str):
        return []
    problem = condition_problem(obligation["where"], obligation.get("on"), catalogue)
    return [problem] if problem else []


def refuse(_call: Call, decision: Decision) -> Refusal:
    """Return the denial as the fields of an ErrorResponse, without anything of the statement."""
    policy = decision.policy
    rules = ", ".join(f"{rule.policy}/{rule.id}" for rule in decision.rules) or "none"
    named = {
        "code": INSUFFICIENT_PRIVILEGE,
        "message": f"denied by policy: {decision.message or decision.reason}",
        "detail": (
            f"decision {decision.id}; rules {rules}; bundle {policy.bundle} {policy.version}; "
            f"reason {decision.reason}"
        ),
        "hint": _hint(decision),
    }
    return Refusal(0, named, content_type="application/json")


def _hint(decision: Decision) -> str:
    if decision.approval is not None:
        return f"waits for approval {decision.approval.id}"
    return "ask the policy's owner with the decision id"
