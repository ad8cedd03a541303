"""What the organisation says of its servers, tools, models, collections, agents.

A label is inherited downwards: a tool, prompt, resource or task has its server's, a document its
collection's. Labels unite over everything that speaks of a resource; of properties the most exact
statement wins. Catalogue files are compiled into one list of statements about `type:id` globs.
"""

from collections.abc import Iterable

import msgspec

from sidecar.syntax.glob import compiled, literal_prefix
from sidecar.terms.call import Json
from sidecar.terms.request import Resource
from sidecar.terms.words import ActionClass


class Statement(msgspec.Struct, frozen=True):
    """What a file says of the resources that `pattern` (a glob over `type:id`) matches."""

    pattern: str
    upstream: str | None = None
    labels: tuple[str, ...] = ()
    properties: dict[str, Json] = {}

    def speaks_of(self, key: str, upstream: str) -> bool:
        """Return whether this is said of `key` on `upstream`."""
        return self.upstream in (None, upstream) and compiled(self.pattern)(key)


class Argument(msgspec.Struct, frozen=True):
    """What a tool's argument holds: `sql`, `http` (a URL), or `text`, which is not looked into.

    Args:
        protocol: One of these.
        dialect: Of SQL; where it is not said nothing is rewritten.
        method: With which a URL is asked for.
        upstream: Where it lives.
        max_length: How many characters of SQL the tool takes; a longer text is refused.
    """

    protocol: str
    dialect: str | None = None
    method: str = "GET"
    upstream: str | None = None
    max_length: int | None = None


class Tool(msgspec.Struct, frozen=True):
    """What is known of one tool beyond its labels; without a class a call executes."""

    upstream: str | None = None
    cls: ActionClass = "execute"
    arguments: dict[str, Argument] = {}


class AiCatalogue(msgspec.Struct, frozen=True):
    """The compiled catalogue. `tools` is by id, then the statements that differ by upstream."""

    statements: tuple[Statement, ...] = ()
    tools: dict[str, tuple[Tool, ...]] = {}

    @property
    def empty(self) -> bool:
        """Return whether no file said anything."""
        return not self.statements and not self.tools

    def tool(self, id: str, upstream: str) -> Tool:
        """Return what is known of a tool, its call an `execute` when nothing is."""
        said = (tool for tool in self.tools.get(id, ()) if tool.upstream in (None, upstream))
        return next(said, Tool())

    def resource(
        self, type: str, id: str, upstream: str, within: Resource | None = None
    ) -> Resource:
        """Return the resource `type:id` with its labels (those of `within` too) and properties."""
        key = f"{type}:{id}"
        said = [s for s in self.statements if s.speaks_of(key, upstream)]
        labels = set(within.labels if within else ())
        properties: dict[str, Json] = {}
        # Stable: among equals the later file wins, and what names the id outright comes last.
        for statement in sorted(said, key=_exactness):
            labels.update(statement.labels)
            properties.update(statement.properties)
        return Resource(type, id, upstream, tuple(sorted(labels)), properties)


def united(resource: Resource, labels: Iterable[str], properties: dict[str, Json]) -> Resource:
    """Return `resource` with what its store says of it; where both speak the catalogue is heard."""
    return msgspec.structs.replace(
        resource,
        labels=tuple(sorted({*resource.labels, *labels})),
        properties={**properties, **resource.properties},
    )


def _exactness(statement: Statement) -> tuple[bool, int]:
    prefix, is_literal = literal_prefix(statement.pattern)
    return is_literal, len(prefix)
