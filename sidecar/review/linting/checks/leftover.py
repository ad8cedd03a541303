"""What is left over, or missing: variables and parameters that nothing reads, tests, messages."""

import re
from collections.abc import Iterator

from sidecar.review.finding import Finding
from sidecar.review.linting.looked import Looked, finding_of


def silent_denials(looked: Looked) -> Iterator[Finding]:
    """Yield a finding for each deny rule that does not say why."""
    for rule in looked.rules:
        if rule.effect == "deny" and not rule.message and rule.message_expression is None:
            text = " denies without `message`: who is refused will not know why"
            yield finding_of("deny-without-message", rule, text)


def untested(looked: Looked) -> Iterator[Finding]:
    """Yield a finding for each rule that no test expects to speak."""
    named = {
        rule
        for suite in looked.suites
        for test in suite.spec.tests
        if not test.skip
        for expected in test.expected
        for rule in expected.rules or ()
    }
    for rule in looked.rules:
        if rule.key not in named:
            text = f"no test expects `{rule.key}` to speak"
            yield Finding("untested", "warning", rule.where, text, rule.key)


def unused_variables(looked: Looked) -> Iterator[Finding]:
    """Yield a finding for each variable that nothing in its policy reads."""
    for document in looked.policies:
        spec = document.value["spec"]
        declared = spec.get("variables", {})
        read = set(re.findall(r"variables\s*\.\s*\??\s*(\w+)", str(spec))) if declared else set()
        for name in declared:
            if name not in read:
                where = document.where("spec", "variables", name)
                about = document.value["metadata"]["name"]
                text = f"`{name}` is never read"
                yield Finding("unused-variable", "warning", where, text, about)


def unused_params(looked: Looked) -> Iterator[Finding]:
    """Yield a finding for each parameter that no rule reads."""
    read = {path for rule in looked.rules for path in rule.paths if path.startswith("params")}
    for document in looked.documents("Params"):
        name = document.value["metadata"]["name"]
        for key in document.value["spec"]:
            path = f"params.{name}.{key}"
            if not any(_touches(each, path) for each in read):
                where = document.where("spec", key)
                text = f"no rule reads `{path}`"
                yield Finding("unused-param", "warning", where, text, name)


def _touches(read: str, path: str) -> bool:
    return read == path or read.startswith(f"{path}.") or path.startswith(f"{read}.")
