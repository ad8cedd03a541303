"""What tests show of policies: rules, both sides of clauses, entries of matches, obligations."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from sidecar.domains import by_protocol
from sidecar.review.coverage.report import as_json, lcov, lines, report_of
from sidecar.review.testing.run import run_suites
from sidecar.runtime.bundles import load_bundle
from tests.review.shelf import bundle_of, request, suite_of
from tests.tables import rows

SHIPPED = Path(__file__).parents[2] / "policies"


def covered(rules, ask, **spec):
    requests = {f"r{number}": request(target) for number, target in enumerate(ask)}
    bundle = bundle_of(rules, suite_of(**requests), **spec)
    found = run_suites(bundle, coverage=True)
    assert found.coverage is not None
    return bundle, found.coverage


@pytest.mark.parametrize("row", rows("review/coverage.yaml"))
def test_what_is_not_covered_is_named(row):
    report = report_of(*covered(**row.given))

    assert row.want == [site.sentence for site in report.missing]
    assert (report.whole.percent == 100) == (row.want == [])


@pytest.mark.parametrize("row", rows("review/coverage.yaml"))
def test_nothing_is_counted_that_could_not_be_covered(row):
    bundle, coverage = covered(**row.given)

    assert coverage.hits.keys() <= {site.key for site in report_of(bundle, coverage).sites}


RULES: list[dict[str, Any]] = [
    {"id": "yes", "effect": "allow", "when": "resource.id == 't' && subject.id == 'ann'"},
    {"id": "no", "effect": "deny", "match": {"classes": ["write"]}, "message": "no"},
]


def test_sites_stand_where_they_are_written():
    report = report_of(*covered(RULES, ["read select table:t"]))

    places = {site.sentence: (site.line, site.column) for site in report.sites}

    assert places == {
        "p/yes: never held": (7, 5),
        "p/yes: `resource.id == 't'` never true": (9, 11),
        "p/yes: `resource.id == 't'` never false": (9, 11),
        "p/yes: `subject.id == 'ann'` never true": (9, 33),
        "p/yes: `subject.id == 'ann'` never false": (9, 33),
        "p/no: never held": (10, 5),
        "p/no: `match` never left anything out": (13, 7),
        "p/no: `classes: write` never let anything in": (14, 9),
    }


def test_the_numbers_are_told_and_what_is_missing():
    report = report_of(*covered(RULES, ["read select table:t"]))

    assert list(lines(report)) == [
        "coverage 50.0 %: rules 1/2, branches 2/4, match entries 1/2, obligations 0/0",
        "  p.yaml:9:11: p/yes: `resource.id == 't'` never false",
        "  p.yaml:9:33: p/yes: `subject.id == 'ann'` never false",
        "  p.yaml:10:5: p/no: never held",
        "  p.yaml:14:9: p/no: `classes: write` never let anything in",
    ]


def test_json_has_every_site_with_how_often_it_was_shown():
    told = as_json(report_of(*covered(RULES, ["read select table:t", "read select table:t"])))

    assert json.loads(json.dumps(told)) == told
    assert told["percent"] == 50.0
    assert told["branches"] == {"covered": 2, "total": 4, "percent": 50.0}
    (held,) = [one for one in told["files"]["p.yaml"] if one["rule"] == "p/yes" and not one["text"]]
    assert held == {
        "kind": "rule",
        "rule": "p/yes",
        "text": "",
        "side": "held",
        "line": 7,
        "column": 5,
        "hits": 2,
    }


def test_a_hundred_percent_is_not_told_where_one_of_a_thousand_is_missing():
    ask = [f"read select table:t{number}" for number in range(1100)]
    rules = [
        {"id": "r", "effect": "allow", "match": {"resources": [one.split()[2] for one in ask]}}
    ]

    report = report_of(*covered(rules, ask))

    assert [site.sentence for site in report.missing] == ["p/r: `match` never left anything out"]
    assert as_json(report)["percent"] == 99.9


def test_what_changed_alone_is_looked_at():
    changed = [RULES[0], {**RULES[1], "message": "never"}]
    before = bundle_of(RULES)

    bundle, coverage = covered(changed, ["read select table:t"])
    report = report_of(bundle, coverage, before)

    assert {site.rule for site in report.sites} == {"p/no"}
    assert report_of(bundle, coverage, bundle).whole.percent == 100
    assert report_of(bundle, coverage, bundle).sites == ()


def test_what_a_policy_says_for_all_its_rules_counts_where_it_changed():
    bundle, coverage = covered(RULES, ["read select table:t"], match={"classes": ["read", "write"]})
    before = bundle_of(RULES, match={"classes": ["read"]})

    report = report_of(bundle, coverage, before)

    assert {site.rule for site in report.sites} == {"p/", "p/yes", "p/no"}


class Trace:
    """Reads an lcov trace file by its manual page, and holds that its sums are of its lines."""

    def __init__(self, text):
        self.files = {}
        for record in text.split("end_of_record\n")[:-1]:
            fields = [line.partition(":")[::2] for line in record.splitlines()]
            (name,) = [value for key, value in fields if key == "SF"]
            self.files[name] = fields
            functions = {v.split(",", 1)[1]: int(v.split(",")[0]) for v in self.of(name, "FNDA")}
            assert {v.split(",", 1)[1] for v in self.of(name, "FN")} == set(functions)
            self._sums(name, "FN", list(functions.values()))
            self._sums(name, "L", [int(v.split(",")[1]) for v in self.of(name, "DA")])
            taken = [v.split(",")[3] for v in self.of(name, "BRDA")]
            assert all(re.fullmatch(r"-|\d+", one) for one in taken)
            self._sums(name, "BR", [0 if one == "-" else int(one) for one in taken])

    def of(self, name, key):
        return [value for found, value in self.files[name] if found == key]

    def _sums(self, name, prefix, counts):
        assert self.of(name, f"{prefix}F") == [str(len(counts))]
        assert self.of(name, f"{prefix}H") == [str(sum(count > 0 for count in counts))]


def test_lcov_is_read_back():
    trace = Trace(lcov(report_of(*covered(RULES, ["read select table:t"]))))

    assert trace.of("p.yaml", "FN") == ["7,p/yes", "10,p/no"]
    assert trace.of("p.yaml", "FNDA") == ["1,p/yes", "0,p/no"]
    assert trace.of("p.yaml", "BRDA") == [
        "9,0,0,0",
        "9,0,1,1",
        "9,0,2,0",
        "9,0,3,1",
        "13,0,0,1",
        "14,0,0,-",
    ]
    assert trace.of("p.yaml", "DA") == ["7,1", "9,1", "10,0", "13,1", "14,0"]


def test_lcov_of_the_shipped_policies_names_files_that_are_there():
    bundle = load_bundle(SHIPPED, by_protocol())
    found = run_suites(bundle, coverage=True)

    assert found.coverage is not None
    trace = Trace(lcov(report_of(bundle, found.coverage)))

    assert set(trace.files) == {document.name for document in bundle.policy_documents}
    for name in trace.files:
        lines_of = bundle.files[name].decode().splitlines()
        for entry in trace.of(name, "FN"):
            line, rule = entry.split(",")
            assert rule.partition("/")[2] in lines_of[int(line) - 1]
