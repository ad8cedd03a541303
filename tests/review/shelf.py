"""Bundles of the toy domain with suites beside their rules."""

from typing import Any

from sidecar.policy.bundle import Bundle, compile_bundle
from sidecar.syntax.yaml12 import dump
from tests import toy

HEAD = b'name: t\nversion: "1.0.0"\n'
PRINCIPALS = {"ann": {"subject": {"type": "user", "id": "ann"}}}
YES = [{"id": "yes", "effect": "allow", "match": {"classes": ["read"]}}]


def document(kind: str, name: str, spec: Any) -> bytes:
    body = {"apiVersion": "sidecar/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}
    return dump(body).encode()


def bundle_of(rules: Any, suite: Any = None, **spec: Any) -> Bundle:
    """Return a bundle of one policy `p`, and of one suite `s` when there is one."""
    files = {"bundle.yaml": HEAD, "p.yaml": document("Policy", "p", {"rules": rules, **spec})}
    if suite is not None:
        files["p_test.yaml"] = document("Test", "s", suite)
    return compile_bundle(files, toy.domains())


def request(target: str = "read select table:t", **native: Any) -> dict[str, Any]:
    return {"protocol": "sql", "call": {"targets": [target], "native": native}}


def suite_of(*expected: Any, **requests: Any) -> dict[str, Any]:
    """Return a suite of one test in which ann sends every request."""
    sent = {"principals": list(PRINCIPALS), "requests": list(requests)}
    test = {"name": "one", "input": sent, "expected": list(expected)}
    return {"principals": PRINCIPALS, "requests": requests, "tests": [test]}
