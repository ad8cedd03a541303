"""What a run is told as: JUnit, TAP, SARIF, a page, a tree; each read back by another reader."""

import json
import re
import xml.etree.ElementTree as ET
from typing import Any

import msgspec
import pytest
import xmlschema

from sidecar.review.coverage.report import report_of
from sidecar.review.mutation.mutants import mutants_of
from sidecar.review.mutation.run import Mutation, Survivor, Trial
from sidecar.review.reports.junit import junit
from sidecar.review.reports.results import RULES, results
from sidecar.review.reports.sarif import sarif
from sidecar.review.reports.summary import summary_page
from sidecar.review.reports.tap import tap
from sidecar.review.reports.tree import FAILED_MAX, SHOWN_MAX, tree
from sidecar.review.reports.whole import whole
from sidecar.review.second import opinion
from sidecar.review.second.opinion import SecondOpinion
from sidecar.review.testing.cells import cases_of, suites_of
from sidecar.review.testing.run import Outcome, run_suites
from sidecar.syntax.yaml12 import load_documents
from tests.review import fetched
from tests.review.shelf import PRINCIPALS, bundle_of
from tests.review.shelf import request as asked

HOSTILE = "<a> & \"b\" ']]>' # SKIP \\ \x00\x1b[31m\ud800 `` ``` | \n not ok 1"
RULES_OF = [
    {"id": "yes", "effect": "allow", "when": "resource.id == 't'"},
    {"id": "no", "effect": "deny", "when": "subject.type == 'robot'", "message": "no"},
]


def bundle(name="one", outcome="allow"):
    """Return a bundle of four cells: one passes, one fails, one is skipped, one is no call."""
    requests = {
        "good": asked("read select table:t"),
        "bad": asked("read select table:u"),
        "none": {**asked(), "protocol": "no word"},
    }

    def test(what, **more):
        sent = {"principals": ["ann"], "requests": [what]}
        expected = [{"outcome": outcome, "rules": ["p/yes"]}]
        return {"name": f"{name} {what}", "input": sent, "expected": expected, **more}

    tests = [test("good"), test("bad"), test("none"), test("good", skip=True, skipReason=name)]
    tests[3]["name"] = f"{name} later"
    return bundle_of(RULES_OF, {"principals": PRINCIPALS, "requests": requests, "tests": tests})


@pytest.fixture(scope="module")
def outcome():
    return run_suites(bundle(), coverage=True)


@pytest.fixture(scope="module")
def hostile():
    return run_suites(bundle(HOSTILE.replace("\x00", "").replace("\ud800", "").replace("\x1b", "")))


@pytest.mark.conformance
@pytest.mark.timeout(150)
def test_junit_is_of_the_common_schema(outcome, hostile, request):
    if request.config.getoption("--scale") != "full":
        pytest.skip("the XSD is fetched at full length")
    schema = xmlschema.XMLSchema(str(fetched.junit_schema()))

    for each in (outcome, hostile):
        assert list(schema.iter_errors(ET.fromstring(junit(each)))) == []
    broken = ET.fromstring(junit(outcome))
    ET.SubElement(broken[0], "nonsense")
    assert list(schema.iter_errors(broken)) != []


# What both common schemas of JUnit XML ask of these elements: the attributes that there may be and
# those that there must be, and which children in which order. Written from
# https://github.com/windyroad/JUnit-Schema and from Jenkins' documentation of its plugin.
SHAPE = {
    "testsuites": (set(), set(), "(testsuite )*"),
    "testsuite": (
        {"name", "timestamp", "hostname", "tests", "failures", "errors", "time", "id", "package"},
        {"skipped"},
        "properties (testcase )*system-out system-err ",
    ),
    "properties": (set(), set(), ""),
    "testcase": ({"name", "classname", "time"}, set(), "((skipped|error|failure) )?"),
    "skipped": (set(), {"message"}, ""),
    "failure": ({"type"}, {"message"}, ""),
    "system-out": (set(), set(), ""),
    "system-err": (set(), set(), ""),
}
NUMBER = re.compile(r"\d+(\.\d+)?\Z")


