"""Catalogue files of `k8s`, `aws` and `terraform`: labels and properties by `type:id` glob.

Labels are the union over every entry that matches. Where two entries give one property different
values the later one wins, in the order of files and lines; what the parser saw wins over both.
"""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from sidecar.domains.infrastructure.limits import GLOBS_MAX
from sidecar.domains.infrastructure.vocabulary import PROTOCOLS
from sidecar.syntax.glob import compiled
from sidecar.syntax.shape import RESOURCES, Shape, spec
from sidecar.terms.call import Json
from sidecar.terms.domain import CatalogueFile
from sidecar.terms.errors import PolicyError
from sidecar.terms.request import Resource

# For editors; what is below reads the files.
SHAPES: Final[dict[str, Shape]] = {name: spec(name, {"resources": RESOURCES}) for name in PROTOCOLS}

_SPEC_KEYS: Final = frozenset(("protocol", "upstream", "resources"))
_ENTRY_KEYS: Final = frozenset(("labels", "properties"))


class Entry(msgspec.Struct, frozen=True):
    """One glob and what it says; `upstream` None means every upstream of the protocol."""

    protocol: str
    upstream: str | None
    matches: Callable[[str], bool]
    labels: tuple[str, ...]
    properties: dict[str, Json]


class InfrastructureCatalogue(msgspec.Struct, frozen=True):
    """All entries in the order of files and lines."""

    entries: tuple[Entry, ...] = ()

    @property
    def empty(self) -> bool:
        """Return whether no file said anything."""
        return not self.entries

    def resource(self, protocol: str, upstream: str, resource: Resource) -> Resource:
        """Return `resource` with what the catalogue says of it; what the parser saw wins."""
        if not self.entries:
            return resource
        labels: dict[str, None] = dict.fromkeys(resource.labels)
        properties: dict[str, Json] = {}
        for entry in self.entries:
            said_here = entry.upstream is None or entry.upstream == upstream
            if entry.protocol == protocol and said_here and entry.matches(resource.key):
                labels.update(dict.fromkeys(entry.labels))
                properties.update(entry.properties)
        return msgspec.structs.replace(
            resource, labels=tuple(labels), properties={**properties, **resource.properties}
        )


def compile_catalogue(files: Sequence[CatalogueFile]) -> InfrastructureCatalogue:
    """Compile the files; PolicyError with every problem, each `file:line:column: text`."""
    problems: list[str] = []
    entries = [entry for file in files for entry in _entries(file, problems)]
    if len(entries) > GLOBS_MAX:
        problems.append(f"{files[-1].where()}: more than {GLOBS_MAX} resources")
    if problems:
        raise PolicyError(*problems)
    return InfrastructureCatalogue(tuple(entries))


def _entries(file: CatalogueFile, problems: list[str]) -> list[Entry]:
    problems.extend(
        f"{file.where(key)}: unknown field `{key}`; known are protocol, resources, upstream"
        for key in sorted(set(file.spec) - _SPEC_KEYS)
    )
    protocol, upstream = file.spec.get("protocol"), file.spec.get("upstream")
    if protocol not in PROTOCOLS:
        problems.append(f"{file.where('protocol')}: expected one of {', '.join(PROTOCOLS)}")
        return []
    if upstream is not None and not (isinstance(upstream, str) and upstream):
        problems.append(f"{file.where('upstream')}: expected the name of an upstream")
        return []
    resources = file.spec.get("resources", {})
    if not isinstance(resources, dict):
        problems.append(
            f"{file.where('resources')}: expected `type:id` globs with labels, properties"
        )
        return []
    found = [_entry(file, glob, said, problems) for glob, said in resources.items()]
    return [
        Entry(protocol, upstream, compiled(glob), labels, properties)
        for glob, labels, properties in filter(None, found)
    ]


def _entry(
    file: CatalogueFile, glob: str, said: Json, problems: list[str]
) -> tuple[str, tuple[str, ...], dict[str, Json]] | None:
    before = len(problems)
    where = file.where("resources", glob)
    if ":" not in glob:
        problems.append(f"{where}: expected `type:id`, found `{glob}`")
    else:
        _check_glob(where, glob, problems)
    if not isinstance(said, dict):
        problems.append(f"{where}: expected labels or properties")
        return None
    for key in sorted(set(said) - _ENTRY_KEYS):
        at = file.where("resources", glob, key)
        problems.append(f"{at}: unknown field `{key}`; known are labels, properties")
    labels, properties = said.get("labels", []), said.get("properties", {})
    if not (isinstance(labels, list) and all(isinstance(label, str) and label for label in labels)):
        problems.append(f"{file.where('resources', glob, 'labels')}: expected a list of words")
    if not isinstance(properties, dict):
        problems.append(f"{file.where('resources', glob, 'properties')}: expected a mapping")
    return (glob, tuple(labels), properties) if len(problems) == before else None


def _check_glob(where: str, glob: str, problems: list[str]) -> None:
    try:
        compiled(glob)
    except ValueError as error:
        problems.append(f"{where}: {error}")
