"""What rules permit to whom: an allow of everything, an allow to anybody, an agent as subject."""

from collections.abc import Iterator
from typing import Final

from sidecar.policy.match import Globs
from sidecar.policy.rules import Rule
from sidecar.review.clauses import clauses_of, is_true, may_hold
from sidecar.review.finding import Finding
from sidecar.review.linting.looked import Looked, finding_of
from sidecar.terms.words import CLASSES, DOMAINS, PROTOCOLS

# No type, id, action or upstream has this character: a glob that takes it names nothing.
_NO_NAME: Final = "\0"
_GRAVE: Final = frozenset({"write", "execute", "delete", "admin"})
# What a clause may be about and still say nothing of who asks.
_WHO: Final = ("subject", "actor", "actors", "delegated", "session", "context", "entity(")


def allows_all(looked: Looked) -> Iterator[Finding]:
    """Yield a finding for each allow of everything for everybody."""
    for rule in looked.rules:
        if rule.effect == "allow" and always_holds(rule, looked) and _matches_all(rule):
            text = " allows everything to everybody; narrow `match` or write `when`"
            yield finding_of("allow-all", rule, text)


def allows_anybody(looked: Looked) -> Iterator[Finding]:
    """Yield a finding for each allow of what is grave that asks nothing of who does it."""
    for rule in looked.rules:
        if rule.effect != "allow" or _matches_all(rule):
            continue
        named = [each.classes for each in (rule.policy_filter, rule.filter) if each.classes]
        grave = looked.reach(rule).classes & _GRAVE if named else frozenset[str]()
        if grave and not _asks_who(rule):
            listed = ", ".join(word for word in CLASSES if word in grave)
            yield finding_of(
                "anybody", rule, f" allows {listed} to anybody: nothing in it asks who"
            )


def modifies_nothing(looked: Looked) -> Iterator[Finding]:
    """Yield a finding for each modify rule without obligations."""
    for rule in looked.rules:
        if rule.effect == "modify" and not rule.duties:
            yield finding_of("modify-nothing", rule, " modifies nothing: it has no `obligations`")


def subject_agents(looked: Looked) -> Iterator[Finding]:
    """Yield a finding for each rule that takes the subject for who acts."""
    for rule in looked.rules:
        if "subject" in rule.roots and any(
            clause.kind == "equal" and clause.field == "subject.type" and clause.value == "agent"
            for clause in clauses_of(looked.asks(rule))
        ):
            text = ": who acts is the `actor`; an agent that acts for a user is no `subject`"
            yield finding_of("subject-agent", rule, text)


def always_holds(rule: Rule, looked: Looked) -> bool:
    """Return whether a rule's condition is true of everything that it meets."""
    asks = looked.asks(rule)
    return is_true(asks) or not may_hold(looked.asks(rule, positive=False), looked.closed(rule))


def _asks_who(rule: Rule) -> bool:
    return any(path.startswith(_WHO) for path in rule.paths)


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