def checked(text):
    """Return the root of a JUnit file that is of the shape that readers expect."""
    root = ET.fromstring(text.encode())
    assert root.tag == "testsuites"
    for element in root.iter():
        must, may, children = SHAPE[element.tag]
        assert must <= set(element.keys()) <= must | may, element.tag
        found = "".join(f"{child.tag} " for child in element)
        assert re.fullmatch(children, found), (element.tag, found)
        for name in {"tests", "failures", "errors", "skipped", "time"} & set(element.keys()):
            assert NUMBER.match(element.attrib[name])
    for suite in root:
        cases = suite.findall("testcase")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", suite.attrib["timestamp"])
        assert int(suite.attrib["tests"]) == len(cases)
        for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert int(suite.attrib[name]) == sum(case.find(tag) is not None for case in cases)
    return root


def test_junit_is_of_the_common_shape(outcome):
    (suite,) = checked(junit(outcome))

    assert suite.get("name") == "s"
    assert suite.get("package") == "p_test.yaml"
    assert [case.get("name") for case in suite.findall("testcase")] == [
        "ann · good",
        "ann · bad",
        "ann · none",
        "ann · good",
    ]
    failure = suite.find("testcase[2]/failure")
    assert failure.get("message") == "outcome: expected allow, got deny"
    assert "resource.id == 't'" in failure.text
    assert '→ "u"' in failure.text


def test_junit_holds_whatever_a_name_is(hostile):
    (suite,) = checked(junit(hostile))

    assert "<a> & \"b\" ']]>'" in suite.find("testcase").get("classname")


def test_junit_tells_what_the_second_evaluator_says(monkeypatch):
    monkeypatch.setattr(opinion, "known", lambda _branch: None)
    rules = [{"id": "r", "effect": "allow", "when": "has(request.sql) && request.sql.truth == 1"}]
    test = {"name": "one", "input": {"principals": ["ann"], "requests": ["r"]}}
    requests = {"r": asked(truth=True)}
    suite = {"principals": PRINCIPALS, "requests": requests, "tests": [test]}

    found = run_suites(bundle_of(rules, suite))

    _, second = checked(junit(found))
    assert second.get("name") == "second evaluator"
    assert second.find("testcase/failure").get("message") == "ours false, cel-python true"
    points = Tap(tap(found)).points
    assert [point[:2] for point in points] == [(True, 1), (False, 2)]
    assert "not ok" not in junit(found)


class Tap:
    """Reads TAP version 14 by its specification, and holds that the plan is what came."""

    def __init__(self, text):
        version, plan, *lines = text.splitlines()
        assert version == "TAP version 14"
        self.plan = plan
        self.points = []
        self.blocks = {}
        while lines:
            line = lines.pop(0)
            found = re.fullmatch(
                r"(not )?ok (\d+) - ((?:[^#\\]|\\.)*?)(?: # (SKIP)(?: (.*))?)?", line
            )
            assert found, line
            number = int(found[2])
            self.points.append((not found[1], number, self.plain(found[3]), found[4], found[5]))
            if lines and lines[0] == "  ---":
                end = lines.index("  ...")
                block = "\n".join(one[2:] for one in lines[1:end])
                (document,) = load_documents("tap", block.encode())
                self.blocks[number] = document.value
                del lines[: end + 1]
        numbers = [point[1] for point in self.points]
        assert numbers == list(range(1, len(numbers) + 1))
        assert plan == (f"1..{len(numbers)}" if numbers else "1..0 # SKIP nothing ran")

    @staticmethod
    def plain(text):
        return re.sub(r"\\(.)", r"\1", text)


def test_tap_is_read_back(outcome):
    found = Tap(tap(outcome))

    assert found.points == [
        (True, 1, "s / one good / ann · good", None, None),
        (False, 2, "s / one bad / ann · bad", None, None),
        (False, 3, "s / one none / ann · none", None, None),
        (True, 4, "s / one later / ann · good", "SKIP", "one"),
    ]
    block = found.blocks[2]
    assert block["at"] == {"file": "p.yaml", "line": 7, "column": 5}
    assert block["message"].startswith("outcome: expected allow, got deny; rules: p/yes did not")
    assert block["explained"][0].startswith("reason no_rule")


