"""Lint: what loads and is still likely wrong; errors fail the run, warnings with `--strict`."""

import re
from collections.abc import Iterator
from itertools import chain
from typing import Final

from sidecar.policy.bundle import Bundle
from sidecar.policy.match import Globs
from sidecar.policy.rules import Rule
from sidecar.review.costs import costly
from sidecar.review.finding import Finding
from sidecar.review.guards import unguarded_reads
from sidecar.review.run import suites_of
from sidecar.review.words import unknown_words
from sidecar.terms.words import CLASSES, DOMAINS, PROTOCOLS

# No type, id, action or upstream has this character: a glob that takes it names nothing.
_NO_NAME: Final = "\0"


def lint(bundle: Bundle) -> list[Finding]:
    """Return what is likely wrong with a bundle that loads, in the order of its files."""
    return sorted(chain.from_iterable(check(bundle) for check in _CHECKS), key=_place)


def _place(finding: Finding) -> tuple[str, int, str]:
    file, line, _ = finding.where.rsplit(":", 2)
    return file, int(line), finding.code


def _allow_all(bundle: Bundle) -> Iterator[Finding]:
    for rule in bundle.rules:
        if rule.effect == "allow" and _always(rule) and _matches_all(rule):
            text = f"`{rule.key}` allows everything to everybody; narrow `match` or write `when`"
            yield Finding("allow-all", "error", rule.where, text)


def _silent_deny(bundle: Bundle) -> Iterator[Finding]:
    for rule in bundle.rules:
        if rule.effect == "deny" and not rule.message and rule.message_expression is None:
            text = f"`{rule.key}` denies without `message`: who is refused will not know why"
            yield Finding("deny-without-message", "warning", rule.where, text)


def _never(bundle: Bundle) -> Iterator[Finding]:
    for rule in bundle.rules:
        if rule.when is not None and rule.when.source.strip() == "false":
            yield Finding("never", "warning", rule.where, f"`{rule.key}` never holds")


def _modifies_nothing(bundle: Bundle) -> Iterator[Finding]:
    for rule in bundle.rules:
        if rule.effect == "modify" and not rule.duties:
            text = f"`{rule.key}` modifies nothing: it has no `obligations`"
            yield Finding("modify-nothing", "warning", rule.where, text)


def _untested(bundle: Bundle) -> Iterator[Finding]:
    named = {
        rule
        for suite in suites_of(bundle)
        for test in suite.spec.tests
        if not test.skip
        for expected in test.expected
        for rule in expected.rules or ()
    }
    for rule in bundle.rules:
        if rule.key not in named:
            text = f"no test expects `{rule.key}` to speak"
            yield Finding("untested", "warning", rule.where, text)


def _unused_variables(bundle: Bundle) -> Iterator[Finding]:
    for document in bundle.policy_documents:
        spec = document.value["spec"]
        for name in spec.get("variables", {}):
            if not re.search(rf"variables\s*\.\s*\??\s*{re.escape(name)}\b", str(spec)):
                where = document.where("spec", "variables", name)
                yield Finding("unused-variable", "warning", where, f"`{name}` is never read")


def _always(rule: Rule) -> bool:
    return rule.when is None or rule.when.source.strip() == "true"


def _matches_all(rule: Rule) -> bool:
    """Return whether `match` takes every resource of every protocol; `except` is no protection."""
    return all(
        _takes_all_words(one.domains, DOMAINS)
        and _takes_all_words(one.protocols, PROTOCOLS)
        and _takes_all_words(one.classes, CLASSES)
        and _takes_all_texts(one.upstreams, _NO_NAME)
        and _takes_all_texts(one.actions, _NO_NAME)
        and _takes_all_texts(one.resources, f"{_NO_NAME}:{_NO_NAME}")
        for one in (rule.policy_filter, rule.filter)
    )


def _takes_all_words(named: frozenset[str] | None, words: tuple[str, ...]) -> bool:
    return named is None or named.issuperset(words)


def _takes_all_texts(globs: Globs, text: str) -> bool:
    return globs is None or any(matches(text) for matches in globs)


_CHECKS: Final = (
    _allow_all,
    _silent_deny,
    _never,
    _modifies_nothing,
    _untested,
    _unused_variables,
    unknown_words,
    unguarded_reads,
    costly,
)
