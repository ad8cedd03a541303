"""A difference, told: for a person, and as JSON."""

from collections.abc import Iterator
from typing import Final

import orjson

from sidecar.review.diff.compare import Difference, Group
from sidecar.terms.call import Json

_SHOWN_MAX: Final = 400


def lines(difference: Difference) -> Iterator[str]:
    """Yield what a person is told, line by line."""
    yield f"{difference.before} → {difference.after}: {difference.asked} requests asked"
    for kind, heading in (("gain", "GAINED"), ("loss", "LOST")):
        groups = [group for group in difference.groups if group.change.kind == kind]
        if groups:
            yield f"{heading}: {_requests(difference.counts(kind))}"
        for group in groups:
            yield from _group(group)
    if not difference.groups:
        yield "no request was found that gains or loses permission"
    if difference.undecided:
        yield "NOT DECIDED:"
        yield from (f"  {text}" for text in difference.undecided)


def _requests(count: int) -> str:
    return "1 request" if count == 1 else f"{count} requests"


def _group(group: Group) -> Iterator[str]:
    change = group.change
    because = ", ".join(change.because) or "the same rules, seeing something else"
    yield f"  {change.what}: {_requests(group.count)}, because of {because}"
    before, after = change.reasons
    if before != after:
        yield f"    reason {before} → {after}"
    text = orjson.dumps(_short(group.example)).decode()
    yield f"    e.g. {text if len(text) <= _SHOWN_MAX else text[:_SHOWN_MAX] + '…'}"


def _short(example: dict[str, Json]) -> dict[str, Json]:
    """Return an example without what says nothing."""
    return {
        key: value
        for key, value in example.items()
        if value not in ({}, [], ()) and (key, value) != ("upstream", "default")
    }


def as_json(difference: Difference) -> dict[str, Json]:
    """Return everything, for a program."""
    return {
        "before": difference.before,
        "after": difference.after,
        "asked": difference.asked,
        "gained": difference.counts("gain"),
        "lost": difference.counts("loss"),
        "changes": [
            {
                "kind": group.change.kind,
                "what": group.change.what,
                "because": list(group.change.because),
                "reason": {"before": group.change.reasons[0], "after": group.change.reasons[1]},
                "count": group.count,
                "example": group.example,
            }
            for group in difference.groups
        ],
        "undecided": difference.undecided,
    }