def test_tap_holds_whatever_a_name_is(hostile):
    found = Tap(tap(hostile))

    assert [point[0] for point in found.points] == [True, False, False, True]
    assert [point[3] for point in found.points] == [None, None, None, "SKIP"]
    assert "# SKIP \\" in found.points[0][2]


def test_tap_moves_no_cursor():
    name = "a\x00\x07\x1b[31m\u202eb\x7f\U0001f4ce"
    (cell,) = run_suites(bundle(), only="one good").cells
    bad = msgspec.structs.replace(cell, principal=name, differences=(name,), where="p:1:1")
    found = tap(Outcome((bad,), SecondOpinion(), None))

    assert found.isprintable() or all(one.isprintable() for one in found.splitlines())
    read = Tap(found)
    assert "a\\u{0}\\u{7}\\u{1b}[31m\\u{202e}b\\u{7f}\U0001f4ce" in read.points[0][2]
    assert read.blocks[1]["message"] == name


def test_a_rule_that_erred_is_marked_where_the_cell_passes():
    rules = [{"id": "yes", "effect": "allow", "when": "resource.properties.there == 1"}]
    sent = {"principals": ["ann"], "requests": ["good"]}
    tests = [{"name": "x", "input": sent, "expected": [{"outcome": "deny"}]}]
    requests = {"good": asked("read select table:t")}
    suite = {"principals": PRINCIPALS, "requests": requests, "tests": tests}
    found = run_suites(bundle_of(rules, suite))

    assert [(cell.passed, cell.erred) for cell in found.cells] == [(True, 1)]
    assert any("deny, [yellow]1 erred[/yellow]" in line for line in tree(found))


def test_nothing_that_ran_is_a_plan_of_nothing():
    nothing = run_suites(bundle(), only="nowhere")

    assert Tap(tap(nothing)).points == []
    assert len(checked(junit(nothing))) == 0
    assert next(iter(tree(nothing))) == "[yellow]nothing ran[/yellow]"


