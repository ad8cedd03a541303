"""The decision, row by row: what holds, what is combined, what is said."""

from typing import Any

import pytest

from sidecar import flow
from tests import toy
from tests.tables import Row, rows


async def decided(row: Row) -> Any:
    table = dict(row.table)
    rules = table.pop("policies", None) or table.pop("rules")
    table.pop("source", None)
    given = dict(row.given or {})
    knows = toy.Knows(given.pop("entities", None), given.pop("revoked", ()))
    bundle = toy.bundle(rules, **table)
    call = toy.call(given)
    request = flow.understand(call, bundle)
    said, _ = await flow.judge(request, bundle, knows)
    return flow.enforce(call, request, said, bundle)[0]


def shown(decision: Any, want: dict[str, Any]) -> dict[str, Any]:
    """Return of a decision what the row speaks of."""
    everything = {
        "outcome": decision.outcome,
        "reason": decision.reason,
        "message": decision.message,
        "rules": [f"{rule.policy}/{rule.id}" for rule in decision.rules],
        "errors": [error.rule for error in decision.errors],
        "texts": [error.text for error in decision.errors],
        "obligations": [
            {"type": o.type, "target": o.target, **o.values} for o in decision.obligations
        ],
        "targets": [target.outcome for target in decision.targets],
        "layers": [rule.layer for rule in decision.rules],
        "approval_rules": list(decision.approval.rules) if decision.approval else None,
    }
    unknown = sorted(set(want) - set(everything))
    assert not unknown, f"unknown keys {unknown} in `want`; known are {sorted(everything)}"
    return {key: everything[key] for key in want}


@pytest.mark.parametrize("row", rows("decide"))
async def test_decision(row: Row) -> None:
    decision = await decided(row)

    assert shown(decision, row.want) == row.want


async def test_a_row_that_wants_what_no_decision_has_is_refused_by_name() -> None:
    decision = await decided(
        Row("it", {}, {}, None, {"rules": [{"id": "r", "effect": "allow"}]}, "f", "f:1")
    )

    with pytest.raises(AssertionError, match=r"unknown keys \['effect'\] in `want`; known are"):
        shown(decision, {"effect": "deny"})
