"""Rules from what was observed: exact resources, and patterns where there is enough evidence.

A pattern stands for the siblings of resources that were touched: `column:public.notes.*` where
enough columns of the table were. It never reaches over labels: beside it stands a condition that no
other label is there than those that were seen, and siblings that carry different labels make no
pattern at all.
"""

import json
import re
from collections import defaultdict
from typing import Final

import msgspec

from sidecar.record.inputs.names import MASK
from sidecar.review.quoting import in_ascii
from sidecar.review.suggest.observed import Evidence, Observed, Touched, What, Who
from sidecar.terms.call import Json

# So many different siblings make a pattern.
SIBLINGS_MIN: Final = 5
_SEPARATORS: Final = {"table": ".", "column": "."}
# Types whose ids say all; what stands behind `/` in others may be anything.
_FLAT: Final = frozenset(("table", "column"))


class DraftRule(msgspec.Struct, frozen=True):
    """One rule and its evidence in words."""

    id: str
    written: dict[str, Json]
    evidence: str


class DraftPolicy(msgspec.Struct, frozen=True):
    """The rules for one who acts."""

    name: str
    who: Who
    rules: tuple[DraftRule, ...]
    left: tuple[str, ...]


class Draft(msgspec.Struct, frozen=True):
    """All policies that were drafted."""

    policies: tuple[DraftPolicy, ...]


def drafted(observed: Observed, siblings_min: int = SIBLINGS_MIN) -> Draft:
    """Return a draft that permits what was observed."""
    names: set[str] = set()
    policies = []
    for who, whats in sorted(observed.evidence.items(), key=lambda one: one[0].name):
        name = _unique(f"suggested-{slug(who.name)}", names)
        policies.append(_policy(name, who, whats, siblings_min))
    return Draft(tuple(policies))


def slug(text: str) -> str:
    """Return `text` as a part of a name."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40] or "somebody"


def _unique(name: str, names: set[str]) -> str:
    found, number = name, 1
    while found in names:
        number += 1
        found = f"{name}-{number}"
    names.add(found)
    return found


def _policy(name: str, who: Who, whats: dict[What, Evidence], siblings_min: int) -> DraftPolicy:
    rules: list[DraftRule] = []
    left: list[str] = []
    ids: set[str] = set()
    for what, evidence in sorted(whats.items(), key=lambda one: msgspec.structs.astuple(one[0])):
        rules += _allowed(who, what, evidence, siblings_min, ids)
        rules += _due(who, what, evidence, left, ids)
    return DraftPolicy(name, who, tuple(rules), tuple(dict.fromkeys(left)))


def _allowed(
    who: Who, what: What, evidence: Evidence, siblings_min: int, ids: set[str]
) -> list[DraftRule]:
    groups = _siblings(list(evidence.resources.values()), siblings_min)
    exact = [one for one in evidence.resources.values() if not any(one in g for g in groups)]
    found = []
    if exact:
        found.append(_rule(who, what, exact, evidence, ids, pattern=None))
    found += [
        _rule(who, what, group, evidence, ids, pattern=_pattern(group[0])) for group in groups
    ]
    return found


def _rule(
    who: Who,
    what: What,
    touched: list[Touched],
    evidence: Evidence,
    ids: set[str],
    *,
    pattern: str | None,
) -> DraftRule:
    resources = sorted(literal(one.key) for one in touched) if pattern is None else [pattern]
    match = _match(what, resources)
    match["actions"] = sorted({literal(name) for one in touched for name in one.actions})
    conditions = [condition(who)]
    if pattern is not None:
        if touched[0].type not in _FLAT:
            match["except"] = [f"{pattern}{_separator(touched[0].type)}*"]
        conditions.append(_no_other_label(touched))
    kind = "" if pattern is None else "-like"
    id_ = _unique(f"{what.protocol}-{what.cls}{kind}", ids)
    times = sum(one.count for one in touched)
    subjects = len(evidence.subjects)
    told = (
        f"{_count(times, 'time')} on {_count(len(touched), 'resource')} in "
        f"{_count(evidence.decisions, 'decision')} for {_count(subjects, 'subject')}, "
        f"{evidence.first} to {evidence.last}"
    )
    written = {"id": id_, "effect": "allow", "match": match, "when": " && ".join(conditions)}
    return DraftRule(id_, written, told)


def _match(what: What, resources: list[str]) -> dict[str, Json]:
    match: dict[str, Json] = {"protocols": [what.protocol]}
    if what.phase != "call":
        match["phases"] = [what.phase]
    return {
        **match,
        "classes": [what.cls],
        "upstreams": [literal(what.upstream)],
        "resources": resources,
    }


def _due(
    who: Who, what: What, evidence: Evidence, left: list[str], ids: set[str]
) -> list[DraftRule]:
    """Return a modify rule for each obligation that was due each time."""
    due: dict[str, list[Touched]] = defaultdict(list)
    for one in evidence.resources.values():
        for text, count in one.obligations.items():
            if count == one.count:
                due[text].append(one)
    found = []
    for text, touched in sorted(due.items()):
        said = json.loads(text)
        if MASK in text or '"values":' in text:
            left.append(
                f"`{said['type']}` was due on {touched[0].key}; its values are not recorded"
            )
            continue
        id_ = _unique(f"{what.protocol}-{said['type'].replace('_', '-')}", ids)
        written = {
            "id": id_,
            "effect": "modify",
            "match": _match(what, sorted(literal(one.key) for one in touched)),
            "when": condition(who),
            "obligations": [said],
        }
        times = sum(one.count for one in touched)
        found.append(DraftRule(id_, written, f"due each of {_count(times, 'time')}"))
    return found


# --- patterns ---


def _separator(type_: str) -> str:
    return _SEPARATORS.get(type_, "/")


def _parent(one: Touched) -> str | None:
    head, found, _ = one.id.rpartition(_separator(one.type))
    return head if found and head else None


def _pattern(one: Touched) -> str:
    return f"{literal(one.type)}:{literal(_parent(one) or '')}{_separator(one.type)}*"


def _siblings(resources: list[Touched], siblings_min: int) -> list[list[Touched]]:
    """Return the resources that a pattern may stand for: enough of them, all labelled alike."""
    groups: dict[tuple[str, str], list[Touched]] = defaultdict(list)
    for one in resources:
        parent = _parent(one)
        if parent is not None:
            groups[one.type, parent].append(one)
    return [
        group
        for group in groups.values()
        if len(group) >= siblings_min and len({one.labels for one in group}) == 1
    ]


def _no_other_label(touched: list[Touched]) -> str:
    labels = sorted({label for one in touched for label in one.labels})
    if not labels:
        return "size(resource.labels) == 0"
    return f"resource.labels.all(label, label in [{', '.join(map(quoted, labels))}])"


def literal(text: str) -> str:
    """Return a pattern that matches `text` alone."""
    return re.sub(r"([*\\])", r"\\\1", text)


# --- conditions ---


def quoted(text: str) -> str:
    """Return `text` as a literal of CEL."""
    return in_ascii(text)


def condition(who: Who) -> str:
    """Return the condition that it is this one who acts."""
    said = [f"actor.type == {quoted(who.type)}"]
    if who.id:
        said.append(f"actor.id == {quoted(who.id)}")
    said += [f"{quoted(group)} in actor.properties.groups" for group in who.groups]
    if who.behalf is not None:
        said.append(f"delegated && subject.type == {quoted(who.behalf)}")
    else:
        said.append("!delegated")
    return " && ".join(said)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
