"""Reads a retrieval: a collection, and the candidates that its store found, each judged by itself.

A document has the labels of its collection, of the catalogue and of its own entry in the store,
united: a label is only ever added. A key of a candidate that differs from a known one by case alone
is refused, or a store's `Labels` would pass for none.
"""

from typing import Final

import msgspec

from sidecar.domains.ai.catalogue import AiCatalogue, united
from sidecar.domains.ai.catalogue.names import name, named_id, opaque, opaque_id
from sidecar.domains.ai.limits import ELEMENTS_MAX, LABELS_MAX, NAME_BYTES_MAX
from sidecar.domains.ai.parse.shape import (
    Object,
    distinct,
    listing,
    mapping,
    only,
    optional_mapping,
    refuse,
    target,
    understood,
)
from sidecar.terms.call import Call, Json
from sidecar.terms.request import Parsed, Resource

_PAYLOAD: Final = (
    "collection", "candidates", "query", "top_k", "k", "limit", "filter", "filters", "namespace",
    "embedding", "vector",
)  # fmt: skip
_JUDGED: Final = frozenset(("id", "labels", "properties", "metadata"))
_TOP_K: Final = ("top_k", "k", "limit")


def parse(call: Call, catalogue: AiCatalogue) -> Parsed:
    """Return what a `rag` call (`collection`, `candidates`, what was asked) means."""
    only(call.payload, _PAYLOAD, "a rag call", "parse.envelope")
    collection = name(call.payload.get("collection"), "the collection's name")
    found = catalogue.resource("collection", named_id(collection), call.upstream)
    if "candidates" not in call.payload:
        raise refuse("parse.missing", "a rag call has candidates, if only an empty list")
    candidates = listing(call.payload["candidates"], "`candidates`", ELEMENTS_MAX)
    documents = [_document(collection, value, found, catalogue) for value in candidates]
    distinct((document.id for document in documents), "a document")
    native = {
        "collection": collection,
        "query": call.payload.get("query"),
        "top_k": _top_k(call.payload),
        "count": len(candidates),
    }
    targets = [target("read", "retrieve", resource) for resource in (found, *documents)]
    return msgspec.structs.replace(understood("rag", targets, native), combine="each")


def _top_k(payload: Object) -> int | None:
    told = [payload[key] for key in _TOP_K if payload.get(key) is not None]
    if len(told) > 1:
        raise refuse("parse.ambiguous", "two numbers of how many are asked for")
    if told and type(told[0]) is not int:
        raise refuse("parse.syntax", "how many are asked for is not a whole number")
    return told[0] if told else None


def _document(collection: str, value: Json, within: Resource, catalogue: AiCatalogue) -> Resource:
    candidate = mapping(value, "a candidate")
    for key in candidate:
        if key not in _JUDGED and key.strip().casefold() in _JUDGED:
            raise refuse("parse.ambiguous", "a key that differs from a known one by case alone")
    told = candidate.get("id")
    text = opaque(str(told) if type(told) is int else told, "a document's id")
    id = opaque_id(collection, text)
    resource = catalogue.resource("document", id, within.upstream, within)
    return united(resource, _labels(candidate), _properties(candidate))


def _labels(candidate: Object) -> list[str]:
    metadata = candidate.get("metadata")
    # Stores keep everything of their own under `metadata`, labels too.
    kept = metadata.get("labels", []) if isinstance(metadata, dict) else []
    labels = listing(candidate.get("labels", []), "`labels`", LABELS_MAX)
    labels = labels + listing(kept, "`labels`", LABELS_MAX)
    return [opaque(label, "a label", NAME_BYTES_MAX) for label in labels]


def _properties(candidate: Object) -> Object:
    """Return what the store says of a document, under whichever of its two names."""
    properties = optional_mapping(candidate, "properties", "`properties`")
    metadata = optional_mapping(candidate, "metadata", "`metadata`")
    if any(properties[key] != metadata[key] for key in properties.keys() & metadata.keys()):
        raise refuse("parse.ambiguous", "a property that is said twice, and not the same")
    return {**metadata, **properties}
