"""The types of the roots, as the rules of one `match` see them.

A rule sees what the calls have that it can meet: each pair of a protocol and a phase that its
`match` takes. Of several, a field is known when one of them has it; where the call at hand has it
not, reading it is the error that it always was, and `has()` asks. A field that none of them has is
an error at load, which says who would have it.

What the design leaves open is `dyn`: context that callers assert, what they claim, and without an
Attributes document the organisation's own attributes. `targets` may be of any protocol, for a call
inside another one has its own, so that their properties are `dyn` as well.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

from sidecar.policy.language.types import (
    BOOL,
    DYN,
    STRING,
    AnyType,
    Record,
    join_all,
    list_of,
    map_of,
    read_types,
)
from sidecar.policy.match import Filter
from sidecar.policy.vocabulary.values import properties_of, type_of_value
from sidecar.terms.call import Json
from sidecar.terms.domain import Domain
from sidecar.terms.words import PHASES

# A protocol and a phase.
Calls: TypeAlias = frozenset[tuple[str, str]]

_ANYTHING: Final = map_of(STRING, DYN)
# The attributes of an organisation that has not said what they are.
UNDECLARED: Final = map_of(STRING, DYN)
_STRINGS: Final = list_of(STRING)
# What `request` says of every call, beside the block of its protocol.
_EVERY_REQUEST: Final = ("domain", "protocol", "phase", "listener", "upstream")
_PARSE: Final = Record(
    "parse", {"status": STRING, "parser": STRING, "missing": _STRINGS, "ambiguities": _STRINGS}
)
# What the sidecar sets itself, and what DESIGN §2 names; a caller may say no word of the former.
_CONTEXT: Final[Mapping[str, AnyType]] = {
    "time": STRING,
    "ip": STRING,
    "session": STRING,
    "claimed": _ANYTHING,
    "approval": DYN,
    "purpose": DYN,
    "trace": DYN,
}


class _Known(NamedTuple):
    """A word of a protocol; `why` says what it is missing in the calls at hand, None when there."""

    steps: tuple[str, ...]
    type: AnyType
    why: str | None


class Roots:
    """The types of the roots, made once for each set of calls."""

    def __init__(
        self,
        domains: Mapping[str, Domain],
        attributes: Mapping[str, AnyType],
        params: Mapping[str, Json],
        catalogues: Iterable[tuple[str, Json]],
    ) -> None:
        """Make the table.

        Args:
            domains: By protocol.
            attributes: By section, as `attributes.Attributes` reads them.
            params: Every document's values, by its name.
            catalogues: A domain's name and the `spec` of each Catalog document.
        """
        self._domains = domains
        self._attributes = attributes
        self._given = _given(catalogues)
        self._made: dict[Calls, Mapping[str, AnyType]] = {}
        self._calls: dict[tuple[object, ...], Calls] = {}
        self._shared = {
            **self._parties(),
            "delegated": BOOL,
            "targets": _targets(),
            "context": self._context(),
            "session": attributes.get("session", UNDECLARED),
            "parse": _PARSE,
            "params": type_of_value(params, "params"),
        }

    def calls(self, filters: Sequence[Filter], phases: frozenset[str]) -> Calls:
        """Return the calls that all of `filters` take in one of `phases`."""
        key = (phases, *((each.domains, each.protocols) for each in filters))
        found = self._calls.get(key)
        if found is None:
            found = self._calls[key] = frozenset(
                (protocol, phase)
                for protocol, domain in self._domains.items()
                if all(each.speaks(domain.name, protocol) for each in filters)
                for phase in domain.vocabulary.phases[protocol]
                if phase in phases
            )
        return found

    def unmet(self, filters: Sequence[Filter], phases: frozenset[str]) -> str:
        """Return why there is no call that all of `filters` take in one of `phases`."""
        spoken = sorted({protocol for protocol, _ in self.calls(filters, frozenset(PHASES))})
        if not spoken:
            return "no protocol is in all of the lists of `domains` and `protocols`"
        has = (
            f"{each} has {_listed(self._domains[each].vocabulary.phases[each])}" for each in spoken
        )
        return f"no phase {_listed(sorted(phases))} is there; {', '.join(has)}"

    def seen(self, calls: Calls) -> Mapping[str, AnyType]:
        """Return the type of each root for rules that meet these calls."""
        found = self._made.get(calls)
        if found is None:
            found = self._made[calls] = {
                **self._shared,
                "request": self._request(calls),
                "action": _action("action", self._properties("action", calls)),
                "resource": _resource("resource", self._properties("resource", calls)),
            }
        return found

    def _parties(self) -> dict[str, AnyType]:
        subject, actor = (self._attributes.get(section) for section in ("subject", "actor"))
        # Who acts is the subject where nobody acts for it.
        acting = actor and join_all((actor, subject or actor))
        if isinstance(acting, Record) and isinstance(actor, Record):
            acting = Record(actor.name, acting.fields, acting.is_open)
        return {
            "subject": _party("subject", subject or UNDECLARED),
            "actor": _party("actor", acting or UNDECLARED),
            "actors": list_of(_party("actors[]", actor or UNDECLARED)),
        }

    def _context(self) -> AnyType:
        own = self._attributes.get("context")
        if isinstance(own, Record):
            return Record("context", {**own.fields, **_CONTEXT}, is_open=own.is_open)
        return Record("context", _CONTEXT, is_open=True)

    def _request(self, calls: Calls) -> AnyType:
        fields: dict[str, AnyType] = dict.fromkeys(_EVERY_REQUEST, STRING)
        absent: dict[str, str] = {}
        spoken = {protocol for protocol, _ in calls}
        for protocol in self._domains:
            name = f"request.{protocol}"
            known = list(self._words(name, protocol, calls))
            if protocol not in spoken:
                absent[protocol] = f"`match` takes no call of {protocol}"
            elif known:
                fields[protocol] = _block(name, known)
        return Record("request", fields, absent=absent)

    def _properties(self, root: str, calls: Calls) -> AnyType:
        """Return what the properties of an action or a resource may be."""
        name = f"{root}.properties"
        known = [word for each in self._domains for word in self._words(name, each, calls)]
        own = self._attributes.get(root)
        if own is not None:
            # What is said of them says what a vocabulary leaves open.
            known = list(filter(_has_steps, known))
        block = _block(name, known)
        given: list[AnyType] = [] if own is None else [own]
        if root == "resource":
            domains = {self._domains[protocol].name for protocol, _ in calls}
            given += [Record(name, found) for each, found in self._given.items() if each in domains]
        if isinstance(block, Record) and all(isinstance(each, Record) for each in given):
            return _joined(block, given)
        return UNDECLARED if own is None else own

    def _words(self, name: str, protocol: str, calls: Calls) -> Iterator[_Known]:
        """Yield the words of a protocol that are `name` or stand below it."""
        vocabulary = self._domains[protocol].vocabulary
        for word in vocabulary.words[protocol]:
            if word.path == name or word.path.startswith(f"{name}."):
                steps = tuple(word.path.removeprefix(name).split(".")[1:])
                phases = word.phases or vocabulary.phases[protocol]
                (found,) = read_types(word.type)
                yield _Known(steps, found, _why(protocol, phases, calls))


def _why(protocol: str, phases: tuple[str, ...], calls: Calls) -> str | None:
    """Return why no call at hand has a word, None when one has it."""
    if any((protocol, phase) in calls for phase in phases):
        return None
    taken = sorted({phase for each, phase in calls if each == protocol})
    if not taken:
        return f"{protocol} has it, and `match` takes no call of {protocol}"
    return f"{protocol} has it in phase {_listed(phases)}, and `match` takes {_listed(taken)}"


def _listed(words: Iterable[str]) -> str:
    return " or ".join(f"`{word}`" for word in words)


def _block(name: str, known: list[_Known]) -> AnyType:
    """Return the type of what words say of `name`: one of them may be of the whole."""
    whole = [word.type for word in known if not word.steps and word.why is None]
    if whole:
        return join_all(whole)
    fields: dict[str, AnyType] = {}
    absent: dict[str, str] = {}
    below: dict[str, list[_Known]] = {}
    for word in filter(_has_steps, known):
        below.setdefault(word.steps[0], []).append(word._replace(steps=word.steps[1:]))
    for field, words in below.items():
        if any(word.why is None for word in words):
            fields[field] = _block(f"{name}.{field}", words)
        else:
            absent[field] = next(word.why for word in words if word.why is not None)
    return Record(name, fields, absent=absent)


def _has_steps(word: _Known) -> bool:
    return bool(word.steps)


def _joined(block: Record, given: list[AnyType]) -> Record:
    """Return a record with the fields of others too, which are then no longer absent."""
    made = join_all((block, *given))
    assert isinstance(made, Record)
    absent = {field: why for field, why in block.absent.items() if field not in made.fields}
    return Record(block.name, made.fields, made.is_open, absent)


def _given(catalogues: Iterable[tuple[str, Json]]) -> dict[str, dict[str, AnyType]]:
    """Return the properties that catalogues give to resources, by domain."""
    found: dict[str, dict[str, AnyType]] = {}
    for domain, spec in catalogues:
        fields = found.setdefault(domain, {})
        for key, value in properties_of(spec):
            kind = type_of_value(value, f"resource.properties.{key}")
            fields[key] = join_all((fields[key], kind)) if key in fields else kind
    return found


def _party(name: str, properties: AnyType) -> Record:
    return Record(name, {"type": STRING, "id": STRING, "properties": properties})


def _action(name: str, properties: AnyType) -> Record:
    return Record(name, {"name": STRING, "class": STRING, "properties": properties})


def _resource(name: str, properties: AnyType) -> Record:
    fields: dict[str, AnyType] = {"labels": _STRINGS, "properties": properties}
    return Record(name, {"type": STRING, "id": STRING, "upstream": STRING, **fields})


def _targets() -> AnyType:
    fields: dict[str, AnyType] = {
        "action": _action("targets[].action", _ANYTHING),
        "resource": _resource("targets[].resource", _ANYTHING),
        "role": STRING,
    }
    return list_of(Record("targets[]", fields))
