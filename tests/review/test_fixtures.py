"""What suites share: fixtures beside them and above, each name once."""

import pytest

from sidecar.policy.bundle import compile_bundle
from sidecar.review.testing.run import run_suites
from sidecar.syntax.yaml12 import dump
from sidecar.terms.errors import PolicyError
from tests import toy
from tests.review.shelf import HEAD, PRINCIPALS, YES, document
from tests.tables import rows


def files_of(given):
    files = {"bundle.yaml": HEAD, "p.yaml": document("Policy", "p", {"rules": YES})}
    path = given.pop("path", "s_test.yaml")
    sent = given.pop("suite")["input"]
    expected = [{"outcome": "allow", "requests": ["read"]}] if "read" in sent["requests"] else []
    test = {"name": "one", "input": sent, "expected": expected}
    files[path] = document("Test", "s", {"principals": PRINCIPALS, "tests": [test]})
    shared = {name: one if isinstance(one, str) else dump(one) for name, one in given.items()}
    return {**files, **{name: one.encode() for name, one in shared.items()}}


@pytest.mark.parametrize("row", rows("review/fixtures.yaml"))
def test_fixtures_are_shared_with_suites(row):
    bundle = compile_bundle(files_of(dict(row.given)), toy.domains())
    if isinstance(row.want, list):
        with pytest.raises(PolicyError) as refused:
            run_suites(bundle)
        assert row.want == list(refused.value.problems)
        return

    outcome = run_suites(bundle)

    assert row.want == {f"{cell.principal} {cell.request}": cell.outcome for cell in outcome.cells}


def test_fixtures_change_the_digest_of_the_tests_and_not_that_of_the_policies():
    files = {"bundle.yaml": HEAD, "p.yaml": document("Policy", "p", {"rules": YES})}
    without = compile_bundle(files, toy.domains())

    beside = compile_bundle({**files, "testdata/a.yaml": b"groups: {}\n"}, toy.domains())

    assert beside.digest == without.digest
    assert beside.tests_digest != without.tests_digest


def test_fixtures_of_an_excluded_folder_are_not_read():
    head = b'name: t\nversion: "1.0.0"\nexclude: [packs]\n'
    files = {"bundle.yaml": head, "p.yaml": document("Policy", "p", {"rules": YES})}

    bundle = compile_bundle({**files, "packs/x/testdata/a.yaml": b"{"}, toy.domains())

    assert bundle.fixture_files == {}
