"""The JSON Schema of every YAML that a user writes, for editors: `init` puts them into `.schemas/`.

The shapes are those by which the files are read, so a field that does not load is marked while it
is written. What is read by hand (catalogues, attributes, obligations) has its shape beside its
reader, and a test holds the two together.
"""

import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import msgspec

from sidecar.domains import found
from sidecar.policy.documents import (
    API_VERSION,
    KINDS,
    AttributesSpec,
    BundleDoc,
    Metadata,
    PolicySpec,
    RuleDoc,
)
from sidecar.policy.vocabulary.attributes import KEYWORDS
from sidecar.review.testing.written import Fixtures, SuiteSpec
from sidecar.runtime.config.document import ConfigDoc
from sidecar.syntax.shape import TEXT, Shape, by_name

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_KINDS: Final[Shape] = {
    "enum": ["array", "boolean", "integer", "null", "number", "object", "string"]
}
_PLAIN_KEYWORDS: Final[dict[str, Shape]] = {
    "type": {"anyOf": [_KINDS, {"type": "array", "items": _KINDS}]},
    "enum": {"type": "array"},
    "required": {"type": "array", "items": {"type": "string"}},
    "description": {"type": "string"},
    "pattern": {"type": "string"},
}
_REF: Final = "#/$defs/{name}"


class PolicyShape(PolicySpec, frozen=True, kw_only=True):
    """A policy's spec with its rules in their shape; the loader reads them one by one."""

    rules: list[RuleDoc]


def text_of(schema: Shape) -> bytes:
    """Return a schema as it stands in a file: its dialect first, then in a fixed order."""
    ordered = json.dumps({"$schema": DIALECT, **schema}, indent=2, ensure_ascii=False)
    return f"{ordered}\n".encode()


def of_type(title: str, type_: type[msgspec.Struct]) -> bytes:
    """Return the schema of a file that is one struct."""
    return text_of({"title": title, **msgspec.json.schema(type_)})


def _document(title: str, kind: str, shape: Shape, defs: Mapping[str, Shape]) -> Shape:
    """Return the schema of one kind of document of a bundle."""
    (head,), own = msgspec.json.schema_components([Metadata], ref_template=_REF)
    return {
        "title": title,
        "type": "object",
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "additionalProperties": False,
        "properties": {
            "apiVersion": {"const": API_VERSION},
            "kind": {"const": kind},
            "metadata": head,
            "spec": shape,
        },
        "$defs": {**own, **defs},
    }


def _of_spec(title: str, kind: str, spec: type[msgspec.Struct]) -> Shape:
    (shape,), defs = msgspec.json.schema_components([spec], ref_template=_REF)
    return _document(title, kind, shape, defs)


def _policy() -> bytes:
    schema = _of_spec("A policy", "Policy", PolicyShape)
    schema["$defs"]["RuleDoc"]["properties"]["obligations"]["items"] = {
        "$ref": _REF.format(name="Obligation")
    }
    schema["$defs"]["Obligation"] = _obligation()
    return text_of(schema)


def _obligation() -> Shape:
    """Return the shape of an obligation: that of its type, in one of the domains that know it."""
    variants: dict[str, list[Shape]] = {}
    for domain in found().values():
        for kind in domain.vocabulary.obligations:
            head = {"type": {"const": kind.name}, "on": TEXT}
            properties = {**head, **kind.schema.get("properties", {})}
            variant = {**kind.schema, "properties": properties}
            if variant not in variants.setdefault(kind.name, []):
                variants[kind.name].append(variant)
    return {
        "type": "object",
        "required": ["type"],
        "properties": {"type": {"enum": sorted(variants)}},
        # One after the other, so that an editor speaks of the type that is meant.
        "allOf": [
            {
                "if": {"required": ["type"], "properties": {"type": {"const": name}}},
                "then": shapes[0] if len(shapes) == 1 else {"anyOf": shapes},
            }
            for name, shapes in sorted(variants.items())
        ],
    }


def _catalog() -> bytes:
    """Return the schema of a catalogue, of which `spec.protocol` says whose it is."""
    shapes = {name: shape for domain in found().values() for name, shape in domain.shapes.items()}
    one_of = [
        {
            "if": {"required": ["protocol"], "properties": {"protocol": {"const": name}}},
            "then": {"$ref": _REF.format(name=name)},
        }
        for name in sorted(shapes)
    ]
    head = {
        "type": "object",
        "required": ["protocol"],
        "properties": {"protocol": {"enum": sorted(shapes)}},
    }
    return text_of(_document("A catalogue", "Catalog", {**head, "allOf": one_of}, shapes))


def _attributes() -> bytes:
    """Return the schema of what is itself JSON Schema, said again so that no editor fetches it."""
    inner = {"$ref": _REF.format(name="Schema")}
    keywords: dict[str, Shape] = {word: {} for word in sorted(KEYWORDS)}
    keywords |= {"items": inner, "additionalProperties": inner, "properties": by_name(inner)}
    keywords |= _PLAIN_KEYWORDS
    closed: Shape = {"properties": keywords, "additionalProperties": False}
    section: Shape = {"type": "object", **closed}
    names = AttributesSpec.__struct_fields__
    shape = {
        "type": "object",
        "properties": {name: {"$ref": _REF.format(name="Section")} for name in names},
        "additionalProperties": False,
    }
    inside = {"Section": section, "Schema": {"type": ["object", "boolean"], **closed}}
    return text_of(_document("Attributes", "Attributes", shape, inside))


def _params() -> bytes:
    shape = {"description": "Read as `params.<metadata.name>.<key>`.", "type": "object"}
    return text_of(_document("Parameters", "Params", shape, {}))


def _entities() -> bytes:
    shape = by_name(by_name({"type": "object"}))
    return text_of({"title": "What is known of entities: {type: {id: {property: value}}}", **shape})


def _any_document() -> bytes:
    """Return the schema of a file with documents of several kinds: each is of its kind's own."""
    one_of = [
        {
            "if": {"required": ["kind"], "properties": {"kind": {"const": kind}}},
            "then": {"$ref": file_name(kind.lower())},
        }
        for kind in KINDS
    ]
    head = {"type": "object", "required": ["kind"], "properties": {"kind": {"enum": list(KINDS)}}}
    return text_of({"title": "A file of a bundle", **head, "allOf": one_of})


def file_name(kind: str) -> str:
    """Return the name of the file that holds the schema of `kind`."""
    return f"{kind}.schema.json"


SCHEMAS: Final[Mapping[str, Callable[[], bytes]]] = {
    "config": partial(of_type, "sidecar.yaml", ConfigDoc),
    "bundle": partial(of_type, "bundle.yaml", BundleDoc),
    "policy": _policy,
    "test": lambda: text_of(_of_spec("Tests of policies", "Test", SuiteSpec)),
    "fixtures": partial(of_type, "What suites share, in `testdata/`", Fixtures),
    "catalog": _catalog,
    "params": _params,
    "attributes": _attributes,
    "document": _any_document,
    "entities": _entities,
}
