"""The schemas describe what is really written and answered."""

import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator

from sidecar import flow
from sidecar.record.canonical import encode
from sidecar.record.inputs import Secrets
from sidecar.record.write import Keeping, decision_record
from sidecar.terms.decision import decision_json
from tests import toy

ROOT = Path(__file__).parents[1]
RULES = [
    {"id": "all", "effect": "allow", "obligations": [{"type": "limit_rows", "max": 5}]},
    {"id": "ask", "effect": "step_up", "when": "'ask' in resource.labels"},
    {"id": "err", "effect": "deny", "when": "subject.properties.absent && action.name == 'err'"},
    {"id": "no", "effect": "deny", "when": "'no' in resource.labels", "message": "closed"},
]


def schema(name: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads((ROOT / "schemas" / f"{name}.schema.json").read_text()))


@pytest.mark.parametrize("labels", [[], ["ask"], ["no"]])
async def test_what_is_decided_and_recorded_is_of_the_schemas(labels: list[str]) -> None:
    bundle = toy.bundle(RULES)
    call = toy.call(
        {"actors": ["agent:bot"], "targets": [{"target": "read select table:t", "labels": labels}]}
    )
    request = flow.understand(call, bundle)
    said, facts = await flow.judge(request, bundle, toy.Knows())
    decision, _ = flow.enforce(call, request, said, bundle)
    answered: Any = orjson.loads(orjson.dumps(decision_json(decision)))
    keeping = Keeping(bundle, {}, Secrets.passing())
    record = orjson.loads(
        bytes(encode(decision_record(call, request, said, decision, facts, keeping)[0]))
    )

    assert [e.message for e in schema("decision").iter_errors(answered)] == []
    assert [e.message for e in schema("record").iter_errors(record)] == []
