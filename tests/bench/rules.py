"""Bundles of a chosen size, and the calls that are judged by them."""

from typing import Any

from tests.e2e.harness import BUNDLE

CALL: dict[str, Any] = {
    "protocol": "http",
    "call": {"method": "GET", "url": "http://api.test/things/1"},
}
SQL_CALL: dict[str, Any] = {
    "protocol": "sql",
    "call": {"dialect": "postgres", "text": "SELECT note FROM notes WHERE note = 'a'"},
}
_HEAD = """\
apiVersion: sidecar/v1
kind: Policy
metadata: {name: bench}
spec:
  rules:
    - {id: open, effect: allow, when: "subject.id != 'nobody' && actor.type == subject.type"}
"""
# A rule that matches and is silent costs its evaluation; it reads what such rules read.
_MATCHES = "    - {{id: closed-{0}, effect: deny, when: \"'label-{0}' in resource.labels\"}}\n"
# A rule that does not match is told by `match` alone; `engine` measures other ways.
_OTHERS = (
    "    - {{id: other-{0}, effect: deny, match: {{protocols: [k8s]}}, "
    "when: \"'label-{0}' in resource.labels\"}}\n"
)


def bundle_of(rules: int, matching: int) -> dict[str, str]:
    """Return the files of a bundle in which `matching` of `rules` are evaluated for a call."""
    text = _HEAD
    text += "".join(_MATCHES.format(number) for number in range(1, matching))
    text += "".join(_OTHERS.format(number) for number in range(matching, rules))
    return {**BUNDLE, "policies/trial.yaml": text}
