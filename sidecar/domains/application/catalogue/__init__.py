"""Compiles this domain's catalogue files: routes, classes of AuthZEN actions, labels of resources.

A file with `upstream` speaks of calls to that upstream alone; one without speaks of all of them.
Labels are united over all globs that match; of properties the last file's win, in bundle order.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sidecar.domains.application.catalogue.openapi import read_openapi
from sidecar.domains.application.catalogue.reading import Reading
from sidecar.domains.application.catalogue.routes import Found, Route, Routes, fill, read_template
from sidecar.domains.application.limits import KNOWN_URLS_MAX, ROUTES_MAX
from sidecar.domains.application.vocabulary import METHOD_CLASSES
from sidecar.syntax.glob import compiled
from sidecar.terms.call import Json, remembers
from sidecar.terms.domain import CatalogueFile
from sidecar.terms.errors import PolicyError
from sidecar.terms.words import ActionClass

_FIELDS = {
    "http": ("protocol", "upstream", "openapi", "routes", "resources"),
    "authzen": ("protocol", "upstream", "actions", "resources"),
}
_ROUTE_FIELDS = ("method", "path", "name", "class", "labels", "resource", "body")


@dataclass(frozen=True, slots=True)
class _Labelled:
    """What one glob says of the resources that it matches."""

    protocol: str
    upstream: str | None
    matches: Callable[[str], bool]
    labels: tuple[str, ...]
    properties: dict[str, Json]


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Catalogue:
    """What is known of the applications behind us. Made by `compile_catalogue`.

    Under `routes` and `actions` the upstream `None` stands for every one that no file names.
    """

    files: int = 0
    routes: Mapping[str | None, Routes] = field(default_factory=dict)
    actions: Mapping[tuple[str | None, str], ActionClass] = field(default_factory=dict)
    labelled: tuple[_Labelled, ...] = ()
    # What parsers have found out from this catalogue and the exact text that is the key.
    known: dict[object, Any] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Let go of what was found out when a person is forgotten."""
        remembers(self.forget)

    def forget(self) -> None:
        """Forget what parsers have found out."""
        self.known.clear()

    def keep(self, text: object, found: object) -> None:
        """Keep what `text` means here; what is kept was read by every check."""
        if len(self.known) >= KNOWN_URLS_MAX:
            self.known.clear()
        self.known[text] = found

    @property
    def empty(self) -> bool:
        """Return whether no file said anything."""
        return self.files == 0

    def find(self, upstream: str, method: str, path: Sequence[str]) -> Found | None:
        """Return the route that a method and a decoded path mean at `upstream`."""
        routes = self.routes.get(upstream) or self.routes.get(None)
        return routes.find(method, path) if routes else None

    def action_class(self, upstream: str, name: str) -> ActionClass:
        """Return the class of an AuthZEN action, `execute` when nobody says."""
        said = self.actions.get((upstream, name)) or self.actions.get((None, name))
        return said or "execute"

    def about(self, protocol: str, upstream: str, key: str) -> tuple[set[str], dict[str, Json]]:
        """Return the labels and properties of the resource `type:id`."""
        labels: set[str] = set()
        properties: dict[str, Json] = {}
        for said in self.labelled:
            here = said.protocol == protocol and said.upstream in {None, upstream}
            if here and said.matches(key):
                labels.update(said.labels)
                properties.update(said.properties)
        return labels, properties


def compile_catalogue(files: Sequence[CatalogueFile]) -> Catalogue:
    """Return the catalogue of `files`.

    Raises:
        PolicyError: With every problem of every file, each with its position.
    """
    problems: list[str] = []
    labelled: list[_Labelled] = []
    actions: dict[tuple[str | None, str], ActionClass] = {}
    declared: list[tuple[str | None, Route]] = []
    for file in files:
        reading = Reading(file.where, problems)
        protocol = file.spec.get("protocol")
        upstream = reading.text(file.spec.get("upstream"), "upstream")
        if protocol not in _FIELDS:
            reading.wrong("no catalogue is read for this protocol yet", "protocol")
            continue
        reading.only(file.spec, _FIELDS[protocol])
        labelled += _resources(reading, file, protocol, upstream)
        for name, said in reading.mapping(file.spec.get("actions"), "actions").items():
            found = reading.action_class(said, "actions", name)
            if found:
                actions[upstream, name] = found
        declared += [(upstream, route) for route in _declared(reading, file)]
        declared += [(upstream, route) for route in _described(reading, file)]
    routes = _tries(declared, problems)
    if problems:
        raise PolicyError(*dict.fromkeys(problems))
    return Catalogue(len(files), routes, actions, tuple(labelled))


