"""AuthZEN's own vectors against the bundles of examples/authzen, over a real socket.

Interop vectors of the to-do scenario and the certification scenario's levels Basic and Batch with
their protocol cases; search is not offered. The vectors are not part of this tree.
"""

import json
from pathlib import Path

import pytest

from sidecar.facts.keys import key_digest
from tests.intercept.ask_stand import KEYS, Process, Stand

# A process starts in a second, or in many on a busy machine.
pytestmark = [pytest.mark.conformance, pytest.mark.e2e, pytest.mark.timeout(60)]

EXAMPLE = Path(__file__).parents[2] / "examples" / "authzen"
ENTITIES = EXAMPLE / "entities.yaml"
PUBLIC = "https://pdp.example"
EVALUATION = "/access/v1/evaluation"
EVALUATIONS = "/access/v1/evaluations"
LEVELS = ("basic-", "batch-")


def bundle(name):
    folder = EXAMPLE / name
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def vectors(conformance):
    return lambda name: json.loads((conformance / "authzen" / name).read_text("utf-8"))


@pytest.fixture(params=["in process", "sidecar run"])
async def serve(request, tmp_path):
    """Start a listener over one of the example's bundles, in the test or in a process."""
    started = []

    async def start(name):
        if request.param == "in process":
            entities = ENTITIES.read_bytes()
            found = await Stand(bundle(name), entities=entities, public_url=PUBLIC).start()
        else:
            found = await Process.start(tmp_path, EXAMPLE / name, ENTITIES, PUBLIC)
        started.append(found)
        return found

    yield start
    for one in started:
        await one.stop()


@pytest.fixture
async def fixture(serve):
    return await serve("certification")


@pytest.mark.parametrize(
    ("name", "evaluation", "evaluations"),
    [("todo-1_0-02.json", 40, 3), ("todo-1_0-01.json", 40, 0)],
)
async def test_the_to_do_scenario_is_decided_as_its_vectors_say(
    serve, vectors, name, evaluation, evaluations
):
    told = vectors(name)
    todo = await serve("todo")
    singles, batches = told["evaluation"], told.get("evaluations", [])

    for case in singles:
        answer = await todo.post(EVALUATION, case["request"])
        assert (answer.status, answer.json["decision"]) == (200, case["expected"]), case
    for case in batches:
        answer = await todo.post(EVALUATIONS, case["request"])
        decided = [{"decision": one["decision"]} for one in answer.json["evaluations"]]
        assert decided == case["expected"], case

    assert (len(singles), len(batches)) == (evaluation, evaluations)


async def test_basic_and_batch_are_decided_as_the_certification_scenario_says(fixture, vectors):
    cases = [c for c in vectors("certification-1_0-cases.json")["cases"] if is_ours(c)]

    for case in cases:
        answer = await fixture.post(case["path"], case["request"])
        holds(case["expect"], answer, f"{case['id']}: {case['label']}")

    assert len(cases) == 29


def is_ours(case):
    return case["level"].startswith(LEVELS)


def holds(expect, answer, told):
    """Assert what the scenario expects; `null` is any bool."""
    assert answer.status == expect["status"], told
    if "decision" in expect:
        assert answer.json["decision"] is expect["decision"], told
    if "decisions" in expect:
        found = [one["decision"] for one in answer.json["evaluations"]]
        assert "decision" not in answer.json, told
        assert len(found) == len(expect["decisions"]), told
        for wanted, decision in zip(expect["decisions"], found, strict=True):
            assert isinstance(decision, bool), told
            assert wanted in {None, decision}, told


@pytest.mark.parametrize(
    ("what", "body", "headers"),
    [
        ("c-2-4-3", b"{}", [("Content-Type", "text/plain")]),
        ("c-2-4-4", b'{"subject": {', []),
        ("c-2-4-5", b"", []),
    ],
)
async def test_what_is_not_json_is_400(fixture, what, body, headers):
    answer = await fixture.send("POST", EVALUATION, body=body, headers=headers)

    assert (answer.status, bool(answer.body)) == (400, True), what


async def test_protocol_cases_of_request_ids_and_repetition(fixture, vectors):
    """Cases c-2-5-1, c-2-5-2 and c-2-6."""
    request = vectors("certification-1_0-cases.json")["cases"][0]["request"]

    told = await fixture.post(EVALUATION, request, headers=[("X-Request-ID", "bfe9eb29-ab87")])
    untold = [await fixture.post(EVALUATION, request) for _ in range(3)]

    assert told.headers["x-request-id"] == "bfe9eb29-ab87"
    assert [answer.status for answer in untold] == [200, 200, 200]
    assert {answer.json["decision"] for answer in (told, *untold)} == {True}


async def test_the_discovery_document_is_at_the_base_that_it_names(fixture):
    """Case c-6, but for signed metadata, which is optional."""
    answer = await fixture.send("GET", "/.well-known/authzen-configuration", key=None)

    found = answer.json
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert found["policy_decision_point"] == "https://pdp.example"
    assert found["access_evaluation_endpoint"] == "https://pdp.example/access/v1/evaluation"
    assert all(isinstance(urn, str) for urn in found["capabilities"])


async def test_an_answer_is_of_the_specifications_shape(fixture, vectors):
    request = vectors("certification-1_0-cases.json")["cases"][0]["request"]
    schema = vectors("schema-evaluation-response.json")

    answer = await fixture.post(EVALUATION, request)

    assert set(schema["required"]) <= set(answer.json) <= set(schema["properties"])
    assert KEYS["gateway"] not in answer.body.decode()
    assert key_digest(KEYS["gateway"]) not in answer.body.decode()
