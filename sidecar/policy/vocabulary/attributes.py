"""Attributes documents → types: the JSON Schemas of what an organisation says of its own.

A schema is read for what its values *are*, not for which of them are valid: `type`, `properties`,
`additionalProperties`, `items`, `enum` and `const` say that; bounds and patterns say nothing to a
type. An object that names its `properties` has those and no others, so that a misspelt one does
not load, unless `additionalProperties` says otherwise. Whatever may be of several types is `dyn`;
so is `number`, for JSON writes 1 and 1.5 as different kinds of number and means neither.

Source: https://json-schema.org/draft/2020-12/json-schema-core
"""

from collections.abc import Callable
from difflib import get_close_matches
from typing import Final

from jsonschema import Draft202012Validator

from sidecar.policy.documents import AttributesSpec
from sidecar.policy.language.types import (
    BOOL,
    DYN,
    INT,
    NULL,
    STRING,
    AnyType,
    Record,
    join_all,
    list_of,
    map_of,
)
from sidecar.policy.vocabulary.values import type_of_value
from sidecar.syntax.yaml12 import Document, Step
from sidecar.terms.call import Json

# Of a party, an action and a resource they are the `properties`.
_BELOW: Final = frozenset({"subject", "actor", "resource", "action"})
_PLAIN: Final = {"string": STRING, "integer": INT, "boolean": BOOL, "null": NULL, "number": DYN}
# A keyword that is not one would be passed over in silence, and its attributes with it.
KEYWORDS: Final = frozenset(
    {
        *("$anchor", "$comment", "$defs", "$dynamicAnchor", "$dynamicRef", "$id", "$ref"),
        *("$schema", "$vocabulary", "additionalProperties", "allOf", "anyOf", "const"),
        *("contains", "contentEncoding", "contentMediaType", "contentSchema", "default"),
        *("dependentRequired", "dependentSchemas", "deprecated", "description", "else", "enum"),
        *("examples", "exclusiveMaximum", "exclusiveMinimum", "format", "if", "items"),
        *("maxContains", "maxItems", "maxLength", "maxProperties", "maximum", "minContains"),
        *("minItems", "minLength", "minProperties", "minimum", "multipleOf", "not", "oneOf"),
        *("pattern", "patternProperties", "prefixItems", "properties", "propertyNames"),
        *("readOnly", "required", "then", "title", "type", "unevaluatedItems"),
        *("unevaluatedProperties", "uniqueItems", "writeOnly"),
    }
)
# One of these may add fields and types that are not looked for.
_COMPOSED: Final = frozenset(
    {"$ref", "$dynamicRef", "allOf", "anyOf", "oneOf", "if", "patternProperties"}
)
_VALIDATOR: Final = Draft202012Validator(Draft202012Validator.META_SCHEMA)

Report = Callable[[str], None]


class Attributes:
    """The types of an organisation's attributes, by section, of all documents of a bundle."""

    def __init__(self) -> None:
        self.types: dict[str, AnyType] = {}

    def add(self, document: Document, spec: AttributesSpec, report: Report) -> None:
        """Read one document; what is wrong with it is reported as `file:line:column: text`."""
        for section in document.value["spec"]:
            path = ("spec", section)
            if section in self.types:
                where = document.where(*path)
                report(f"{where}: attributes of `{section}` stand twice in the bundle")
                continue
            name = f"{section}.properties" if section in _BELOW else section
            reader = _Reader(document, report)
            self.types[section] = reader.section(getattr(spec, section), name, path)


class _Reader:
    def __init__(self, document: Document, report: Report) -> None:
        self._document = document
        self._report = report

    def section(self, schema: dict[str, Json], name: str, path: tuple[Step, ...]) -> AnyType:
        """Return the type of a section, which is an object."""
        if not self._is_sound(schema, path):
            return DYN
        if schema.get("type", "object") != "object":
            self._wrong(path, f"`{name}` is an object, so its schema is of `type: object`")
            return DYN
        return self._type({**schema, "type": "object"}, name, path)

    def _is_sound(self, schema: dict[str, Json], path: tuple[Step, ...]) -> bool:
        # The parts of the meta-schema each say the same.
        wrong: dict[tuple[Step, ...], str] = {}
        for error in _VALIDATOR.iter_errors(schema):
            wrong.setdefault(tuple(error.absolute_path), error.message)
        for at, text in wrong.items():
            self._wrong((*path, *at), f"no JSON Schema: {text}")
        return not wrong

    def _type(self, schema: Json, name: str, path: tuple[Step, ...]) -> AnyType:
        if not isinstance(schema, dict):
            return DYN
        self._check_keywords(schema, path)
        if not _COMPOSED.isdisjoint(schema):
            return DYN
        for keyword in ("const", "enum"):
            if keyword in schema:
                values = [schema[keyword]] if keyword == "const" else schema[keyword]
                return join_all(type_of_value(value, name) for value in values)
        kinds = _kinds(schema)
        found = [self._of_kind(kind, schema, name, path) for kind in kinds]
        return found[0] if len(found) == 1 else DYN

    def _of_kind(
        self, kind: Json, schema: dict[str, Json], name: str, path: tuple[Step, ...]
    ) -> AnyType:
        if kind == "array":
            items = {} if "prefixItems" in schema else schema.get("items", {})
            return list_of(self._type(items, f"{name}[]", (*path, "items")))
        if kind == "object":
            return self._object(schema, name, path)
        return _PLAIN[kind]

    def _object(self, schema: dict[str, Json], name: str, path: tuple[Step, ...]) -> AnyType:
        more = schema.get("additionalProperties", "properties" not in schema)
        if "properties" not in schema and more is not False:
            return map_of(STRING, self._type(more, f"{name}.*", (*path, "additionalProperties")))
        fields = {
            field: self._type(inner, f"{name}.{field}", (*path, "properties", field))
            for field, inner in schema.get("properties", {}).items()
        }
        return Record(name, fields, is_open=more is not False)

    def _check_keywords(self, schema: dict[str, Json], path: tuple[Step, ...]) -> None:
        for keyword in schema:
            if keyword not in KEYWORDS:
                near = get_close_matches(keyword, KEYWORDS, n=1, cutoff=0.8)
                hint = f"did you mean `{near[0]}`?" if near else "attributes stand in `properties`"
                self._wrong((*path, keyword), f"unknown keyword `{keyword}`; {hint}")

    def _wrong(self, path: tuple[Step, ...], text: str) -> None:
        self._report(f"{self._document.where(*path)}: {text}")


def _kinds(schema: dict[str, Json]) -> list[Json]:
    """Return what a value may be; null beside another type is no type of its own, as in JSON."""
    if "type" not in schema:
        return ["object"] if "properties" in schema else ["array"] if "items" in schema else []
    written = schema["type"]
    if not isinstance(written, list):
        return [written]
    return [kind for kind in written if kind != "null"] or ["null"]
