"""Who asks, made up: what rules read of parties, sessions and context, each with a value.

Everybody has every attribute that some rule reads, with a value that says nothing (`[]`, `0`,
`other`), so that no rule errs for want of it; a witness then says what differs.
"""

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Final

import msgspec

from sidecar.review.clauses import ABSENT, Clause, clauses_of
from sidecar.review.clauses.witness import Witness
from sidecar.review.linting import Looked
from sidecar.terms.call import Json, Party

_DEFAULTS: Final[Mapping[str, Json]] = {
    "member": [],
    "true": False,
    "less": 0,
    "most": 0,
    "among": "other",
}
_ATTRIBUTES: Final = ("subject.properties.", "actor.properties.", "session.", "entity(")
ROOTS: Final = ("subject.", "actor.", "session.", "context.", "entity(")
_TIME: Final = "2026-01-05T12:00:00.000000Z"
_AGENT: Final = Party("agent", "other-agent")


class Person(msgspec.Struct, frozen=True):
    """Who asks, in which context, and what is known of entities."""

    subject: Party
    actors: tuple[Party, ...]
    context: dict[str, Json]
    entity: dict[str, Json]

    @property
    def key(self) -> bytes:
        """Return what tells persons apart."""
        return msgspec.json.encode(self)


def usual(bundles: Iterable[Looked]) -> dict[str, Json]:
    """Return a value that says nothing for each attribute that some rule reads."""
    found: dict[str, Json] = {}
    asks = (clauses_of(looked.asks(rule)) for looked in bundles for rule in looked.rules)
    for clause in chain.from_iterable(asks):
        path = _bare(clause.field)
        if path.startswith(_ATTRIBUTES):
            found.setdefault(path, _nothing(clause))
    return found


def _bare(field: str) -> str:
    while field.endswith(")") and "(" in field and not field.startswith("entity("):
        field = field.partition("(")[2][:-1]
    return field


def _nothing(clause: Clause) -> Json:
    if clause.kind == "equal" and not isinstance(clause.value, str):
        return -1 if isinstance(clause.value, int | float) else None
    if clause.default is not ABSENT and not isinstance(clause.default, tuple):
        return clause.default
    return _DEFAULTS.get(clause.kind, "other")


def person(witness: Witness, usually: Mapping[str, Json]) -> Person | None:
    """Return somebody who is as a witness says, and otherwise usual; None where nobody can be.

    A witness that speaks of the actor, and not of whether there is one, has one.
    """
    said = {path: value for path, value in witness.values.items() if path.startswith(ROOTS)}
    rest = {path: value for path, value in usually.items() if path not in witness.absent}
    for path in said:
        rest = {each: value for each, value in rest.items() if not each.startswith(f"{path}.")}
    has_actor = any(path.startswith("actor.") for path in said)
    is_delegated = witness.values.get("delegated", has_actor)
    number = witness.values.get("actors")
    if isinstance(number, list):
        is_delegated = bool(number)
    values = {**rest, **said}
    subject = _party("subject", values, "user", "somebody")
    if is_delegated:
        actor = _party("actor", values, "agent", "some-agent")
        more = (len(number) - 1) if isinstance(number, list) else 0
        actors: tuple[Party, ...] = (actor, *[_AGENT] * more)
    else:
        merged = _as_subject(said)
        if merged is None:
            return None
        actors = ()
        subject = _party("subject", {**rest, **merged}, "user", "somebody")
    return Person(subject, actors, _context(values), _entity(values))


def _as_subject(said: Mapping[str, Json]) -> dict[str, Json] | None:
    """Return what is said of somebody who acts for nobody: actor and subject are one."""
    merged = dict(said)
    for path, value in said.items():
        if path.startswith("actor."):
            own = path.replace("actor", "subject", 1)
            if merged.setdefault(own, value) != value:
                return None
    return merged


def _party(root: str, values: Mapping[str, Json], kind: str, name: str) -> Party:
    properties: dict[str, Json] = {}
    for path, value in values.items():
        if path.startswith(f"{root}.properties."):
            put(properties, path.removeprefix(f"{root}.properties."), value)
    return Party(
        str(values.get(f"{root}.type", kind)), str(values.get(f"{root}.id", name)), properties
    )


def _context(values: Mapping[str, Json]) -> dict[str, Json]:
    found: dict[str, Json] = {"time": _TIME, "claimed": {}}
    for path, value in values.items():
        if path.startswith("context."):
            put(found, path.removeprefix("context."), value)
        elif path.startswith("session."):
            put(found, f"session_state.{path.removeprefix('session.')}", value)
    return found


def _entity(values: Mapping[str, Json]) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for path, value in values.items():
        if path.startswith("entity("):
            _, _, steps = path.rpartition(").")
            if steps:
                put(found, steps, value)
    return found


def put(into: dict[str, Json], path: str, value: Json) -> None:
    """Put a value at a dotted path; what is in the way gives way."""
    *above, last = path.split(".")
    for step in above:
        below = into.get(step)
        if not isinstance(below, dict):
            below = into[step] = {}
        into = below
    into[last] = value
