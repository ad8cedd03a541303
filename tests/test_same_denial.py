"""One rule closes one label at every door, and closes nothing else.

The bundle allows everything to everybody; the one rule against it names no protocol, table or tool.
"""

import pytest

from sidecar import flow
from sidecar.domains import by_protocol
from sidecar.intercept.envelope import Seen, operator_call, read_envelope
from sidecar.policy.bundle import compile_bundle
from sidecar.syntax.yaml12 import dump
from sidecar.terms.words import CallId
from tests import toy
from tests.tables import rows

CASES = rows("stories/same_denial.yaml")
RULE = "sensitive-data/compensation-is-closed"
SEEN = Seen(CallId("c"), "2026-01-01T00:00:00.000000Z", "cli")


def document(kind, written):
    return dump({"apiVersion": "sidecar/v1", "kind": kind, **written}).encode()


@pytest.fixture(scope="module")
def bundle():
    """Compile what stands above the cases."""
    table = CASES[0].values[0].table
    files = {"bundle.yaml": b'name: same-denial\nversion: "1"\n'}
    for number, policy in enumerate(table["policies"]):
        files[f"p{number}.yaml"] = document("Policy", policy)
    for number, spec in enumerate(table["catalog"]):
        catalogue = {"metadata": {"name": f"c{number}"}, "spec": spec}
        files[f"c{number}.yaml"] = document("Catalog", catalogue)
    return compile_bundle(files, by_protocol())


async def decided(bundle, given):
    who = {"subject": {"type": "user", "id": "alice"}, "actors": [{"type": "agent", "id": "bot"}]}
    call = operator_call(read_envelope({**who, **given}, trusted=True), SEEN)
    request = flow.understand(call, bundle)
    said, _ = await flow.judge(request, bundle, toy.Knows(None, ()))
    return flow.enforce(call, request, said, bundle)[0]


@pytest.mark.parametrize("row", CASES)
async def test_the_same_rule_denies_at_every_door(bundle, row):
    decision = await decided(bundle, row.given)

    spoke = [f"{rule.policy}/{rule.id}" for rule in decision.rules]
    assert row.want == decision.outcome, decision.message
    assert (decision.reason, RULE in spoke) == (
        ("rule", True) if row.want == "deny" else ("permitted", False)
    )


def test_every_protocol_that_is_read_is_a_door():
    doors = {param.values[0].given["protocol"] for param in CASES}

    assert doors == set(by_protocol()) - {"graphql", "jsonrpc"}
