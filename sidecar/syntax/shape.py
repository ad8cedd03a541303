"""The few JSON Schemas of which a domain puts together the shape of its catalogue files.

A shape is for editors, and says beforehand what the domain's reader would refuse: fields that are
none, values of another kind. What only the reader can know (a name that no call can have, a table
that is not listed) is left to it. A test compares both on every catalogue of the tree.
"""

from collections.abc import Mapping
from typing import Final

from sidecar.terms.call import Json
from sidecar.terms.words import CLASSES

Shape = dict[str, Json]

TEXT: Final[Shape] = {"type": "string", "minLength": 1}
TEXTS: Final[Shape] = {"type": "array", "items": TEXT}
CLASS: Final[Shape] = {"enum": list(CLASSES)}
PROPERTIES: Final[Shape] = {"type": "object"}


def told(description: str, shape: Shape) -> Shape:
    """Return `shape` with the sentence that an editor shows."""
    return {"description": description, **shape}


def fields(of: Mapping[str, Shape], *required: str) -> Shape:
    """Return the shape of a mapping that has these fields and no others."""
    shape: Shape = {"type": "object", "properties": dict(of), "additionalProperties": False}
    return {**shape, "required": list(required)} if required else shape


def by_name(entry: Shape) -> Shape:
    """Return the shape of a mapping from names to `entry`."""
    return {"type": "object", "additionalProperties": entry}


LABELS: Final = told("Inherited by everything below.", TEXTS)
ABOUT: Final[dict[str, Shape]] = {"labels": LABELS, "properties": PROPERTIES}
RESOURCES: Final = told(
    "What is known of resources, by globs over `type:id`.",
    {
        "type": "object",
        "additionalProperties": fields(ABOUT),
        "propertyNames": {"pattern": "^[^:]+:"},
    },
)


def spec(protocol: str, of: Mapping[str, Shape]) -> Shape:
    """Return the shape of the `spec` of a catalogue of `protocol`."""
    head: dict[str, Shape] = {
        "protocol": {"const": protocol},
        "upstream": told("The one that this speaks of; without it, all.", TEXT),
    }
    return fields({**head, **of}, "protocol")