def test_a_failure_stands_on_the_line_of_the_rule_that_made_it(outcome):
    report = report_of(bundle(), outcome.coverage)

    found = list(results(outcome, report))

    places = [(one.rule, one.level, one.file, one.line) for one in found]
    assert places[:2] == [
        ("test-failed", "error", "p.yaml", 7),
        ("test-failed", "error", "p_test.yaml", places[1][3]),
    ]
    assert ("not-covered", "note", "p.yaml", 10) in places
    assert {one.rule for one in found} <= RULES.keys()
    log = json.loads(sarif(found, RULES, "1"))
    region = log["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["region"]
    assert region == {"startLine": 7, "startColumn": 5}


def test_the_likeliest_cause_is_named_first():
    rules = [
        {"id": "open", "effect": "allow", "when": "subject.type == 'user'"},
        {"id": "shut", "effect": "deny", "when": "resource.id == 't'", "message": "shut"},
        {"id": "far", "effect": "allow", "match": {"classes": ["write"]}},
    ]

    def cause(target, **expected):
        test: dict[str, Any] = {"name": "one", "input": {"principals": ["ann"], "requests": ["r"]}}
        test["expected"] = [expected]
        suite = {"principals": PRINCIPALS, "requests": {"r": asked(target)}, "tests": [test]}
        known = bundle_of(rules, suite)
        (cell,) = run_suites(known).cells
        return [rule.id for place in cell.at for rule in known.rules if rule.where == place]

    assert cause("read select table:t", outcome="allow") == ["shut"]
    assert cause("read select table:u", outcome="deny") == ["open"]
    assert cause("read select table:u", outcome="deny", rules=["p/far"]) == ["far", "open"]
    assert cause("read select table:t", outcome="deny", silent=["p/open"]) == ["open"]


def test_a_page_says_what_failed_and_cannot_be_ended_by_it(outcome, hostile):
    known = bundle()
    mutation = Trial(known, cases_of(suites_of(known))).run(list(mutants_of(known)), lambda: None)
    page = summary_page(outcome, report_of(known, outcome.coverage), mutation)

    assert page.startswith("### Policy tests: failed\n")
    assert "| 1 | 2 | 1 | 3 compared, 0 disagree |" in page
    assert "**s / one bad / ann · bad** (p.yaml:7:5)" in page
    assert 'resource.id → "u"' in page
    assert "Coverage 66.6 %" in page
    assert "Mutants: " in page
    told = summary_page(hostile, None, None)
    assert "<a>" not in re.sub(r"(`{3,})text\n.*?\n\1", "", told, flags=re.DOTALL)


def test_a_page_of_what_passed_is_short():
    found = run_suites(bundle(), only="one good")

    assert summary_page(found, None, None).splitlines()[0] == "### Policy tests: passed"


def test_a_page_says_failed_where_a_mutant_survived():
    found = run_suites(bundle(), only="one good")
    survivor = Survivor("p/yes", "clause dropped", "p.yaml:9:11", "when: a", "when: true", 1)

    page = summary_page(found, None, Mutation(3, (survivor,)))

    assert page.splitlines()[0] == "### Policy tests: failed"
    assert "Mutants: 3 noticed, 1 survived" in page
    assert "p.yaml:9:11: clause dropped: when: a → when: true" in page


def test_a_large_test_names_what_failed_alone(outcome):
    size = SHOWN_MAX + 1
    requests = {f"r{n}": asked(f"read select table:{'t' if n else 'u'}") for n in range(size)}
    sent = {"principals": ["ann"], "requests": list(requests)}
    tests = [{"name": "one", "input": sent, "expected": [{"outcome": "allow"}]}]
    suite = {"principals": PRINCIPALS, "requests": requests, "tests": tests}

    found = run_suites(bundle_of(RULES_OF, suite))

    short, long = list(tree(found)), list(tree(found, verbose=True))
    assert short[1] == f"  [green]ok[/green]   {size - 1} cells"
    assert "FAIL" in short[2]
    assert sum("ok" in line for line in long) == size - 1
    assert any("one bad" in line for line in tree(outcome))


def test_of_many_failures_the_first_are_named_and_the_others_counted():
    size = FAILED_MAX + 7
    requests = {f"r{number}": asked() for number in range(size)}
    sent = {"principals": ["ann"], "requests": list(requests)}
    tests = [
        {"name": name, "input": sent, "expected": [{"outcome": "step_up"}]} for name in ("a", "b")
    ]
    suite = {"principals": PRINCIPALS, "requests": requests, "tests": tests}

    found = run_suites(bundle_of(RULES_OF, suite))

    short, long = list(tree(found)), list(tree(found, verbose=True))
    assert sum("FAIL" in line for line in short) == FAILED_MAX
    assert (
        f"[yellow]and {2 * size - FAILED_MAX} more failed[/yellow] (--verbose names all)" in short
    )
    assert sum("FAIL" in line for line in long) == 2 * size
    assert short[-1].startswith(f"0 passed, {2 * size} failed")


def test_a_terminal_takes_names_for_nothing_but_text():
    found = run_suites(bundle("\x1b[2J[bold]"))

    told = "\n".join(tree(found))

    assert "\x1b" not in told
    assert "\\[bold]" in told


def test_json_has_coverage_and_mutants(outcome):
    known = bundle()
    mutation = Trial(known, cases_of(suites_of(known))).run(list(mutants_of(known)), lambda: None)

    told = whole(outcome, report_of(known, outcome.coverage), mutation)

    assert told["summary"] == {"ran": 3, "failed": 2, "skipped": 1}
    assert told["mutation"]["survived"] == len(told["mutation"]["survivors"]) > 0
    assert told["coverage"]["files"].keys() == {"p.yaml"}
    assert json.loads(json.dumps(told))
