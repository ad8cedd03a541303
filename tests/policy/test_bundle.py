"""Digest, label, archive: what a version stands for."""

import gc
import io
import tarfile

import pytest

from sidecar.policy.archive import Manifest, pack, unpack
from sidecar.policy.bundle import Bundle, compile_bundle
from sidecar.terms.errors import PolicyError
from tests import toy

HEAD = b'name: t\nversion: "1.2.0"\n'
POLICY = b"""apiVersion: sidecar/v1
kind: Policy
metadata: {name: p}
spec: {rules: [{id: r, effect: allow, when: "true"}]}
"""
TEST = b"""apiVersion: sidecar/v1
kind: Test
metadata: {name: p}
spec: {}
"""


def bundle(**more: bytes) -> Bundle:
    files = {"bundle.yaml": HEAD, "p.yaml": POLICY}
    return compile_bundle(files | {f"{k}.yaml": v for k, v in more.items()}, toy.domains())


def test_a_directory_runs_under_its_digest() -> None:
    assert bundle().version == f"1.2.0-dev+{bundle().digest[7:19]}"


def test_tests_do_not_change_the_digest_of_policies() -> None:
    with_test = bundle(p_test=TEST)

    assert with_test.digest == bundle().digest
    assert with_test.tests_digest != bundle().tests_digest


def test_a_comment_changes_the_bundle_but_not_the_rule() -> None:
    other = bundle(p=POLICY + b"# why\n")

    assert other.digest != bundle().digest
    assert other.rules[0].digest == bundle().rules[0].digest


def test_a_condition_changes_the_rule() -> None:
    other = bundle(p=POLICY.replace(b'"true"', b'"false"'))

    assert other.rules[0].digest != bundle().rules[0].digest


def archived() -> bytes:
    made = bundle()
    return pack(made.files, Manifest(made.name, made.label, made.digest))


def test_an_archive_is_the_same_bytes_each_time() -> None:
    assert archived() == archived()


def test_an_archive_runs_under_its_bare_label() -> None:
    files, manifest = unpack("t.tar", archived())

    frozen = compile_bundle(files, toy.domains(), frozen=True)

    assert (frozen.version, frozen.digest) == ("1.2.0", manifest.digest)


def test_an_archive_that_was_changed_is_refused() -> None:
    changed = archived().replace(b'"true"', b'"TRUE"')

    with pytest.raises(PolicyError, match="not those that"):
        unpack("t.tar", changed)


@pytest.mark.parametrize("data", [b"", b"hello", b"\0" * 10_240])
def test_what_is_no_archive_is_refused(data: bytes) -> None:
    with pytest.raises(PolicyError):
        unpack("t.tar", data)


@pytest.mark.parametrize("size", ["1", str(1 << 40), "many"])
def test_an_archive_with_extended_headers_is_refused(size: str) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        entry = tarfile.TarInfo("p.yaml")
        entry.size = 512
        sparse = {"major": "1", "minor": "0", "name": "p.yaml", "realsize": size}
        entry.pax_headers = {f"GNU.sparse.{key}": value for key, value in sparse.items()}
        tar.addfile(entry, io.BytesIO(b"0\n".ljust(512, b"\0")))

    with pytest.raises(PolicyError, match=r"cannot have|not a bundle archive"):
        unpack("t.tar", buffer.getvalue())


def test_a_body_that_no_rule_reads_is_not_needed() -> None:
    assert bundle().needs("sql").body is False


@pytest.mark.parametrize(
    "when",
    [
        b"request.sql.body.a == 1",
        b"has(request.sql.body)",
        b"request.exists(k, true)",
        b"[request.sql].size() == 1",
        b"request['sql'].body == 1",
        b"has(.request.sql.body)",
    ],
)
def test_a_rule_that_may_reach_the_body_needs_it(when: bytes) -> None:
    assert bundle(p=POLICY.replace(b"true", when)).needs("sql").body is True


def test_loading_leaves_the_collector_of_cycles_as_it_was() -> None:
    assert gc.isenabled()
    bundle()
    with pytest.raises(PolicyError):
        bundle(p=b"a: [")
    assert gc.isenabled()


def test_a_load_inside_of_which_nothing_is_collected_leaves_it_so() -> None:
    gc.disable()
    try:
        bundle()
        assert not gc.isenabled()
    finally:
        gc.enable()


VARIABLES = b"""apiVersion: sidecar/v1
kind: Policy
metadata: {name: p}
spec:
  variables:
    one: subject.id == 'a'
    two: variables.one || actor.id == 'b'
    three: variables.two && 'variables.one' == 'x'
  rules: [{id: r, effect: allow, when: "%s"}]
"""


@pytest.mark.parametrize(
    ("when", "read"),
    [
        (b"variables.one", ["one"]),
        (b"variables . two", ["one", "two"]),
        (b"true || variables.three", ["one", "two", "three"]),
        (b"subject.id == 'variables.one'", []),
        (b"true // variables.one", []),
    ],
)
def test_a_rule_has_the_variables_that_it_reads(when: bytes, read: list[str]) -> None:
    (rule,) = bundle(p=VARIABLES % when).rules

    assert [name for name, _ in rule.variables] == read


def test_a_digest_of_a_rule_covers_all_of_its_policy_but_the_other_rules() -> None:
    (before,) = bundle().rules
    other = b"{id: s, effect: deny}"
    beside, _ = bundle(p=POLICY.replace(b"}]}", b"}, " + other + b"]}")).rules
    (limited,) = bundle(p=POLICY.replace(b"{rules", b"{match: {phases: [call]}, rules")).rules

    assert beside.digest == before.digest
    assert limited.digest != before.digest