def _tries(
    declared: list[tuple[str | None, Route]], problems: list[str]
) -> dict[str | None, Routes]:
    if len(declared) > ROUTES_MAX:
        problems.append(f"{declared[0][1].where}: more than {ROUTES_MAX} routes")
        return {}
    built: dict[str | None, Routes] = {}
    for name in {None, *(upstream for upstream, _ in declared)}:
        built[name] = Routes()
        for upstream, route in declared:
            if upstream in {None, name}:
                problems += built[name].add(route)
    return built


def _described(reading: Reading, file: CatalogueFile) -> list[Route]:
    name = reading.text(file.spec.get("openapi"), "openapi")
    if name is None:
        return []
    if name not in file.files:
        reading.wrong(f"no file `{name}` in the bundle", "openapi")
        return []
    return read_openapi(name, file.files[name], reading.problems)


def _declared(reading: Reading, file: CatalogueFile) -> list[Route]:
    found: list[Route] = []
    for place, said in reading.items(file.spec.get("routes"), "routes"):
        at = ("routes", place)
        reading.only(said, _ROUTE_FIELDS, *at)
        method, template = said.get("method"), said.get("path")
        if method not in METHOD_CLASSES:
            reading.wrong(f"expected a method, one of {', '.join(METHOD_CLASSES)}", *at, "method")
            continue
        if not isinstance(template, str):
            reading.wrong("expected a path template", *at, "path")
            continue
        body = said.get("body", False)
        if not isinstance(body, bool):
            reading.wrong("expected true or false", *at, "body")
        found.append(
            Route(
                method=method,
                template=template,
                where=file.where(*at),
                name=reading.text(said.get("name"), *at, "name"),
                cls=reading.action_class(said.get("class"), *at, "class"),
                labels=reading.texts(said.get("labels"), *at, "labels"),
                object_=_object(reading, said.get("resource"), template, at),
                body=body is True,
            )
        )
    return found


def _object(
    reading: Reading, said: Json, template: str, at: tuple[str | int, ...]
) -> tuple[str, str] | None:
    """Return `expense:{id}` as `("expense", "{id}")`; its parameters are the template's."""
    text = reading.text(said, *at, "resource")
    if text is None:
        return None
    kind, colon, id_template = text.partition(":")
    if not (kind and colon and id_template) or "{" in kind:
        reading.wrong("expected `type:id`, as `expense:{id}`", *at, "resource")
        return None
    try:
        names = read_template(template)[1]
    except ValueError:
        # The route itself is refused for this, when it is added.
        return None
    if "{" in fill(id_template, dict.fromkeys(names, "")):
        reading.wrong(f"expected the parameters of `{template}` alone", *at, "resource")
        return None
    return kind, id_template


def _resources(
    reading: Reading, file: CatalogueFile, protocol: str, upstream: str | None
) -> list[_Labelled]:
    found: list[_Labelled] = []
    for key, value in reading.mapping(file.spec.get("resources"), "resources").items():
        at = ("resources", key)
        said = reading.mapping(value, *at)
        reading.only(said, ("labels", "properties"), *at)
        labels = reading.texts(said.get("labels"), *at, "labels")
        properties = reading.mapping(said.get("properties"), *at, "properties")
        if ":" not in key:
            reading.wrong("expected `type:id`, where `*` is anything", *at)
            continue
        try:
            found.append(_Labelled(protocol, upstream, compiled(key), labels, properties))
        except ValueError as error:
            reading.wrong(str(error), *at)
    return found
