"""SARIF: what every reader of the format relies on, and the format's own schema where it is."""

import json
from pathlib import Path

import pytest
from jsonschema import Draft4Validator

from sidecar.review.placing import within
from sidecar.review.reports.sarif import Result, sarif
from tests.review import fetched

RULES = {"allow-all": "An allow of everything.", "never": "A rule that never holds."}
RESULTS = [
    Result("never", "warning", "`p/r` never holds", "data/a b.yaml", 7, 5),
    Result("never", "error", "`p/s` never holds", "p.yaml", 0, 0, accepted="until the audit"),
    Result("test", "note", "a cell", "p_test.yaml", 3),
]


def log(results=RESULTS):
    return json.loads(sarif(results, RULES, "1.2.3"))


def run(results=RESULTS):
    return log(results)["runs"][0]


def test_a_log_says_its_version_and_who_made_it():
    found = log()

    assert found["version"] == "2.1.0"
    assert found["$schema"].endswith("sarif-schema-2.1.0.json")
    assert [each["tool"]["driver"]["name"] for each in found["runs"]] == ["sidecar"]
    assert found["runs"][0]["tool"]["driver"]["version"] == "1.2.3"


def test_each_result_points_to_its_rule_by_name_and_number():
    found = run()

    rules = found["tool"]["driver"]["rules"]
    assert [each["ruleId"] for each in found["results"]] == ["never", "never", "test"]
    assert all(rules[each["ruleIndex"]]["id"] == each["ruleId"] for each in found["results"])


def test_a_rule_that_nobody_described_is_described_by_its_name():
    described = {
        each["id"]: each["shortDescription"]["text"] for each in run()["tool"]["driver"]["rules"]
    }

    assert described == {**RULES, "test": "test"}


def test_a_place_is_an_uri_below_the_folder_and_a_line_from_one():
    found = run()

    places = [each["locations"][0]["physicalLocation"] for each in found["results"]]
    assert [each["artifactLocation"]["uri"] for each in places] == [
        "data/a%20b.yaml",
        "p.yaml",
        "p_test.yaml",
    ]
    assert {each["artifactLocation"]["uriBaseId"] for each in places} == set(
        found["originalUriBaseIds"]
    )
    assert [each["region"] for each in places] == [
        {"startLine": 7, "startColumn": 5},
        {"startLine": 1, "startColumn": 1},
        {"startLine": 3, "startColumn": 1},
    ]


def test_what_a_policy_accepts_is_suppressed_with_its_reason():
    suppressed = [each.get("suppressions") for each in run()["results"]]

    assert suppressed == [
        None,
        [{"kind": "inSource", "justification": "until the audit"}],
        None,
    ]


def test_a_result_is_known_again_when_lines_above_it_moved():
    moved = [Result("never", "warning", "`p/r` never holds", "data/a b.yaml", 70, 2)]

    (before, other, _), (after,) = run()["results"], run(moved)["results"]

    assert before["partialFingerprints"] == after["partialFingerprints"]
    assert before["partialFingerprints"] != other["partialFingerprints"]


def test_no_result_is_a_log_all_the_same():
    assert run([])["results"] == []


@pytest.mark.conformance
@pytest.mark.timeout(90)
def test_a_log_is_of_the_schema():
    schema = json.loads(fetched.sarif_schema().read_text("utf-8"))

    assert list(Draft4Validator(schema).iter_errors(log())) == []
    broken = log()
    del broken["runs"][0]["tool"]
    assert list(Draft4Validator(schema).iter_errors(broken)) != []


@pytest.mark.parametrize(
    ("folder", "uri"),
    [("policies", "policies/p.yaml"), (".", "p.yaml"), ("a b/c", "a%20b/c/p.yaml")],
)
def test_a_place_below_the_working_folder_is_relative_to_that(folder, uri):
    (found,) = json.loads(sarif([RESULTS[1]], RULES, "1", folder))["runs"]

    place = found["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]
    assert place == {"uri": uri, "uriBaseId": "%SRCROOT%"}
    assert set(found["originalUriBaseIds"]) == {"%SRCROOT%"}


def test_a_bundle_that_is_no_folder_below_the_working_one_has_no_such_place(tmp_path, monkeypatch):
    (tmp_path / "here" / "b").mkdir(parents=True)
    (tmp_path / "here" / "b.tar").write_bytes(b"")
    monkeypatch.chdir(tmp_path / "here")

    assert within(Path("b")) == "b"
    assert [within(Path(p)) for p in ("b.tar", "../here/b", str(tmp_path / "here" / "b"))] == [
        None,
        None,
        None,
    ]
