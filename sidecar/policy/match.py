"""`match`: static, indexed, evaluated before any CEL.

Policy and rule each may have one and both must fit. `phases` is `[call]` unless one of them names
phases. Resource patterns are globs over `type:id`.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from sidecar.policy.documents import Match
from sidecar.syntax import glob
from sidecar.syntax.yaml12 import Document, Step
from sidecar.terms.words import CLASSES, DOMAINS, PHASES, PROTOCOLS

Globs = tuple[Callable[[str], bool], ...] | None


BucketKey = tuple[frozenset[str] | None, frozenset[str] | None, frozenset[str] | None]

# Most rules speak then: one set for all of them.
_CALL: Final = frozenset(("call",))


class Filter(msgspec.Struct, frozen=True):
    """One compiled `match`; None is `any`. `written` is what it was compiled from."""

    domains: frozenset[str] | None = None
    protocols: frozenset[str] | None = None
    classes: frozenset[str] | None = None
    phases: frozenset[str] | None = None
    upstreams: Globs = None
    actions: Globs = None
    resources: Globs = None
    excepted: Globs = None
    written: Match | None = None

    def speaks(self, domain: str, protocol: str) -> bool:
        """Return whether any call of `protocol` can fit."""
        return (self.domains is None or domain in self.domains) and (
            self.protocols is None or protocol in self.protocols
        )

    @property
    def names_calls(self) -> bool:
        """Return whether it says of which domain or protocol calls are."""
        return self.domains is not None or self.protocols is not None

    @property
    def bucket_key(self) -> BucketKey:
        """Return all that `fits_bucket` looks at."""
        return self.domains, self.protocols, self.classes

    def fits_bucket(self, domain: str, protocol: str, action_class: str) -> bool:
        """Return whether anything in this bucket can fit."""
        return self.speaks(domain, protocol) and (
            self.classes is None or action_class in self.classes
        )

    def fits_target(self, upstream: str, action: str, key: str) -> bool:
        """Return whether this target of the bucket fits; `key` is `type:id`."""
        return (
            _any(self.upstreams, upstream)
            and _any(self.actions, action)
            and _any(self.resources, key)
            and not (self.excepted is not None and any(test(key) for test in self.excepted))
        )

    def left_out_by(self, action_class: str, upstream: str, action: str, key: str) -> str | None:
        """Return the first field that does not fit a target, None when all do; for people."""
        tried = {
            "classes": self.classes is None or action_class in self.classes,
            "upstreams": _any(self.upstreams, upstream),
            "actions": _any(self.actions, action),
            "resources": _any(self.resources, key),
            "except": self.excepted is None or not _any(self.excepted, key),
        }
        return next((field for field, fits in tried.items() if not fits), None)


def _any(globs: Globs, text: str) -> bool:
    return globs is None or any(test(text) for test in globs)


def compile_match(match: Match | None) -> Filter:
    """Return `match` compiled; every glob has been checked by `problems`."""
    if match is None:
        return Filter()
    return Filter(
        domains=_set(match.domains),
        protocols=_set(match.protocols),
        classes=_set(match.classes),
        phases=_set(match.phases),
        upstreams=_globs(match.upstreams),
        actions=_globs(match.actions),
        resources=_globs(match.resources),
        excepted=_globs(match.except_),
        written=match,
    )


def phases_of(policy: Filter, rule: Filter) -> frozenset[str]:
    """Return the phases in which a rule speaks: those named, `call` when neither names any."""
    if policy.phases is None and rule.phases is None:
        return _CALL
    return (policy.phases or rule.phases or frozenset()) & (
        rule.phases or policy.phases or frozenset()
    )


def problems(document: Document, path: tuple[Step, ...], match: Match | None) -> list[str]:
    """Return what is wrong with a `match`: unknown words, empty lists, globs that do not parse."""
    if match is None:
        return []
    found: list[str] = []
    for field, words in (
        ("domains", DOMAINS),
        ("protocols", PROTOCOLS),
        ("phases", PHASES),
        ("classes", CLASSES),
    ):
        for index, word in enumerate(getattr(match, field) or ()):
            if word not in words:
                where = document.where(*path, field, index)
                found.append(f"{where}: unknown word `{word}`; one of {', '.join(words)}")
    for field in ("domains", "protocols", "phases", "classes", "upstreams", "actions", "resources"):
        if getattr(match, field) == []:
            where = document.where(*path, field)
            found.append(f"{where}: an empty list matches nothing; leave `{field}` out for any")
    return found + _glob_problems(document, path, match)


def _glob_problems(document: Document, path: tuple[Step, ...], match: Match) -> list[str]:
    found = []
    lists = {
        "upstreams": match.upstreams,
        "actions": match.actions,
        "resources": match.resources,
        "except": match.except_,
    }
    for field, patterns in lists.items():
        for index, pattern in enumerate(patterns or ()):
            try:
                glob.compiled(pattern)
            except ValueError as error:
                where = document.where(*path, field, index)
                found.append(f"{where}: `{pattern}`: {error}")
                continue
            if field in ("resources", "except") and not _names_type(pattern):
                where = document.where(*path, field, index)
                found.append(f"{where}: `{pattern}` is not of the form `type:id`, {_hint(pattern)}")
    return found


def _names_type(pattern: str) -> bool:
    """Return whether a pattern says of which type, be it of any: `*` at the beginning takes all.

    A wildcard further on does not: `/orders/*` would be a rule that takes nothing, a denial at
    that, and nobody would be told.
    """
    return ":" in pattern or pattern.startswith("*")


def _hint(pattern: str) -> str:
    if pattern.startswith("/"):
        return f"for example `route:{pattern}`"
    return f"for example `table:{pattern}`" if "*" in pattern else "for example `table:hr.*`"


def _set(words: list[str] | None) -> frozenset[str] | None:
    return None if words is None else frozenset(words)


def _globs(patterns: list[str] | None) -> Globs:
    return None if patterns is None else tuple(glob.compiled(pattern) for pattern in patterns)
