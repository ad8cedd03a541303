"""What `sidecar test` and `sidecar lint` say to a script: the exit code, on the right stream."""

import json

import pytest
from click.testing import CliRunner

from sidecar.cli import root
from sidecar.review.second import opinion
from sidecar.runtime.exits import exit_code
from sidecar.terms.errors import SidecarError
from tests.review.shelf import HEAD, document
from tests.tables import rows

ANN = {"subject": {"type": "user", "id": "ann", "properties": {"admin": True}}}
SELECT = {"protocol": "sql", "call": {"dialect": "postgres", "text": "SELECT 1"}}


@pytest.fixture
def bundle(tmp_path):
    """Write a bundle of one rule and one test; return how to change it."""

    def write(when="subject.type == 'user'", expected="allow", rules=("p/yes",)):
        rule = {"id": "yes", "effect": "allow", "when": when}
        cell = {"outcome": expected, "rules": list(rules)}
        test = {
            "name": "one",
            "input": {"principals": ["ann"], "requests": ["r"]},
            "expected": [cell],
        }
        suite = {"tests": [test], "principals": {"ann": ANN}, "requests": {"r": SELECT}}
        (tmp_path / "bundle.yaml").write_bytes(HEAD)
        (tmp_path / "p.yaml").write_bytes(document("Policy", "p", {"rules": [rule]}))
        (tmp_path / "p_test.yaml").write_bytes(document("Test", "s", suite))
        return str(tmp_path)

    return write


def run(arguments):
    """Run the command line as `main` does: an expected failure is one text and its code."""
    done = CliRunner().invoke(root, arguments)
    if isinstance(done.exception, SidecarError):
        return exit_code(done.exception), done.stdout, str(done.exception)
    return done.exit_code, done.stdout, done.stderr


@pytest.mark.parametrize("row", rows("review/exits.yaml"))
def test_a_script_is_told(bundle, row):
    given = dict(row.given)
    arguments = given.pop("args")
    folder = bundle(**given)

    code, out, err = run([argument.replace("$b", folder) for argument in arguments])

    assert row.want["code"] == code, out + err
    assert row.want.get("out", "") in out
    assert row.want.get("err", "") in err


TRUTH = "subject.type == 'user' && !(subject.properties.admin == 1)"


@pytest.mark.parametrize("verb", ["test", "lint"])
def test_a_script_is_told_that_the_second_evaluator_disagrees(bundle, monkeypatch, verb):
    """What is listed with its clause fails nobody, so the list is emptied here."""
    folder = bundle(when=TRUTH)
    assert run([verb, folder])[0] == 0
    monkeypatch.setattr(opinion, "known", lambda _branch: None)

    code, out, _ = run([verb, folder])

    assert code == 4
    assert "`subject.properties.admin == 1`: ours false, cel-python true" in out


def test_the_json_of_a_run_is_whole(bundle):
    code, out, _ = run(["test", bundle(expected="deny"), "--format", "json"])

    told = json.loads(out)
    assert code == 4
    assert told["summary"] == {"ran": 1, "failed": 1, "skipped": 0}
    assert told["cells"][0]["passed"] is False
    assert told["cells"][0]["differences"] == ["outcome: expected deny, got allow"]
    assert told["second_opinion"]["disagreements"] == []


def test_the_json_of_lint_has_findings_costs_and_the_second_opinion(bundle):
    when = "targets.all(t, targets.all(u, t == u)) && subject.type == 'user'"
    code, out, _ = run(["lint", bundle(when=when, rules=()), "--json"])

    told = json.loads(out)
    assert code == 0
    assert [finding["code"] for finding in told["findings"]] == ["cost", "untested"]
    (rule,) = told["costs"]
    assert (rule["rule"], rule["where"]) == ("p/yes", "p.yaml:7:5")
    assert rule["parts"] == [
        {
            "part": "when",
            "steps": "n + n²",
            "worst": 250_500,
            "exceeds_from": 100,
            "is_certain": False,
        }
    ]
    assert told["second_opinion"]["compared"] > 5
    assert told["second_opinion"]["disagreements"] == []


def test_what_the_second_evaluator_is_known_to_get_wrong_is_listed_with_its_clause(bundle):
    code, out, _ = run(["test", bundle(when=TRUTH), "--format", "json"])

    (known,) = json.loads(out)["second_opinion"]["known"]
    assert code == 0
    assert known["id"] == "bool-is-a-number"
    assert known["clause"].endswith("langdef.md#equality")
