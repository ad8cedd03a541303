"""Seeded faults: mistakes that people make, and which of lint, tests and diff find each."""

from functools import cache

import pytest

from sidecar.domains import by_protocol
from sidecar.policy.bundle import compile_bundle
from sidecar.review.diff import compare
from sidecar.review.linting import lint
from sidecar.review.testing.run import run_suites
from sidecar.terms.errors import PolicyError
from tests.tables import rows

ROWS = rows("review/faulty.yaml")
SEEDED_MIN, FOUND_MIN = 30, 0.93


@cache
def sound():
    """Return the bundle as it should be, and what lint says of it."""
    files = {name: text.encode() for name, text in ROWS[0].values[0].table["files"].items()}
    bundle = compile_bundle(files, by_protocol())
    return files, bundle, findings(bundle)


def findings(bundle):
    return {(one.code, one.text) for one in lint(bundle)}


def faulty(row):
    files = dict(sound()[0])
    old, new = (row.given[key].encode() for key in ("old", "new"))
    assert files[row.given["file"]].count(old) == 1
    files[row.given["file"]] = files[row.given["file"]].replace(old, new)
    return compile_bundle(files, by_protocol())


def found_by(row):
    """Return the tools that find a fault."""
    _, bundle, known = sound()
    try:
        fault = faulty(row)
    except PolicyError:
        return ["load"]
    return [
        *(["lint"] if findings(fault) - known else []),
        *(["tests"] if run_suites(fault).failed else []),
        *(["diff"] if compare(bundle, fault).groups else []),
    ]


def test_the_bundle_is_sound_before_a_fault_is_seeded():
    _, bundle, known = sound()

    assert run_suites(bundle).failed == 0
    assert {code for code, _ in known} <= {"untested", "unused-label", "unused-param"}
    assert compare(bundle, bundle).groups == []


@pytest.mark.parametrize("row", ROWS)
def test_a_fault_is_found(row):
    assert row.want == found_by(row)


def test_most_faults_are_found():
    found = [row.values[0] for row in ROWS if row.values[0].want]

    assert len(ROWS) >= SEEDED_MIN
    assert len(found) / len(ROWS) >= FOUND_MIN
